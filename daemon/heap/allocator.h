/* The allocator a process's objects come from: pymalloc, mimalloc, or none that is known (PYTHONMALLOC=malloc). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/mimalloc.h"
#include "daemon/heap/pymalloc.h"

struct allocator {
	struct pymalloc pymalloc;
	struct mimalloc mimalloc;
	bool known;       /* blocks can be walked */
	bool debug_hooks; /* a block's size is exact, and its domain is known */
};

/* False: the allocator's state makes no sense. Clear with allocator_clear(). */
bool allocator_open(heap_t *heap, struct allocator *allocator);
void allocator_clear(struct allocator *allocator);

/* Whether `address` lies in memory whose blocks allocator_walk() visits. */
static inline bool allocator_owns(const struct allocator *allocator, uint64_t address)
{
	return allocator->pymalloc.n_ranges ? pymalloc_owns(&allocator->pymalloc, address)
					    : mimalloc_owns(&allocator->mimalloc, address);
}

/* Visit every used block in address order. */
void allocator_walk(heap_t *heap, const struct allocator *allocator, block_visit *visit, void *context,
		    struct block_stats *stats);
