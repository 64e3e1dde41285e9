#include "daemon/heap/glibc.h"

#include <glib.h>
#include <stdlib.h>

#include "base/search.h"

#define HEADER         16   /* prev_size, size */
#define FLAGS          7ull /* PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA */
#define PREV_INUSE     1ull
#define IS_MMAPPED     2ull
#define SMALLEST       32
#define THREAD_HEAP    (64ull << 20) /* HEAP_MAX_SIZE */
#define TCACHE_LARGEST 0x420         /* chunks up to 1032 user bytes */
#define FASTBINS       10
#define ARENA_TOP      0x60 /* malloc_state: mutex, flags, have_fastchunks, fastbinsY[10] at 0x10, top */
#define ARENA_FASTBINS 0x10
#define BINS_BYTES     0x900 /* of malloc_state up to the end of its bins */
#define PAGE           4096

struct search {
	const struct memory *memory;
	const struct maps *maps;
	const struct allocator *allocator; /* whose memory is not malloc's; or NULL */
	GArray *chunks;                    /* struct glibc_chunk, user data */
	GArray *tops;                      /* uint64_t: chunk addresses of the tops */
	GArray *firsts;                    /* uint64_t: user data of the first chunks */
};

static uint64_t word_at(const struct memory *memory, uint64_t address)
{
	uint64_t word = 0;
	memory_u64(memory, address, &word);
	return word;
}

/* Chunks from `chunk` on up to `end`; returns how many there are if they fit together to its end, else 0. */
static size_t walk(struct search *search, uint64_t chunk, uint64_t end, bool add)
{
	size_t n = 0;
	uint64_t first = chunk;
	while (chunk + HEADER <= end) {
		uint64_t size;
		memory_rest(search->memory, NULL);
		if (!memory_u64(search->memory, chunk + 8, &size))
			break;
		uint64_t bytes = size & ~(FLAGS | 8);
		if (bytes < SMALLEST || bytes > end - chunk)
			break;
		bool last = chunk + bytes + HEADER > end || !(word_at(search->memory, chunk + bytes + 8) & ~FLAGS);
		if (add) {
			bool used = last || word_at(search->memory, chunk + bytes + 8) & PREV_INUSE;
			struct glibc_chunk found = {chunk + HEADER, chunk + bytes + (last ? 0 : 8),
						    last   ? GLIBC_TOP
						    : used ? GLIBC_IN_USE
							   : GLIBC_FREE};
			g_array_append_val(search->chunks, found);
			if (last)
				g_array_append_val(search->tops, chunk);
		}
		n++;
		chunk += bytes;
		if (last)
			break;
	}
	if (add && n) {
		first += HEADER;
		g_array_append_val(search->firsts, first);
	}
	return n;
}

static void main_heap(struct search *search, const struct mapping *mapping)
{
	walk(search, mapping->start, mapping->end, true);
}

/* heap_info, malloc_state in the first heap of an arena, then chunks: the first one is found by what follows fitting */
static void thread_heap(struct search *search, const struct mapping *mapping)
{
	uint64_t end = mapping->end;
	for (uint64_t at = mapping->start + 0x20; at < mapping->start + PAGE && at + HEADER < end; at += 16) {
		uint64_t size = word_at(search->memory, at + 8);
		/* the first chunk has nothing before it: PREV_INUSE is set, and all chunks belong to a thread's arena */
		if ((size & FLAGS) != (PREV_INUSE | 4) || (size & ~FLAGS) < SMALLEST || (size & 8))
			continue;
		if (walk(search, at, end, false) < 2)
			continue;
		walk(search, at, end, true);
		return;
	}
}

/*
 * Chunks of their own mapping: at the start of a page, their size whole pages. The kernel makes one of neighbouring mappings, so other memory may
 * lie before and between them.
 */
