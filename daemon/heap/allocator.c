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
