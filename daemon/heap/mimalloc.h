/*
 * mimalloc as CPython carries it (Objects/mimalloc/, from 3.13): the allocator of free-threaded builds, and of builds
 * with a GIL under PYTHONMALLOC=mimalloc. Two versions are met, 2.1.2 and 2.5.2; the layout tells them apart by its
 * fields.
 *
 * Segments are 32 MiB aligned; nothing needs to point to them, they are recognised (also those abandoned by threads
 * that ended). A segment is cut into slices of 64 KiB, runs of which are pages; a page holds blocks of one size, and
 * lists of the free ones.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/block.h"
#include "daemon/heap/heap.h"

struct mimalloc {
	struct mimalloc_segment {
		uint64_t start, end; /* addresses */
		uint32_t slices, info_slices;
	} * segments; /* sorted by start */
	size_t n_segments;
	bool debug_hooks; /* as in struct pymalloc */
};

/* Find the segments; n_segments is 0 when there are none. */
void mimalloc_open(heap_t *heap, struct mimalloc *mimalloc);
void mimalloc_clear(struct mimalloc *mimalloc);

/* The segment that holds `address`, or NULL. */
const struct mimalloc_segment *mimalloc_segment(const struct mimalloc *mimalloc, uint64_t address);

/* [*start, *end): the block, free or used, that holds `address`. False: it lies in no page that is in use. */
bool mimalloc_block_at(const heap_t *heap, const struct mimalloc *mimalloc, uint64_t address, uint64_t *start,
		       uint64_t *end);

/* Visit every used block of one segment in address order; adds to *stats. */
void mimalloc_walk_segment(heap_t *heap, const struct mimalloc *mimalloc, const struct mimalloc_segment *segment,
			   block_visit *visit, void *context, struct block_stats *stats);
