#include "daemon/server/client.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"

#define LINES_AT_ONCE 64 /* of one client, then it is the others' turn */

static void client_free(struct client *client)
{
	struct server *server = client->server;
	g_ptr_array_remove_fast(server->clients, client);
	questions_drop_client(client);
	for (guint i = client->subscriptions->len; i-- > 0;) {
		struct subject *subject = g_array_index(client->subscriptions, struct subscription, i).subject;
		g_array_remove_index_fast(client->subscriptions, i);
		client_update_interval(server, subject);
	}
	guint *sources[] = {&client->in_source, &client->out_source, &client->deadline, &client->resume};
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++)
		if (*sources[i])
			g_source_remove(*sources[i]);
	close(client->fd);
	g_string_free(client->in, TRUE);
	g_string_free(client->out, TRUE);
	g_array_unref(client->subscriptions);
	g_free(client);
}

/* Send what waits. False: the peer is gone. */
static gboolean flush(struct client *client)
{
	while (client->sent < client->out->len) {
		ssize_t n = send(client->fd, client->out->str + client->sent, client->out->len - client->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		client->sent += (gsize)n;
	}
	/* a large answer leaves no large buffer behind */
	if (client->out->len > 65536) {
		g_string_free(client->out, TRUE);
		client->out = g_string_new(NULL);
	}
	g_string_set_size(client->out, 0);
	client->sent = 0;
	return !client->closing;
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer data)
{
	struct client *client = data;
	if (!flush(client)) {
		client->out_source = 0;
		client_free(client);
		return G_SOURCE_REMOVE;
	}
	if (client->sent < client->out->len)
		return G_SOURCE_CONTINUE;
	client->out_source = 0;
	return G_SOURCE_REMOVE;
}

/* What is sent goes out from the main loop: whoever calls this goes on with the client. */
void client_send(struct client *client, const char *line, gsize size)
{
	if (client->closing)
		return;
	g_string_append_len(client->out, line, (gssize)size);
	if (client->out->len - client->sent > CLIENT_WAITING) {
		/* it would get half a line: nothing more, and the end */
		g_string_set_size(client->out, client->sent);
		client->closing = TRUE;
	}
	if (!client->out_source)
		client->out_source = g_unix_fd_add(client->fd, G_IO_OUT | G_IO_HUP | G_IO_ERR, on_writable, client);
}

static void send_string(struct client *client, GString *line)
{
	client_send(client, line->str, line->len);
	g_string_free(line, TRUE);
}

static gboolean on_deadline(gpointer data)
{
	struct client *client = data;
	client->deadline = 0;
	send_string(client, protocol_refusal(NULL, REFTOP_ERROR_USAGE, "the line was not finished in time"));
	client->closing = TRUE;
	return G_SOURCE_REMOVE;
}

static gboolean on_hangup(gint fd, GIOCondition condition, gpointer data)
{
	struct client *client = data;
	client->in_source = 0;
	client_free(client);
	return G_SOURCE_REMOVE;
}

static gboolean on_resume(gpointer data);

/* Its further requests stay in the socket, so that answers come in their order. */
static void wait_for_answer(struct client *client)
{
	client->waiting = TRUE;
	g_source_remove(client->in_source);
	client->in_source = g_unix_fd_add(client->fd, G_IO_HUP | G_IO_ERR, on_hangup, client);
}

/* Answer the whole lines that came in: some now, and when others had their turn the rest. */
static void take_lines(struct client *client)
{
	gsize done = 0;
	for (int i = 0; i < LINES_AT_ONCE && !client->closing && !client->waiting; i++) {
		const char *from = client->in->str + done, *end = memchr(from, '\n', client->in->len - done);
		if (!end)
			break;
		GString *answer = protocol_answer(client, from, (gsize)(end - from));
		if (answer)
			send_string(client, answer);
		else
			wait_for_answer(client);
		done += (gsize)(end - from) + 1;
	}
	g_string_erase(client->in, 0, (gssize)done);
	bool whole = memchr(client->in->str, '\n', client->in->len);
	if (whole && !client->closing && !client->waiting) {
		wait_for_answer(client);
		client->resume = g_idle_add(on_resume, client);
	}
	if (client->in->len >= CLIENT_LINE && !whole) {
		send_string(client, protocol_refusal(NULL, REFTOP_ERROR_USAGE, "the line is too long"));
		client->closing = TRUE;
	}
	if (client->deadline)
		g_source_remove(client->deadline);
	client->deadline = client->in->len && !client->closing && !client->waiting
				   ? g_timeout_add_seconds(CLIENT_LINE_S, on_deadline, client)
				   : 0;
}

/* Who asks faster than they read waits. */
static bool reads_late(const struct client *client)
{
	bool late = client->out->len - client->sent > CLIENT_LATE;
	if (late)
		g_usleep(1000);
	return late;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
	struct client *client = data;
	char bytes[16384];
	if (reads_late(client) && !(condition & (G_IO_HUP | G_IO_ERR)))
		return G_SOURCE_CONTINUE;
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0) {
		client->in_source = 0;
		client->closing = TRUE;
		/* it asks no more, but may read on (socat): it gets what it asked for */
		if (n < 0 || !client->out_source)
			client_free(client);
		return G_SOURCE_REMOVE;
	}
	if (!client->closing) {
		g_string_append_len(client->in, bytes, n);
		take_lines(client);
	}
	/* who waits for an answer has another source */
	return client->waiting ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean on_resume(gpointer data)
{
	struct client *client = data;
	if (reads_late(client))
		return G_SOURCE_CONTINUE;
	client->resume = 0;
	client->waiting = FALSE;
	g_source_remove(client->in_source);
	client->in_source = g_unix_fd_add(client->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, client);
	take_lines(client);
	return G_SOURCE_REMOVE;
}

/* What it asked meanwhile is taken from the main loop: whoever calls this may be in the middle of taking a process away. */
void client_answer(struct client *client, const char *line, gsize size)
{
	client_send(client, line, size);
	client->resume = g_idle_add(on_resume, client);
}

static int connections_of(const struct server *server, uid_t uid)
{
	int n = 0;
	for (guint i = 0; i < server->clients->len; i++)
		n += ((struct client *)server->clients->pdata[i])->uid == uid;
	return n;
}

static gboolean on_connection(gint listener, GIOCondition condition, gpointer data)
{
	struct server *server = data;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return G_SOURCE_CONTINUE;
	gboolean known = !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	if (!known || server->clients->len >= CLIENTS || connections_of(server, peer.uid) >= CLIENTS_A_USER) {
		GString *line = protocol_refusal(NULL, REFTOP_ERROR_DENIED, "too many connections");
		(void)!send(fd, line->str, line->len, MSG_NOSIGNAL | MSG_DONTWAIT);
		g_string_free(line, TRUE);
		close(fd);
		server->refused++;
		return G_SOURCE_CONTINUE;
	}
	struct client *client = g_new0(struct client, 1);
	client->server = server;
	client->fd = fd;
	client->uid = peer.uid;
	client->in = g_string_new(NULL);
	client->out = g_string_new(NULL);
	client->subscriptions = g_array_new(FALSE, TRUE, sizeof(struct subscription));
	client->in_source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, client);
	g_ptr_array_add(server->clients, client);
	send_string(client, protocol_hello(client));
	return G_SOURCE_CONTINUE;
}

