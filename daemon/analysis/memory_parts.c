#include "daemon/analysis/memory_parts.h"

/* Resident bytes of a span that lie in the allocator's ranges; both ascend. */
static int64_t allocator_bytes(const struct census *census, const struct memory_span *span, memory_resident *resident,
			       void *context)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < census->n_ranges; i++) {
		uint64_t start = MAX(census->ranges[i].start, span->start), end = MIN(census->ranges[i].end, span->end);
		if (start < end)
			bytes += resident(context, start, end);
	}
	return bytes;
}

struct sample_memory memory_parts(const struct census *census, const struct memory_span *spans, size_t n, int64_t rss,
				  memory_resident *resident, void *context)
{
	struct sample_memory parts = {0};
	int64_t allocator = 0;
	for (size_t i = 0; i < n; i++) {
		int64_t inside = allocator_bytes(census, &spans[i], resident, context);
		int64_t outside = resident(context, spans[i].start, spans[i].end) - inside;
		int64_t objects = MIN(spans[i].object_bytes, outside);
		allocator += inside;
		parts.objects += objects;
		outside -= objects;
		switch (spans[i].kind) {
		case MEMORY_HEAP:
			parts.malloc_heap += outside;
			break;
		case MEMORY_ANONYMOUS:
			parts.anonymous += outside;
			break;
		case MEMORY_FILE:
			parts.file += outside;
			break;
		}
	}
	parts.objects += census->object_bytes;
	parts.blocks = census->used_bytes - census->object_bytes;
	parts.free_blocks = census->free_bytes;
	/* pools never touched aren't resident, those given back are free */
	parts.free_pools = allocator - census->used_bytes - census->free_bytes;
	/*
	 * Part of the pools in use is swapped out, or never touched: of free blocks first, then of large ones in use (mimalloc's may be
	 * the table of a dict that has just grown).
	 */
	int64_t absent = MAX(-parts.free_pools, 0);
	parts.free_pools = MAX(parts.free_pools, 0);
	int64_t *const shares[] = {&parts.free_blocks, &parts.blocks, &parts.objects};
	for (size_t i = 0; i < G_N_ELEMENTS(shares) && absent; i++) {
		int64_t share = MIN(absent, MAX(*shares[i], 0));
		*shares[i] -= share;
		absent -= share;
	}
	parts.other = rss - parts.objects - parts.blocks - parts.free_blocks - parts.free_pools - parts.malloc_heap -
		      parts.anonymous - parts.file;
	return parts;
}
