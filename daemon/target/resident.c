#include "base/search.h"
#include "daemon/target/target.h"

/* Bytes of [start, end) in the runs, which are sorted. */
static uint64_t inside(const GArray *array, uint64_t start, uint64_t end)
{
	const struct presence_run *runs = (const struct presence_run *)(const void *)array->data;
	uint64_t bytes = 0;
	for (size_t i = SEARCH_UP_TO(runs, array->len, end, start); i < array->len && runs[i].start < end; i++)
		bytes += MIN(runs[i].end, end) - MAX(runs[i].start, start);
	return bytes;
}

uint64_t snapshot_resident(const snapshot_t *snapshot, uint64_t start, uint64_t end)
{
	const struct mapping *mapping = maps_find(snapshot->maps, start);
	if (mapping && mapping->start == start && mapping->end == end)
		return snapshot->residence[mapping - snapshot->maps->mappings].resident;
	return inside(snapshot->private->copied, start, end) + inside(snapshot->private->spared, start, end);
}
