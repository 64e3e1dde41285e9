/*
 * The first law: the target can't tell. It starts threads and processes, runs another program and ends while snapshots are taken of it, or
 * whoever takes them is killed. Snapshots here are of the whole (SNAPSHOT_ALL), which always stops, but for those that say otherwise.
 */
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>

#include "base/error.h"
#include "tests/unit/child.h"

static _Atomic uint64_t *counter; /* shared with the children, which count */

/* ---- we die ---- */

static void busy_body(struct child_ends ends, void *data)
{
	size_t size = 64 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 1, size);
	child_say(ends, 0);
	for (;;)
		++*counter;
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
		uint64_t before = *counter;
		gint64 limit = g_get_monotonic_time() + G_USEC_PER_SEC;
		while (*counter == before && g_get_monotonic_time() < limit)
			sched_yield();
		g_assert_cmpuint(*counter, !=, before);
		g_assert_cmpuint(status_number(child.pid, "TracerPid:"), ==, 0);
	}
	child_end(&child);
}

/* ---- restless ones ---- */

static void *spin(void *data)
{
	for (;;)
		++*counter;
	return NULL;
}

/* now busy, now asleep: 64 of these don't take all of the machine */
static void *spin_and_sleep(void *data)
{
	for (;;) {
		for (int i = 0; i < 10000; i++)
			++*counter;
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
		++*counter;
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
		++*counter;
	}
}

static void *nothing(void *data)
{
	++*counter;
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
	uint64_t before = *counter;
	while (*counter == before)
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
	while (process_state(child.pid) != 'D')
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
	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 2 && !strcmp(argv[1], "--execs"))
		exec_main(argv[2]);
	g_assert_cmpint(readlink("/proc/self/exe", self_path, sizeof(self_path) - 1), >, 0);
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/target/restless/threads", threads_body, test_restless);
	g_test_add_data_func("/target/restless/busy", busy_threads_body, test_restless);
	g_test_add_data_func("/target/restless/forks", forks_body, test_restless);
	g_test_add_data_func("/target/restless/spawns", spawns_body, test_restless);
	g_test_add_data_func("/target/restless/starts", starts_body, test_restless);
	g_test_add_data_func("/target/restless/detached", detached_body, test_restless);
	g_test_add_func("/target/restless/killed", test_killed);
	g_test_add_func("/target/restless/vfork", test_vfork);
	g_test_add_func("/target/restless/exec", test_exec);
	g_test_add_func("/target/restless/end", test_end);
	return g_test_run();
}
