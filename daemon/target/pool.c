#include "daemon/target/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* 5.14 */
#endif

#define HUGE_PAGE    (2ull << 20)
#define HUGE_DENSE   (HUGE_PAGE * 15 / 16) /* present bytes that make a huge page worth it: it wastes at most a 15th */
#define HUGE_WORTH   (HUGE_PAGE / 4) /* present bytes that make one worth it while the waste of all together is small */
#define HUGE_ROWS    16384           /* each splits our mapping in two, and a process may have 65530 by default */
#define SLACK_MIN    (64ull << 20)   /* address space kept around a mapping for its growth; costs nothing */
#define SLACK_MAX    (16ull << 30)
#define ADDRESS_END  (1ull << 47)
#define ZERO_BY_HAND (64u << 10) /* below this, zeroing is cheaper than giving pages back and faulting them in again */

static void window_free(void *data)
{
	struct window *window = data;
	munmap(window->map, window->map_size);
	g_free(window->huge);
	g_free(window->valid);
	g_free((void *)window->frames);
	g_array_unref(window->dirty);
	g_free(window);
}

struct pool *pool_new(void)
{
	static _Atomic uint64_t pools;
	struct pool *pool = g_new0(struct pool, 1);
	pool->number = ++pools;
	pool->windows = g_ptr_array_new_with_free_func(window_free);
	pool->huge_limit = HUGE_ROWS;
	g_mutex_init(&pool->lock);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	g_ptr_array_unref(pool->windows);
	g_mutex_clear(&pool->lock);
	g_free(pool);
}

static struct window *window_new(uint64_t start, uint64_t end)
{
	uint64_t slack = CLAMP(end - start, SLACK_MIN, SLACK_MAX);
	uint64_t low = start > slack ? (start - slack) & ~(HUGE_PAGE - 1) : 0;
	uint64_t high = end < ADDRESS_END - slack ? end + slack : MAX(end, ADDRESS_END);
	for (;;) {
		uint64_t size = high - low + HUGE_PAGE;
		/* no swap reserved: it is as large as the target's address space is, and mostly empty */
		void *map =
			mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (map != MAP_FAILED) {
			struct window *window = g_new0(struct window, 1);
			uint64_t at = (uint64_t)(uintptr_t)map, shift = (low - at) & (HUGE_PAGE - 1);
			/* where huge pages are the default they would fill sparse memory */
			madvise(map, size, MADV_NOHUGEPAGE);
			*window = (struct window){.start = low,
						  .end = high,
						  .bytes = (uint8_t *)map + shift,
						  .map = map,
						  .map_size = size};
			window->dirty = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
			window->huge = g_new0(bool, (high - low) / HUGE_PAGE + 1);
			return window;
		}
		if (low == start && high == end)
			return NULL;
		low = start; /* a limit of address space: without slack, then */
		high = end;
	}
}

struct window *pool_window(struct pool *pool, uint64_t start, uint64_t end)
{
	for (guint i = 0; i < pool->windows->len; i++) {
		struct window *window = pool->windows->pdata[i];
		if (start >= window->start && end <= window->end) {
			window->used = true;
			return window;
		}
	}
	struct window *window = window_new(start, end);
	if (!window)
		return NULL;
	window->used = true;
	g_ptr_array_add(pool->windows, window);
	return window;
}

static void populate(uint8_t *bytes, uint64_t size)
{
	while (madvise(bytes, size, MADV_POPULATE_WRITE) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno != EINVAL)
			return; /* the copy will meet the reason again */
		long page = sysconf(_SC_PAGESIZE);
		for (uint64_t at = 0; at < size; at += (uint64_t)page) {
			/* an older kernel: touch each page and leave what it holds */
			volatile uint8_t *touched = bytes + at;
			/* cppcheck-suppress selfAssignment; the write is what counts */
			*touched = *touched;
		}
		return;
	}
}

/* Whether a huge page with so many bytes in it is a good idea: where mappings begin and end it isn't full. */
static bool worth_huge(struct pool *pool, uint64_t filled)
{
	if (filled >= HUGE_DENSE)
		return true;
	if (filled < HUGE_WORTH || pool->huge_wasted + (HUGE_PAGE - filled) > pool->huge_waste)
		return false;
	pool->huge_wasted += HUGE_PAGE - filled;
	return true;
}

/* ask for huge pages where the runs fill them */
static void advise_huge(struct pool *pool, struct window *window, const struct presence_run *runs, size_t n)
{
	size_t i = 0;
	for (uint64_t slot = runs[0].start & ~(HUGE_PAGE - 1); slot < runs[n - 1].end; slot += HUGE_PAGE) {
		uint64_t end = slot + HUGE_PAGE, filled = 0;
		while (i < n && runs[i].end <= slot)
			i++;
		for (size_t k = i; k < n && runs[k].start < end; k++)
			filled += MIN(runs[k].end, end) - MAX(runs[k].start, slot);
		if (slot < window->start || end > window->end)
			continue;
		uint64_t number = (slot - window->start) / HUGE_PAGE;
		bool row = !number || !window->huge[number - 1]; /* it begins one */
		if (window->huge[number] || (row && !pool->huge_limit) || !worth_huge(pool, filled))
			continue;
		pool->huge_limit -= row;
		window->huge[number] = true;
		madvise(window->bytes + (slot - window->start), HUGE_PAGE, MADV_HUGEPAGE);
	}
}

