/*
 * Every object of the process, each once.
 *
 * Where pymalloc or mimalloc is used, its blocks are scanned in address order: that finds objects the collector doesn't
 * track and objects nobody refers to any more. Objects outside the allocator (larger than 512 bytes, or static in the
 * interpreter's image) are found by the collector's links, by following references, and where outside.h looks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"
#include "daemon/heap/object.h"

enum census_coverage {
	CENSUS_GC,  /* only what is in the collector's lists, the permanent generation included */
	CENSUS_ALL, /* every object */
};

/* Objects of one type; they are the visitor's until it returns. */
typedef void census_visit(void *context, const struct objects *objects);

/* Who is told of the objects: by `n` threads, each with a context of its own. */
struct census_visitor {
	census_visit *visit;
	void (*forget)(void *context); /* one of what was told was no object: all is told again, from the beginning */
	void *const *contexts;
	size_t n;
};

struct census {
	int64_t unreadable;              /* objects that are there but can't be read or made sense of */
	int64_t outside;                 /* objects found outside the allocator's blocks */
	int64_t used_blocks, used_bytes; /* allocator blocks in use, all domains */
	int64_t object_bytes;            /* of these, those that hold an object */
	int64_t free_bytes, free_pool_bytes;
	int64_t allocated_blocks; /* what sys.getallocatedblocks() says, -1: can't be told */
	int64_t damaged;          /* pools that don't agree with themselves, and arenas that don't with each other */
	struct address_range {
		uint64_t start, end;
	} * ranges; /* the allocator's memory, ascending */
	size_t n_ranges;
	bool allocator; /* an allocator was found; false: lists and references only */
	/* objects of each list of interpreter i, generation g: lists[i * HEAP_MAX_GENERATIONS + g]; -1 not measured */
	int64_t *lists;
	int64_t *permanent; /* of each interpreter; -1: there is none */
};

/*
 * Visit every object; object.tracked says whether gc.get_objects() would list it. With CENSUS_GC one thread does, with the first context.
 * False: the allocator's state makes no sense
 * (*error, HEAP_ERROR UNKNOWN). Clear the result with census_clear().
 */
bool census_take(heap_t *heap, enum census_coverage coverage, const struct census_visitor *visitor,
		 struct census *census, GError **error);
void census_clear(struct census *census);
