#include "daemon/target/target.h"

uint64_t snapshot_resident(const snapshot_t *snapshot, uint64_t start, uint64_t end)
{
	const struct mapping *mapping = maps_find(snapshot->maps, start);
	if (mapping && mapping->start == start && mapping->end == end)
		return snapshot->residence[mapping - snapshot->maps->mappings].resident;
	const GArray *runs = snapshot->private->copied;
	size_t low = 0, high = runs->len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (g_array_index(runs, struct presence_run, middle).end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	uint64_t bytes = 0;
	for (; low < runs->len; low++) {
		const struct presence_run *run = &g_array_index(runs, struct presence_run, low);
		if (run->start >= end)
			break;
		bytes += MIN(run->end, end) - MAX(run->start, start);
	}
	return bytes;
}
