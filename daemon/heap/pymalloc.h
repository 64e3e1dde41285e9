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
	uint64_t start, end;            /* addresses: all that it got */
	uint64_t first_pool, pools_end; /* of its pools, which are aligned */
	uint64_t virgin;                /* first pool never used: nothing beyond */
};

/* blocks of one size */
#define PYMALLOC_LARGEST 512 /* bytes; Objects/obmalloc.c, SMALL_REQUEST_THRESHOLD */

struct pymalloc {
	struct arena *arenas; /* sorted by start */
	size_t n_arenas;
	struct arena *ranges; /* arenas that touch, merged: for fast look-up (of these start and end only) */
	size_t n_ranges;
	int64_t damaged;    /* arenas that begin in another one: torn or corrupt, and left out */
	int64_t raw_blocks; /* blocks not from pools that sys.getallocatedblocks() counts too; -1: unknown */
	int64_t all_blocks; /* what the interpreter itself counts in all (up to 3.8); -1: it does not */
	/*
	 * The size of every used pool's blocks, in units of the alignment; 0: not in use. By pool, from the first of all on; NULL: not known (they
	 * are too far apart, or not at hand).
	 */
	uint8_t *classes;
	uint64_t first_pool, n_pools;
	unsigned pool_bits; /* a pool has 1 << pool_bits bytes */
	bool debug_hooks;   /* every block has 16 bytes before and 8 behind its data (PYTHONMALLOC=debug, pydebug) */
};

/* Find the arenas of all interpreters. n_arenas is 0 when the process doesn't use pymalloc. False: what is there makes
 * no sense. */
bool pymalloc_open(heap_t *heap, struct pymalloc *pymalloc);
void pymalloc_clear(struct pymalloc *pymalloc);

/* The range of arenas that holds `address`, or NULL. */
const struct arena *pymalloc_range(const struct pymalloc *pymalloc, uint64_t address);

/* Bytes of a block that begins in the pool at `address`; 0: not known, or no used pool. */
static inline uint32_t pymalloc_block_bytes(const struct pymalloc *pymalloc, const struct py_shape *shape,
					    uint64_t address)
{
	uint64_t pool = (address - pymalloc->first_pool) >> pymalloc->pool_bits;
	return pymalloc->classes && address >= pymalloc->first_pool && pool < pymalloc->n_pools
		       ? pymalloc->classes[pool] * (uint32_t)shape->block_alignment
		       : 0;
}

/* Visit every used block of one arena; adds to *stats. */
void pymalloc_walk_arena(heap_t *heap, const struct pymalloc *pymalloc, const struct arena *arena, block_visit *visit,
			 void *context, struct block_stats *stats);
