/*
 * pymalloc: the arenas, pools and blocks that hold every Python object of up to 512 bytes in a build with a GIL
 * (CPython Objects/obmalloc.c, Include/internal/pycore_obmalloc.h; the structures are the same from 2.7 on).
 *
 * arena_object: address, next virgin pool, counts of free pools. pool_header, 48 bytes at the start of a pool: count of
 * used blocks, chain of free ones, size class, offset of the first block never handed out. A block is used when it was
 * handed out once and isn't in the chain.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/block.h"
#include "daemon/heap/heap.h"

struct arena {
	uint64_t start, end; /* addresses */
	uint64_t first_pool; /* aligned */
	uint64_t virgin;     /* first pool never used: nothing beyond */
};

struct pymalloc {
	struct arena *arenas; /* sorted by start */
	size_t n_arenas;
	struct arena *ranges; /* arenas that touch, merged: for fast look-up (first_pool and virgin are unused) */
	size_t n_ranges;
	int64_t raw_blocks; /* blocks not from pools that sys.getallocatedblocks() counts too; -1: unknown */
	int64_t all_blocks; /* what the interpreter itself counts in all (up to 3.8); -1: it does not */
	bool debug_hooks;   /* every block has 16 bytes before and 8 behind its data (PYTHONMALLOC=debug, pydebug) */
};

/* Find the arenas of all interpreters. n_arenas is 0 when the process doesn't use pymalloc. False: what is there makes
 * no sense. */
bool pymalloc_open(heap_t *heap, struct pymalloc *pymalloc);
void pymalloc_clear(struct pymalloc *pymalloc);

/* The range of arenas that holds `address`, or NULL. */
const struct arena *pymalloc_range(const struct pymalloc *pymalloc, uint64_t address);

/* Visit every used block of one arena in address order; adds to *stats. */
void pymalloc_walk_arena(heap_t *heap, const struct pymalloc *pymalloc, const struct arena *arena, block_visit *visit,
			 void *context, struct block_stats *stats);
