/* The histogram: objects, bytes and reference counts by type. Pure. */
#pragma once
#include "daemon/analysis/population.h"
#include "daemon/analysis/sample.h"
#include "daemon/heap/census.h"

/* what a histogram learned about memory, for memory_parts() */
struct histogram_memory {
	struct census census;
	int64_t *region_bytes; /* of objects outside the allocator, by index into the memory's regions */
};

/* what a histogram does along the way when asked to */
struct histogram_also {
	/* where every object is (population.h), for births and deaths; with more than `most_objects` there is none */
	bool locate;
	size_t most_objects;
	population_t *population; /* out; NULL: too many. Free with population_free(). */
	/* `n_sought` addresses, and whether there is an object; at most HISTOGRAM_SOUGHT */
	const uint64_t *sought;
	bool *found;
	size_t n_sought;
};
#define HISTOGRAM_SOUGHT 64

/*
 * Count the heap into `sample`: its gc, totals and types. What describes the process and the snapshot is the caller's.
 * `also` may be NULL. False with *error as census_take() sets it. Clear *memory with histogram_memory_clear().
 */
bool histogram_take(heap_t *heap, enum census_coverage coverage, sample_t *sample, struct histogram_memory *memory,
		    struct histogram_also *also, GError **error);
void histogram_memory_clear(struct histogram_memory *memory);
