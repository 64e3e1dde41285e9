/* When a copy counts as one of a process that didn't run: each sign by itself, and processes that hide that they run. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include "daemon/target/quiet.h"
#include "daemon/target/target.h"
#include "tests/unit/child.h"

#define PAGE 4096ul

static GArray *look_of(size_t n)
{
	GArray *look = g_array_new(FALSE, TRUE, sizeof(struct quiet_thread));
	for (size_t i = 0; i < n; i++) {
		struct quiet_thread thread = {.tid = 100 + (pid_t)i, .state = 'S', .asleep = true, .slices = 7 + i};
		thread.cpu_ns = 5000;
		thread.voluntary = 3;
		thread.involuntary = 4;
		g_array_append_val(look, thread);
	}
	return look;
}

/* Whatever alone is different, of whichever thread: it ran. */
static void test_each_sign(void)
{
	g_autoptr(GArray) before = look_of(3);
	for (guint i = 0; i < 3; i++) {
		for (int sign = 0; sign < 7; sign++) {
			g_autoptr(GArray) after = look_of(3);
			g_assert_true(quiet_same(before, after));
			struct quiet_thread *thread = &g_array_index(after, struct quiet_thread, i);
			thread->tid += sign == 0;
			thread->asleep = sign != 1;
			thread->slices += sign == 2;
			thread->cpu_ns += sign == 3;
			thread->voluntary += sign == 4;
			thread->involuntary += sign == 5;
			if (sign == 6)
				g_array_remove_index(after, i);
			g_assert_false(quiet_same(before, after));
			g_assert_false(quiet_same(after, before) && sign != 1);
		}
	}
	g_autoptr(GArray) more = look_of(4);
	g_assert_false(quiet_same(before, more));
}

static void test_asleep(void)
{
	g_autoptr(GArray) none = look_of(0);
	g_assert_false(quiet_asleep(none));
	g_autoptr(GArray) look = look_of(2);
	g_assert_true(quiet_asleep(look));
	g_array_index(look, struct quiet_thread, 1).asleep = false;
	g_assert_false(quiet_asleep(look));
	/* a kernel that counts no time slices: nothing can be told */
	g_array_index(look, struct quiet_thread, 1).asleep = true;
	g_array_index(look, struct quiet_thread, 0).slices = 0;
	g_assert_false(quiet_asleep(look));
}

static void test_used(void)
{
	g_autoptr(GArray) before = look_of(3), after = look_of(3);
	g_assert_cmpuint(quiet_used(before, after), ==, 0);
	g_array_index(after, struct quiet_thread, 0).cpu_ns += 10;
	g_array_index(after, struct quiet_thread, 2).cpu_ns += 200;
	g_assert_cmpuint(quiet_used(before, after), ==, 210);
	g_array_remove_index(after, 1); /* one ended */
	g_assert_cmpuint(quiet_used(before, after), ==, 210);
	g_autoptr(GArray) more = look_of(4); /* one is new */
	g_assert_cmpuint(quiet_used(before, more), ==, 5000);
}

/* ---- processes that run ---- */

#define SIZE (8ul << 20)
static volatile char *memory;

/*
 * A thread that looks for a child to wait for says of itself that it sleeps (kernel/exit.c, do_wait: the state is set before it looks through
 * its children). With so many of them it's what it is found doing most of the time: state S, no context switch, no new time
 * slice, and yet it runs, and writes in between.
 */
#define CHILDREN 400

static void hiding_child(struct child_ends ends, void *data)
{
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	child_say(ends, 0);
	for (unsigned round = 0;; round++) {
		for (size_t at = 0; at < SIZE; at += PAGE) {
			memory[at] = (char)round;
			if (at % (16 * PAGE) == 0)
				waitpid(-1, NULL, WNOHANG);
		}
	}
}

static char state_of(pid_t pid)
{
	struct process process = {0};
	return process_read(pid, &process) ? process.state : '?';
}

