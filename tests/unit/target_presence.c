/* Which pages are present, the windows copies land in, and bytes that come from files: on memory of our own. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/target/lazy.h"
#include "daemon/target/pool.h"
#include "daemon/target/presence.h"

#define PAGE  4096ul
#define PAGES 3000ul

static GArray *runs_new(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct presence_run));
}

static struct presence_run *run_at(const GArray *runs, guint i)
{
	g_assert_cmpuint(i, <, runs->len);
	return &g_array_index(runs, struct presence_run, i);
}

/* Scan with the ioctl where there is one, and with the pagemap: both must say the same. */
static GArray *scan_both(struct presence *presence, const char *start, size_t size, enum presence_filter filter,
			 struct presence_sum *sum)
{
	bool scan = presence->scan;
	uint64_t from = (uintptr_t)start;
	GArray *runs = runs_new();
	*sum = (struct presence_sum){0};
	g_assert_true(presence_scan(presence, from, from + size, filter, runs, sum));
	presence->scan = false;
	g_autoptr(GArray) others = runs_new();
	struct presence_sum other = {0};
	g_assert_true(presence_scan(presence, from, from + size, filter, others, &other));
	presence->scan = scan;
	g_assert_cmpuint(runs->len, ==, others->len);
	g_assert_cmpmem(runs->data, runs->len * sizeof(struct presence_run), others->data,
			others->len * sizeof(struct presence_run));
	g_assert_cmpuint(sum->content, ==, other.content);
	g_assert_cmpuint(sum->resident, ==, other.resident);
	return runs;
}

static void test_scan(void)
{
	struct presence presence;
	g_assert_true(presence_open(&presence, getpid()));
	g_assert_true(presence_alive(&presence));
	char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, PAGES * PAGE, MADV_NOHUGEPAGE);
	struct presence_sum sum;
	g_autoptr(GArray) none = scan_both(&presence, memory, PAGES * PAGE, PRESENCE_CONTENT, &sum);
	g_assert_cmpuint(none->len, ==, 0);

	memory[0] = memory[PAGE] = memory[5 * PAGE] = memory[(PAGES - 1) * PAGE] = 1;
	g_autoptr(GArray) few = scan_both(&presence, memory, PAGES * PAGE, PRESENCE_ANONYMOUS, &sum);
	g_assert_cmpuint(few->len, ==, 3);
	g_assert_cmphex(run_at(few, 0)->start, ==, (uintptr_t)memory);
	g_assert_cmphex(run_at(few, 0)->end, ==, (uintptr_t)memory + 2 * PAGE);
	g_assert_cmphex(run_at(few, 2)->end, ==, (uintptr_t)memory + PAGES * PAGE);
	g_assert_cmpuint(sum.content, ==, 4 * PAGE);
	g_assert_cmpuint(sum.resident, ==, 4 * PAGE);
	/* a part of it */
	g_autoptr(GArray) part = scan_both(&presence, memory + PAGE, 4 * PAGE, PRESENCE_RESIDENT, &sum);
	g_assert_cmpuint(part->len, ==, 1);
	g_assert_cmpuint(sum.content, ==, PAGE);
	/* more runs than one call gives */
	for (size_t page = 0; page < PAGES; page += 2)
		memory[page * PAGE] = 1;
	g_autoptr(GArray) many = scan_both(&presence, memory + 8 * PAGE, (PAGES - 16) * PAGE, PRESENCE_CONTENT, &sum);
	g_assert_cmpuint(many->len, ==, (PAGES - 16) / 2);
	g_assert_false(presence_shared(&presence, run_at(many, 0), many->len));
	munmap(memory, PAGES * PAGE);
	presence_close(&presence);
	g_assert_false(presence_open(&presence, 0x7ffffff0));
	g_assert_cmpint(errno, ==, ENOENT);
}

