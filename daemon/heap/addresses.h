/* A set of addresses: open addressing, 8 bytes an entry at half load. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addresses {
	uint64_t *slots; /* 0: empty */
	size_t mask, n;
	uint64_t lowest, highest; /* of those in it */
};

void addresses_init(struct addresses *set);
void addresses_clear(struct addresses *set);
/* True when it wasn't in it before. `address` may not be 0. */
bool addresses_add(struct addresses *set, uint64_t address);

static inline size_t addresses_hash(uint64_t address)
{
	return (size_t)((address >> 3) * 0x9e3779b97f4a7c15ull >> 17);
}

static inline bool addresses_has(const struct addresses *set, uint64_t address)
{
	if (address < set->lowest || address > set->highest)
		return false;
	for (size_t i = addresses_hash(address) & set->mask; set->slots[i]; i = (i + 1) & set->mask) {
		if (set->slots[i] == address)
			return true;
	}
	return false;
}
