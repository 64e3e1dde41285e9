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
	uint64_t low, high; /* all its memory lies in [low, high) */
	uint64_t hint_start, hint_size; /* the range allocator_owns() found last */
};

/* False: the allocator's state makes no sense. Clear with allocator_clear(). */
bool allocator_open(heap_t *heap, struct allocator *allocator);
void allocator_clear(struct allocator *allocator);

/* The slow half of allocator_owns(). */
bool allocator_find(struct allocator *allocator, uint64_t address);

/* Whether `address` lies in memory whose blocks allocator_walk() visits. For one thread at a time. */
static inline bool allocator_owns(struct allocator *allocator, uint64_t address)
{
	return address - allocator->hint_start < allocator->hint_size ||
	       (address - allocator->low < allocator->high - allocator->low && allocator_find(allocator, address));
}

/* Visit every used block in address order. */
void allocator_walk(heap_t *heap, const struct allocator *allocator, block_visit *visit, void *context,
		    struct block_stats *stats);
