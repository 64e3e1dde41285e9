/*
 * Snapshots that copy what a busy child changed: every byte is what it is now, whatever the child did to its mappings meanwhile. In whichever way
 * this kernel can follow its writes (daemon/target/track.h); skipped by name where it can't.
 */
#include <poll.h>
#include <sys/mman.h>

#include "base/error.h"
#include "daemon/target/presence.h"
#include "tests/unit/child.h"

#define PAGE  4096ul
#define HUGE  (2ul << 20)
#define SIZE  (16ul << 20)
#define STEPS 12

static uint64_t *memory; /* SIZE bytes, of each child in turn */

/* In the child: busy until the test says something. */
static void child_spin(struct child_ends ends)
{
	struct pollfd in = {ends.in, POLLIN, 0};
	while (poll(&in, 1, 0) == 0)
		;
	child_listen(ends);
}

/* Whether this kernel can follow the writes of a process; else the test is skipped. */
static bool can_follow(void)
{
	struct presence presence;
	g_assert_true(presence_open(&presence, getpid()));
	bool can = presence.scan || presence.soft_dirty;
	presence_close(&presence);
	if (!can)
		g_test_skip("this kernel has neither PAGEMAP_SCAN nor soft-dirty bits");
	return can;
}

static snapshot_t *follow(target_t *target)
{
	g_autoptr(GError) error = NULL;
	struct snapshot_options options = {.extent = SNAPSHOT_HEAP, .precopy = true, .keep_tracking = true};
	snapshot_t *snapshot = target_snapshot(target, &options, &error);
	g_assert_no_error(error);
	g_assert_true(snapshot->consistent);
	g_assert_cmpuint(snapshot->bytes_missing, ==, 0);
	return snapshot;
}

/* ---- pages written to, given back, and written to again ---- */

static bool written(uint64_t page, uint64_t step)
{
	if (step % 3 == 2 && page > 1500 && page < 2500)
		return false;
	return page % 7 < 3 || page > 1000;
}

/* since which step the page has what it has */
static uint64_t since(uint64_t page, uint64_t step)
{
	while (step && (page + step) % 5 && written(page, step - 1) == written(page, step))
		step--;
	return step;
}

static uint64_t word_at(uint64_t page, uint64_t i, uint64_t step)
{
	return written(page, step) ? (page * 1000003 + i) ^ (since(page, step) << 40) : 0;
}

static void writing_child(struct child_ends ends, void *data)
{
	for (uint64_t step = 0;; step++) {
		for (uint64_t page = 0; page < SIZE / PAGE; page++) {
			if (!written(page, step))
				madvise(memory + page * PAGE / 8, PAGE, MADV_DONTNEED);
			else if (since(page, step) == step)
				for (uint64_t i = 0; i < PAGE / 8; i++)
					memory[page * PAGE / 8 + i] = word_at(page, i, step);
			/* a page of zeros, where something was */
			if (page % 3 == 0 && !written(page, step) && memory[page * PAGE / 8])
				_exit(4);
		}
		child_say(ends, (int64_t)step);
		child_spin(ends);
	}
}

static void test_written(void)
{
	if (!can_follow())
		return;
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, SIZE, MADV_NOHUGEPAGE);
	struct child child = child_start(writing_child, NULL);
	g_autoptr(target_t) target = NULL;
	g_autofree uint64_t *copy = g_malloc(SIZE);
	uint64_t copied[STEPS];
	for (uint64_t step = 0; step < STEPS; step++) {
		g_assert_cmpint(child_hear(&child), ==, (int64_t)step);
		if (!target)
			target = child_target(&child);
		snapshot_t *snapshot = follow(target);
		copied[step] = snapshot->bytes_copied;
		g_assert_true(memory_read(&snapshot->memory, (uintptr_t)memory, copy, SIZE));
		for (uint64_t page = 0; page < SIZE / PAGE; page++)
			for (uint64_t i = 0; i < PAGE / 8; i++)
				g_assert_cmphex(copy[page * PAGE / 8 + i], ==, word_at(page, i, step));
		snapshot_free(snapshot);
		child_tell(&child);
	}
	/* that of a step which wrote to a fifth of the pages, and gave none back */
	g_assert_cmpuint(copied[10], <, copied[0] / 2);
	g_test_message("copied %" G_GUINT64_FORMAT " bytes, then %" G_GUINT64_FORMAT, copied[0], copied[1]);
	child_end(&child);
	munmap(memory, SIZE);
}

/*
 * Two snapshots are there at a time, each with memory of its own, and what comes afterwards lands in that of the first one: what was written to
 * between these two isn't right there, though nobody wrote to it since the second.
 */
