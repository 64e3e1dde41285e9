/* A block of an allocator: what Python got for an object or for anything else. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* what the allocator knows of a block's use */
enum block_domain {
	BLOCK_ANY,       /* nothing: an object or not */
	BLOCK_RAW,       /* no object */
	BLOCK_OBJECT,    /* PyObject_Malloc: an object, or (before 3.13t) anything small */
	BLOCK_PLAIN,     /* an object without GC, right at the start */
	BLOCK_GC,        /* a GC object, right at the start */
	BLOCK_GC_PREFIX, /* a GC object behind 16 bytes for its dict and weak references */
};

struct block {
	uint64_t address;     /* of the data: behind a debug hook's prefix if there is one */
	const uint8_t *bytes; /* our copy of it */
	uint64_t size;        /* of the data: the size class, or the exact size with debug hooks */
	enum block_domain domain;
};

/*
 * Blocks that are alike, and lie in one piece of memory: as they are visited, for in a large heap the price of each is what is written and read
 * again about it.
 */
#define BLOCKS_MOST 1024
struct blocks {
	struct block first;      /* each is like this one, which is that at offset 0, if there is one */
	const uint32_t *offsets; /* of the i-th one: bytes from there, ascending */
	size_t n;                /* 1 to BLOCKS_MOST */
	int64_t ahead;           /* bytes, in our memory, from there to what is visited next; 0: not known */
};

/* The one like it at this offset from it. */
static inline struct block block_at(const struct block *first, uint32_t offset)
{
	struct block block = *first;
	block.address += offset;
	block.bytes += offset;
	return block;
}

static inline struct block blocks_nth(const struct blocks *blocks, size_t i)
{
	return block_at(&blocks->first, blocks->offsets[i]);
}

/* Blocks of one piece of memory after the other; they are the visitor's until it returns. */
typedef void block_visit(void *context, const struct blocks *blocks);

/* Visit a single one. */
void block_visit_one(block_visit *visit, void *context, const struct block *block);
/* Visit any number of them. */
void block_visit_many(block_visit *visit, void *context, const struct blocks *blocks);

/* bytes and blocks of an allocator; parts of its pages */
struct block_stats {
	int64_t used_blocks, used_bytes;
	int64_t free_bytes; /* free blocks and headers of pools (pages) in use, and what was never handed out of them */
	int64_t free_pool_bytes; /* pools (pages, slices) without a used block */
	int64_t damaged; /* pools whose header and chain of free blocks don't agree: torn or corrupt; taken as far as it
			    goes */
};

static inline void block_stats_add(struct block_stats *sum, const struct block_stats *stats)
{
	sum->used_blocks += stats->used_blocks;
	sum->used_bytes += stats->used_bytes;
	sum->free_bytes += stats->free_bytes;
	sum->free_pool_bytes += stats->free_pool_bytes;
	sum->damaged += stats->damaged;
}

#define BLOCK_HOOK_PREFIX 16
#define BLOCK_HOOK_SUFFIX 8

/*
 * Whether the 16 bytes at `block` are a debug hook's prefix: size (big-endian), api id 'o', 'm' or 'r', and 7 times
 * FORBIDDENBYTE (CPython Objects/obmalloc.c, _PyMem_DebugRawAlloc(); 0xFB up to 3.7, 0xFD since).
 */
bool block_is_hooked(const uint8_t *block);

/* Whether most blocks have a debug hook's prefix: let block_vote() visit them, as many as BLOCK_VOTES if there are. */
struct block_votes {
	int64_t hooked, plain;
};
#define BLOCK_VOTES 1000
void block_vote(void *votes, const struct blocks *blocks);

/* Step over the hook's prefix. False: it isn't one, or what it says doesn't fit. */
bool block_unhook(struct block *block);