/* Of a private file mapping what was written to is the process's, the rest is the file's. */
static void test_scan_file(void)
{
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("presence-XXXXXX", &path, NULL);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, 16 * PAGE), ==, 0);
	volatile char *memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char sink = memory[2 * PAGE];
	memory[4 * PAGE] = sink;
	struct presence presence;
	g_assert_true(presence_open(&presence, getpid()));
	struct presence_sum sum;
	g_autoptr(GArray) own = scan_both(&presence, (const char *)memory, 16 * PAGE, PRESENCE_ANONYMOUS, &sum);
	g_assert_cmpuint(own->len, ==, 1);
	g_assert_cmphex(run_at(own, 0)->start, ==, (uintptr_t)memory + 4 * PAGE);
	g_assert_cmpuint(sum.content, ==, PAGE);
	g_autoptr(GArray) all = scan_both(&presence, (const char *)memory, 16 * PAGE, PRESENCE_RESIDENT, &sum);
	g_assert_cmpuint(sum.content, >=, 2 * PAGE);
	presence_close(&presence);
	munmap((void *)memory, 16 * PAGE);
	close(fd);
	unlink(path);
}

/* ---- windows ---- */

#define BASE 0x7f0000000000ull

static struct presence_run pages(uint64_t from, uint64_t to)
{
	return (struct presence_run){BASE + from * PAGE, BASE + to * PAGE};
}

static void fill(struct pool *pool, struct window *window, const struct presence_run *runs, size_t n, int byte)
{
	pool_populate(pool, window, runs, n);
	for (size_t i = 0; i < n; i++)
		memset(window->bytes + (runs[i].start - window->start), byte, runs[i].end - runs[i].start);
}

/* Which pages are right, told a word of 64 at a time, against an array of our own. */
static void test_valid(void)
{
	enum { N = 700 };
	bool truth[N + 1] = {false};
	struct pool *pool = pool_new();
	g_autoptr(GRand) random = g_rand_new_with_seed(5);
	pool_begin(pool);
	struct window *window = pool_window(pool, BASE, BASE + N * PAGE);
	g_assert_cmpuint(pool_valid_end(window, BASE, BASE + N * PAGE, PAGE), ==, BASE + N * PAGE);
	for (int round = 0; round < 300; round++) {
		int from = g_rand_int_range(random, 0, N), to = g_rand_int_range(random, from, N) + 1;
		bool valid = g_rand_boolean(random);
		if (round % 2)
			to = MIN(to, from + 3);
		pool_set_valid(window, BASE + (uint64_t)from * PAGE, BASE + (uint64_t)to * PAGE, PAGE, valid);
		for (int i = from; i < to; i++)
			truth[i] = valid;
		for (int i = 0; i < N; i++) {
			int end = i;
			g_assert_true(pool_valid(window, BASE + (uint64_t)i * PAGE, PAGE) == truth[i]);
			while (end < N && truth[end] == truth[i])
				end++;
			g_assert_cmpuint(pool_valid_end(window, BASE + (uint64_t)i * PAGE, BASE + N * PAGE, PAGE), ==,
					 BASE + (uint64_t)end * PAGE);
		}
	}
	pool_free(pool);
}

static void test_pool(void)
{
	struct pool *pool = pool_new();
	pool_begin(pool);
	struct window *window = pool_window(pool, BASE, BASE + 4000 * PAGE);
	g_assert_nonnull(window);
	g_assert_true(pool_window(pool, BASE + PAGE, BASE + 2 * PAGE) == window);
	/* room to grow, both ways */
	g_assert_true(pool_window(pool, BASE - 100 * PAGE, BASE + 4100 * PAGE) == window);
	g_assert_cmphex((uintptr_t)window->bytes % (2 << 20), ==, window->start % (2 << 20));
	g_assert_true(pool_window(pool, BASE >> 1, (BASE >> 1) + PAGE) != window);

	/* random contents, one after the other: what isn't of the last is zero */
	g_autoptr(GRand) random = g_rand_new_with_seed(3);
	for (int round = 1; round < 60; round++) {
		g_autoptr(GArray) runs = runs_new();
		for (uint64_t at = 0; at < 4000;) {
			at += (uint64_t)g_rand_int_range(random, 0, round % 3 ? 40 : 400);
			uint64_t end = MIN(at + (uint64_t)g_rand_int_range(random, 1, round % 4 ? 60 : 1500), 4000);
			if (at >= end)
				break;
			struct presence_run run = pages(at, end);
			g_array_append_val(runs, run);
			at = end;
		}
		const struct presence_run *first = (const struct presence_run *)(const void *)runs->data;
		fill(pool, window, first, runs->len, round);
		if (round % 5 == 0) { /* a copy that didn't count, of something else, left its bytes in disorder */
			struct presence_run discarded[] = {pages(1200, 1300), pages(10, 700), pages(600, 650)};
			pool_dirty(window, discarded, G_N_ELEMENTS(discarded));
			for (size_t i = 0; i < G_N_ELEMENTS(discarded); i++)
				fill(pool, window, &discarded[i], 1, 99);
			fill(pool, window, first, runs->len, round);
		}
		pool_settle(window, first, runs->len);
		guint k = 0;
		for (uint64_t page = 0; page < 4000; page++) {
			uint64_t address = BASE + page * PAGE;
			while (k < runs->len && run_at(runs, k)->end <= address)
				k++;
			bool in = k < runs->len && run_at(runs, k)->start <= address;
			const uint8_t *bytes = window->bytes + (address - window->start);
			g_assert_cmpint(bytes[0], ==, in ? round : 0);
			g_assert_cmpint(bytes[PAGE - 1], ==, in ? round : 0);
		}
	}
	pool_begin(pool);
	g_assert_true(pool_window(pool, BASE, BASE + PAGE) == window);
	pool_trim(pool);
	g_assert_cmpuint(pool->windows->len, ==, 1);
	/* nobody has that much */
	g_assert_null(pool_window(pool, 0, 1ull << 60));
	pool_free(pool);
}

