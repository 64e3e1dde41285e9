/*
 * The first law: the target can't tell. No signal for it is lost by a snapshot, its parent learns nothing, and what was stopped stays
 * stopped. Snapshots here are of the whole (SNAPSHOT_ALL), which always stops, but for those that say otherwise.
 */
#include <sched.h>
#include <sys/mman.h>

#include "tests/unit/child.h"

/* memory that parents and children share */
struct shared {
	_Atomic uint64_t counter;
	_Atomic uint64_t signals;
	_Atomic uint64_t stops;
};
static struct shared *shared;

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
			while (process_state(pid) == 't' || process_state(pid) == 'R')
				sched_yield();
			g_assert_cmpint(process_state(pid), ==, 'T');
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

int main(int argc, char **argv)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/target/signals/asleep", NULL, test_signals);
	g_test_add_data_func("/target/signals/busy", GINT_TO_POINTER(1), test_signals);
	g_test_add_data_func("/target/signals/parent/running", NULL, test_parent);
	g_test_add_data_func("/target/signals/parent/stopped", GINT_TO_POINTER(1), test_parent);
	return g_test_run();
}
