/*
 * The first law: the target can't tell. Whatever state a process is in when a snapshot is taken of it, it goes on as if nothing
 * had happened. Snapshots here are of the whole (SNAPSHOT_ALL), which always stops.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
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

#include "base/error.h"
#include "tests/unit/child.h"

/* memory that parents and children share */
struct shared {
	_Atomic uint64_t counter;
	_Atomic uint64_t signals;
	_Atomic uint64_t stops;
	_Atomic int pid;
};
static struct shared *shared;

/* ---- sleeping system calls ---- */

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

static int owned_semaphore;

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
	shared->pid = queue;
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
	shared->pid = -1;
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
		msgctl(shared->pid, IPC_RMID, NULL);
}

/* ---- signals ---- */

static void count_signal(int number)
{
	shared->signals++;
}

static void signals_body(struct child_ends ends, void *data)
{
	signal(SIGRTMIN, count_signal);
	child_say(ends, 0);
	bool busy = data;
	while (busy)
		shared->counter++;
	for (;;)
		pause();
}

struct sender {
	pid_t pid;
	_Atomic bool stop;
	uint64_t sent;
};

/* real-time signals: each is queued, none merged with another */
static void *signals_send(void *data)
{
	struct sender *sender = data;
	while (!sender->stop) {
		if (sender->sent - shared->signals < 100 && sigqueue(sender->pid, SIGRTMIN, (union sigval){0}) == 0)
			sender->sent++;
		else
			sched_yield();
	}
	return NULL;
}

static void test_signals(gconstpointer busy)
{
	shared->signals = 0;
	struct child child = child_start(signals_body, (void *)busy);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	struct sender sender = {.pid = child.pid};
	GThread *thread = g_thread_new("sender", signals_send, &sender);
	for (int i = 0; i < TRIES(300); i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_ALL);
	}
	sender.stop = true;
	g_thread_join(thread);
	gint64 limit = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	while (shared->signals < sender.sent && target_alive(target) && g_get_monotonic_time() < limit)
		sched_yield();
	g_test_message("snapshots during %" G_GUINT64_FORMAT " signals", sender.sent);
	g_assert_cmpuint(sender.sent, >, 300);
	g_assert_cmpuint(shared->signals, ==, sender.sent);
	child_end(&child);
}

/* ---- a stopped process ---- */

static void stopped_child_body(struct child_ends ends, void *data)
{
	child_say(ends, getpid());
	for (;;)
		shared->counter++;
}

static void count_stop(int number)
{
	shared->stops++;
}

/* the parent of the target, which counts the SIGCHLD it sees */
static void parent_body(struct child_ends ends, void *data)
{
	bool stop = data;
	signal(SIGCHLD, count_stop);
	struct child child = child_start(stopped_child_body, NULL);
	child_hear(&child);
	if (stop) {
		kill(child.pid, SIGSTOP);
		int status;
		while (waitpid(child.pid, &status, WUNTRACED) != child.pid || !WIFSTOPPED(status))
			;
	}
	shared->stops = 0;
	child_say(ends, child.pid);
	child_listen(ends);
	/* nothing to be seen with wait either */
	int status;
	child_say(ends, waitpid(child.pid, &status, WUNTRACED | WCONTINUED | WNOHANG));
	child_listen(ends);
	kill(child.pid, SIGCONT);
	child_say(ends, 0);
	for (;;)
		pause();
}

static char state_of(pid_t pid)
{
	struct process process;
	g_assert_true(process_read(pid, &process));
	return process.state;
}

static void test_parent(gconstpointer stop)
{
	struct child parent = child_start(parent_body, (void *)stop);
	pid_t pid = (pid_t)child_hear(&parent);
	g_autoptr(GError) error = NULL;
	g_autoptr(target_t) target = target_open_any(pid, &error);
	g_assert_no_error(error);
	uint64_t before = shared->counter;
	for (int i = 0; i < TRIES(50); i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, i % 2 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		if (stop) {
			while (state_of(pid) == 't' || state_of(pid) == 'R')
				sched_yield();
			g_assert_cmpint(state_of(pid), ==, 'T');
		}
	}
	if (stop)
		g_assert_cmpuint(shared->counter, ==, before);
	child_tell(&parent);
	g_assert_cmpint(child_hear(&parent), ==, 0); /* what waitpid says */
	g_assert_cmpuint(shared->stops, ==, 0);
	child_tell(&parent);
	child_hear(&parent);
	before = shared->counter;
	while (shared->counter == before) /* it goes on, after SIGCONT where it was stopped */
		sched_yield();
	kill(pid, SIGKILL);
	child_end(&parent);
}

/* ---- we die ---- */

