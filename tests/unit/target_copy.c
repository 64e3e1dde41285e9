/* Snapshots of children whose memory we know: every byte, and what the copying cost the child. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "base/error.h"
#include "daemon/target/copy.h"
#include "tests/unit/child.h"

#define PAGE 4096ul

/*
 * Memory with a known pattern that changes: in each state some pages are written, in runs of different lengths, others were given
 * back, or never touched. Bytes depend on address and state.
 */
#define PATTERN_PAGES 5000ul
static uint64_t *pattern;

static bool page_written(uint64_t page, uint64_t state)
{
	if (state % 3 == 2 && page > 1500 && page < 2500)
		return false;
	return (page + state) % 7 < 3 || (page > 1000 && page < 3000) || page % 512 == 5;
}

static uint64_t word_at(uint64_t page, uint64_t i, uint64_t state)
{
	return page_written(page, state) ? (page * 1000003 + i) ^ (state << 40) : 0;
}

static void pattern_make(uint64_t state)
{
	for (uint64_t page = 0; page < PATTERN_PAGES; page++) {
		if (!page_written(page, state)) {
			madvise((char *)pattern + page * PAGE, PAGE, MADV_DONTNEED);
			continue;
		}
		for (uint64_t i = 0; i < PAGE / 8; i++)
			pattern[page * PAGE / 8 + i] = word_at(page, i, state);
	}
}

static void pattern_check(const snapshot_t *snapshot, uint64_t state)
{
	g_autofree uint64_t *copy = g_malloc(PATTERN_PAGES * PAGE);
	g_assert_true(memory_read(&snapshot->memory, (uintptr_t)pattern, copy, PATTERN_PAGES * PAGE));
	for (uint64_t page = 0; page < PATTERN_PAGES; page++) {
		for (uint64_t i = 0; i < PAGE / 8; i++)
			g_assert_cmphex(copy[page * PAGE / 8 + i], ==, word_at(page, i, state));
	}
}

static void pattern_child(struct child_ends ends, void *data)
{
	for (uint64_t state = 0;; state++) {
		pattern_make(state);
		child_say(ends, (int64_t)state);
		child_listen(ends);
	}
}

static void test_pattern(gconstpointer data)
{
	enum snapshot_extent extent = GPOINTER_TO_INT(data);
	struct child child = child_start(pattern_child, NULL);
	g_autoptr(target_t) target = NULL;
	snapshot_t *before = NULL;
	int quiet = 0;
	for (uint64_t state = 0; state < 12; state++) {
		g_assert_cmpint(child_hear(&child), ==, (int64_t)state);
		if (!target)
			target = child_target(&child);
		snapshot_t *snapshot = snapshot_take(target, extent);
		g_assert_true(snapshot->consistent);
		g_assert_cmpuint(snapshot->bytes_missing, ==, 0);
		quiet += snapshot->mode == SNAPSHOT_QUIET;
		if (snapshot->mode == SNAPSHOT_QUIET)
			g_assert_cmpint(snapshot->pause_us, ==, 0);
		if (extent == SNAPSHOT_ALL) {
			g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_STOP);
			g_assert_cmpuint(snapshot->n_threads, ==, 1);
			g_assert_cmpint(snapshot->threads[0].tid, ==, child.pid);
			g_assert_true(snapshot->threads[0].has_registers);
		}
		pattern_check(snapshot, state);
		/* the one before is what it was */
		if (before)
			pattern_check(before, state - 1);
		if (state % 4 == 3) {
			snapshot_free(before); /* now and then two are alive, now and then storage is used again */
			snapshot_free(snapshot);
			before = NULL;
		} else {
			snapshot_free(before);
			before = snapshot;
		}
		child_tell(&child);
	}
	snapshot_free(before);
	g_test_message("%d of 12 quiet", quiet);
	child_end(&child);
}

/* huge pages in the target, whole and in part */
#define HUGE (2ul << 20)
static char *huge;

static void huge_child(struct child_ends ends, void *data)
{
	for (size_t at = 0; at < 4 * HUGE; at += 64)
		huge[at] = (char)(at >> 12);
	madvise(huge + HUGE + 5 * PAGE, 7 * PAGE, MADV_DONTNEED);
	child_say(ends, 0);
	child_listen(ends);
}