void pool_populate(struct pool *pool, struct window *window, const struct presence_run *runs, size_t n)
{
	if (!n)
		return;
	g_mutex_lock(&pool->lock);
	advise_huge(pool, window, runs, n);
	g_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < n; i++)
		populate(window->bytes + (runs[i].start - window->start), runs[i].end - runs[i].start);
}

void pool_set_valid(struct window *window, uint64_t start, uint64_t end, uint64_t page, bool valid)
{
	if (!__atomic_load_n(&window->valid, __ATOMIC_ACQUIRE)) {
		/* two threads may meet here */
		uint64_t *bits = g_new0(uint64_t, (window->end - window->start) / page / 64 + 1), *none = NULL;
		if (!__atomic_compare_exchange_n(&window->valid, &none, bits, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE))
			g_free(bits);
	}
	uint64_t i = (start - window->start) / page, limit = (end - window->start) / page;
	while (i < limit) {
		uint64_t n = MIN(64 - i % 64, limit - i);
		uint64_t bits = (n == 64 ? ~0ull : (1ull << n) - 1) << i % 64;
		/* threads work on chunks, whose borders may lie within a word */
		if (valid)
			__atomic_fetch_or(&window->valid[i / 64], bits, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&window->valid[i / 64], ~bits, __ATOMIC_RELAXED);
		i += n;
	}
}

uint64_t pool_valid_end(const struct window *window, uint64_t start, uint64_t end, uint64_t page)
{
	if (!window->valid)
		return end;
	uint64_t i = (start - window->start) / page, limit = (end - window->start) / page;
	bool valid = pool_valid(window, start, page);
	while (i < limit) {
		uint64_t other = (valid ? ~window->valid[i / 64] : window->valid[i / 64]) >> i % 64;
		if (other) {
			i += (uint64_t)__builtin_ctzll(other);
			break;
		}
		i += 64 - i % 64;
	}
	return MIN(window->start + i * page, end);
}

void pool_forget(struct pool *pool)
{
	for (guint i = 0; i < pool->windows->len; i++) {
		struct window *window = pool->windows->pdata[i];
		g_clear_pointer(&window->valid, g_free);
		g_free((void *)window->frames);
		window->frames = NULL;
	}
}

_Atomic uint64_t *pool_frame(struct window *window, uint64_t address)
{
	_Atomic uint64_t *frames = __atomic_load_n(&window->frames, __ATOMIC_ACQUIRE), *none = NULL;
	if (!frames) {
		frames = g_new0(_Atomic uint64_t, window->end / POOL_TABLE - window->start / POOL_TABLE + 1);
		if (!__atomic_compare_exchange_n(&window->frames, &none, frames, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE)) {
			g_free((void *)frames);
			frames = none;
		}
	}
	return &frames[address / POOL_TABLE - window->start / POOL_TABLE];
}

static void make_zero(struct window *window, uint64_t start, uint64_t end)
{
	if (window->valid)
		pool_set_valid(window, start, end, (uint64_t)sysconf(_SC_PAGESIZE), false);
	uint8_t *bytes = window->bytes + (start - window->start);
	if (end - start < ZERO_BY_HAND || madvise(bytes, end - start, MADV_DONTNEED) < 0)
		memset(bytes, 0, end - start);
}

static int run_compare(const void *a, const void *b)
{
	const struct presence_run *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

/* sort and merge: disjoint runs in order */
static void runs_normalize(GArray *runs)
{
	guint n = 0;
	g_array_sort(runs, run_compare);
	struct presence_run *run = (struct presence_run *)(void *)runs->data;
	for (guint i = 0; i < runs->len; i++) {
		if (n && run[i].start <= run[n - 1].end)
			run[n - 1].end = MAX(run[n - 1].end, run[i].end);
		else
			run[n++] = run[i];
	}
	g_array_set_size(runs, n);
}

void pool_dirty(struct window *window, const struct presence_run *runs, size_t n)
{
	g_array_append_vals(window->dirty, runs, (guint)n);
}

void pool_settle(struct window *window, const struct presence_run *runs, size_t n)
{
	size_t k = 0;
	runs_normalize(window->dirty);
	for (guint i = 0; i < window->dirty->len; i++) {
		struct presence_run old = g_array_index(window->dirty, struct presence_run, i);
		while (old.start < old.end) {
			while (k < n && runs[k].end <= old.start)
				k++;
			uint64_t next =
				k < n ? runs[k].start : UINT64_MAX; /* the first run that ends behind old.start */
			if (next > old.start)
				make_zero(window, old.start, MIN(next, old.end));
			old.start = next < old.end ? runs[k].end : old.end;
		}
	}
	g_array_set_size(window->dirty, 0);
	g_array_append_vals(window->dirty, runs, (guint)n);
}

void pool_begin(struct pool *pool)
{
	for (guint i = 0; i < pool->windows->len; i++)
		((struct window *)pool->windows->pdata[i])->used = false;
}

void pool_trim(struct pool *pool)
{
	for (guint i = pool->windows->len; i-- > 0;) {
		if (!((struct window *)pool->windows->pdata[i])->used)
			g_ptr_array_remove_index_fast(pool->windows, i);
	}
}
