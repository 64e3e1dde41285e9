#include "daemon/analysis/cover.h"

#include <glib.h>
#include <string.h>

bool cover_init(struct cover *cover, const struct memory *memory, const struct maps *maps)
{
	memset(cover, 0, sizeof(*cover));
	cover->regions = g_new0(struct cover_region, memory->n_regions + 1);
	for (size_t i = 0; i < memory->n_regions; i++) {
		const struct memory_region *region = &memory->regions[i];
		if (region->size < 8 || region->start % 8)
			continue;
		if (region->mapping != MEMORY_NO_MAPPING && maps && region->mapping < maps->n) {
			const struct mapping *mapping = &maps->mappings[region->mapping];
			if (!mapping->writable || mapping->shared)
				continue;
		}
		/* static data of a file: the pages never written to are still to be read */
		if (!memory_at(memory, region->start, region->size))
			continue;
		struct cover_region *own = &cover->regions[cover->n];
		*own = (struct cover_region){.start = region->start,
					     .size = region->size & ~7ull,
					     .bytes = region->bytes,
					     .mapping = region->mapping};
		own->bits = g_try_new0(uint64_t, region->size / 512 + 1);
		if (!own->bits) {
			cover_clear(cover);
			return false;
		}
		cover->n++;
	}
	return true;
}

void cover_clear(struct cover *cover)
{
	for (size_t i = 0; i < cover->n; i++)
		g_free(cover->regions[i].bits);
	g_free(cover->regions);
	memset(cover, 0, sizeof(*cover));
}

/* the index of the first region that ends behind `address` */
static size_t find(const struct cover *cover, uint64_t address)
{
	size_t low = 0, high = cover->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (cover->regions[middle].start + cover->regions[middle].size <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct cover_region *cover_find(const struct cover *cover, uint64_t address)
{
	size_t i = find(cover, address);
	return i < cover->n && cover->regions[i].start <= address ? &cover->regions[i] : NULL;
}

static void change_bits(uint64_t *bits, uint64_t from, uint64_t to, bool set)
{
	while (from < to) {
		unsigned shift = from & 63;
		uint64_t n = MIN(64 - shift, to - from);
		uint64_t mask = (n == 64 ? ~0ull : (1ull << n) - 1) << shift;
		if (set)
			bits[from >> 6] |= mask;
		else
			bits[from >> 6] &= ~mask;
		from += n;
	}
}

static void change(struct cover *cover, uint64_t start, uint64_t end, bool set)
{
	if (end <= start || end > 1ull << 56)
		return;
	size_t i = cover->last;
	if (i >= cover->n || start - cover->regions[i].start >= cover->regions[i].size)
		i = find(cover, start);
	for (; i < cover->n && cover->regions[i].start < end; i++) {
		const struct cover_region *region = &cover->regions[i];
		uint64_t from = MAX(start, region->start) - region->start;
		uint64_t to = MIN(end, region->start + region->size) - region->start;
		cover->last = i;
		change_bits(region->bits, from / 8, (to + 7) / 8, set);
	}
}

void cover_set(struct cover *cover, uint64_t start, uint64_t end)
{
	change(cover, start, end, true);
}

void cover_unset(struct cover *cover, uint64_t start, uint64_t end)
{
	change(cover, start, end, false);
}

bool cover_has(const struct cover *cover, uint64_t address)
{
	const struct cover_region *region = cover_find(cover, address);
	if (!region)
		return false;
	uint64_t word = (address - region->start) / 8;
	return region->bits[word >> 6] >> (word & 63) & 1;
}

void cover_walk(const struct cover *cover, const struct cover_region *region, cover_visit *visit, void *context)
{
	uint64_t words = region->size / 8;
	(void)cover;
	for (uint64_t i = 0; i < words; i += 64) {
		uint64_t open = ~region->bits[i >> 6];
		if (words - i < 64)
			open &= (1ull << (words - i)) - 1;
		while (open) {
			unsigned k = (unsigned)__builtin_ctzll(open);
			uint64_t word;
			open &= open - 1;
			memcpy(&word, region->bytes + (i + k) * 8, sizeof(word));
			if (word)
				visit(context, region->start + (i + k) * 8, word);
		}
	}
}
