#include "daemon/target/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/target/process.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* 5.6 */
#endif
#define USER_MODE_ONLY 1 /* UFFD_USER_MODE_ONLY, 5.11: needs no privilege, and we wait for no faults */
#define MAX_TRIED      4
#define MAX_STOPS      64
#define STOP_NS        1000000000ll
#define FOR_EVER       INT64_MAX
#define NAP_MAX_NS     1000000
#define ANSWER_MS      6000
#define CODE_EINTR     ((uint64_t)-4)
#define CODE_RESTART   ((uint64_t)-514) /* see freeze.h */
#define CS_64          0x33
#define NO_CALL        ((uint64_t)-1)

struct answer {
	int number;
	int stage; /* index of stages */
	int64_t pause_ns;
};

enum { STAGE_NONE, STAGE_SEIZE, STAGE_STOP, STAGE_CALL, STAGE_TAKE };
static const char *const stages[] = {NULL, "tracing it is refused", "none of its threads can be stopped",
				     "userfaultfd is refused inside of it", "its descriptor can't be had"};

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* ---- in the process that does it: no locks, no memory, nobody else's threads ---- */

/* The next stop of the thread; false: it ended, or doesn't stop in time. A thread that others keep from the CPU takes its time. */
static bool wait_stop(pid_t tid, int *status, int64_t until)
{
	for (long nap = 5000;; nap = MIN(nap + nap / 16, NAP_MAX_NS)) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);
		if (got == tid)
			return WIFSTOPPED(*status);
		if ((got < 0 && errno != EINTR) || now_ns() > until)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = nap}, NULL);
	}
}

static bool is_trap(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_call(int status)
{
	return !(status >> 16) && WSTOPSIG(status) == (SIGTRAP | 0x80);
}

/* Stop it where it holds no signal: one that is about to be delivered is, first. */
static bool stop_thread(pid_t tid)
{
	int status;
	int64_t until = now_ns() + STOP_NS;
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	for (int i = 0; i < MAX_STOPS; i++) {
		if (!wait_stop(tid, &status, until))
			return false;
		if (is_trap(status))
			return true;
		if (ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0 : WSTOPSIG(status)) < 0)
			return false;
	}
	return false;
}

/*
 * Have the stopped thread make a call. False: it ended. From here to the end of restore() the thread isn't its own: let go now, it
 * would crash, so we wait for it however long it takes.
 */
static bool call(pid_t tid, const struct user_regs_struct *own, uint64_t code, uint64_t number, uint64_t argument,
		 int64_t *result)
{
	struct user_regs_struct registers = *own;
	registers.rip = code;
	registers.rax = number;
	registers.rdi = argument;
	registers.orig_rax = NO_CALL; /* no call to be restarted */
	if (ptrace(PTRACE_SETREGS, tid, 0, &registers) < 0)
		return false;
	/* its entry, and its exit */
	for (int status, calls = 0; calls < 2; calls += is_call(status)) {
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0 || !wait_stop(tid, &status, FOR_EVER))
			return false;
	}
	if (ptrace(PTRACE_GETREGS, tid, 0, &registers) < 0)
		return false;
	*result = (int64_t)registers.rax;
	return true;
}

/* As it was. What a call that we interrupted says is settled when the thread goes on from a trap. */
static void restore(pid_t tid, const struct user_regs_struct *own, uint64_t mask)
{
	int status;
	ptrace(PTRACE_SETREGS, tid, 0, own);
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	if (ptrace(PTRACE_CONT, tid, 0, 0) == 0)
		wait_stop(tid, &status, FOR_EVER);
	ptrace(PTRACE_SETREGS, tid, 0, own);
	ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask);
}

