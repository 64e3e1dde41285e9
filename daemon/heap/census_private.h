/* What the parts of a census share: census.c takes it, census_blocks.c settles what each block of the allocator is, census_objects.c what objects lead to. */
#pragma once
#include <stdatomic.h>

#include "daemon/heap/addresses.h"
#include "daemon/heap/allocator.h"
#include "daemon/heap/census.h"
#include "daemon/heap/coarse.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/glibc.h"
#include "daemon/heap/links.h"
#include "daemon/heap/type.h"

#define LINK_MASK (~3ull) /* the collector's marks in its links */

#define SHELF_BITS   12 /* large programs have thousands of types */
#define MAX_PREFIXES 3
#define CACHE_LINE   128 /* processors fetch them in pairs */

/* Where the blocks are, and all memory, in a form that is asked about each word of them. */
struct extent {
	uint64_t low, span; /* all memory lies in [low, low + span) */
	uint64_t blocks_low, n_pages;
	const uint64_t *
		pages; /* a bit for each of n_pages from blocks_low on: whether it is of blocks; n_pages is 0 where only allocator_owns() knows */
	struct coarse *outside; /* what isn't of blocks */
};

/* Whether an address is known to be in a block. */
static inline bool extent_of_blocks(const struct extent *extent, uint64_t address)
{
	uint64_t page = (address - extent->blocks_low) >> ALLOCATOR_PAGE_BITS;
	return page < extent->n_pages && extent->pages[page / 64] >> page % 64 & 1;
}

/* Whether a word may be the address of anything that begins in memory. */
static inline bool extent_of_memory(const struct extent *extent, uint64_t address)
{
	return address - extent->low < extent->span && address % 8 == 0;
}

/* Whether it may be that of something in memory, but in no block. */
static inline bool extent_leads_out(const struct extent *extent, uint64_t address)
{
	return extent_of_memory(extent, address) && !extent_of_blocks(extent, address);
}

/* what all threads share, and only read */
struct survey {
	heap_t *heap;
	census_visit *visit;
	bool all; /* not only what the collector tracks */
	struct census *census;
	struct allocator allocator;
	struct glibc glibc;      /* malloc's chunks */
	struct addresses frozen; /* objects of the permanent generation */
	uint32_t prefix;   /* an object begins so many bytes into its block, or a multiple: none, and from there on */
	size_t n_prefixes; /* so many of them */
	bool exact_sizes;  /* a block is no larger than what was asked for, up to the alignment */
	bool ask_each;     /* each object's neighbours whether it is linked; else the sums of links tell */
	bool in_order;     /* the words of all blocks in use go by: nobody need be led to a table in one of them */
	struct extent extent;
	struct dict_blocks dict_blocks;
	uint32_t overhead;                        /* of a debug hook around a block's data */
	_Alignas(CACHE_LINE) _Atomic size_t next; /* part of the allocator's memory that nobody has taken yet */
};

/*
 * Blocks are settled type by type, a batch at a time: what is asked about an object depends on its type, and a processor that meets the same
 * answers again and again guesses them right. A shelf is a type's place in a thread's table, which also spares most looks into the table of
 * all types.
 */
enum shelf_kind { SHELF_NONE, SHELF_PLAIN, SHELF_TRACKED, SHELF_TEXT, SHELF_WIDE_TEXT, SHELF_ODD };

#define SHELVES (1 << SHELF_BITS)

/* Of 16 bytes, for it is found for each block: types are as far apart, so bits of their address are the shelf's. */
struct shelf {
	uint64_t key;  /* shelf_key() of the type, or an address at which there is none */
	uint32_t *end; /* of the pile of the batch's blocks that may be of the type; NULL: there are none */
};

/* what a shelf is for */
struct label {
	struct type *type;
	uint8_t kind; /* enum shelf_kind: what most objects of the type are like */
};

/* The offsets of blocks on one shelf, and then of the objects among them; one more is written than is kept. */
struct pile {
	uint32_t offsets[BLOCKS_MOST + 1];
};

/* objects of one shelf that aren't common: tracked or not */
struct accepted {
	uint32_t offsets[2][BLOCKS_MOST];
	size_t n[2];
};

/* A block for which there is no shelf at first sight. */
struct odd {
	uint32_t offset;
	uint32_t bits; /* of the guess */
};

/* Blocks of about one size, by what lies in them: an object behind each of the prefixes, or none. Lately ones count for more. */
struct mix {
	uint32_t behind[MAX_PREFIXES];
	uint32_t none;
};

#define MIX_BYTES 16 /* sizes up to so many bytes apart are about the same */
#define MIXES     33 /* of pymalloc's blocks, and of all larger ones */

#define RECENT 256

/* one thread's part of it */
struct taker {
	_Alignas(CACHE_LINE) struct survey *survey;
	heap_t *heap;
	void *context;           /* of the visitor */
	struct addresses seen;   /* objects outside the blocks */
	GArray *pending;         /* uint64_t: those of them still to be looked at */
	uint64_t recent[RECENT]; /* addresses that lead out of the blocks and were considered lately */
	struct allocator_hint hint;
	struct links links;
	bool checks;                       /* visits nobody: looks whether it is mistaken */
	bool mistaken;                     /* met an object that isn't linked */
	struct memory_hold hold;           /* the part that is walked */
	struct shelf shelves[SHELVES + 1]; /* the last one: of blocks that hold no object */
	struct label labels[SHELVES + 1];
	struct block batch;              /* the first block of the batch; the others are like it, and lie behind it */
	size_t n_batch;                  /* so many blocks */
	uint64_t batch_end;              /* none lies behind */
	struct shelf *used[BLOCKS_MOST]; /* shelves with blocks */
	struct pile *piles;              /* of each of them */
	size_t n_used;
	struct mix mixes[MIXES]; /* by the size of blocks */
	struct pile untracked;   /* common ones of a shelf where others are tracked */
	struct odd odd[BLOCKS_MOST];
	uint64_t aside[BLOCKS_MOST + 1]; /* words that may lead out of the blocks; one more is written than is kept */
	struct accepted accepted;
	struct block_stats stats;
	int64_t tracked; /* visited ones in the collector's lists, the permanent generation included */
	int64_t frozen;  /* visited ones that a free-threaded build's collector leaves alone */
	int64_t outside, object_bytes;
};

/* The type that the word at `prefix` would make the block an object of, or NULL. */
struct type *census_type_behind(struct taker *taker, const struct block *block, uint32_t prefix);

/* Blocks of the allocator (block_visit; the context is the taker). They may wait for more that are like them: until census_settle(). */
void census_visit_blocks(void *context, const struct blocks *blocks);
void census_settle(struct taker *taker);
void census_shelves_init(struct taker *taker);

/* What lies in blocks of the batch that are no objects: tables of them, perhaps. Their words may be references. */
void census_visit_tables(struct taker *taker, const uint32_t *offsets, size_t n);

/* Objects of one type: visit them, and note what they lead to outside of the blocks. */
void census_emit(struct taker *taker, const struct objects *objects);
void census_emit_one(struct taker *taker, const struct object *object);

/* An address that may be that of an object outside the blocks: if it looks like one it is pending. */
void census_consider(struct taker *taker, uint64_t address);