static void mapped_chunks(struct search *search, const struct mapping *mapping)
{
	struct allocator_hint hint = {0};
	for (uint64_t at = mapping->start; at < mapping->end;) {
		if (search->allocator && allocator_owns(search->allocator, &hint, at)) {
			at += PAGE;
			continue;
		}
		uint64_t content = memory_content(search->memory, at) & ~(uint64_t)(PAGE - 1);
		if (content > at) {
			at = content;
			continue;
		}
		memory_rest(search->memory, NULL);
		uint64_t size = word_at(search->memory, at + 8), bytes = size & ~FLAGS;
		if ((size & FLAGS) == IS_MMAPPED && bytes && bytes % PAGE == 0 && bytes <= mapping->end - at &&
		    word_at(search->memory, at) == 0) {
			struct glibc_chunk found = {at + HEADER, at + bytes, GLIBC_IN_USE};
			g_array_append_val(search->chunks, found);
			at += bytes;
		} else {
			at += PAGE;
		}
	}
}

/* Whether a word looks like a random number: no pointer, no text, no small number. */
static bool looks_random(uint64_t word)
{
	int ones = __builtin_popcountll(word), text = 0, distinct = 0;
	bool seen[256] = {false};
	if (!(word >> 56) || word >> 48 == 0xffff || ones < 16 || ones > 48)
		return false;
	for (int i = 0; i < 64; i += 8) {
		uint8_t byte = (uint8_t)(word >> i);
		text += byte >= 32 && byte < 127;
		distinct += !seen[byte];
		seen[byte] = true;
	}
	return text < 7 && distinct >= 6;
}

static struct glibc_chunk *chunk_of(GArray *chunks, uint64_t start)
{
	size_t low = 0, high = chunks->len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (g_array_index(chunks, struct glibc_chunk, middle).start < start)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == chunks->len || g_array_index(chunks, struct glibc_chunk, low).start != start)
		return NULL;
	return &g_array_index(chunks, struct glibc_chunk, low);
}

/*
 * tcache_perthread_struct: counts, then the heads of the lists (malloc/malloc.c). It is the first chunk of a heap for the thread that made the
 * heap; its size tells which: 64 one-byte counts up to 2.29, 64 two-byte ones up to 2.41, 76 of them since.
 */
static const struct {
	uint64_t bytes;   /* user data of its chunk, the next one's first word included */
	uint32_t entries; /* offset of the heads */
	uint32_t bins;
} tcaches[] = {{0x248, 0x40, 64}, {0x288, 0x80, 64}, {0x2f8, 0x98, 76}};

/*
 * A list of free chunks from `at` on, whose links lead to what lies `header` bytes before the user data: mark them, and tell the second word of
 * the last one. From 2.32 on a link is mangled with the place it lies at; where the heap lies low (an interpreter that is no PIE), a mangled
 * link may be another chunk's address, so only the end tells. `mark` false: only look. True: the list came to its end.
 */
static bool list_follow(struct search *search, uint64_t at, uint64_t header, enum glibc_state state, bool mangled,
			bool mark, uint64_t *second)
{
	for (size_t n = 0; at && n <= search->chunks->len; n++) {
		struct glibc_chunk *chunk = chunk_of(search->chunks, at + header);
		if (!chunk || chunk->state != GLIBC_IN_USE)
			return false;
		if (mark) {
			chunk->state = state;
			*second = word_at(search->memory, chunk->start + 8);
		}
		at = word_at(search->memory, chunk->start) ^ (mangled ? chunk->start >> 12 : 0);
	}
	return !at;
}

static void list_mark(struct search *search, uint64_t at, uint64_t header, enum glibc_state state, uint64_t *second)
{
	bool plain = !list_follow(search, at, header, state, true, false, second) &&
		     list_follow(search, at, header, state, false, false, second);
	list_follow(search, at, header, state, !plain, true, second);
}

static uint64_t walk_tcaches(struct search *search)
{
	uint64_t key = 0;
	for (guint i = 0; i < search->firsts->len; i++) {
		uint64_t first = g_array_index(search->firsts, uint64_t, i);
		const struct glibc_chunk *chunk = chunk_of(search->chunks, first);
		for (size_t k = 0; chunk && k < G_N_ELEMENTS(tcaches); k++) {
			if (chunk->end - chunk->start != tcaches[k].bytes)
				continue;
			for (uint32_t bin = 0; bin < tcaches[k].bins; bin++)
				list_mark(search, word_at(search->memory, first + tcaches[k].entries + 8 * bin), 0,
					  GLIBC_TCACHE, &key);
		}
	}
	return key;
}

