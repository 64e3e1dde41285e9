#include "daemon/heap/mimalloc.h"

#include <string.h>

#include "base/search.h"
#include "daemon/heap/object.h"

#define WINDOW_BYTES    65536ull
#define SEGMENT_BYTES   (32ull << 20)
#define SLICE_BYTES     65536ull
#define MAX_BLOCKS      65536 /* of a page */
#define MAX_SLICES      512   /* of an ordinary segment; a huge one has fewer entries than it is long */
#define MAX_INFO_SLICES 16
#define MAX_BLOCK       (1ull << 47) /* all of an address space */
#define HUGE_BLOCK      0x80000000u  /* xblock_size of a block that takes the whole page (2.1.2) */
#define LEGACY_TAG_BYTE 8            /* 2.1.2: bits 3 to 6 of the flags */

/* heap tags: CPython Include/internal/pycore_mimalloc.h, _Py_MIMALLOC_HEAP_* */
static const enum block_domain domains[] = {BLOCK_RAW, BLOCK_PLAIN, BLOCK_GC, BLOCK_GC_PREFIX};

struct page {
	uint64_t address; /* of the mi_page_t */
	const uint8_t *bytes;
	uint64_t start; /* of the first block */
	uint64_t block_size;
	uint32_t capacity, used, tag, slice_count;
};

static bool segment_at(const heap_t *heap, uint64_t address, struct mimalloc_segment *segment)
{
	const struct py_layout *layout = heap->layout;
	uint64_t entries, info, used;
	uint32_t kind;
	if (!memory_u64(heap->memory, address + layout->mi_segment_slice_entries, &entries) ||
	    !memory_u64(heap->memory, address + layout->mi_segment_info_slices, &info) ||
	    !memory_u64(heap->memory, address + layout->mi_segment_used, &used) ||
	    !memory_u32(heap->memory, address + layout->mi_segment_kind, &kind))
		return false;
	if (!entries || entries > MAX_SLICES || kind > 1 || !info || info > MAX_INFO_SLICES || used > entries ||
	    info >= entries + 1)
		return false;
	*segment = (struct mimalloc_segment){address, address + SEGMENT_BYTES, (uint32_t)entries, (uint32_t)info};
	return true;
}

/* The page whose first slice is number `slice`, if one in use starts there. */
static bool page_at(const heap_t *heap, const struct mimalloc_segment *segment, uint32_t slice, struct page *page)
{
	const struct py_layout *layout = heap->layout;
	*page = (struct page){.address = segment->start + layout->mi_segment_slices +
					 (uint64_t)slice * layout->mi_page_size};
	page->bytes = memory_at(heap->memory, page->address, layout->mi_page_size);
	if (!page->bytes)
		return false;
	page->slice_count = load_u32(page->bytes, layout->mi_page_slice_count);
	/* corrupt: longer than the segment; who walks it goes on by as much */
	if (page->slice_count > segment->slices - slice) {
		page->slice_count = 1;
		return false;
	}
	if (!page->slice_count || load_u32(page->bytes, layout->mi_page_slice_offset))
		return false;
	uint64_t slice_start = segment->start + slice * SLICE_BYTES;
	if (heap_has(layout->mi_page_start)) {
		page->block_size = load_u64(page->bytes, layout->mi_page_block_size);
		page->start = load_u64(page->bytes, layout->mi_page_start);
		page->tag = page->bytes[layout->mi_page_tag];
		page->used = load_u32(page->bytes, layout->mi_page_used) & 0xffff;
	} else {
		page->block_size = load_u32(page->bytes, layout->mi_page_xblock_size);
		if (page->block_size >= HUGE_BLOCK)
			page->block_size = page->slice_count * SLICE_BYTES;
		uint64_t shift = page->block_size >= 8 && page->block_size <= 64 ? 3 * page->block_size
				 : page->block_size <= 512                       ? page->block_size
										 : 0;
		page->start = slice_start + shift;
		page->tag = page->bytes[LEGACY_TAG_BYTE] >> 3 & 15;
		page->used = load_u32(page->bytes, layout->mi_page_used);
	}
	page->capacity = load_u32(page->bytes, layout->mi_page_capacity) & 0xffff;
	/* only one block can be larger than a segment */
	uint64_t most = page->capacity > 1 ? SEGMENT_BYTES / page->capacity : MAX_BLOCK;
	return page->block_size > 1 && page->block_size <= most && page->start >= slice_start &&
	       page->block_size % 8 == 0;
}

