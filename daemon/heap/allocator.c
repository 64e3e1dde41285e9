#include "daemon/heap/allocator.h"

#define PAGE_BYTES (1ull << ALLOCATOR_PAGE_BITS)
#define MAX_SPAN   (1ull << 39) /* 16 MB of bits */

static bool mark_pages(struct allocator *allocator, uint64_t start, uint64_t end)
{
	if (start % PAGE_BYTES || end % PAGE_BYTES)
		return false;
	uint64_t page = (start - allocator->low) / PAGE_BYTES, last = (end - allocator->low) / PAGE_BYTES;
	while (page < last) {
		uint64_t n = MIN(last - page, 64 - page % 64);
		allocator->pages[page / 64] |= UINT64_MAX >> (64 - n) << page % 64;
		page += n;
	}
	return true;
}

/* The bits of allocator_owns(), where the memory lies close enough together. */
static void find_pages(struct allocator *allocator)
{
	uint64_t span = allocator->high - allocator->low;
	bool aligned = true;
	if (!span || span > MAX_SPAN || !(allocator->pages = g_try_new0(uint64_t, span / PAGE_BYTES / 64 + 1)))
		return;
	for (size_t i = 0; i < allocator->pymalloc.n_ranges; i++)
		aligned &=
			mark_pages(allocator, allocator->pymalloc.ranges[i].start, allocator->pymalloc.ranges[i].end);
	for (size_t i = 0; i < allocator->mimalloc.n_segments; i++)
		aligned &= mark_pages(allocator, allocator->mimalloc.segments[i].start,
				      allocator->mimalloc.segments[i].end);
	if (!aligned)
		g_clear_pointer(&allocator->pages, g_free);
}

bool allocator_open(heap_t *heap, struct allocator *allocator)
{
	memset(allocator, 0, sizeof(*allocator));
	if (!pymalloc_open(heap, &allocator->pymalloc))
		return false;
	if (!allocator->pymalloc.n_arenas)
		mimalloc_open(heap, &allocator->mimalloc);
	allocator->known = allocator->pymalloc.n_arenas || allocator->mimalloc.n_segments;
	const struct pymalloc *pymalloc = &allocator->pymalloc;
	const struct mimalloc *mimalloc = &allocator->mimalloc;
	if (pymalloc->n_ranges) {
		allocator->low = pymalloc->ranges[0].start;
		allocator->high = pymalloc->ranges[pymalloc->n_ranges - 1].end;
	} else if (mimalloc->n_segments) {
		allocator->low = mimalloc->segments[0].start;
		allocator->high = mimalloc->segments[mimalloc->n_segments - 1].end;
	}
	find_pages(allocator);
	allocator->debug_hooks = allocator->pymalloc.debug_hooks || allocator->mimalloc.debug_hooks;
	return true;
}

void allocator_clear(struct allocator *allocator)
{
	pymalloc_clear(&allocator->pymalloc);
	mimalloc_clear(&allocator->mimalloc);
	g_clear_pointer(&allocator->pages, g_free);
}

bool allocator_find(const struct allocator *allocator, struct allocator_hint *hint, uint64_t address)
{
	const struct arena *range = pymalloc_range(&allocator->pymalloc, address);
	if (range) {
		*hint = (struct allocator_hint){range->start, range->end - range->start};
		return true;
	}
	const struct mimalloc_segment *segment = mimalloc_segment(&allocator->mimalloc, address);
	if (segment)
		*hint = (struct allocator_hint){segment->start, segment->end - segment->start};
	return segment != NULL;
}

size_t allocator_parts(const struct allocator *allocator)
{
	return allocator->pymalloc.n_arenas + allocator->mimalloc.n_segments;
}

void allocator_walk(heap_t *heap, const struct allocator *allocator, size_t part, block_visit *visit, void *context,
		    struct block_stats *stats)
{
	size_t n_arenas = allocator->pymalloc.n_arenas;
	if (part < n_arenas)
		pymalloc_walk_arena(heap, &allocator->pymalloc, &allocator->pymalloc.arenas[part], visit, context,
				    stats);
	else
		mimalloc_walk_segment(heap, &allocator->mimalloc, &allocator->mimalloc.segments[part - n_arenas], visit,
				      context, stats);
}

void allocator_part(const struct allocator *allocator, size_t part, uint64_t *start, uint64_t *end)
{
	size_t n_arenas = allocator->pymalloc.n_arenas;
	if (part < n_arenas) {
		const struct arena *arena = &allocator->pymalloc.arenas[part];
		*start = arena->first_pool;
		*end = MAX(arena->virgin, arena->first_pool + 1);
	} else {
		const struct mimalloc_segment *segment = &allocator->mimalloc.segments[part - n_arenas];
		*start = segment->start;
		*end = segment->end;
	}
}
