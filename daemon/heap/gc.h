/*
 * The collector's lists (CPython Modules/gcmodule.c to 3.12, Python/gc.c from 3.13).
 *
 * A generation is a circular doubly linked list of PyGC_Heads, each right before its object. The target is stopped at
 * any instruction, so a list may be met half changed: a link half made (the new object is at the tail; both directions
 * are walked and united), or a collection in progress, which moves objects to lists headed on its C stack. Both are
 * survived; the second is told by heap->collecting, and the caller decides whether to look again.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"
#include "daemon/heap/object.h"

typedef void gc_visit(void *context, const struct object *object);

struct gc_walk {
	int64_t objects;    /* visited */
	int64_t unreadable; /* in the list, but not readable or of no known type */
	bool intact;        /* the list closed, and every back link fitted */
};

/* Visit every object of the list around `head`. */
struct gc_walk gc_walk_list(heap_t *heap, uint64_t head, gc_visit *visit, void *context);

/*
 * Count the objects of `n` lists (heads; 0: skipped, counts[i] stays) that together hold `total` objects. All but the
 * longest are walked, the longest is the rest: a walk of a list that has aged costs a cache miss an object.
 */
void gc_count_lists(const heap_t *heap, const uint64_t *heads, size_t n, int64_t total, int64_t *counts);