static void busy_body(struct child_ends ends, void *data)
{
	size_t size = 64 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 1, size);
	child_say(ends, 0);
	for (;;)
		shared->counter++;
}

static void looker_body(struct child_ends ends, void *data)
{
	pid_t pid = *(pid_t *)data;
	target_t *target = target_open_any(pid, NULL);
	struct snapshot_options options = {.extent = SNAPSHOT_ALL};
	for (int i = 0;; i++) {
		if (i == 1)
			child_say(ends, 0);
		snapshot_free(target_snapshot(target, &options, NULL));
	}
}

static void test_killed(void)
{
	struct child child = child_start(busy_body, NULL);
	child_hear(&child);
	g_autoptr(GRand) random = g_rand_new_with_seed(7);
	for (int i = 0; i < TRIES(40); i++) {
		struct child looker = child_start(looker_body, &child.pid);
		child_hear(&looker);
		/* some moment of a snapshot: it takes about 10 ms */
		gint64 until = g_get_monotonic_time() + g_rand_int_range(random, 0, 20000);
		while (g_get_monotonic_time() < until)
			;
		child_end(&looker);
		uint64_t before = shared->counter;
		gint64 limit = g_get_monotonic_time() + G_USEC_PER_SEC;
		while (shared->counter == before && g_get_monotonic_time() < limit)
			sched_yield();
		g_assert_cmpuint(shared->counter, !=, before);
		g_assert_cmpuint(status_number(child.pid, "TracerPid:"), ==, 0);
	}
	child_end(&child);
}

/* ---- restless ones ---- */

static void *spin(void *data)
{
	for (;;)
		shared->counter++;
	return NULL;
}

/* now busy, now asleep: 64 of these don't take all of the machine */
static void *spin_and_sleep(void *data)
{
	for (;;) {
		for (int i = 0; i < 10000; i++)
			shared->counter++;
		nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
	}
	return NULL;
}

static void threads_start(int n, void *(*body)(void *))
{
	for (int i = 0; i < n; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, body, NULL);
	}
}

static void threads_body(struct child_ends ends, void *data)
{
	threads_start(63, spin_and_sleep);
	child_say(ends, 0);
	spin_and_sleep(NULL);
}

static void busy_threads_body(struct child_ends ends, void *data)
{
	threads_start(3, spin);
	child_say(ends, 0);
	spin(NULL);
}

static void forks_body(struct child_ends ends, void *data)
{
	child_say(ends, 0);
	for (;;) {
		pid_t pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		shared->counter++;
	}
}

static void spawns_body(struct child_ends ends, void *data)
{
	child_say(ends, 0);
	for (;;) {
		char *arguments[] = {"true", NULL};
		pid_t pid;
		if (posix_spawnp(&pid, "true", NULL, NULL, arguments, NULL) == 0)
			waitpid(pid, NULL, 0);
		shared->counter++;
	}
}

static void *nothing(void *data)
{
	shared->counter++;
	return NULL;
}

static void starts_body(struct child_ends ends, void *data)
{
	child_say(ends, 0);
	for (;;) {
		pthread_t threads[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, nothing, NULL);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
}

static void detached_body(struct child_ends ends, void *data)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	child_say(ends, 0);
	for (;;) {
		pthread_t thread;
		pthread_create(&thread, &attributes, nothing, NULL);
	}
}

