#include "base/search.h"
#include "daemon/target/target.h"

uint64_t snapshot_resident(const snapshot_t *snapshot, uint64_t start, uint64_t end)
{
	const struct mapping *mapping = maps_find(snapshot->maps, start);
	if (mapping && mapping->start == start && mapping->end == end)
		return snapshot->residence[mapping - snapshot->maps->mappings].resident;
	const GArray *copied = snapshot->private->copied;
	const struct presence_run *runs = (const struct presence_run *)(const void *)copied->data;
	uint64_t bytes = 0;
	for (size_t i = SEARCH_UP_TO(runs, copied->len, end, start); i < copied->len && runs[i].start < end; i++)
		bytes += MIN(runs[i].end, end) - MAX(runs[i].start, start);
	return bytes;
}