/*
 * The key that marks chunks in the tcache: from 2.34 on a random number (tcache_key_initialize()), before the address of the thread's
 * tcache, which is the user data of a heap's first chunk.
 */
static bool is_first(const struct search *search, uint64_t word)
{
	for (guint i = 0; i < search->firsts->len; i++) {
		if (g_array_index(search->firsts, uint64_t, i) == word)
			return true;
	}
	return false;
}

static uint64_t find_key(const struct search *search)
{
	g_autoptr(GHashTable) votes = g_hash_table_new(NULL, NULL);
	uint64_t best = 0;
	size_t best_votes = 1;
	for (guint i = 0; i < search->chunks->len; i++) {
		const struct glibc_chunk *chunk = &g_array_index(search->chunks, struct glibc_chunk, i);
		if (chunk->state != GLIBC_IN_USE || chunk->end - chunk->start > TCACHE_LARGEST)
			continue;
		uint64_t word = word_at(search->memory, chunk->start + 8);
		if (!looks_random(word))
			continue;
		size_t n = GPOINTER_TO_SIZE(g_hash_table_lookup(votes, (gpointer)word)) + 1;
		g_hash_table_insert(votes, (gpointer)word, GSIZE_TO_POINTER(n));
		if (n > best_votes) {
			best_votes = n;
			best = word;
		}
	}
	return best;
}

static void mark_tcache(struct search *search, uint64_t key)
{
	for (guint i = 0; i < search->chunks->len; i++) {
		struct glibc_chunk *chunk = &g_array_index(search->chunks, struct glibc_chunk, i);
		if (chunk->state != GLIBC_IN_USE || chunk->end - chunk->start > TCACHE_LARGEST)
			continue;
		uint64_t word = word_at(search->memory, chunk->start + 8);
		if (word && ((key && word == key) || (!key && is_first(search, word))))
			chunk->state = GLIBC_TCACHE;
	}
}

static void mark_fastbins(struct search *search, uint64_t arena)
{
	uint64_t second;
	for (unsigned i = 0; i < FASTBINS; i++)
		list_mark(search, word_at(search->memory, arena + ARENA_FASTBINS + 8 * i), HEADER, GLIBC_FASTBIN,
			  &second);
}

static bool is_top(const struct search *search, uint64_t word)
{
	for (guint i = 0; i < search->tops->len; i++) {
		if (g_array_index(search->tops, uint64_t, i) == word)
			return true;
	}
	return false;
}

/* An arena is where `top` points to a heap's last chunk: behind heap_info, or where the links of free chunks lead to (main_arena). */
static void find_arenas(struct search *search)
{
	uint64_t lowest = UINT64_MAX;
	for (guint i = 0; i < search->chunks->len; i++) {
		const struct glibc_chunk *chunk = &g_array_index(search->chunks, struct glibc_chunk, i);
		if (chunk->state != GLIBC_FREE)
			continue;
		for (unsigned k = 0; k < 2; k++) {
			uint64_t link = word_at(search->memory, chunk->start + 8 * k);
			const struct mapping *mapping = maps_find(search->maps, link);
			if (mapping && mapping->writable && strstr(mapping->path, "libc") && link < lowest)
				lowest = link;
		}
	}
	for (uint64_t at = lowest - BINS_BYTES; lowest != UINT64_MAX && at < lowest + 16; at += 8) {
		uint64_t word = word_at(search->memory, at);
		if (word && is_top(search, word))
			mark_fastbins(search, at - ARENA_TOP);
	}
	for (size_t i = 0; i < search->maps->n; i++) {
		const struct mapping *mapping = &search->maps->mappings[i];
		if (!mapping->writable || mapping->path[0] || mapping->start % THREAD_HEAP)
			continue;
		for (uint64_t at = mapping->start; at < mapping->start + 0x100; at += 8) {
			uint64_t word = word_at(search->memory, at);
			if (word && is_top(search, word))
				mark_fastbins(search, at - ARENA_TOP);
		}
	}
}

