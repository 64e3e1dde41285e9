#include "daemon/heap/links.h"

#include <glib.h>

#define MOST_STRETCHES 65536 /* half a megabyte of sums stays near */
#define LEAST_BITS     20

void links_init(struct links *links, uint64_t low, uint64_t high)
{
	*links = (struct links){.low = low, .high = high, .bits = LEAST_BITS};
	while ((high - low) >> links->bits >= MOST_STRETCHES)
		links->bits++;
	links->n = (size_t)((high - low) >> links->bits) + 1;
	links->sums = g_new0(uint64_t, links->n);
}

void links_clear(struct links *links)
{
	g_clear_pointer(&links->sums, g_free);
}

void links_merge(struct links *links, const struct links *other)
{
	for (size_t i = 0; i < links->n; i++)
		links->sums[i] += other->sums[i];
}

bool links_open(const struct links *links, uint64_t start, uint64_t end)
{
	start = MAX(start, links->low);
	end = MIN(end, links->high);
	if (start >= end)
		return false;
	for (uint64_t i = (start - links->low) >> links->bits; i <= (end - 1 - links->low) >> links->bits; i++)
		if (links->sums[i])
			return true;
	return false;
}
