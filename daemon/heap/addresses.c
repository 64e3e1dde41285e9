#include "daemon/heap/addresses.h"

#include <glib.h>

#define FIRST_SLOTS 4096

void addresses_init(struct addresses *set)
{
	set->slots = g_new0(uint64_t, FIRST_SLOTS);
	set->mask = FIRST_SLOTS - 1;
	set->n = 0;
	set->lowest = UINT64_MAX;
	set->highest = 0;
}

void addresses_clear(struct addresses *set)
{
	g_free(set->slots);
	set->slots = NULL;
	set->mask = set->n = 0;
}

static void insert(struct addresses *set, uint64_t address)
{
	size_t i = addresses_hash(address) & set->mask;
	while (set->slots[i])
		i = (i + 1) & set->mask;
	set->slots[i] = address;
}

bool addresses_add(struct addresses *set, uint64_t address)
{
	if (addresses_has(set, address))
		return false;
	if (set->n * 2 > set->mask) {
		uint64_t *old = set->slots;
		size_t n = set->mask + 1;
		set->slots = g_new0(uint64_t, n * 2);
		set->mask = n * 2 - 1;
		for (size_t i = 0; i < n; i++) {
			if (old[i])
				insert(set, old[i]);
		}
		g_free(old);
	}
	insert(set, address);
	set->n++;
	set->lowest = MIN(set->lowest, address);
	set->highest = MAX(set->highest, address);
	return true;
}
