/*
 * Dicts of the target, in all their forms: combined and split tables, general and unicode-only entries (CPython
 * Objects/dictobject.c, Include/internal/pycore_dict.h).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"
#include "daemon/heap/pymalloc.h"

/* a keys object: where its entries are */
struct dict_keys {
	uint64_t address;
	int64_t refcount;                  /* dk_refcnt */
	uint64_t slots;                    /* dk_size: hash slots */
	uint64_t usable;                   /* dk_usable: entries that still fit */
	uint64_t n_entries;                /* dk_nentries: entries in use or deleted */
	uint64_t index_bytes;              /* size of the index table */
	uint64_t entries;                  /* address of the first entry */
	uint32_t entry_size;               /* 24: hash, key, value; 16: key, value */
	uint32_t key_offset, value_offset; /* inside an entry */
	bool split;                        /* the values are elsewhere */
	uint64_t bytes;                    /* of the whole object, as _PyDict_KeysSize() says */
};

bool dict_keys_read(const heap_t *heap, uint64_t address, struct dict_keys *keys);

/*
 * Key tables come in few sizes, so the size of the block that one lies in says how large it is, without a look at it: in a large heap that look
 * is what costs.
 */
struct dict_blocks {
	const struct pymalloc *pymalloc;
	uint16_t bytes[PYMALLOC_LARGEST +
		       1]; /* struct dict_keys.bytes by the block's size; 0: no table's, or that of several */
};
/* `pymalloc`, NULL for none, must outlive it. */
void dict_blocks_init(struct dict_blocks *blocks, const struct py_layout *layout, const struct pymalloc *pymalloc);
/* struct dict_keys.bytes of the table at `address`, which no other dict shares; 0: its block doesn't say. */
static inline uint64_t dict_block_bytes(const struct dict_blocks *blocks, const struct py_shape *shape,
					uint64_t address)
{
	return blocks && blocks->pymalloc ? blocks->bytes[pymalloc_block_bytes(blocks->pymalloc, shape, address)] : 0;
}

/* one item; key or value may be 0 (deleted, or a shared key without a value in this dict) */
struct dict_item {
	uint64_t key, value;
};

/* walks the items of a dict in insertion order */
struct dict_iter {
	const heap_t *heap;
	struct dict_keys keys;
	uint64_t values; /* address of the first value of a split table; 0: combined */
	uint64_t position;
};

bool dict_iter_init(struct dict_iter *iter, const heap_t *heap, uint64_t dict);
/* The next item whose value isn't 0. */
bool dict_iter_next(struct dict_iter *iter, struct dict_item *item);

/* The value of a str key made of ASCII letters, or 0. */
uint64_t dict_get(const heap_t *heap, uint64_t dict, const char *key);

/* The number of hash slots a table of `slots` may fill (USABLE_FRACTION). */
static inline uint64_t dict_usable_fraction(uint64_t slots)
{
	return (slots << 1) / 3;
}
