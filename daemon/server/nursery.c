#include "daemon/server/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

struct nursery {
	pid_t pid;
	int fd;
	guint source, last;
	nursery_ended ended;
	void *context;
};

enum message_kind { MESSAGE_SPAWN, MESSAGE_KILL, MESSAGE_ENDED };

/* both ways, a datagram each */
struct message {
	enum message_kind kind;
	guint number;
	int status;
	struct worker_order order;
};

/* ---- in the nursery ---- */

static int receive(int fd, struct message *message, int *passed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {message, sizeof(*message)};
	struct msghdr head = {.msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes)};
	*passed = -1;
	ssize_t n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -1;
	struct cmsghdr *at = CMSG_FIRSTHDR(&head);
	if (n && at && at->cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(at), sizeof(int));
	return n == sizeof(*message) ? 1 : -1;
}

static void spawn(int fd, const struct message *message, int channel, GHashTable *children)
{
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		prctl(PR_SET_NAME, "reftop-worker");
		_exit(worker_main(&message->order, channel));
	}
	if (pid > 0) {
		g_hash_table_insert(children, GINT_TO_POINTER(pid), GUINT_TO_POINTER(message->number));
		return;
	}
	struct message ended = {.kind = MESSAGE_ENDED, .number = message->number, .status = 1 << 8};
	(void)!send(fd, &ended, sizeof(ended), 0);
}

static void kill_child(GHashTable *children, guint number)
{
	GHashTableIter iter;
	gpointer pid, value;
	g_hash_table_iter_init(&iter, children);
	while (g_hash_table_iter_next(&iter, &pid, &value))
		/* not yet waited for: the number is still its */
		if (GPOINTER_TO_UINT(value) == number)
			kill(GPOINTER_TO_INT(pid), SIGKILL);
}

static void reap(int fd, GHashTable *children)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		struct message ended = {
			.kind = MESSAGE_ENDED,
			.number = GPOINTER_TO_UINT(g_hash_table_lookup(children, GINT_TO_POINTER(pid))),
			.status = status,
		};
		g_hash_table_remove(children, GINT_TO_POINTER(pid));
		(void)!send(fd, &ended, sizeof(ended), 0);
	}
}

G_NORETURN static void nursery_main(int fd, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, "reftop-nursery");
	sigset_t signals;
	sigfillset(&signals);
	sigprocmask(SIG_SETMASK, &signals, NULL); /* a Ctrl-C is the daemon's */
	int ended = signalfd(-1, (sigemptyset(&signals), sigaddset(&signals, SIGCHLD), &signals),
			     SFD_CLOEXEC | SFD_NONBLOCK);
	GHashTable *children = g_hash_table_new(NULL, NULL);
	for (;;) {
		struct pollfd fds[] = {{fd, POLLIN, 0}, {ended, POLLIN, 0}};
		struct signalfd_siginfo info;
		struct message message;
		int channel, got;
		if (poll(fds, 2, -1) < 0)
			continue;
		while (read(ended, &info, sizeof(info)) > 0)
			;
		reap(fd, children);
		if (!fds[0].revents)
			continue;
		got = receive(fd, &message, &channel);
		if (got < 0)
			_exit(0);
		if (got && message.kind == MESSAGE_SPAWN && channel >= 0)
			spawn(fd, &message, channel, children);
		else if (got && message.kind == MESSAGE_KILL)
			kill_child(children, message.number);
		if (channel >= 0)
			close(channel);
	}
}

/* ---- in the daemon ---- */

nursery_t *nursery_new(GError **error)
{
	int pair[2];
	pid_t parent = getpid();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL,
			  "cannot make a socket pair");
		return NULL;
	}
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		nursery_main(pair[1], parent);
	}
	close(pair[1]);
	if (pid < 0) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL, "cannot fork");
		close(pair[0]);
		return NULL;
	}
	nursery_t *nursery = g_new0(nursery_t, 1);
	nursery->pid = pid;
	nursery->fd = pair[0];
	return nursery;
}

void nursery_free(nursery_t *nursery)
{
	if (!nursery)
		return;
	if (nursery->source)
		g_source_remove(nursery->source);
	close(nursery->fd);
	if (nursery->pid > 0)
		waitpid(nursery->pid, NULL, 0);
	g_free(nursery);
}

static gboolean send_message(nursery_t *nursery, const struct message *message, int passed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec part = {(void *)message, sizeof(*message)};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	if (passed >= 0) {
		head.msg_control = control.bytes;
		head.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *at = CMSG_FIRSTHDR(&head);
		at->cmsg_level = SOL_SOCKET;
		at->cmsg_type = SCM_RIGHTS;
		at->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(at), &passed, sizeof(int));
	}
	return sendmsg(nursery->fd, &head, MSG_NOSIGNAL) == sizeof(*message);
}

int nursery_spawn(nursery_t *nursery, const struct worker_order *order, guint *number, GError **error)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL,
			  "cannot make a socket pair");
		return -1;
	}
	struct message message = {.kind = MESSAGE_SPAWN, .number = ++nursery->last, .order = *order};
	gboolean sent = send_message(nursery, &message, pair[1]);
	int code = errno;
	close(pair[1]);
	if (!sent) {
		close(pair[0]);
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, g_strerror(code), NULL, "cannot start a worker");
		return -1;
	}
	*number = nursery->last;
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	return pair[0];
}

void nursery_kill(nursery_t *nursery, guint number)
{
	struct message message = {.kind = MESSAGE_KILL, .number = number};
	send_message(nursery, &message, -1);
}

static gboolean on_message(gint fd, GIOCondition condition, gpointer data)
{
	nursery_t *nursery = data;
	struct message message;
	int passed, got = receive(fd, &message, &passed);
	if (passed >= 0)
		close(passed);
	if (got < 0) {
		nursery->source = 0;
		nursery->ended(nursery->context, 0, 0);
		return G_SOURCE_REMOVE;
	}
	if (got && message.kind == MESSAGE_ENDED && message.number)
		nursery->ended(nursery->context, message.number, message.status);
	return G_SOURCE_CONTINUE;
}

void nursery_watch(nursery_t *nursery, nursery_ended ended, void *context)
{
	nursery->ended = ended;
	nursery->context = context;
	nursery->source = g_unix_fd_add(nursery->fd, G_IO_IN | G_IO_HUP, on_message, nursery);
}

pid_t nursery_pid(const nursery_t *nursery)
{
	return nursery->pid;
}