/* ---- subscriptions ---- */

void client_update_interval(struct server *server, struct subject *subject)
{
	subject->viewer_us = 0;
	for (guint i = 0; i < server->clients->len; i++) {
		struct client *client = server->clients->pdata[i];
		for (guint j = 0; j < client->subscriptions->len; j++) {
			struct subscription *subscription =
				&g_array_index(client->subscriptions, struct subscription, j);
			if (subscription->subject == subject && subscription->interval_us &&
			    (!subject->viewer_us || subscription->interval_us < subject->viewer_us))
				subject->viewer_us = subscription->interval_us;
		}
	}
	gint64 due = subject->asked_us + schedule_interval(subject);
	if (subject->viewer_us && !subject->failures && due < subject->due_us)
		subject->due_us = due;
}

void clients_tell(struct server *server, struct subject *subject, const sample_t *sample)
{
	g_autoptr(GString) line = NULL;
	for (guint i = 0; i < server->clients->len; i++) {
		struct client *client = server->clients->pdata[i];
		for (guint j = client->subscriptions->len; j-- > 0;) {
			if (g_array_index(client->subscriptions, struct subscription, j).subject != subject)
				continue;
			if (!line) {
				g_autoptr(GString) json = sample ? json_sample(sample, NULL, 0) : NULL;
				line = protocol_event(subject, json ? g_strchomp(json->str) : NULL);
			}
			if (!sample)
				g_array_remove_index_fast(client->subscriptions, j);
			if (!sample || client->out->len - client->sent < CLIENT_LATE)
				client_send(client, line->str, line->len);
		}
	}
}

/* ---- the socket ---- */

static gboolean fail(const char *path, int code, GError **error)
{
	g_autofree char *name = text_escape(path, strlen(path));
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, g_strerror(code), NULL, "cannot listen on %s", name);
	return FALSE;
}

/* A socket that somebody answers on isn't taken away; one left by a dead daemon is. */
static gboolean is_dead(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	gboolean dead =
		fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return dead;
}

static gboolean make_socket(struct server *server, GError **error)
{
	const char *path = server->config->socket;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path))
		return fail(path, ENAMETOOLONG, error);
	g_autofree char *directory = g_path_get_dirname(path);
	/* of the system's daemon everybody may speak to the socket: it knows whom it tells what */
	mode_t mode = geteuid() == 0 ? 0755 : 0700;
	if (g_mkdir_with_parents(directory, mode))
		return fail(path, errno, error);
	if (is_dead(&address))
		unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(geteuid() == 0 ? 0 : 0077);
	gboolean bound = fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 128);
	int code = errno;
	umask(before);
	if (!bound) {
		if (fd >= 0)
			close(fd);
		return fail(path, code, error);
	}
	server->listen_fd = fd;
	server->socket_made = g_strdup(path);
	return TRUE;
}

gboolean clients_open(struct server *server, GError **error)
{
	/* socket activation: systemd has it, and keeps it over restarts */
	if (sd_listen_fds(1) > 0 && sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) > 0)
		server->listen_fd = SD_LISTEN_FDS_START;
	else if (!make_socket(server, error))
		return FALSE;
	g_unix_set_fd_nonblocking(server->listen_fd, TRUE, NULL);
	server->listen_source = g_unix_fd_add(server->listen_fd, G_IO_IN, on_connection, server);
	return TRUE;
}

void clients_close(struct server *server)
{
	while (server->clients->len)
		client_free(server->clients->pdata[server->clients->len - 1]);
	if (server->listen_source)
		g_source_remove(server->listen_source);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->socket_made)
		unlink(server->socket_made);
	g_free(server->socket_made);
	server->socket_made = NULL;
}