static void test_huge(void)
{
	char *memory = mmap(NULL, 6 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	huge = (char *)(((uintptr_t)memory + HUGE - 1) & ~(HUGE - 1));
	madvise(huge, 4 * HUGE, MADV_HUGEPAGE); /* where there are none small ones will do */
	struct child child = child_start(huge_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	for (int i = 0; i < 3; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, i % 2 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		const char *copy = memory_at(&snapshot->memory, (uintptr_t)huge, 4 * HUGE);
		g_assert_nonnull(copy);
		for (size_t at = 0; at < 4 * HUGE; at += 64) {
			bool absent = at >= HUGE + 5 * PAGE && at < HUGE + 12 * PAGE;
			g_assert_cmpint(copy[at], ==, absent ? 0 : (char)(at >> 12));
		}
	}
	child_end(&child);
	munmap(memory, 6 * HUGE);
}

/* ---- mappings of files ---- */

#define FEW     "one", "two", "three", "four"
#define INITIAL 17
static const char *const names[] = {FEW, FEW, FEW, FEW}; /* in .data.rel.ro: written by the dynamic linker */
static volatile char initialised[16 * PAGE] = {INITIAL, [5 * PAGE] = INITIAL, [15 * PAGE] = INITIAL};
static volatile char zeros[16 * PAGE]; /* .bss */

static void files_child(struct child_ends ends, void *data)
{
	initialised[5 * PAGE + 1] = 3;
	zeros[7 * PAGE] = 4;
	child_say(ends, 0);
	child_listen(ends);
}

static void test_files(void)
{
	struct child child = child_start(files_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	child_asleep(&child);
	uint64_t tables = status_number(child.pid, "VmPTE:"), resident = status_number(child.pid, "RssFile:");
	for (int i = 0; i < 3; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, i % 2 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		for (size_t k = 0; k < G_N_ELEMENTS(names); k++) {
			uint64_t address = 0;
			char text[32];
			g_assert_true(memory_u64(&snapshot->memory, (uintptr_t)&names[k], &address));
			g_assert_cmphex(address, ==, (uintptr_t)names[k]);
			g_assert_true(memory_string(&snapshot->memory, address, text, sizeof(text)));
			g_assert_cmpstr(text, ==, names[k]);
		}
		uint8_t byte = 0;
		static const struct {
			uint64_t at;
			uint8_t value;
		} bytes[] = {
			{0, INITIAL},      {1, 0},        {5 * PAGE, INITIAL},
			{5 * PAGE + 1, 3}, {9 * PAGE, 0}, {15 * PAGE, INITIAL},
		};
		for (size_t k = 0; k < G_N_ELEMENTS(bytes); k++) {
			g_assert_true(memory_u8(&snapshot->memory, (uintptr_t)initialised + bytes[k].at, &byte));
			g_assert_cmpuint(byte, ==, bytes[k].value);
		}
		g_assert_true(memory_u8(&snapshot->memory, (uintptr_t)zeros + 7 * PAGE, &byte));
		g_assert_cmpuint(byte, ==, 4);
		g_assert_true(memory_u8(&snapshot->memory, (uintptr_t)zeros + 9 * PAGE, &byte));
		g_assert_cmpuint(byte, ==, 0);
		/* our own code, byte for byte, in one piece */
		const uint8_t *code = memory_at(&snapshot->memory, (uintptr_t)&test_files, 64);
		g_assert_nonnull(code);
		g_assert_cmpmem(code, 64, (const void *)&test_files, 64);
	}
	/* nothing of that went through the child */
	g_assert_cmpuint(status_number(child.pid, "VmPTE:"), ==, tables);
	g_assert_cmpuint(status_number(child.pid, "RssFile:"), ==, resident);
	child_end(&child);
}

/* ---- what it costs the target ---- */

#define RESERVED (8ul << 30)
static char *reserved;

static void reserved_child(struct child_ends ends, void *data)
{
	reserved[RESERVED / 2] = 1;
	child_say(ends, 0);
	child_listen(ends);
}

static void test_reserved(void)
{
	reserved = mmap(NULL, RESERVED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g_assert_true(reserved != MAP_FAILED);
	struct child child = child_start(reserved_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	child_asleep(&child);
	uint64_t tables = status_number(child.pid, "VmPTE:"), rss = status_number(child.pid, "RssAnon:");
	uint64_t own = status_number(getpid(), "VmRSS:");
	for (int i = 0; i < 4; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, i % 2 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		uint64_t word = 7;
		g_assert_true(memory_u64(&snapshot->memory, (uintptr_t)reserved + RESERVED / 2, &word));
		g_assert_cmphex(word, ==, 1);
		g_assert_true(memory_u64(&snapshot->memory, (uintptr_t)reserved + RESERVED - 8, &word));
		g_assert_cmphex(word, ==, 0);
		g_assert_nonnull(memory_at(&snapshot->memory, (uintptr_t)reserved, RESERVED)); /* in one piece */
		g_assert_cmpuint(snapshot->bytes_copied, <, 64 << 20);
	}
	g_assert_cmpuint(status_number(child.pid, "VmPTE:"), ==, tables);
	g_assert_cmpuint(status_number(child.pid, "RssAnon:"), ==, rss);
	g_assert_cmpuint(status_number(getpid(), "VmRSS:"), <, own + (64 << 10));
	child_end(&child);
	munmap(reserved, RESERVED);
}

#define FORKED   (64ul << 20)
#define SLACK_KB 8192 /* pages beside these that one of them writes to meanwhile */
static char *forked;

static void forked_child(struct child_ends ends, void *data)
{
	for (size_t at = 0; at < FORKED / 4; at += 3 * PAGE)
		forked[at] = 2; /* some pages are its own */
	child_say(ends, 0);
	child_listen(ends);
}

static uint64_t shared_kb(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	return proc_number(path, "Shared_Dirty:");
}

static void test_forked(void)
{
	forked = mmap(NULL, FORKED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(forked, 1, FORKED);
	struct child child = child_start(forked_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	child_asleep(&child);
	uint64_t before = shared_kb(child.pid);
	g_assert_cmpuint(before, >, FORKED / 2 >> 10);
	for (int i = 0; i < 3; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, i % 2 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		const char *copy = memory_at(&snapshot->memory, (uintptr_t)forked, FORKED);
		g_assert_nonnull(copy);
		for (size_t at = 0; at < FORKED; at += PAGE)
			g_assert_cmpint(copy[at], ==, at < FORKED / 4 && at % (3 * PAGE) == 0 ? 2 : 1);
		g_assert_cmpuint(snapshot->bytes_copied, >=, FORKED);
	}
	g_assert_cmpuint(shared_kb(child.pid), >=, before - SLACK_KB);
	child_end(&child);
	munmap(forked, FORKED);
}

/* a process that forks between two snapshots, and in the middle of them: what is shared is seen anew each time */
static void forking_child(struct child_ends ends, void *data)
{
	memset(forked, 1, FORKED);
	child_say(ends, 0);
	for (;;) {
		child_listen(ends);
		pid_t pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		child_say(ends, pid);
	}
}

static void test_forking(void)
{
	forked = mmap(NULL, FORKED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(forking_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	snapshot_free(snapshot_take(target, SNAPSHOT_HEAP));
	child_tell(&child);
	pid_t grandchild = (pid_t)child_hear(&child);
	uint64_t before = shared_kb(grandchild);
	g_assert_cmpuint(before, >, FORKED / 2 >> 10);
	snapshot_free(snapshot_take(target, SNAPSHOT_HEAP));
	snapshot_free(snapshot_take(target, SNAPSHOT_ALL));
	g_assert_cmpuint(shared_kb(grandchild), >=, before - SLACK_KB);
	kill(grandchild, SIGKILL);
	child_end(&child);
	munmap(forked, FORKED);
}

/* The fork comes after the preparation found all pages exclusive, and before the copy. */
static void test_fork_between(void)
{
	forked = mmap(NULL, FORKED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(forking_child, NULL);
	child_hear(&child);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", child.pid);
	int mem = open(path, O_RDONLY);
	struct presence presence;
	struct lazy_files files;
	struct pool *pool = pool_new();
	g_autoptr(GError) error = NULL;
	g_assert_true(presence_open(&presence, child.pid));
	lazy_files_init(&files);
	struct maps *maps = maps_read(child.pid, &error);
	g_assert_no_error(error);
	struct plan *plan = plan_new(child.pid, mem, &presence, pool, &files, maps, SNAPSHOT_HEAP, NULL);
	struct work work = {.plan = plan};
	plan_prepare(&work);
	child_tell(&child);
	pid_t grandchild = (pid_t)child_hear(&child);
	uint64_t before = shared_kb(grandchild);
	g_assert_cmpuint(before, >, FORKED / 2 >> 10);
	struct copy_result result;
	copy_result_init(&result);
	work = (struct work){.plan = plan};
	plan_copy(&work, &result);
	g_assert_cmpint(result.failure, ==, 0);
	g_assert_cmpuint(result.bytes, >=, FORKED);
	g_assert_cmpuint(shared_kb(grandchild), >=, before - SLACK_KB);
	copy_result_clear(&result);
	plan_free(plan);
	lazy_files_clear(&files);
	pool_free(pool);
	presence_close(&presence);
	close(mem);
	kill(grandchild, SIGKILL);
	child_end(&child);
	munmap(forked, FORKED);
}

/* ---- quiet copies ---- */

#define WAKES_SIZE (24ul << 20)
static char *wakes;

/* Sleeps, and between two sleeps makes all pages say the same again. Asleep, it never leaves them different. */
static void waking_child(struct child_ends ends, void *data)
{
	unsigned seed = 5;
	memset(wakes, 0, WAKES_SIZE);
	child_say(ends, 0);
	for (int round = 1;; round++) {
		for (size_t at = 0; at < WAKES_SIZE; at += PAGE)
			wakes[at] = (char)round;
		nanosleep(&(struct timespec){.tv_nsec = rand_r(&seed) % 20 * 1000000}, NULL);
	}
}

static void test_quiet(void)
{
	wakes = mmap(NULL, WAKES_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(waking_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	int quiet = 0, stopped = 0;
	for (int i = 0; i < TRIES(400); i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
		if (snapshot->mode != SNAPSHOT_QUIET) {
			g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_STOP);
			stopped++;
			continue;
		}
		quiet++;
		g_assert_cmpint(snapshot->pause_us, ==, 0);
		const char *copy = memory_at(&snapshot->memory, (uintptr_t)wakes, WAKES_SIZE);
		for (size_t at = 0; at < WAKES_SIZE; at += PAGE)
			g_assert_cmpint(copy[at], ==, copy[0]);
	}
	g_test_message("%d quiet, %d stopped", quiet, stopped);
	child_end(&child);
	munmap(wakes, WAKES_SIZE);
}

static void sleeping_child(struct child_ends ends, void *data)
{
	memset(wakes, 1, WAKES_SIZE);
	child_say(ends, 0);
	for (;;)
		pause();
}

/* one that sleeps all the time is never disturbed at all: it isn't scheduled once */
static void test_asleep(void)
{
	wakes = mmap(NULL, WAKES_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(sleeping_child, NULL);
	child_hear(&child);
	child_asleep(&child);
	g_autoptr(target_t) target = child_target(&child);
	uint64_t switches = status_number(child.pid, "\nvoluntary_ctxt_switches:");
	for (int i = 0; i < 20; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
		g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_QUIET);
		g_assert_true(snapshot->consistent);
		g_assert_cmpint(snapshot->pause_us, ==, 0);
	}
	g_assert_cmpuint(status_number(child.pid, "\nvoluntary_ctxt_switches:"), ==, switches);
	struct snapshot_options options = {.nonblocking = true};
	g_autoptr(GError) error = NULL;
	g_autoptr(snapshot_t) snapshot = target_snapshot(target, &options, &error);
	g_assert_no_error(error);
	g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_NONBLOCKING);
	g_assert_false(snapshot->consistent);
	child_end(&child);
	munmap(wakes, WAKES_SIZE);
}

/* ---- how fast it is ---- */

#define FAST (96ul << 20)

struct watcher {
	_Atomic bool stop;
	int first; /* threads of ours that were found with a priority of their own, at most */
};

static void *watch_priorities(void *data)
{
	struct watcher *watcher = data;
	while (!watcher->stop) {
		g_autoptr(GArray) tids = process_threads(getpid());
		int first = 0;
		for (guint i = 0; tids && i < tids->len; i++)
			first += sched_getscheduler(g_array_index(tids, pid_t, i)) == SCHED_FIFO;
		watcher->first = MAX(watcher->first, first);
	}
	return NULL;
}

static void spinning_child(struct child_ends ends, void *data)
{
	memset(forked, 1, FAST);
	child_say(ends, 0);
	for (;;)
		forked[0]++;
}

static bool may_be_first(void)
{
	struct sched_param own, first = {.sched_priority = 1};
	sched_getparam(0, &own);
	return sched_setscheduler(0, SCHED_FIFO, &first) == 0 && sched_setscheduler(0, SCHED_OTHER, &own) == 0;
}

/* While it is stopped nobody delays the threads that copy; afterwards they are as they were. What was made room for once is kept. */
static void test_prepared(void)
{
	forked = mmap(NULL, FAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(spinning_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	struct watcher watcher = {0};
	GThread *thread = g_thread_new("watcher", watch_priorities, &watcher);
	struct rusage before, after;
	long faults[6];
	for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
		getrusage(RUSAGE_SELF, &before);
		g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_HEAP);
		getrusage(RUSAGE_SELF, &after);
		faults[i] = after.ru_minflt - before.ru_minflt;
		g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_STOP);
		g_assert_cmpuint(snapshot->bytes_copied, >=, FAST);
	}
	watcher.stop = true;
	g_thread_join(thread);
	g_test_message("%ld faults, then %ld; %d threads of priority", faults[0], faults[5], watcher.first);
	/* a fault for each huge page at least, as against some for what isn't kept */
	g_assert_cmpint(faults[0], >=, (long)(FAST / (2 << 20)));
	g_assert_cmpint(sched_getscheduler(0), ==, SCHED_OTHER);
	if (may_be_first())
		g_assert_cmpint(watcher.first, >, 0);
	else
		g_test_message("no permission for SCHED_FIFO: not tested");
	target_relax(target);
	getrusage(RUSAGE_SELF, &before);
	snapshot_free(snapshot_take(target, SNAPSHOT_HEAP));
	getrusage(RUSAGE_SELF, &after);
	for (size_t i = 1; i < G_N_ELEMENTS(faults); i++)
		g_assert_cmpint(faults[i], <, after.ru_minflt - before.ru_minflt);
	child_end(&child);
	munmap(forked, FAST);
}

/* ---- what a census doesn't need ---- */

#define NUMBERS (24ul << 20)
static uint64_t *numbers;

static uint64_t *number_at(uint64_t page, uint64_t word)
{
	return numbers + (page * PAGE / 8 + word);
}

static void numbers_child(struct child_ends ends, void *data)
{
	for (size_t i = 0; i < NUMBERS / 8; i++)
		numbers[i] = 0x3ff8000000000000 + i; /* as a double it's 1.5 */
	*number_at(2000, 77) = (uintptr_t)numbers + 5;
	*number_at(2001, 0) = 0;
	*number_at(2001, 1) = NUMBERS | 2; /* as malloc's own mappings begin */
	for (unsigned i = 0; i < 100; i++)
		*number_at(4500 + i * 3, i) = (uintptr_t)&numbers_child;
	child_say(ends, 0);
	child_listen(ends);
	*number_at(2002, 3) = (uintptr_t)numbers; /* since it was looked at there is one more */
	child_say(ends, 0);
	child_listen(ends);
}

static snapshot_t *take_sparing(target_t *target)
{
	struct snapshot_options options = {.extent = SNAPSHOT_HEAP, .sparing = true};
	g_autoptr(GError) error = NULL;
	snapshot_t *snapshot = target_snapshot(target, &options, &error);
	g_assert_no_error(error);
	return snapshot;
}

/* Chunks of 4 MB without addresses are left out, but for the pages with one; who needs them is told. */
static void test_sparing(void)
{
	char *space = mmap(NULL, NUMBERS + (96ul << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	/* neither at a multiple of 64 MB, nor at one of 4 MB */
	numbers = (uint64_t *)(void *)(((((uintptr_t)space >> 26) + 1) << 26) + (3ul << 20));
	g_assert_cmpint(mprotect(numbers, NUMBERS, PROT_READ | PROT_WRITE), ==, 0);
	madvise(numbers, NUMBERS, MADV_NOHUGEPAGE);
	struct child child = child_start(numbers_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	child_asleep(&child);
	g_autoptr(snapshot_t) first = take_sparing(target);
	uint64_t all = 0;
	for (int i = 0; i < 2; i++) {
		g_autoptr(snapshot_t) snapshot = i ? snapshot_take(target, SNAPSHOT_HEAP) : take_sparing(target);
		uint64_t resident = 0;
		for (size_t k = 0; k < snapshot->maps->n; k++)
			resident += snapshot->residence[k].resident;
		all = i ? snapshot->bytes_copied : all;
		g_assert_cmpuint(snapshot->rss, ==, resident);
		g_assert_cmpuint(snapshot->rss, ==, first->rss);
	}
	/* of the 5 whole chunks the one with a hundred addresses is copied, and 2 pages */
	uint64_t chunks = 4;
	g_assert_cmpuint(first->bytes_spared, ==, chunks * CHUNK_BYTES - 2 * PAGE);
	g_assert_cmpuint(first->bytes_copied + first->bytes_spared, ==, all);
	for (uint64_t page = 2000; page < 2002; page++) {
		const uint64_t *copy = memory_at(&first->memory, (uintptr_t)number_at(page, 0), PAGE);
		g_assert_nonnull(copy);
		g_assert_cmphex(copy[2], ==, 0x3ff8000000000000 + page * PAGE / 8 + 2);
	}
	for (unsigned i = 0; i < 100; i++) {
		uint64_t word = 0;
		g_assert_true(memory_u64(&first->memory, (uintptr_t)number_at(4500 + i * 3, i), &word));
		g_assert_cmphex(word, ==, (uintptr_t)&numbers_child);
	}
	/* no object is there: nothing is missed */
	g_assert_null(memory_probe(&first->memory, (uintptr_t)number_at(2002, 2), 16));
	g_assert_null(memory_probe(&first->memory, (uintptr_t)number_at(2003, 2), 16));
	g_assert_nonnull(memory_probe(&first->memory, (uintptr_t)number_at(2000, 2), 16));
	g_assert_false(snapshot_missed(first));
	/* but numbers that are needed are */
	g_assert_null(memory_at(&first->memory, (uintptr_t)number_at(2001, 510), 3 * PAGE));
	g_assert_true(snapshot_missed(first));
	/* or what may be an object by now */
	child_tell(&child);
	child_hear(&child);
	child_asleep(&child);
	g_autoptr(snapshot_t) second = take_sparing(target);
	g_assert_cmpuint(second->bytes_spared, ==,
			 first->bytes_spared); /* it was believed what was found the first time */
	g_assert_null(memory_probe(&second->memory, (uintptr_t)number_at(2003, 2), 16));
	g_assert_false(snapshot_missed(second));
	g_assert_null(memory_probe(&second->memory, (uintptr_t)number_at(2002, 2), 16));
	g_assert_true(snapshot_missed(second));
	child_end(&child);
	munmap(space, NUMBERS + (96ul << 20));
}

/* ---- what it says about memory ---- */

static void test_residence(void)
{
	forked = mmap(NULL, FORKED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *guard = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(forking_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	child_asleep(&child);
	g_autoptr(snapshot_t) snapshot = snapshot_take(target, SNAPSHOT_ALL);
	uint64_t resident = 0, copied = 0;
	for (size_t i = 0; i < snapshot->maps->n; i++) {
		resident += snapshot->residence[i].resident;
		copied += snapshot->residence[i].copied;
		uint64_t size = snapshot->maps->mappings[i].end - snapshot->maps->mappings[i].start;
		g_assert_cmpuint(snapshot->residence[i].resident, <=, size);
		g_assert_cmpuint(snapshot->residence[i].copied, <=, size);
	}
	g_assert_cmpuint(copied, ==, snapshot->bytes_copied);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", child.pid);
	uint64_t rss = proc_number(path, "Rss:") << 10;
	g_assert_cmpuint(resident, ==, rss);
	g_assert_cmpuint(snapshot->rss, >, rss * 9 / 10);
	g_assert_cmpuint(snapshot->rss, <, rss * 11 / 10);
	/* memory that may not be read isn't */
	uint8_t byte;
	g_assert_false(memory_u8(&snapshot->memory, (uintptr_t)guard, &byte));
	child_end(&child);
	munmap(forked, FORKED);
	munmap(guard, 3 * PAGE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	pattern = mmap(NULL, PATTERN_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	g_assert_true(pattern != MAP_FAILED);
	g_test_add_data_func("/target/copy/pattern/heap", GINT_TO_POINTER(SNAPSHOT_HEAP), test_pattern);
	g_test_add_data_func("/target/copy/pattern/all", GINT_TO_POINTER(SNAPSHOT_ALL), test_pattern);
	g_test_add_func("/target/copy/huge", test_huge);
	g_test_add_func("/target/copy/files", test_files);
	g_test_add_func("/target/copy/reserved", test_reserved);
	g_test_add_func("/target/copy/forked", test_forked);
	g_test_add_func("/target/copy/forking", test_forking);
	g_test_add_func("/target/copy/fork-between", test_fork_between);
	g_test_add_func("/target/copy/quiet", test_quiet);
	g_test_add_func("/target/copy/asleep", test_asleep);
	g_test_add_func("/target/copy/prepared", test_prepared);
	g_test_add_func("/target/copy/sparing", test_sparing);
	g_test_add_func("/target/copy/residence", test_residence);
	return g_test_run();
}