static void test_in_turn(void)
{
	if (!can_follow())
		return;
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, SIZE, MADV_NOHUGEPAGE);
	struct child child = child_start(writing_child, NULL);
	g_autofree uint64_t *copy = g_malloc(SIZE);
	snapshot_t *held[2] = {NULL};
	g_assert_cmpint(child_hear(&child), ==, 0);
	g_autoptr(target_t) target = child_target(&child);
	for (int64_t step = 0; step < 6; step++) {
		g_clear_pointer(&held[step % 2], snapshot_free);
		snapshot_t *snapshot = held[step % 2] = follow(target);
		g_assert_true(memory_read(&snapshot->memory, (uintptr_t)memory, copy, SIZE));
		for (uint64_t page = 0; page < SIZE / PAGE; page++)
			for (uint64_t i = 0; i < PAGE / 8; i += 64)
				g_assert_cmphex(copy[page * PAGE / 8 + i], ==, word_at(page, i, (uint64_t)step));
		child_tell(&child);
		g_assert_cmpint(child_hear(&child), ==, step + 1);
	}
	snapshot_free(held[0]);
	snapshot_free(held[1]);
	child_end(&child);
	munmap(memory, SIZE);
}

/* ---- mappings that are others, at the same addresses ---- */

#define PART (4ul << 20)
#define GAP  (2 * PART) /* from one place to the next: no two mappings touch, and so become one */

enum move {
	MOVE_NEW,    /* unmapped, and mapped anew with other contents */
	MOVE_TABLES, /* two change places, as realloc() moves large blocks: no page of them is written to */
	MOVE_BACK,
	MOVES
};

/* Where the n-th part lies. Tables of pages are moved as a whole where both places begin with one. */
static char *place(int n)
{
	uintptr_t first = ((uintptr_t)memory + HUGE - 1) / HUGE * HUGE;
	return (char *)first + (size_t)n * GAP;
}

static bool alike; /* all pages of all parts begin with the same */

