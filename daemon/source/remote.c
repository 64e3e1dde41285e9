#include "daemon/source/remote_private.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/store/json.h"
#include "daemon/target/process.h"

#define ANSWER_S  10                     /* an answer takes no longer, or the daemon is as good as gone */
#define SAMPLE_S  3                      /* how long a sample is waited for */
#define MOST_LINE (256u * 1024u * 1024u) /* bytes */

/* ---- the socket ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = ANSWER_S};
	if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * The same where nobody named the socket: in a directory that anybody can make, as of /tmp, anybody may listen. Who does must be of our own
 * user, or root.
 */
static int connect_usual(const char *path)
{
	int fd = connect_to(path);
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (fd < 0 || (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && (!peer.uid || peer.uid == geteuid())))
		return fd;
	close(fd);
	return -1;
}

/* The user's own daemon, then the system's. */
static int connect_any(void)
{
	const char *named = g_getenv("REFTOP_SOCKET"), *runtime = g_getenv("XDG_RUNTIME_DIR");
	if (named)
		return *named ? connect_to(named) : -1;
	g_autofree char *own = runtime ? g_build_filename(runtime, "reftop.sock", NULL)
				       : g_strdup_printf("/tmp/reftop-%u/reftop.sock", (unsigned)getuid());
	int fd = connect_usual(own);
	return fd >= 0 ? fd : connect_usual("/run/reftop/reftop.sock");
}

static gboolean send_line(int fd, const char *line)
{
	gsize size = strlen(line);
	while (size) {
		ssize_t n = send(fd, line, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return FALSE;
		line += n;
		size -= (gsize)n;
	}
	return TRUE;
}

/* The next line without its newline, by `until` (monotonic); NULL: it didn't come. Free with g_free(). */
static char *receive_line(int fd, GString *in, gint64 until)
{
	char bytes[65536];
	gsize seen = 0;
	for (;;) {
		const char *end = memchr(in->str + seen, '\n', in->len - seen);
		if (end) {
			char *line = g_strndup(in->str, (gsize)(end - in->str));
			g_string_erase(in, 0, end - in->str + 1);
			return line;
		}
		seen = in->len;
		gint64 left = until - g_get_monotonic_time();
		if (left <= 0 || in->len > MOST_LINE)
			return NULL;
		struct timeval patience = {left / G_USEC_PER_SEC, left % G_USEC_PER_SEC};
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		g_string_append_len(in, bytes, n);
	}
}

char *remote_ask(const char *request)
{
	int fd = connect_any();
	if (fd < 0)
		return NULL;
	g_autoptr(GString) in = g_string_new(NULL);
	gint64 until = g_get_monotonic_time() + ANSWER_S * G_USEC_PER_SEC;
	g_autofree char *hello = receive_line(fd, in, until);
	char *answer = hello && send_line(fd, request) && send_line(fd, "\n") ? receive_line(fd, in, until) : NULL;
	close(fd);
	return answer;
}

/* The object in a line; NULL: nonsense. Free with json_object_unref(). */
static JsonObject *parse_line(const char *line)
{
	if (!line || json_too_deep(line, strlen(line)))
		return NULL;
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!json_parser_load_from_data(parser, line, -1, NULL))
		return NULL;
	JsonNode *root = json_parser_get_root(parser);
	return root && JSON_NODE_HOLDS_OBJECT(root) ? json_object_ref(json_node_get_object(root)) : NULL;
}

static sample_t *sample_in(JsonObject *object, const char *key)
{
	JsonNode *node = json_object_get_member(object, key);
	if (!node || !JSON_NODE_HOLDS_OBJECT(node))
		return NULL;
	g_autofree char *text = json_to_string(node, FALSE);
	return json_sample_parse(text, strlen(text), NULL);
}

static void lose_daemon(struct remote *remote)
{
	if (remote->fd >= 0)
		close(remote->fd);
	remote->fd = -1;
}

