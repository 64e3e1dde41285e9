/* The allocator a process's objects come from: pymalloc, mimalloc, or none that is known (PYTHONMALLOC=malloc). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/mimalloc.h"
#include "daemon/heap/pymalloc.h"

struct allocator {
	struct pymalloc pymalloc;
	struct mimalloc mimalloc;
	bool known;         /* blocks can be walked */
	bool debug_hooks;   /* a block's size is exact, and its domain is known */
	uint64_t low, high; /* all its memory lies in [low, high) */
	uint64_t *
		pages; /* a bit for each page of that: whether it is the allocator's; NULL: they are too far apart for that */
};

#define ALLOCATOR_PAGE_BITS 12

/* False: the allocator's state makes no sense. Clear with allocator_clear(). */
bool allocator_open(heap_t *heap, struct allocator *allocator);
void allocator_clear(struct allocator *allocator);

/* a reader's memory of where it found the last address; one for each thread, zero at first */
struct allocator_hint {
	uint64_t start, size;
};

/* The slow half of allocator_owns(). */
bool allocator_find(const struct allocator *allocator, struct allocator_hint *hint, uint64_t address);

/* Whether `address` lies in memory whose blocks allocator_walk() visits. */
static inline bool allocator_owns(const struct allocator *allocator, struct allocator_hint *hint, uint64_t address)
{
	uint64_t offset = address - allocator->low, page = offset >> ALLOCATOR_PAGE_BITS;
	if (offset >= allocator->high - allocator->low)
		return false;
	if (allocator->pages)
		return allocator->pages[page / 64] >> page % 64 & 1;
	return address - hint->start < hint->size || allocator_find(allocator, hint, address);
}

/* The memory in parts of comparable size, for several threads: allocator_parts() of them, numbered from 0. */
size_t allocator_parts(const struct allocator *allocator);

/* Where a part lies that may be read in one go. */
void allocator_part(const struct allocator *allocator, size_t part, uint64_t *start, uint64_t *end);

/* Visit every used block of one part; adds to *stats. */
void allocator_walk(heap_t *heap, const struct allocator *allocator, size_t part, block_visit *visit, void *context,
		    struct block_stats *stats);