static void part_map(int n, int byte)
{
	mmap(place(n), PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	madvise(place(n), PART, MADV_NOHUGEPAGE);
	memset(place(n), byte, PART);
	for (size_t at = 0; alike && at < PART; at += PAGE)
		memset(place(n) + at, 0, PAGE / 4);
}

static void part_move(int from, int to)
{
	mremap(place(from), PART, PART, MREMAP_MAYMOVE | MREMAP_FIXED, place(to));
}

static void moving_child(struct child_ends ends, void *data)
{
	munmap(memory, 4 * GAP);
	part_map(0, 1);
	part_map(1, 2);
	child_say(ends, 0);
	child_spin(ends);
	for (int step = 0;; step++) {
		if (step % MOVES == MOVE_NEW) {
			munmap(place(0), PART);
			part_map(0, step + 3);
		} else {
			part_move(0, 2);
			part_move(1, 0);
			part_move(2, 1);
		}
		child_say(ends, place(0)[PAGE - 1] + 256 * place(1)[PAGE - 1]);
		child_spin(ends);
	}
}

/* Whether we may know frames: by these alone tables are told from each other that begin with the same. */
static bool may_know_frames(void)
{
	struct presence presence;
	g_assert_true(presence_open(&presence, getpid()));
	bool may = presence_frame(&presence, (uintptr_t)&presence);
	presence_close(&presence);
	return may;
}

static void test_moved(void)
{
	if (!can_follow())
		return;
	alike = may_know_frames();
	memory = mmap(NULL, 4 * GAP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct child child = child_start(moving_child, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	g_autofree char *copy = g_malloc(PART);
	snapshot_free(follow(target));
	for (int step = 0; step < STEPS; step++) {
		child_tell(&child);
		int64_t said = child_hear(&child);
		g_autoptr(snapshot_t) snapshot = follow(target);
		g_test_message("step %d: %" G_GUINT64_FORMAT " bytes copied", step, snapshot->bytes_copied);
		for (int part = 0; part < 2; part++) {
			g_assert_true(memory_read(&snapshot->memory, (uintptr_t)place(part), copy, PART));
			for (size_t at = PAGE / 2; at < PART; at += PAGE)
				g_assert_cmpint(copy[at], ==, part ? said / 256 : said % 256);
		}
	}
	child_end(&child);
	munmap(memory, 4 * GAP);
}

/* ---- huge pages that were asked for ---- */

static void huge_child(struct child_ends ends, void *data)
{
	for (uint64_t step = 1;; step++) {
		for (size_t i = 0; i < 2 * HUGE / 8; i += 512)
			memory[i] = step * 1000003 + i;
		child_say(ends, (int64_t)step);
		child_spin(ends);
	}
}

static void test_huge(void)
{
	if (!can_follow())
		return;
	memory = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED) {
		g_test_skip("no huge pages were set aside (vm.nr_hugepages)");
		return;
	}
	struct child child = child_start(huge_child, NULL);
	g_autoptr(target_t) target = NULL;
	g_autofree uint64_t *copy = g_malloc(2 * HUGE);
	for (uint64_t step = 1; step < STEPS; step++) {
		g_assert_cmpint(child_hear(&child), ==, (int64_t)step);
		if (!target)
			target = child_target(&child);
		g_autoptr(snapshot_t) snapshot = follow(target);
		g_assert_true(memory_read(&snapshot->memory, (uintptr_t)memory, copy, 2 * HUGE));
		for (size_t i = 0; i < 2 * HUGE / 8; i += 512)
			g_assert_cmphex(copy[i], ==, step * 1000003 + i);
		child_tell(&child);
	}
	child_end(&child);
	munmap(memory, 2 * HUGE);
}

/* ---- soft-dirty bits ---- */

static void clear_soft_dirty(const char *path)
{
	FILE *file = fopen(path, "we");
	g_assert_nonnull(file);
	g_assert_cmpint(fputs("4", file), >=, 0);
	g_assert_cmpint(fclose(file), ==, 0);
}

/* Bytes of the changes that were written to, or not. */
static uint64_t sum_of(const GArray *changes, bool written_to)
{
	uint64_t bytes = 0;
	for (guint i = 0; i < changes->len; i++) {
		const struct presence_change *change = &g_array_index(changes, struct presence_change, i);
		bytes += change->written == written_to ? change->end - change->start : 0;
	}
	return bytes;
}

static void test_soft_dirty(void)
{
	struct presence presence;
	g_assert_true(presence_open(&presence, getpid()));
	if (!presence.soft_dirty) {
		g_test_skip("this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
		presence_close(&presence);
		return;
	}
	char *own = mmap(NULL, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(own, 100 * PAGE, MADV_NOHUGEPAGE);
	for (int by_scan = 0; by_scan <= presence.scan_soft_dirty; by_scan++) {
		struct presence way = presence;
		way.scan_soft_dirty = by_scan;
		memset(own, 1, 100 * PAGE);
		for (int changed = 0; changed < 100; changed += 33) {
			g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(struct presence_change));
			struct presence_sum sum = {0};
			clear_soft_dirty("/proc/self/clear_refs");
			for (int i = 0; i < changed; i++)
				own[(i * 3 + 1) % 100 * PAGE] = 2;
			g_assert_true(presence_changes(&way, (uintptr_t)own, (uintptr_t)own + 100 * PAGE,
						       PRESENCE_CONTENT, changes, &sum));
			g_assert_cmpuint(sum_of(changes, true), ==, changed * PAGE);
			g_assert_cmpuint(sum_of(changes, false), ==, (100 - changed) * PAGE);
			g_assert_cmpuint(sum.content, ==, 100 * PAGE);
		}
	}
	munmap(own, 100 * PAGE);
	presence_close(&presence);
}

/* Somebody else clears them between two samples: what was written to before that isn't taken for unchanged. */
static void test_cleared_by_others(void)
{
	struct presence presence;
	g_assert_true(presence_open(&presence, getpid()));
	bool can = presence.soft_dirty;
	presence_close(&presence);
	if (!can) {
		g_test_skip("this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
		return;
	}
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, SIZE, MADV_NOHUGEPAGE);
	struct child child = child_start(writing_child, NULL);
	g_autofree char *path = g_strdup_printf("/proc/%d/clear_refs", child.pid);
	g_autofree uint64_t *copy = g_malloc(SIZE);
	g_assert_cmpint(child_hear(&child), ==, 0);
	g_autoptr(target_t) target = child_target(&child);
	for (int64_t step = 0; step < 6; step++) {
		snapshot_t *snapshot = follow(target);
		g_assert_true(memory_read(&snapshot->memory, (uintptr_t)memory, copy, SIZE));
		for (uint64_t page = 0; page < SIZE / PAGE; page++)
			for (uint64_t i = 0; i < PAGE / 8; i += 64)
				g_assert_cmphex(copy[page * PAGE / 8 + i], ==, word_at(page, i, (uint64_t)step));
		snapshot_free(snapshot);
		child_tell(&child);
		g_assert_cmpint(child_hear(&child), ==, step + 1);
		if (step % 2)
			clear_soft_dirty(path);
	}
	child_end(&child);
	munmap(memory, SIZE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/target/changes/written", test_written);
	g_test_add_func("/target/changes/in-turn", test_in_turn);
	g_test_add_func("/target/changes/moved", test_moved);
	g_test_add_func("/target/changes/huge", test_huge);
	g_test_add_func("/target/changes/soft-dirty", test_soft_dirty);
	g_test_add_func("/target/changes/cleared-by-others", test_cleared_by_others);
	return g_test_run();
}
