#include "daemon/heap/allocator.h"

bool allocator_open(heap_t *heap, struct allocator *allocator)
{
	memset(allocator, 0, sizeof(*allocator));
	if (!pymalloc_open(heap, &allocator->pymalloc))
		return false;
	if (!allocator->pymalloc.n_arenas)
		mimalloc_open(heap, &allocator->mimalloc);
	allocator->known = allocator->pymalloc.n_arenas || allocator->mimalloc.n_segments;
	allocator->debug_hooks = allocator->pymalloc.debug_hooks || allocator->mimalloc.debug_hooks;
	return true;
}

void allocator_clear(struct allocator *allocator)
{
	pymalloc_clear(&allocator->pymalloc);
	mimalloc_clear(&allocator->mimalloc);
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