/* Links are encoded in debug builds: y == page means NULL (mimalloc internal.h, mi_ptr_decode). */
static uint64_t link_decode(const heap_t *heap, const struct page *page, uint64_t link)
{
	if (!heap->python->debug || !heap_has(heap->layout->mi_page_keys))
		return link;
	uint64_t key0 = load_u64(page->bytes, heap->layout->mi_page_keys);
	uint64_t key1 = load_u64(page->bytes, heap->layout->mi_page_keys + 8);
	uint64_t x = link - key0;
	unsigned turn = key0 & 63;
	x = turn ? x >> turn | x << (64 - turn) : x;
	x ^= key1;
	return x == page->address ? 0 : x;
}

/* Mark a chain of free blocks; returns their number. */
static uint32_t mark_chain(const heap_t *heap, const struct page *page, uint64_t at, uint8_t *is_free)
{
	uint32_t n = 0;
	while (at) {
		uint64_t offset = at - page->start, link;
		if (at < page->start || offset % page->block_size || offset / page->block_size >= page->capacity)
			break;
		uint64_t index = offset / page->block_size;
		if (is_free[index] || !memory_u64(heap->memory, at, &link))
			break;
		is_free[index] = 1;
		n++;
		at = link_decode(heap, page, link);
	}
	return n;
}

/* Have a block's bytes, and in a memory that isn't kept no more of it than is looked at in place. */
static bool block_load(heap_t *heap, const struct mimalloc *mimalloc, struct block *block)
{
	uint64_t wanted = heap->memory->window && !mimalloc->debug_hooks ? MIN(block->size, WINDOW_BYTES) : block->size;
	if ((block->bytes = memory_at(heap->memory, block->address, wanted)))
		return true;
	/* a huge block may be larger than what of it was ever touched */
	const struct memory_region *region = memory_find(heap->memory, block->address);
	if (!region)
		return false;
	block->size = region->size - (block->address - region->start);
	return (block->bytes = memory_at(heap->memory, block->address, block->size));
}

static void visit_singly(heap_t *heap, const struct mimalloc *mimalloc, const struct block *first, uint32_t n,
			 const uint8_t *is_free, block_visit *visit, void *context)
{
	for (uint32_t i = 0; i < n; i++) {
		struct block block = *first;
		block.address += i * first->size;
		if (!is_free[i] && block_load(heap, mimalloc, &block) &&
		    (!mimalloc->debug_hooks || block_unhook(&block)))
			block_visit_one(visit, context, &block);
	}
}

static void visit_blocks(heap_t *heap, const struct mimalloc *mimalloc, const struct page *page, const uint8_t *is_free,
			 block_visit *visit, void *context)
{
	uint32_t offsets[MAX_BLOCKS], n = 0;
	struct block first = {.address = page->start, .size = page->block_size};
	if (heap->layout->shape.gc == PY_GC_NONE)
		first.domain = page->tag < G_N_ELEMENTS(domains) ? domains[page->tag] : BLOCK_RAW;
	uint64_t all = page->capacity * page->block_size;
	if (!all)
		return;
	if (mimalloc->debug_hooks || heap->memory->window || all > UINT32_MAX ||
	    !(first.bytes = memory_at(heap->memory, page->start, all))) {
		visit_singly(heap, mimalloc, &first, page->capacity, is_free, visit, context);
		return;
	}
	for (uint32_t i = 0; i < page->capacity; i++) {
		offsets[n] = i * (uint32_t)page->block_size;
		n += !is_free[i];
	}
	block_visit_many(visit, context, &(struct blocks){.first = first, .offsets = offsets, .n = n});
}

static void walk_page(heap_t *heap, const struct mimalloc *mimalloc, const struct page *page, block_visit *visit,
		      void *context, struct block_stats *stats)
{
	const struct py_layout *layout = heap->layout;
	int64_t page_bytes = page->slice_count * (int64_t)SLICE_BYTES;
	uint8_t is_free[MAX_BLOCKS];
	memset(is_free, 0, page->capacity);
	uint32_t n_free = mark_chain(heap, page, load_u64(page->bytes, layout->mi_page_free), is_free);
	n_free += mark_chain(heap, page, load_u64(page->bytes, layout->mi_page_local_free), is_free);
	if (page->capacity - n_free != page->used)
		stats->damaged++;
	/* freed by other threads: still counted as used by the page's owner */
	n_free += mark_chain(heap, page, load_u64(page->bytes, layout->mi_page_xthread_free) & ~3ull, is_free);
	int64_t used = page->capacity - n_free;
	stats->used_blocks += used;
	stats->used_bytes += used * (int64_t)page->block_size;
	if (used)
		stats->free_bytes += page_bytes - used * (int64_t)page->block_size;
	else
		stats->free_pool_bytes += page_bytes;
	visit_blocks(heap, mimalloc, page, is_free, visit, context);
}