/* In one thread. Returns the stage that failed; the descriptor is in *fd, >= 0 also when a later stage failed. */
static int inject(pid_t tid, int pidfd, uint64_t code, int *fd, struct answer *answer)
{
	struct user_regs_struct own;
	uint64_t mask, all = ~0ull;
	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) < 0) {
		answer->number = errno;
		return STAGE_SEIZE;
	}
	int64_t begun = now_ns();
	int stage = STAGE_STOP;
	answer->number = ETIMEDOUT;
	if (!stop_thread(tid) || ptrace(PTRACE_GETREGS, tid, 0, &own) < 0 || own.cs != CS_64 ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(mask), &mask) < 0)
		goto detach;
	if ((int64_t)own.orig_rax >= 0 && own.rax == CODE_EINTR)
		own.rax = CODE_RESTART;
	ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all);
	int64_t got = -EIO, closed;
	stage = STAGE_CALL;
	if (call(tid, &own, code, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY, &got) && got >= 0) {
		*fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)got, 0);
		answer->number = *fd < 0 ? errno : 0;
		stage = *fd < 0 ? STAGE_TAKE : STAGE_NONE;
		call(tid, &own, code, SYS_close, (uint64_t)got, &closed);
	} else {
		answer->number = (int)-got;
	}
	restore(tid, &own, mask);
detach:
	ptrace(PTRACE_DETACH, tid, 0, 0);
	answer->pause_ns += now_ns() - begun;
	return stage;
}

static void tell(int to, const struct answer *answer, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec part = {(void *)answer, sizeof(*answer)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	sendmsg(to, &message, MSG_NOSIGNAL);
}

G_NORETURN static void injector(const pid_t *tids, size_t n, int pidfd, uint64_t code, int to)
{
	struct answer answer = {.stage = STAGE_STOP, .number = ESRCH};
	int fd = -1, low = MIN(to, pidfd), high = MAX(to, pidfd);
	/* what else was open, another process's tracker say, isn't kept open for as long as this takes */
	if (low)
		close_range(0, (unsigned)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	close_range((unsigned)high + 1, UINT_MAX, 0);
	/* where that is permitted: the thread waits for us, not for whoever has the CPU */
	sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
	setsid(); /* what is sent to our group, or terminal, is not for this one */
	for (size_t i = 0; i < n; i++) {
		answer.stage = inject(tids[i], pidfd, code, &fd, &answer);
		/* only a thread that can't be stopped, in uninterruptible sleep say, is a reason to try another */
		if (answer.stage != STAGE_STOP)
			break;
	}
	tell(to, &answer, fd);
	_exit(0); /* with that every thread is let go, and the descriptor of one who isn't there to take it is closed */
}

/* ---- in this one ---- */

/* False: it is still at it. */
static bool listen_to(int from, struct inject_result *result)
{
	struct answer answer;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {&answer, sizeof(answer)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct pollfd ready = {from, POLLIN, 0};
	int64_t until = now_ns() + ANSWER_MS * 1000000ll;
	while (poll(&ready, 1, ANSWER_MS) < 0 && errno == EINTR && now_ns() < until)
		;
	ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got != sizeof(answer)) {
		result->number = got < 0 ? ETIMEDOUT : EIO;
		result->what = got < 0 ? "it gets no time on a CPU" : "the process that was to do it ended";
		return got >= 0;
	}
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&result->fd, CMSG_DATA(header), sizeof(result->fd));
	result->number = answer.number;
	result->what = stages[answer.stage];
	result->pause_ns = answer.pause_ns;
	return true;
}

struct inject_result inject_userfaultfd(pid_t pid, int pidfd, uint64_t code)
{
	struct inject_result result = {.fd = -1, .number = EIO, .what = "no process can be started"};
	g_autoptr(GArray) tids = process_threads(pid);
	int ends[2];
	if (!tids || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return result;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t child = fork();
	if (!child)
		injector((const pid_t *)(const void *)tids->data, MIN(tids->len, MAX_TRIED), pidfd, code, ends[1]);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(ends[1]);
	if (child > 0) {
		/* one that hasn't answered has to end its work in the thread, and does so without us */
		int options = listen_to(ends[0], &result) ? 0 : WNOHANG;
		while (waitpid(child, NULL, options) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	return result;
}