/* Take what nobody asked for. */
static void take_event(struct remote *remote, JsonObject *object)
{
	const char *event = json_object_get_string_member_with_default(object, "event", "");
	if (!strcmp(event, "ended"))
		remote->ended = TRUE;
	if (strcmp(event, "sample"))
		return;
	sample_t *sample = sample_in(object, "sample");
	if (sample) {
		sample_unref(remote->news);
		remote->news = sample;
	}
}

JsonObject *remote_answer(struct remote *remote, const char *line, int seconds)
{
	if (remote->fd < 0 || !send_line(remote->fd, line)) {
		lose_daemon(remote);
		return NULL;
	}
	gint64 until = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
	for (;;) {
		g_autofree char *answer = receive_line(remote->fd, remote->in, until);
		JsonObject *object = parse_line(answer);
		if (!object) {
			lose_daemon(remote);
			return NULL;
		}
		if (json_object_has_member(object, "ok"))
			return object;
		take_event(remote, object);
		json_object_unref(object);
	}
}

/* Ask, and wait for the answer. NULL: it is a refusal, or the daemon is gone. Free with json_object_unref(). */
static JsonObject *ask(struct remote *remote, const char *format, ...) G_GNUC_PRINTF(2, 3);

static JsonObject *ask(struct remote *remote, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *line = g_strdup_vprintf(format, args);
	va_end(args);
	JsonObject *object = remote_answer(remote, line, ANSWER_S);
	if (!object || json_object_get_boolean_member_with_default(object, "ok", FALSE))
		return object;
	json_object_unref(object);
	return NULL;
}

/* Have samples sent, this often (0: as often as they come anyway). */
static gboolean subscribe(struct remote *remote, gint64 interval_us)
{
	JsonObject *answer =
		ask(remote, "{\"id\":1,\"op\":\"subscribe\",\"pid\":%d,\"interval_ms\":%" G_GINT64_FORMAT "}\n",
		    (int)remote->pid, interval_us / 1000);
	if (answer)
		json_object_unref(answer);
	return answer != NULL;
}

/* ---- the source ---- */

source_t *remote_need_live(struct remote *remote, GError **error)
{
	if (!remote->live)
		remote->live = source_live_new(remote->pid, &remote->options, error);
	return remote->live;
}

static gboolean remote_alive(source_t *source)
{
	struct remote *remote = (struct remote *)source;
	struct process now;
	return !remote->ended && process_read_stat(remote->pid, &now) && !process_dead(&now) &&
	       now.start_ticks == remote->process.start_ticks;
}

static sample_t *take_news(struct remote *remote)
{
	sample_t *sample = g_steal_pointer(&remote->news);
	if (sample && sample->time_us <= remote->given_us)
		g_clear_pointer(&sample, sample_unref);
	return sample;
}

/* Ask for the newest sample, and have one taken when that is old. */
static void ask_sample(struct remote *remote)
{
	JsonObject *answer = ask(remote, "{\"id\":1,\"op\":\"sample\",\"pid\":%d,\"fresh\":true}\n", (int)remote->pid);
	sample_t *sample = answer ? sample_in(answer, "result") : NULL;
	if (answer)
		json_object_unref(answer);
	/* an older one than what has come by itself is no news */
	if (sample && (!remote->news || sample->time_us > remote->news->time_us)) {
		sample_unref(remote->news);
		remote->news = sample;
	} else {
		sample_unref(sample);
	}
}

static sample_t *wait_sample(struct remote *remote)
{
	gint64 began = g_get_real_time(), until = g_get_monotonic_time() + SAMPLE_S * G_USEC_PER_SEC;
	ask_sample(remote);
	/* the first one is to be of now: what comes next is, if the last is old */
	gboolean old = !remote->given_us && remote->news && began - remote->news->time_us > G_USEC_PER_SEC / 2;
	for (;;) {
		sample_t *sample = old ? NULL : take_news(remote);
		if (sample || remote->fd < 0 || remote->ended)
			return sample;
		g_autofree char *line = receive_line(remote->fd, remote->in, until);
		JsonObject *object = parse_line(line);
		if (!object)
			return take_news(remote);
		take_event(remote, object);
		json_object_unref(object);
		old = FALSE;
	}
}

