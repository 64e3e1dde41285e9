#include "daemon/heap/gc.h"

#include "daemon/heap/type.h"

/*
 * The low bits of a link are the collector's (3.8+: NEXT_MASK_UNREACHABLE; 3.14.0-4: the old space); earlier versions
 * have plain pointers of 16-byte aligned heads, so masking harms none.
 */
#define LINK_MASK (~3ull)

struct walker {
	heap_t *heap;
	gc_visit *visit;
	void *context;
	struct gc_walk result;
	uint64_t limit; /* more objects than this don't fit into the memory there is */
};

static uint64_t memory_capacity(const heap_t *heap)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < heap->memory->n_regions; i++)
		bytes += heap->memory->regions[i].size;
	return bytes / (heap->layout->gc_head_size + heap->layout->object_size) + 1;
}

static void walk_object(struct walker *walker, uint64_t head)
{
	struct object object;
	if (!object_at(walker->heap, head + walker->heap->layout->gc_head_size, &object)) {
		walker->result.unreadable++;
		return;
	}
	object.tracked = true;
	walker->result.objects++;
	walker->visit(walker->context, &object);
}

/* what ends a walk in a circle, of objects or of anything else */
static uint64_t steps(const struct walker *walker)
{
	return (uint64_t)(walker->result.objects + walker->result.unreadable);
}

/* Links of a head: next, prev. False: not readable. */
static bool links_read(const heap_t *heap, uint64_t head, uint64_t *next, uint64_t *prev)
{
	const uint8_t *at = memory_at(heap->memory, head, 16);
	if (!at)
		return false;
	*next = load_u64(at, 0) & LINK_MASK;
	*prev = load_u64(at, 8) & LINK_MASK;
	return true;
}

/*
 * Backwards from the list's end to `last`, the last object the forward walk came to: what lies between was cut off by a
 * link that was being made or undone when the target stopped. Or to the one `before` it: an object that is being appended
 * is linked from the one before, but nothing points back to it yet.
 */
static void walk_back(struct walker *walker, uint64_t list, uint64_t before, uint64_t last)
{
	uint64_t next, prev, at = list;
	if (!links_read(walker->heap, list, &next, &prev))
		return;
	for (at = prev; at && at != last && at != before && at != list && steps(walker) < walker->limit; at = prev) {
		if (!links_read(walker->heap, at, &next, &prev))
			return;
		walk_object(walker, at);
	}
}

struct gc_walk gc_walk_list(heap_t *heap, uint64_t head, gc_visit *visit, void *context)
{
	struct walker walker = {heap, visit, context, {.intact = true}, memory_capacity(heap)};
	uint64_t next, prev, before = head, last = head, at;
	if (!links_read(heap, head, &at, &prev)) {
		walker.result.intact = false;
		return walker.result;
	}
	while (at != head) {
		memory_rest(heap->memory, NULL);
		if (!at || !links_read(heap, at, &next, &prev) || steps(&walker) >= walker.limit) {
			walker.result.intact = false;
			if (!heap->collecting)
				walk_back(&walker, head, before, last);
			return walker.result;
		}
		if (prev != last && !heap->collecting)
			walker.result.intact = false;
		/* an object that is being appended: it is linked, its own links are not made yet */
		walk_object(&walker, at);
		before = last;
		last = at;
		at = next;
	}
	return walker.result;
}

void gc_count_lists(const heap_t *heap, const uint64_t *heads, size_t n, int64_t total, int64_t *counts)
{
	g_autofree uint64_t *at = g_new0(uint64_t, n + 1);
	size_t open = 0;
	uint64_t prev;
	for (size_t i = 0; i < n; i++) {
		if (!heads[i])
			continue;
		counts[i] = 0;
		if (links_read(heap, heads[i], &at[i], &prev) && at[i] != heads[i])
			open++;
		else
			at[i] = 0;
	}
	int64_t walked = 0;
	/* a step in each list, in turn: the processor waits for the next objects of all of them at once */
	while (open > 1 && walked <= total) {
		memory_rest(heap->memory, NULL);
		for (size_t i = 0; i < n; i++) {
			if (!at[i])
				continue;
			counts[i]++;
			walked++;
			uint64_t next;
			if (!links_read(heap, at[i], &next, &prev) || next == heads[i])
				next = 0;
			at[i] = next;
			open -= !next;
		}
	}
	int64_t rest = total;
	for (size_t i = 0; i < n; i++)
		rest -= heads[i] && !at[i] ? counts[i] : 0;
	for (size_t i = 0; i < n; i++) {
		if (heads[i] && at[i])
			counts[i] = open == 1 && rest >= 0 ? rest : -1;
	}
}