static void test_restless(gconstpointer body)
{
	struct child child = child_start((void (*)(struct child_ends, void *))body, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	int64_t worst = 0;
	for (int i = 0; i < TRIES(200); i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, i % 4 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		worst = MAX(worst, snapshot->pause_us);
		g_assert_true(snapshot->consistent);
		g_assert_cmpuint(snapshot->n_threads, >=, 1);
	}
	uint64_t before = shared->counter;
	while (shared->counter == before)
		sched_yield();
	g_test_message("longest pause %" G_GINT64_FORMAT " us", worst);
	child_end(&child);
}

/* ---- a vfork that doesn't end ---- */

static void vfork_body(struct child_ends ends, void *data)
{
	pid_t pid = vfork();
	if (!pid) {
		/* in our memory, our parent asleep until we exec: it can't be stopped, nor woken */
		child_say(ends, 0);
		child_listen(ends);
		execl("/bin/true", "true", (char *)NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	child_say(ends, 1);
	for (;;)
		pause();
}

static void test_vfork(void)
{
	struct child child = child_start(vfork_body, NULL);
	child_hear(&child);
	while (state_of(child.pid) != 'D')
		sched_yield();
	g_autoptr(target_t) target = child_target(&child);
	for (int i = 0; i < 5; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_ALL);
		g_assert_cmpint(snapshot->elapsed_us, <, 1000000);
		g_assert_false(snapshot->threads[0].has_registers);
	}
	child_tell(&child);
	g_assert_cmpint(child_hear(&child), ==, 1);
	child_end(&child);
}

/* ---- exec, and the end ---- */

static char self_path[4096];

static void exec_body(struct child_ends ends, void *data)
{
	char out[16];
	snprintf(out, sizeof(out), "%d", ends.out);
	execl(self_path, self_path, "--execs", out, (char *)NULL);
	_exit(9);
}

/* the program of exec_body: starts threads, one of which starts the program anew */
static void *exec_again(void *data)
{
	execl("/proc/self/exe", self_path, "--execs", "-1", (char *)NULL);
	_exit(9);
}

static void exec_main(const char *out)
{
	if (atoi(out) >= 0)
		child_say((struct child_ends){atoi(out), -1}, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* of a thread, and the one that called exec had none */
	if (getppid() == 1)
		_exit(0);
	for (int i = 0; i < 4; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, i == 2 ? exec_again : nothing, NULL);
	}
	for (;;)
		pause();
}

static void test_exec(void)
{
	struct child child = child_start(exec_body, NULL);
	child_hear(&child);
	int good = 0, gone = 0;
	for (int i = 0; i < TRIES(300); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(target_t) target = target_open_any(child.pid, &error);
		g_assert_no_error(error);
		struct snapshot_options options = {.extent = SNAPSHOT_ALL};
		gint64 begun = g_get_monotonic_time();
		g_autoptr(snapshot_t) snapshot = target_snapshot(target, &options, &error);
		g_assert_cmpint(g_get_monotonic_time() - begun, <, 20 * G_USEC_PER_SEC); /* it doesn't hang */
		if (snapshot) {
			good++;
		} else {
			g_assert_error(error, TARGET_ERROR, REFTOP_ERROR_GONE);
			g_assert_nonnull(strstr(error->message, "exec"));
			gone++;
		}
	}
	g_test_message("%d snapshots, %d times it had exec'ed meanwhile", good, gone);
	child_end(&child);
}

static void test_end(void)
{
	for (int i = 0; i < TRIES(30); i++) {
		struct child child = child_start(i % 2 ? threads_body : busy_body, NULL);
		child_hear(&child);
		g_autoptr(target_t) target = child_target(&child);
		struct snapshot_options options = {.extent = SNAPSHOT_ALL};
		g_autoptr(GError) error = NULL;
		pid_t killer = fork();
		if (!killer) {
			gint64 until = g_get_monotonic_time() + i * 700;
			while (g_get_monotonic_time() < until)
				;
			kill(child.pid, SIGKILL);
			_exit(0);
		}
		for (;;) {
			g_autoptr(snapshot_t) snapshot = target_snapshot(target, &options, &error);
			if (!snapshot)
				break;
		}
		g_assert_error(error, TARGET_ERROR, REFTOP_ERROR_GONE);
		g_assert_nonnull(strstr(error->message, "ended"));
		g_assert_false(target_alive(target));
		/* its end is still its parent's to see */
		int status;
		g_assert_cmpint(waitpid(child.pid, &status, 0), ==, child.pid);
		g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		waitpid(killer, NULL, 0);
		close(child.from);
		close(child.to);
	}
}

int main(int argc, char **argv)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 2 && !strcmp(argv[1], "--execs"))
		exec_main(argv[2]);
	g_assert_cmpint(readlink("/proc/self/exe", self_path, sizeof(self_path) - 1), >, 0);
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(sleepers); i++) {
		g_autofree char *path = g_strdup_printf("/target/law/sleep/%s", sleepers[i].name);
		g_test_add_data_func(path, &sleepers[i], test_sleeper);
	}
	g_test_add_data_func("/target/law/signals/asleep", NULL, test_signals);
	g_test_add_data_func("/target/law/signals/busy", GINT_TO_POINTER(1), test_signals);
	g_test_add_data_func("/target/law/parent/running", NULL, test_parent);
	g_test_add_data_func("/target/law/parent/stopped", GINT_TO_POINTER(1), test_parent);
	g_test_add_func("/target/law/killed", test_killed);
	g_test_add_data_func("/target/law/restless/threads", threads_body, test_restless);
	g_test_add_data_func("/target/law/restless/busy", busy_threads_body, test_restless);
	g_test_add_data_func("/target/law/restless/forks", forks_body, test_restless);
	g_test_add_data_func("/target/law/restless/spawns", spawns_body, test_restless);
	g_test_add_data_func("/target/law/restless/starts", starts_body, test_restless);
	g_test_add_data_func("/target/law/restless/detached", detached_body, test_restless);
	g_test_add_func("/target/law/vfork", test_vfork);
	g_test_add_func("/target/law/exec", test_exec);
	g_test_add_func("/target/law/end", test_end);
	return g_test_run();
}
