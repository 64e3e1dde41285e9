#include "daemon/heap/allocator.h"

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
	allocator->debug_hooks = allocator->pymalloc.debug_hooks || allocator->mimalloc.debug_hooks;
	return true;
}

void allocator_clear(struct allocator *allocator)
{
	pymalloc_clear(&allocator->pymalloc);
	mimalloc_clear(&allocator->mimalloc);
}

bool allocator_find(struct allocator *allocator, uint64_t address)
{
	const struct arena *range = pymalloc_range(&allocator->pymalloc, address);
	if (range) {
		allocator->hint_start = range->start;
		allocator->hint_size = range->end - range->start;
		return true;
	}
	const struct mimalloc_segment *segment = mimalloc_segment(&allocator->mimalloc, address);
	if (segment) {
		allocator->hint_start = segment->start;
		allocator->hint_size = segment->end - segment->start;
	}
	return segment != NULL;
}

void allocator_walk(heap_t *heap, const struct allocator *allocator, block_visit *visit, void *context,
		    struct block_stats *stats)
{
	for (size_t i = 0; i < allocator->pymalloc.n_arenas; i++)
		pymalloc_walk_arena(heap, &allocator->pymalloc, &allocator->pymalloc.arenas[i], visit, context, stats);
	for (size_t i = 0; i < allocator->mimalloc.n_segments; i++)
		mimalloc_walk_segment(heap, &allocator->mimalloc, &allocator->mimalloc.segments[i], visit, context,
				      stats);
}
