/*
 * The objects of a census, each once, sorted by address, and a look-up from any word of the process to the object it is the address
 * of. 24 bytes an object, and about 3 for the look-up.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/heap/heap.h"
#include "daemon/heap/object.h"

#define TABLE_IMMORTAL UINT32_MAX
#define TABLE_NONE     UINT32_MAX

struct table_object {
	uint64_t address;
	uint32_t type;     /* index of its type (type_nth()) */
	uint32_t refcount; /* TABLE_IMMORTAL: it doesn't matter who refers to it */
	uint32_t exact;    /* references found where the layout is known */
	uint32_t probable; /* words that hold its address where it isn't */
};

/* 4 KiB of addresses: a bit for each possible object, and the index of the first one in it */
struct table_page {
	uint64_t bits[8];
	uint32_t first;
};

struct table {
	struct table_object *objects;
	size_t n;
	uint64_t lowest, highest;  /* addresses of the first and the last object */
	uint64_t *spans;           /* open addressing: MiB number + 1, 0 empty */
	struct table_page **pages; /* 256 for each span */
	size_t mask;
};

/* Take a census of the heap. False with *error as census_take() sets it, or when there are too many objects. */
bool table_take(heap_t *heap, struct table *table, GError **error);
void table_clear(struct table *table);

/* The index of the object at `address`, or TABLE_NONE. */
static inline uint32_t table_find(const struct table *table, uint64_t address)
{
	if (address - table->lowest > table->highest - table->lowest || address % 8)
		return TABLE_NONE;
	uint64_t span = (address >> 20) + 1;
	size_t i = (size_t)(span * 0x9e3779b97f4a7c15ull >> 32) & table->mask;
	while (table->spans[i] != span) {
		if (!table->spans[i])
			return TABLE_NONE;
		i = (i + 1) & table->mask;
	}
	const struct table_page *page = &table->pages[i][address >> 12 & 255];
	unsigned bit = address >> 3 & 511, word = bit >> 6;
	uint64_t mask = 1ull << (bit & 63);
	if (!(page->bits[word] & mask))
		return TABLE_NONE;
	uint32_t index = page->first + (uint32_t)__builtin_popcountll(page->bits[word] & (mask - 1));
	for (unsigned k = 0; k < word; k++)
		index += (uint32_t)__builtin_popcountll(page->bits[k]);
	return index;
}