static sample_t *remote_next(source_t *source, GError **error)
{
	struct remote *remote = (struct remote *)source;
	sample_t *sample = NULL;
	if (remote->fd >= 0 && !remote->given_us)
		subscribe(remote, remote->interval_us);
	if (remote->fd >= 0 && !remote->watching)
		sample = wait_sample(remote);
	if (sample) {
		remote->given_us = sample->time_us;
		return sample;
	}
	if (!remote_alive(source)) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, "it ended", NULL, "there is no process %d any more",
			  (int)remote->pid);
		return NULL;
	}
	/* the daemon is gone, or has no budget left for it: whoever watches reads it here */
	source_t *live = remote_need_live(remote, error);
	sample = live ? source_next(live, error) : NULL;
	if (sample)
		remote->given_us = sample->time_us;
	return sample;
}

/* Take in what came by itself. */
static void drain(struct remote *remote)
{
	struct pollfd poll_fd = {remote->fd, POLLIN, 0};
	while (remote->fd >= 0 && (strchr(remote->in->str, '\n') || poll(&poll_fd, 1, 0) > 0)) {
		gint64 until = g_get_monotonic_time() + ANSWER_S * G_USEC_PER_SEC;
		g_autofree char *line = receive_line(remote->fd, remote->in, until);
		JsonObject *object = parse_line(line);
		if (!object) {
			lose_daemon(remote);
			return;
		}
		take_event(remote, object);
		json_object_unref(object);
	}
}

sample_t *source_remote_newest(source_t *source, GError **error)
{
	struct remote *remote = (struct remote *)source;
	if (remote->fd < 0)
		return remote_next(source, error);
	if (!remote->given_us)
		ask_sample(remote);
	drain(remote);
	sample_t *sample = take_news(remote);
	if (sample)
		remote->given_us = sample->time_us;
	else if (!remote_alive(source))
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, "it ended", NULL, "there is no process %d any more",
			  (int)remote->pid);
	return sample;
}

static GArray *numbers_in(JsonObject *object, const char *key)
{
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(gint64));
	JsonNode *node = object ? json_object_get_member(object, key) : NULL;
	JsonArray *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
	for (guint i = 0; array && i < json_array_get_length(array); i++) {
		JsonNode *element = json_array_get_element(array, i);
		gint64 number = JSON_NODE_HOLDS_VALUE(element) ? json_node_get_int(element) : 0;
		g_array_append_val(numbers, number);
	}
	return numbers;
}

static void renew_moments(struct remote *remote)
{
	JsonObject *answer = ask(remote, "{\"id\":1,\"op\":\"moments\",\"pid\":%d}\n", (int)remote->pid);
	JsonNode *node = answer ? json_object_get_member(answer, "result") : NULL;
	JsonObject *result = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
	g_clear_pointer(&remote->times, g_array_unref);
	g_clear_pointer(&remote->ids, g_array_unref);
	remote->times = numbers_in(result, "times_us");
	remote->ids = numbers_in(result, "samples");
	guint n = MIN(remote->times->len, remote->ids->len);
	g_array_set_size(remote->times, n);
	g_array_set_size(remote->ids, n);
	if (answer)
		json_object_unref(answer);
}

/* A moment's number is its time: samples that came while we watched have no other. */
static GArray *remote_moments(source_t *source, GError **error)
{
	struct remote *remote = (struct remote *)source;
	GArray *moments = g_array_new(FALSE, FALSE, sizeof(struct source_moment));
	renew_moments(remote);
	for (guint i = 0; i < remote->times->len; i++) {
		gint64 time = g_array_index(remote->times, gint64, i);
		struct source_moment moment = {time, time};
		if (!moments->len || time > g_array_index(moments, struct source_moment, moments->len - 1).time_us)
			g_array_append_val(moments, moment);
	}
	return moments;
}