static int compare(const void *a, const void *b)
{
	const struct glibc_chunk *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

bool glibc_is_main_heap(const struct memory *memory, const struct mapping *mapping)
{
	if (strcmp(mapping->path, "[heap]") == 0)
		return true;
	uint64_t size = word_at(memory, mapping->start + 8);
	if (mapping->path[0] || mapping->inode || !mapping->writable || mapping->shared ||
	    word_at(memory, mapping->start) || (size & FLAGS) != PREV_INUSE)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(tcaches); i++) {
		if ((size & ~FLAGS) == tcaches[i].bytes + 8)
			return true;
	}
	return false;
}

static struct glibc_page *page_slot(const struct glibc *glibc, uint64_t number)
{
	size_t i = (size_t)(number * 0x9e3779b97f4a7c15ull >> 32) & glibc->mask;
	while (glibc->pages[i].number && glibc->pages[i].number != number)
		i = (i + 1) & glibc->mask;
	return &glibc->pages[i];
}

/* With millions of chunks a search among all of them is a dozen cache misses. Without memory for an index it works all the same. */
static void index_pages(struct glibc *glibc)
{
	size_t n = 0, slots = 16;
	for (size_t i = 0; i < glibc->n; i++)
		n += !i || glibc->chunks[i].start / PAGE != glibc->chunks[i - 1].start / PAGE;
	while (slots < n * 2)
		slots *= 2;
	glibc->pages = g_try_new0(struct glibc_page, slots);
	glibc->mask = slots - 1;
	for (size_t i = 0; i < glibc->n && glibc->pages; i++) {
		uint64_t number = glibc->chunks[i].start / PAGE + 1;
		if (!i || glibc->chunks[i - 1].start / PAGE + 1 != number)
			*page_slot(glibc, number) = (struct glibc_page){number, i};
	}
}

bool glibc_find(const struct memory *memory, const struct maps *maps, const struct allocator *allocator,
		struct glibc *glibc)
{
	struct search search = {.memory = memory, .maps = maps, .allocator = allocator};
	memset(glibc, 0, sizeof(*glibc));
	if (!maps)
		return true;
	search.chunks = g_array_new(FALSE, FALSE, sizeof(struct glibc_chunk));
	search.tops = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	search.firsts = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		if (!mapping->writable || mapping->shared)
			continue;
		if (glibc_is_main_heap(memory, mapping))
			main_heap(&search, mapping);
		else if (!mapping->path[0] && mapping->start % THREAD_HEAP == 0)
			thread_heap(&search, mapping);
		else if (!mapping->path[0])
			mapped_chunks(&search, mapping);
	}
	g_array_sort(search.chunks, compare);
	glibc->tcache_key = walk_tcaches(&search);
	if (!glibc->tcache_key)
		glibc->tcache_key = find_key(&search);
	mark_tcache(&search, glibc->tcache_key);
	find_arenas(&search);
	glibc->n = search.chunks->len;
	glibc->chunks = (struct glibc_chunk *)g_array_free(search.chunks, FALSE);
	index_pages(glibc);
	g_array_unref(search.tops);
	g_array_unref(search.firsts);
	return true;
}

void glibc_clear(struct glibc *glibc)
{
	g_free(glibc->chunks);
	g_free(glibc->pages);
	memset(glibc, 0, sizeof(*glibc));
}

const struct glibc_chunk *glibc_chunk_at(const struct glibc *glibc, uint64_t address)
{
	size_t n = 0, searched = glibc->n;
	if (!searched)
		return NULL;
	const struct glibc_page *page = glibc->pages ? page_slot(glibc, address / PAGE + 1) : NULL;
	if (page && page->number) {
		n = page->first; /* it is one of this page, or the one before them */
		searched = MIN(searched - n, PAGE / SMALLEST);
	}
	n += SEARCH_UP_TO(glibc->chunks + n, searched, start, address);
	return n && address < glibc->chunks[n - 1].end ? &glibc->chunks[n - 1] : NULL;
}
