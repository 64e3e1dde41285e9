/* What the parts of a census share: census.c takes it, census_blocks.c settles what each block of the allocator is. */
#pragma once
#include <stdatomic.h>

#include "daemon/heap/addresses.h"
#include "daemon/heap/allocator.h"
#include "daemon/heap/census.h"
#include "daemon/heap/glibc.h"
#include "daemon/heap/type.h"

#define LINK_MASK (~3ull) /* the collector's marks in its links */

#define BATCH      128 /* blocks whose memory is asked for before the first of them is looked at */
#define SHELF_BITS 8
#define CACHE_LINE 128 /* processors fetch them in pairs */

/* what all threads share, and only read */
struct survey {
	heap_t *heap;
	census_visit *visit;
	bool all; /* not only what the collector tracks */
	struct census *census;
	struct allocator allocator;
	struct glibc glibc;      /* malloc's chunks */
	struct addresses frozen; /* objects of the permanent generation */
	uint32_t prefixes[4];    /* bytes that may precede an object in its block */
	size_t n_prefixes;
	uint32_t overhead;                        /* of a debug hook around a block's data */
	_Alignas(CACHE_LINE) _Atomic size_t next; /* part of the allocator's memory that nobody has taken yet */
};

/*
 * Blocks are settled type by type, some at a time: what is asked about an object depends on its type, and a processor that meets the same
 * answers again and again guesses them right. A shelf is a type's place in a thread's table, which also spares most looks into the table of
 * all types.
 */
struct shelf {
	uint64_t address; /* of the type */
	struct type *type;
	uint16_t first, last; /* of the batch's blocks that may be of the type, as index + 1; 0: none */
};

struct guess {
	uint64_t address;
	const uint8_t *bytes;
	uint64_t size;
	uint16_t next; /* of the same shelf, as index + 1 */
};

/* one thread's part of it */
struct taker {
	_Alignas(CACHE_LINE) struct survey *survey;
	heap_t *heap;
	void *context;         /* of the visitor */
	struct addresses seen; /* objects outside the blocks */
	GArray *pending;       /* uint64_t: those of them still to be looked at */
	struct allocator_hint hint;
	struct memory_hold hold; /* the part that is walked */
	struct shelf shelves[1 << SHELF_BITS];
	struct shelf *used[BATCH]; /* shelves with blocks */
	struct guess batch[BATCH];
	struct object accepted[BATCH]; /* of one shelf */
	size_t n_used, n_batch;
	struct block_stats stats;
	int64_t tracked; /* visited ones in the collector's lists, the permanent generation included */
	int64_t frozen;  /* visited ones that a free-threaded build's collector leaves alone */
	int64_t outside, object_bytes;
};

/* The type that the word at `prefix` would make the block an object of, or NULL. */
struct type *census_type_behind(struct taker *taker, const struct block *block, uint32_t prefix);

/* A block of the allocator (block_visit; the context is the taker). It is settled later, at the latest by census_settle(). */
void census_visit_block(void *context, const struct block *block);
void census_settle(struct taker *taker);

/* Objects of one type: visit them, and note what they lead to outside of the blocks. */
void census_emit(struct taker *taker, struct object *objects, size_t n);

/* An address that may be that of an object outside the blocks: if it looks like one it is pending. */
void census_consider(struct taker *taker, uint64_t address);