void mimalloc_walk_segment(heap_t *heap, const struct mimalloc *mimalloc, const struct mimalloc_segment *segment,
			   block_visit *visit, void *context, struct block_stats *stats)
{
	uint32_t slice = segment->info_slices;
	stats->free_bytes += segment->info_slices * (int64_t)SLICE_BYTES;
	while (slice < segment->slices) {
		struct page page;
		bool in_use = page_at(heap, segment, slice, &page);
		if (in_use)
			walk_page(heap, mimalloc, &page, visit, context, stats);
		else
			stats->free_pool_bytes += (int64_t)SLICE_BYTES * MAX(page.slice_count, 1);
		slice += MAX(page.slice_count, 1);
	}
}

/* A part of a file, which no allocator has its memory in; a core or an image has anonymous memory that is lazy, too. */
static bool is_of_file(const heap_t *heap, const struct memory_region *region)
{
	if (!region->lazy || heap->memory->window)
		return false;
	if (!heap->maps || region->mapping >= heap->maps->n)
		return false;
	const char *path = heap->maps->mappings[region->mapping].path;
	/* private mappings of these two are anonymous memory */
	return path[0] == '/' && strcmp(path, "/dev/zero") && !g_str_has_prefix(path, "/anon_hugepage");
}

void mimalloc_open(heap_t *heap, struct mimalloc *mimalloc)
{
	memset(mimalloc, 0, sizeof(*mimalloc));
	if (!heap_has(heap->layout->mi_page_size) || !heap_has(heap->layout->mi_segment_slices) ||
	    !heap_has(heap->layout->mi_segment_slice_entries))
		return;
	g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(struct mimalloc_segment));
	for (size_t i = 0; i < heap->memory->n_regions; i++) {
		const struct memory_region *region = &heap->memory->regions[i];
		if (is_of_file(heap, region))
			continue;
		/* the last page of all, [vsyscall] of a core, has no address behind it */
		if (region->start > UINT64_MAX - region->size - SEGMENT_BYTES)
			continue;
		uint64_t at = (region->start + SEGMENT_BYTES - 1) / SEGMENT_BYTES * SEGMENT_BYTES;
		for (; at < region->start + region->size; at += SEGMENT_BYTES) {
			struct mimalloc_segment segment;
			/* not in what was never touched, nor in what was left out because it holds no pointers */
			if (memory_content(heap->memory, at) == at && segment_at(heap, at, &segment))
				g_array_append_val(found, segment);
		}
	}
	mimalloc->n_segments = found->len;
	mimalloc->segments = (struct mimalloc_segment *)g_array_free(g_steal_pointer(&found), FALSE);
	struct block_votes votes = {0};
	struct block_stats stats = {0};
	for (size_t i = 0; i < mimalloc->n_segments && votes.hooked + votes.plain < BLOCK_VOTES; i++)
		mimalloc_walk_segment(heap, mimalloc, &mimalloc->segments[i], block_vote, &votes, &stats);
	mimalloc->debug_hooks = votes.hooked > votes.plain;
}

void mimalloc_clear(struct mimalloc *mimalloc)
{
	g_free(mimalloc->segments);
	memset(mimalloc, 0, sizeof(*mimalloc));
}

const struct mimalloc_segment *mimalloc_segment(const struct mimalloc *mimalloc, uint64_t address)
{
	size_t n = SEARCH_UP_TO(mimalloc->segments, mimalloc->n_segments, start, address);
	return n && address < mimalloc->segments[n - 1].end ? &mimalloc->segments[n - 1] : NULL;
}

bool mimalloc_block_at(const heap_t *heap, const struct mimalloc *mimalloc, uint64_t address, uint64_t *start,
		       uint64_t *end)
{
	const struct py_layout *layout = heap->layout;
	const struct mimalloc_segment *segment = mimalloc_segment(mimalloc, address);
	uint32_t back;
	struct page page;
	if (!segment || !layout->mi_page_size)
		return false;
	uint32_t slice = (uint32_t)((address - segment->start) / SLICE_BYTES);
	uint64_t entry = segment->start + layout->mi_segment_slices + (uint64_t)slice * layout->mi_page_size;
	/* a slice says how far in front of it the page's first one is described, in bytes */
	if (!memory_u32(heap->memory, entry + layout->mi_page_slice_offset, &back) ||
	    back / layout->mi_page_size > slice ||
	    !page_at(heap, segment, slice - back / layout->mi_page_size, &page) || address < page.start)
		return false;
	uint64_t index = (address - page.start) / page.block_size;
	*start = page.start + index * page.block_size;
	*end = *start + page.block_size;
	return index < page.capacity;
}