static void test_hidden(void)
{
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(hiding_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	int hidden = 0, same = 0, looks = 0;
	/* until it was found so often enough; it may be kept from its CPU for a while */
	while (hidden < TRIES(500) && looks < 20000) {
		/* what /proc/PID/stat says is no evidence */
		hidden += state_of(child.pid) == 'S';
		g_autoptr(GArray) before = quiet_look(child.pid, true), after = quiet_look(child.pid, true);
		same += quiet_asleep(before) && quiet_same(before, after);
		looks++;
	}
	g_test_message("state S %d times of %d, taken for asleep %d times", hidden, looks, same);
	g_assert_cmpint(hidden, >, 0);
	g_assert_cmpint(same, ==, 0);
	for (int i = 0; i < TRIES(200); i++) {
		target->quiet_skip = 0;
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
		const char *copy = memory_at(&snapshot->memory, (uintptr_t)memory, SIZE);
		int changes = 0;
		for (size_t at = PAGE; at < SIZE; at += PAGE)
			changes += copy[at] != copy[at - PAGE];
		g_assert_cmpint(changes, <=, 1); /* between the pages of this round and those of the one before */
		g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_STOP);
	}
	child_end(&child);
	munmap((void *)memory, SIZE);
}

/* ---- how often it is tried ---- */

#define LARGE (64ul << 20)

struct habit {
	long sleep_ns, work_ns;
};

static int64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void habitual_child(struct child_ends ends, void *data)
{
	const struct habit *habit = data;
	memset((void *)memory, 1, LARGE);
	prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
	child_say(ends, 0);
	for (;;) {
		nanosleep(&(struct timespec){.tv_nsec = habit->sleep_ns}, NULL);
		for (int64_t until = now() + habit->work_ns; now() < until;)
			memory[0]++;
	}
}

/* Of one that wakes up for a moment a second copy is made, and then it is stopped; of one that works no second one; and success forgives. */
static void test_tries(void)
{
	static struct habit wakes = {1000000, 0}, works = {500000, 2000000};
	struct habit *habits[] = {&wakes, &works};
	memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int h = 0; h < 2; h++) {
		struct child child = child_start(habitual_child, habits[h]);
		child_hear(&child);
		g_autoptr(target_t) target = child_target(&child);
		int twice = 0, more = 0, stops = 0;
		for (int i = 0; i < TRIES(40); i++) {
			target->quiet_skip = 0;
			uint64_t before = target->quiet_copies;
			g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
			twice += target->quiet_copies - before == 2;
			more += target->quiet_copies - before > 2;
			stops += snapshot->mode == SNAPSHOT_STOP;
		}
		g_test_message("%ld ns of work a time: stopped %d times, copied twice before that %d times",
			       habits[h]->work_ns, stops, twice);
		g_assert_cmpint(more, ==, 0);
		g_assert_cmpint(stops, >, 0);
		if (h)
			g_assert_cmpint(twice, <, TRIES(40) / 2); /* it may be kept from its CPU */
		else
			g_assert_cmpint(twice, >, 0);
		kill(child.pid, SIGSTOP);
		while (state_of(child.pid) != 'T')
			nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
		target->quiet_skip = 0;
		target->quiet_misses = 5;
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
		g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_QUIET);
		g_assert_cmpuint(target->quiet_skip, ==, 0);
		g_assert_cmpuint(target->quiet_misses, ==, 0);
		child_end(&child);
	}
	munmap((void *)memory, LARGE);
}

/* What runs while the copy is prepared, though it sleeps just now, isn't copied in vain; what is as good as idle is tried. */
static void test_watched(void)
{
	static struct habit works = {300000, 200000}, wakes = {20000000, 0};
	struct habit *habits[] = {&works, &wakes};
	size_t size = 4 * LARGE;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t at = 0; at < size; at += PAGE)
		memory[at] = 1;
	for (int h = 0; h < 2; h++) {
		struct child child = child_start(habitual_child, habits[h]);
		child_hear(&child);
		uint64_t copies = 0;
		for (int i = 0; i < TRIES(10); i++) {
			/* one that has no copy of it yet: to prepare one takes long enough */
			g_autoptr(target_t) target = child_target(&child);
			g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
			g_assert_true(snapshot->consistent);
			copies += target->quiet_copies;
		}
		g_test_message("%ld ns of work each %ld: %" G_GUINT64_FORMAT " copies without a stop",
			       habits[h]->work_ns, habits[h]->work_ns + habits[h]->sleep_ns, copies);
		if (h)
			g_assert_cmpuint(copies, >=, TRIES(10));
		else
			g_assert_cmpuint(copies, <=, MAX(TRIES(10) / 4, 1)); /* it may be kept from its CPU */
		child_end(&child);
	}
	munmap((void *)memory, size);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/quiet/each-sign", test_each_sign);
	g_test_add_func("/quiet/asleep", test_asleep);
	g_test_add_func("/quiet/used", test_used);
	g_test_add_func("/quiet/hidden", test_hidden);
	g_test_add_func("/quiet/tries", test_tries);
	g_test_add_func("/quiet/watched", test_watched);
	return g_test_run();
}
