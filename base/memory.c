#include "base/memory.h"

#include <stdlib.h>

#include "base/search.h"

static int region_compare(const void *a, const void *b)
{
	const struct memory_region *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

void memory_init(struct memory *memory, struct memory_region *regions, size_t n)
{
	memset(memory, 0, sizeof(*memory));
	memory->regions = regions;
	memory->n_regions = n;
	if (n)
		qsort(regions, n, sizeof(*regions), region_compare);
}

const struct memory_region *memory_find(const struct memory *memory, uint64_t address)
{
	size_t n = SEARCH_UP_TO(memory->regions, memory->n_regions, start, address);
	if (!n)
		return NULL;
	const struct memory_region *region = &memory->regions[n - 1];
	if (address - region->start >= region->size)
		return NULL;
	/* the cache is no part of the picture: filling it changes nothing a reader can see */
	_Atomic uint32_t *hint = (_Atomic uint32_t *)&memory->hints[(address >> 20) % MEMORY_HINTS];
	atomic_store_explicit(hint, (uint32_t)(n - 1), memory_order_relaxed);
	return region;
}

bool memory_spans(const struct memory *memory, uint64_t address, uint64_t size)
{
	const struct memory_region *region = memory_region_of(memory, address),
				   *end = memory->regions + memory->n_regions;
	if (!region)
		return false;
	uint64_t reached = region->start + region->size - address;
	while (reached < size && ++region < end && region->start == address + reached)
		reached += region->size;
	return reached >= size;
}

bool memory_read(const struct memory *memory, uint64_t address, void *out, uint64_t size)
{
	uint8_t *to = out;
	while (size) {
		const struct memory_region *region = memory_find(memory, address);
		if (!region)
			return false;
		uint64_t piece = region->size - (address - region->start);
		if (piece > size)
			piece = size;
		const void *at = memory_at(memory, address, piece);
		if (!at)
			return false;
		memcpy(to, at, piece);
		to += piece;
		address += piece;
		size -= piece;
	}
	return true;
}

bool memory_string(const struct memory *memory, uint64_t address, char *out, size_t max)
{
	for (size_t i = 0; i + 1 < max; i++) {
		uint8_t byte;
		if (!memory_u8(memory, address + i, &byte)) {
			out[i] = '\0';
			return false;
		}
		out[i] = (char)byte;
		if (!byte)
			return true;
	}
	if (max)
		out[max - 1] = '\0';
	return false;
}
