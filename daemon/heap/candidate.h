/*
 * Telling objects from what else lies in an allocator's blocks: key tables, arrays, freed and cached objects, stale
 * memory.
 *
 * A block holds an object when the word where the type pointer would be is a type, the type's instances begin that far
 * into a block, the reference count is one that a live object can have, and the collector's links (if it has any) are
 * those of a listed object or empty.
 */
#pragma once
#include <stdbool.h>

#include "daemon/heap/block.h"
#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

/* Whether the reference count at `object` is one of a live object. Objects with none (0) are dead: freed, or kept for
 * reuse. */
bool candidate_refcount_odd(const heap_t *heap, const uint8_t *object);
static inline bool candidate_refcount(const heap_t *heap, const uint8_t *object)
{
	/* the common case: a small number, and nothing beside it */
	if (heap->layout->shape.refcount <= PY_REFCOUNT_FLAGS && load_u64(object, heap->layout->ob_refcnt) - 1 < 65535)
		return true;
	return candidate_refcount_odd(heap, object);
}

/*
 * The same for an object in the interpreter's image, of which some have very many references: a count that is also an address is one, too, where
 * the heap lies low (an interpreter that is no PIE).
 */
bool candidate_static(const heap_t *heap, const uint8_t *object);

/*
 * Whether an object whose type has PY_FLAG_HAVE_GC and before which object->type->prefix bytes can be read has a head as the collector makes it:
 * linked into a list, or empty. Sets object->tracked.
 */
bool candidate_head(const heap_t *heap, struct object *object);

/* Whether a free-threaded build's collector has the object, but leaves it alone (gc.freeze()); where there are lists, no. */
bool candidate_frozen(const heap_t *heap, const struct object *object);

/* The parts of candidate_accept() that only str and its subclasses need. */
bool candidate_str_fits(const heap_t *heap, const struct object *object);
bool candidate_size_fits(const heap_t *heap, const struct block *block, bool exact, const struct object *object);

/*
 * Whether `object` (address, bytes, available and type are set) is one: `exact` says that the block's size is what was
 * asked for, not a size class. Sets object->tracked.
 */
static inline bool candidate_accept(const heap_t *heap, const struct block *block, bool exact, struct object *object)
{
	const struct type *type = object->type;
	bool text = type->flags & PY_FLAG_UNICODE;
	if (text && !(type->flags & PY_FLAG_HEAPTYPE))
		return candidate_refcount(heap, object->bytes) && candidate_str_fits(heap, object);
	if (object->available < type->least || !candidate_refcount(heap, object->bytes))
		return false;
	if (type->flags & PY_FLAG_HAVE_GC)
		return candidate_head(heap, object);
	return !text || candidate_size_fits(heap, block, exact, object);
}

/*
 * Whether an accepted object whose size can't be told is one that the target was stopped in the middle of making: it has its type and its first
 * reference, but its size and its tables are still those of what was there before (from free lists: CPython Objects/dictobject.c,
 * new_dict(); from the allocator: Objects/longobject.c, _PyLong_New()). The collector isn't told of it yet. Such a block isn't an
 * object; there is at most one for each running thread.
 */
bool candidate_unborn(const heap_t *heap, const struct object *object);
