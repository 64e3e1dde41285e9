/* The histogram: objects, bytes and reference counts by type. Pure. */
#pragma once
#include "daemon/analysis/sample.h"
#include "daemon/heap/census.h"

/* what a histogram learned about memory, for memory_parts() */
struct histogram_memory {
	struct census census;
	int64_t *region_bytes; /* of objects outside the allocator, by index into the memory's regions */
};

/*
 * Count the heap into `sample`: its gc, totals and types. What describes the process and the snapshot is the caller's.
 * False with *error as census_take() sets it. Clear *memory with histogram_memory_clear().
 */
bool histogram_take(heap_t *heap, enum census_coverage coverage, sample_t *sample, struct histogram_memory *memory,
		    GError **error);
void histogram_memory_clear(struct histogram_memory *memory);
