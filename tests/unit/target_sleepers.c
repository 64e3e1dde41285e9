/*
 * The first law: the target can't tell. A thread that sleeps in a system call when a snapshot is taken of its process sleeps on: the call
 * neither returns nor fails. Snapshots here are of the whole (SNAPSHOT_ALL), which always stops.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "tests/unit/child.h"

static int owned_semaphore;
static _Atomic int *made_queue; /* shared with the child, which makes it */

static void sleep_nanosleep(void)
{
	nanosleep(&(struct timespec){.tv_sec = 1000}, NULL);
}

static void sleep_select(void)
{
	select(0, NULL, NULL, NULL, &(struct timeval){.tv_sec = 1000});
}

static void sleep_poll(void)
{
	poll(NULL, 0, 1000000);
}

static void sleep_epoll(void)
{
	struct epoll_event event;
	epoll_wait(epoll_create1(0), &event, 1, 1000000);
}

static void sleep_epoll_forever(void)
{
	struct epoll_event event;
	epoll_wait(epoll_create1(0), &event, 1, -1);
}

static void sleep_sigtimedwait(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigtimedwait(&set, NULL, &(struct timespec){.tv_sec = 1000});
}

static void sleep_semop(void)
{
	semop(owned_semaphore, &(struct sembuf){.sem_op = -1}, 1);
}

static void sleep_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} message;
	int queue = msgget(IPC_PRIVATE, 0600);
	*made_queue = queue;
	msgrcv(queue, &message, sizeof(message.text), 0, 0);
}

static void sleep_uring(void)
{
	struct io_uring_params params = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0) { /* not permitted here: as good as a wait that isn't disturbed */
		pause();
		return;
	}
	syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}

static void sleep_futex(void)
{
	int word = 0;
	syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL);
}

static void sleep_futex_timed(void)
{
	int word = 0;
	syscall(SYS_futex, &word, FUTEX_WAIT, 0, &(struct timespec){.tv_sec = 1000});
}

static void sleep_recv_timed(void)
{
	int ends[2];
	char byte;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		_exit(9);
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 1000}, sizeof(struct timeval));
	recv(ends[0], &byte, 1, 0);
}

static void sleep_accept_timed(void)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = {.sin_family = AF_INET};
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0)
		_exit(9);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 1000}, sizeof(struct timeval));
	accept(listener, NULL, NULL);
}

static void sleep_read(void)
{
	int ends[2];
	char byte;
	if (pipe(ends) < 0 || read(ends[0], &byte, 1) != 1)
		return;
}

static void sleep_eventfd(void)
{
	uint64_t value;
	if (read(eventfd(0, 0), &value, sizeof(value)) < 0)
		return;
}

static void sleep_inotify(void)
{
	char buffer[512];
	if (read(inotify_init(), buffer, sizeof(buffer)) < 0)
		return;
}

static void sleep_wait(void)
{
	pid_t child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	waitpid(child, NULL, 0);
}

static void sleep_pause(void)
{
	pause();
}

static const struct sleeper {
	const char *name;
	void (*call)(void);
} sleepers[] = {
	{"nanosleep", sleep_nanosleep},
	{"select", sleep_select},
	{"poll", sleep_poll},
	{"epoll_wait", sleep_epoll},
	{"epoll_wait-forever", sleep_epoll_forever},
	{"sigtimedwait", sleep_sigtimedwait},
	{"semop", sleep_semop},
	{"msgrcv", sleep_msgrcv},
	{"io_uring", sleep_uring},
	{"futex", sleep_futex},
	{"futex-timed", sleep_futex_timed},
	{"recv-timed", sleep_recv_timed},
	{"accept-timed", sleep_accept_timed},
	{"read", sleep_read},
	{"eventfd", sleep_eventfd},
	{"inotify", sleep_inotify},
	{"wait4", sleep_wait},
	{"pause", sleep_pause},
};

static void sleeper_body(struct child_ends ends, void *data)
{
	const struct sleeper *sleeper = data;
	child_say(ends, 0);
	sleeper->call();
	_exit(7); /* it returned, which it never should */
}

/*
 * Wait until the child sleeps in a system call, and return its line of /proc/PID/syscall (arguments and stack pointer); NULL when it
 * ended. Restarted calls show as themselves, but for those that go on as restart_syscall (219).
 */
static char *asleep(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	for (;;) {
		struct process process;
		if (!process_read(pid, &process) || process_dead(&process))
			return NULL;
		char *line = process_file(path, 4096, NULL);
		if (line && g_ascii_isdigit(*line) && process.state == 'S')
			return line;
		g_free(line);
		sched_yield();
	}
}

static void test_sleeper(gconstpointer data)
{
	const struct sleeper *sleeper = data;
	owned_semaphore = semget(IPC_PRIVATE, 1, 0600);
	*made_queue = -1;
	struct child child = child_start(sleeper_body, (void *)data);
	child_hear(&child);
	g_autofree char *first = asleep(child.pid);
	g_assert_nonnull(first);
	g_autoptr(target_t) target = child_target(&child);
	/* a sleeper that was asleep in the call before, and not on its way to it */
	char *stack = g_strrstr(first, " 0x");
	for (int i = 0; i < TRIES(50); i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_ALL);
		g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_STOP);
		g_assert_true(snapshot->threads[0].has_registers);
		g_autofree char *now = asleep(child.pid);
		g_assert_nonnull(now); /* NULL: the call returned */
		g_assert_cmpstr(g_strrstr(now, " 0x"), ==, stack);
	}
	child_end(&child);
	semctl(owned_semaphore, 0, IPC_RMID);
	if (sleeper->call == sleep_msgrcv)
		msgctl(*made_queue, IPC_RMID, NULL);
}

int main(int argc, char **argv)
{
	made_queue = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(sleepers); i++) {
		g_autofree char *path = g_strdup_printf("/target/sleepers/%s", sleepers[i].name);
		g_test_add_data_func(path, &sleepers[i], test_sleeper);
	}
	return g_test_run();
}
