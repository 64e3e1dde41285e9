#include "daemon/target/stream.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STRIPE   (2ull << 20) /* of addresses that one lock covers; a multiple of a page and of 64 pages */
#define STRIPES  64
#define BREATHER (16ull << 20) /* what can always be loaded before pages are given back again */
#define PIECE    (1ull << 20)

struct area {
	uint64_t start, end; /* of the mapping; start == end: not streamed */
	uint8_t *bytes;
	uint64_t *present;        /* a bit a page: there was something */
	_Atomic uint64_t *loaded; /* it was read (or there is nothing to read) */
	uint64_t *lost;           /* it couldn't be */
};

struct stream {
	const struct maps *maps;
	struct area *areas;
	int mem;
	uint64_t page, limit;
	_Atomic uint64_t held, threshold; /* bytes in the windows, and from when on they are too many */
	_Atomic uint64_t read, missing;
	GMutex stripes[STRIPES];
	GRWLock walking; /* read: somebody holds pointers into the windows */
	GMutex lock;     /* of holds */
	GPtrArray *holds;
	struct memory_window window;
};

static bool bit(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static bool is_loaded(const struct area *area, uint64_t i)
{
	return atomic_load_explicit(&area->loaded[i / 64], memory_order_acquire) >> i % 64 & 1;
}

/* ---- reading ---- */

/* Read [start, end) of the process to `out`. Returns how much of it could be read. */
static uint64_t read_mem(const struct stream *stream, uint64_t start, uint64_t end, uint8_t *out)
{
	uint64_t have = 0;
	while (have < end - start) {
		ssize_t n = pread(stream->mem, out + have, end - start - have, (off_t)(start + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (uint64_t)n;
	}
	return have;
}

/* Pages [i, k) of the area, all present, into the window. */
static void load_run(struct stream *stream, struct area *area, uint64_t i, uint64_t k)
{
	uint64_t page = stream->page;
	while (i < k) {
		uint64_t got = read_mem(stream, area->start + i * page, area->start + k * page, area->bytes + i * page);
		uint64_t pages = got / page;
		atomic_fetch_add(&stream->read, pages * page);
		for (uint64_t n = 0; n < pages; n++, i++)
			atomic_fetch_or(&area->loaded[i / 64], 1ull << i % 64);
		if (i >= k)
			break;
		area->lost[i / 64] |= 1ull << i % 64;
		atomic_fetch_or(&area->loaded[i / 64], 1ull << i % 64);
		atomic_fetch_add(&stream->missing, page);
		i++;
	}
}

/* Pages [i, k) of one stripe. */
static void load_pages(struct stream *stream, struct area *area, uint64_t i, uint64_t k)
{
	GMutex *lock = &stream->stripes[(area->start + i * stream->page) / STRIPE % STRIPES];
	uint64_t loaded = 0;
	g_mutex_lock(lock);
	while (i < k) {
		if (is_loaded(area, i)) {
			i++;
		} else if (!bit(area->present, i)) {
			atomic_fetch_or(&area->loaded[i / 64], 1ull << i % 64);
			i++;
		} else {
			uint64_t n = i + 1;
			while (n < k && bit(area->present, n) && !is_loaded(area, n))
				n++;
			load_run(stream, area, i, n);
			loaded += n - i;
			i = n;
		}
	}
	g_mutex_unlock(lock);
	if (loaded && atomic_fetch_add(&stream->held, loaded * stream->page) + loaded * stream->page >
			      atomic_load_explicit(&stream->threshold, memory_order_relaxed))
		atomic_store(&stream->window.pressed, true);
}

bool stream_load(struct stream *stream, const struct memory_region *region, uint64_t offset, uint64_t size)
{
	struct area *area = &stream->areas[region->mapping];
	uint64_t from = region->start + offset - area->start, page = stream->page;
	uint64_t first = from / page, end = (from + size - 1) / page + 1;
	bool good = true, missing = false;
	for (uint64_t i = first; i < end && !missing; i++)
		missing = !is_loaded(area, i);
	for (uint64_t i = first; missing && i < end;) {
		uint64_t stripe = ((area->start + i * page) / STRIPE + 1) * STRIPE;
		uint64_t k = MIN((stripe - area->start) / page, end);
		load_pages(stream, area, i, k);
		i = k;
	}
	for (uint64_t i = first; i < end && good; i++)
		good = !bit(area->lost, i);
	return good;
}

uint64_t stream_content(const struct stream *stream, size_t i, uint64_t address)
{
	const struct area *area = &stream->areas[i];
	uint64_t at = (address - area->start) / stream->page, end = (area->end - area->start) / stream->page;
	while (at < end && !bit(area->present, at)) {
		if (at % 64 == 0 && !area->present[at / 64])
			at += 64;
		else
			at++;
	}
	return MAX(address, MIN(area->start + at * stream->page, area->end));
}

/* ---- the window ---- */

static int hold_compare(const void *a, const void *b)
{
	const struct memory_hold *x = *(struct memory_hold *const *)a, *y = *(struct memory_hold *const *)b;
	return (x->start > y->start) - (x->start < y->start);
}

/* Give back pages [i, k); returns bytes. */
static uint64_t drop(const struct stream *stream, struct area *area, uint64_t i, uint64_t k)
{
	uint64_t dropped = 0;
	if (i >= k)
		return 0;
	for (uint64_t at = i; at < k;) {
		uint64_t bits = MIN(64 - at % 64, k - at);
		uint64_t mask = (bits == 64 ? ~0ull : (1ull << bits) - 1) << at % 64;
		uint64_t had = atomic_load(&area->loaded[at / 64]) & mask;
		if (had) {
			dropped += (uint64_t)__builtin_popcountll(had & area->present[at / 64]) * stream->page;
			atomic_fetch_and(&area->loaded[at / 64], ~mask);
		}
		at += bits;
	}
	if (dropped)
		madvise(area->bytes + i * stream->page, (k - i) * stream->page, MADV_DONTNEED);
	return dropped;
}

/* Nobody else holds pointers, but those in `holds`. */
static void give_back(struct stream *stream)
{
	uint64_t dropped = 0;
	g_ptr_array_sort(stream->holds, hold_compare);
	for (size_t i = 0; i < stream->maps->n; i++) {
		struct area *area = &stream->areas[i];
		uint64_t at = area->start;
		for (guint h = 0; h < stream->holds->len && at < area->end; h++) {
			const struct memory_hold *hold = stream->holds->pdata[h];
			if (hold->end <= at || hold->start >= area->end)
				continue;
			uint64_t from = MAX(hold->start, at) / stream->page * stream->page;
			uint64_t to = (hold->end + stream->page - 1) / stream->page * stream->page;
			dropped += drop(stream, area, (at - area->start) / stream->page,
					(from - area->start) / stream->page);
			at = MIN(to, area->end);
		}
		if (at < area->end)
			dropped += drop(stream, area, (at - area->start) / stream->page,
					(area->end - area->start) / stream->page);
	}
	uint64_t held = atomic_load(&stream->held);
	held -= MIN(held, dropped);
	atomic_store(&stream->held, held);
	atomic_store(&stream->threshold, MAX(stream->limit, held + BREATHER));
	atomic_store(&stream->window.pressed, false);
}

static struct stream *stream_of(const struct memory *memory)
{
	return memory->window->context;
}

static void window_release(const struct memory *memory, struct memory_hold *hold)
{
	struct stream *stream = stream_of(memory);
	if (!hold->on)
		return;
	hold->on = false;
	g_mutex_lock(&stream->lock);
	g_ptr_array_remove_fast(stream->holds, hold);
	g_mutex_unlock(&stream->lock);
	g_rw_lock_reader_unlock(&stream->walking);
}

static void window_hold(const struct memory *memory, struct memory_hold *hold, uint64_t start, uint64_t end)
{
	struct stream *stream = stream_of(memory);
	window_release(memory, hold);
	g_rw_lock_reader_lock(&stream->walking);
	g_mutex_lock(&stream->lock);
	*hold = (struct memory_hold){start, end, true};
	g_ptr_array_add(stream->holds, hold);
	g_mutex_unlock(&stream->lock);
}

static void window_rest(const struct memory *memory, struct memory_hold *hold)
{
	struct stream *stream = stream_of(memory);
	bool on = hold && hold->on;
	if (on)
		g_rw_lock_reader_unlock(&stream->walking);
	g_rw_lock_writer_lock(&stream->walking);
	if (atomic_load(&stream->window.pressed))
		give_back(stream);
	g_rw_lock_writer_unlock(&stream->walking);
	if (on)
		g_rw_lock_reader_lock(&stream->walking);
}

static bool window_fetch(const struct memory *memory, uint64_t address, void *out, uint64_t size)
{
	struct stream *stream = stream_of(memory);
	uint8_t *to = out;
	while (size) {
		const struct memory_region *region = memory_find(memory, address);
		if (!region)
			return false;
		uint64_t piece = MIN(size, region->size - (address - region->start));
		const struct area *area = &stream->areas[region->mapping];
		if (!area->bytes) {
			if (!memory_read(memory, address, to, piece))
				return false;
		} else {
			uint64_t i = (address - area->start) / stream->page;
			piece = MIN(piece, stream->page - address % stream->page);
			bool present = bit(area->present, i);
			while (piece < size && address + piece < area->end &&
			       address + piece < region->start + region->size &&
			       bit(area->present, (address + piece - area->start) / stream->page) == present &&
			       piece < PIECE)
				piece = MIN(MIN(size, piece + stream->page), region->start + region->size - address);
			if (!present)
				memset(to, 0, piece);
			else if (read_mem(stream, address, address + piece, to) < piece)
				return false;
			atomic_fetch_add(&stream->read, present ? piece : 0);
		}
		to += piece;
		address += piece;
		size -= piece;
	}
	return true;
}

void stream_attach(struct stream *stream, struct memory *memory)
{
	stream->window = (struct memory_window){.hold = window_hold,
						.release = window_release,
						.rest = window_rest,
						.fetch = window_fetch,
						.context = stream};
	memory->window = &stream->window;
}

/* ---- lifecycle ---- */

static bool area_open(struct stream *stream, size_t i, const struct presence *presence)
{
	const struct mapping *mapping = &stream->maps->mappings[i];
	struct area *area = &stream->areas[i];
	uint64_t size = mapping->end - mapping->start, words = size / stream->page / 64 + 1;
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return false;
	/* a huge page for a page looked at would break the limit */
	madvise(bytes, size, MADV_NOHUGEPAGE);
	*area = (struct area){.start = mapping->start, .end = mapping->end, .bytes = bytes};
	area->present = g_try_new0(uint64_t, words);
	area->loaded = g_try_malloc0_n(words, sizeof(*area->loaded));
	area->lost = g_try_new0(uint64_t, words);
	if (!area->present || !area->loaded || !area->lost)
		return false;
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	struct presence_sum sum = {0};
	if (!presence_scan(presence, mapping->start, mapping->end, PRESENCE_CONTENT, runs, &sum))
		return false;
	for (guint r = 0; r < runs->len; r++) {
		const struct presence_run *run = &g_array_index(runs, struct presence_run, r);
		for (uint64_t at = run->start; at < run->end; at += stream->page) {
			uint64_t k = (at - area->start) / stream->page;
			area->present[k / 64] |= 1ull << k % 64;
		}
	}
	return true;
}

struct stream *stream_new(const struct maps *maps, const bool *wanted, int mem, const struct presence *presence,
			  uint64_t limit)
{
	struct stream *stream = g_new0(struct stream, 1);
	stream->maps = maps;
	stream->mem = mem;
	stream->page = presence->page;
	stream->limit = MAX(limit, BREATHER);
	stream->threshold = stream->limit;
	stream->areas = g_new0(struct area, maps->n);
	stream->holds = g_ptr_array_new();
	g_rw_lock_init(&stream->walking);
	g_mutex_init(&stream->lock);
	for (size_t i = 0; i < STRIPES; i++)
		g_mutex_init(&stream->stripes[i]);
	for (size_t i = 0; i < maps->n; i++) {
		if (wanted[i] && !area_open(stream, i, presence)) {
			stream_free(stream);
			return NULL;
		}
	}
	return stream;
}

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	for (size_t i = 0; i < stream->maps->n; i++) {
		struct area *area = &stream->areas[i];
		if (area->bytes)
			munmap(area->bytes, area->end - area->start);
		g_free(area->present);
		g_free((void *)area->loaded);
		g_free(area->lost);
	}
	g_free(stream->areas);
	g_ptr_array_unref(stream->holds);
	g_rw_lock_clear(&stream->walking);
	g_mutex_clear(&stream->lock);
	for (size_t i = 0; i < STRIPES; i++)
		g_mutex_clear(&stream->stripes[i]);
	g_free(stream);
}

uint8_t *stream_bytes(const struct stream *stream, size_t i)
{
	return stream->areas[i].bytes;
}

uint64_t stream_read(const struct stream *stream)
{
	return atomic_load(&stream->read);
}

uint64_t stream_missing(const struct stream *stream)
{
	return atomic_load(&stream->missing);
}