/* The stored sample that was the newest at `time_us`; 0: none. */
static gint64 id_at(const struct remote *remote, gint64 time_us)
{
	gint64 id = 0;
	for (guint i = 0; remote->times && i < remote->times->len; i++)
		if (g_array_index(remote->times, gint64, i) <= time_us)
			id = g_array_index(remote->ids, gint64, i);
	return id;
}

static sample_t *remote_load(source_t *source, int64_t time_us, GError **error)
{
	struct remote *remote = (struct remote *)source;
	if (!remote->times || !remote->times->len ||
	    g_array_index(remote->times, gint64, remote->times->len - 1) < time_us)
		renew_moments(remote);
	gint64 id = id_at(remote, time_us);
	JsonObject *answer =
		id ? ask(remote, "{\"id\":1,\"op\":\"sample\",\"pid\":%d,\"sample\":%" G_GINT64_FORMAT "}\n",
			 (int)remote->pid, id)
		   : NULL;
	sample_t *sample = answer ? sample_in(answer, "result") : NULL;
	if (answer)
		json_object_unref(answer);
	if (!sample)
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL, "the daemon has this sample no more");
	return sample;
}

static void remote_free(source_t *source)
{
	struct remote *remote = (struct remote *)source;
	lose_daemon(remote);
	source_free(remote->live);
	sample_unref(remote->news);
	g_string_free(remote->in, TRUE);
	g_clear_pointer(&remote->times, g_array_unref);
	g_clear_pointer(&remote->ids, g_array_unref);
	g_free(remote);
}

/* ---- what needs the memory: remote_questions.c; and ---- */

#define LIVE(source) (((struct remote *)(source))->live)

static int64_t remote_paused(source_t *source)
{
	/* what the daemon stopped it for, it did anyway, and within a budget of its own */
	return LIVE(source) ? source_paused(LIVE(source)) : 0;
}

static gboolean remote_watch(source_t *source, uint64_t address, gboolean on)
{
	struct remote *remote = (struct remote *)source;
	if (!remote_need_live(remote, NULL))
		return FALSE;
	remote->watching |= on;
	return remote->live->ops->watch(remote->live, address, on);
}

static void remote_forget(source_t *source)
{
	if (LIVE(source))
		LIVE(source)->ops->forget(LIVE(source));
}

static const struct source_ops remote_ops = {
	.name = "daemon",
	.next = remote_next,
	.alive = remote_alive,
	.free = remote_free,
	.leaks = remote_leaks,
	.explain = remote_explain,
	.explain_all = remote_explain_all,
	.instances = remote_instances,
	.assess = remote_assess,
	.watch = remote_watch,
	.forget = remote_forget,
	.paused = remote_paused,
	.stacks = remote_stacks,
	.moments = remote_moments,
	.load = remote_load,
};

source_t *source_remote_new(pid_t pid, gint64 interval_us, const struct live_options *live)
{
	struct remote *remote = g_new0(struct remote, 1);
	remote->source.ops = &remote_ops;
	remote->pid = pid;
	remote->interval_us = interval_us;
	remote->options = *live;
	remote->in = g_string_new(NULL);
	remote->fd = connect_any();
	gint64 until = g_get_monotonic_time() + ANSWER_S * G_USEC_PER_SEC;
	g_autofree char *hello = remote->fd >= 0 ? receive_line(remote->fd, remote->in, until) : NULL;
	/* this tells whether it watches the process; how often is said when a sample is wanted */
	if (hello && process_read(pid, &remote->process) && subscribe(remote, 0))
		return &remote->source;
	remote_free(&remote->source);
	return NULL;
}