/* ---- files ---- */

static void test_lazy(void)
{
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("lazy-XXXXXX", &path, NULL);
	size_t size = 50 * PAGE + 100; /* the last page isn't full, and the mapping goes beyond it */
	g_autofree uint8_t *bytes = g_malloc(size);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 7 + i / PAGE + 1);
	g_assert_cmpint(write(fd, bytes, size), ==, (ssize_t)size);
	/* mapped from its third page on */
	struct mapping mapping = {.start = BASE, .end = BASE + 60 * PAGE, .offset = 2 * PAGE};
	uint8_t *copy = mmap(NULL, 60 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(copy, 0xee, 60 * PAGE);
	struct lazy *lazy = lazy_new(&mapping, fd, copy);
	lazy_mark(lazy, BASE + 3 * PAGE, BASE + 5 * PAGE); /* these two were copied from the process */

	g_assert_true(lazy_load(lazy, BASE + 10, 20));
	g_assert_cmpmem(copy + 10, 20, bytes + 2 * PAGE + 10, 20);
	g_assert_true(lazy_load(lazy, BASE, 8 * PAGE));
	g_assert_cmpmem(copy, 3 * PAGE, bytes + 2 * PAGE, 3 * PAGE);
	g_assert_cmpint(copy[3 * PAGE], ==, 0xee);
	g_assert_cmpint(copy[5 * PAGE - 1], ==, 0xee);
	g_assert_cmpmem(copy + 5 * PAGE, 3 * PAGE, bytes + 7 * PAGE, 3 * PAGE);
	g_assert_cmpint(copy[40 * PAGE], ==, 0xee); /* nobody asked for that */
	g_autoptr(GArray) runs = runs_new();
	lazy_runs(lazy, runs);
	g_assert_cmpuint(runs->len, ==, 1);
	g_assert_cmphex(run_at(runs, 0)->start, ==, BASE);
	g_assert_cmphex(run_at(runs, 0)->end, ==, BASE + 16 * PAGE);

	/* the last page of the file ends in zeros; there is none behind it */
	g_assert_true(lazy_load(lazy, BASE + 48 * PAGE, PAGE));
	g_assert_cmpmem(copy + 48 * PAGE, 100, bytes + 50 * PAGE, 100);
	g_assert_cmpint(copy[48 * PAGE + 100], ==, 0);
	g_assert_cmpint(copy[49 * PAGE - 1], ==, 0);
	g_assert_false(lazy_load(lazy, BASE + 49 * PAGE, 1));
	g_assert_false(lazy_load(lazy, BASE + 48 * PAGE, PAGE + 1));
	g_assert_false(lazy_load(lazy, BASE + 60 * PAGE, 1));
	g_assert_false(lazy_load(lazy, BASE - 1, 1));
	g_assert_false(lazy_load(lazy, BASE + PAGE, UINT64_MAX));
	lazy_free(lazy);
	munmap(copy, 60 * PAGE);
	close(fd);
	unlink(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/target/presence/scan", test_scan);
	g_test_add_func("/target/presence/file", test_scan_file);
	g_test_add_func("/target/pool", test_pool);
	g_test_add_func("/target/pool/valid", test_valid);
	g_test_add_func("/target/lazy", test_lazy);
	return g_test_run();
}
