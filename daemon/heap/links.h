/*
 * Whether all that looks like an object of the collector's is linked into one of its lists, without following the links: in a large heap that has
 * aged each neighbour is far away.
 *
 * In circular lists what the links lead to, and what is linked, are the same addresses, each once. So the sum of a hash of the one equals that of
 * the other; memory that only looks like an object, to which no link leads, adds to one of them only. The sums are kept by stretch of addresses:
 * where they differ is where to look.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct links {
	uint64_t low, high; /* heads in [low, high) are kept account of */
	unsigned bits;      /* a stretch has 1 << bits bytes */
	size_t n;           /* stretches */
	uint64_t *sums;     /* of each: what is linked, less what links lead to */
};

void links_init(struct links *links, uint64_t low, uint64_t high);
void links_clear(struct links *links);

/* What another thread has met, of the same addresses. */
void links_merge(struct links *links, const struct links *other);

/* Whether something in [start, end) is linked to which no link leads, or the other way round. */
bool links_open(const struct links *links, uint64_t start, uint64_t end);

/*
 * Its square. That is 0 for a multiple of 4 GB only, where a pool's header is and no object; that sets of addresses in one stretch have the same
 * sum, but aren't the same, takes three or more in a pattern, or an accident.
 */
static inline uint64_t links_hash(uint64_t address)
{
	return address * address;
}

/* A head lies at this address. */
static inline void links_meet(const struct links *links, uint64_t head)
{
	if (head - links->low < links->high - links->low)
		links->sums[(head - links->low) >> links->bits] += links_hash(head);
}

/* What the heads of neighbours add to one stretch, where most of them lie: to add each to its sum at once is to wait for the one before. */
struct links_run {
	uint64_t stretch, sum;
};

static inline struct links_run links_run_begin(void)
{
	return (struct links_run){.stretch = UINT64_MAX};
}

static inline void links_run_end(const struct links *links, struct links_run *run)
{
	if (run->sum)
		links->sums[run->stretch] += run->sum;
	run->sum = 0;
}

/* As links_meet(), of a head in [low, high), or the only one of its run. */
static inline void links_run_meet(const struct links *links, struct links_run *run, uint64_t head)
{
	uint64_t stretch = (head - links->low) >> links->bits;
	if (__builtin_expect(stretch != run->stretch, 0)) {
		links_run_end(links, run);
		if (head - links->low >= links->high - links->low)
			return;
		run->stretch = stretch;
	}
	run->sum += links_hash(head);
}

/* A head, or that of a list, says that the next one lies at this address. */
static inline void links_lead(const struct links *links, uint64_t next)
{
	if (next - links->low < links->high - links->low)
		links->sums[(next - links->low) >> links->bits] -= links_hash(next);
}
