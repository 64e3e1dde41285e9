/*
 * Where the memory of a process is: parts of its RSS. Pure.
 *
 * Each resident byte is in one part. The parts add up to the RSS the kernel told; `other` is what is left when the
 * mappings that were looked at are accounted (shared memory, and pages that came and went meanwhile), and may be
 * slightly below 0.
 */
#pragma once
#include <stdint.h>

#include "daemon/analysis/sample.h"
#include "daemon/heap/census.h"

enum memory_kind { MEMORY_HEAP, MEMORY_ANONYMOUS, MEMORY_FILE };

/* one mapping of the process */
struct memory_span {
	uint64_t start, end;
	enum memory_kind kind;
	int64_t object_bytes; /* of objects outside the allocator that lie in it */
};

/* resident bytes of [start, end) */
typedef int64_t memory_resident(void *context, uint64_t start, uint64_t end);

struct sample_memory memory_parts(const struct census *census, const struct memory_span *spans, size_t n, int64_t rss,
				  memory_resident *resident, void *context);
