/*
 * Telling objects from what else lies in an allocator's blocks: key tables, arrays, freed and cached objects, stale
 * memory.
 *
 * A block holds an object when the word where the type pointer would be is a type, the type's instances begin that far
 * into a block, the reference count is one that a live object can have, and the collector's links (if it has any) are
 * those of a listed object, which its neighbours agree to, or empty.
 */
#pragma once
#include <stdbool.h>

#include "daemon/heap/block.h"
#include "daemon/heap/object.h"
#include "daemon/heap/str.h"
#include "daemon/heap/type.h"

#define CANDIDATE_FEW_REFERENCES 65535

/* Whether reference counts are one word, that of most objects a small number. */
static inline bool candidate_counts_in_a_word(const struct py_layout *layout)
{
	return layout->shape.refcount <= PY_REFCOUNT_FLAGS;
}

/* Whether one of these is such a number. */
static inline bool candidate_few_references(const struct py_layout *layout, const uint8_t *object)
{
	return load_u64(object, layout->ob_refcnt) - 1 < CANDIDATE_FEW_REFERENCES;
}

/* Whether the reference count at `object` is one of a live object. Objects with none (0) are dead: freed, or kept for
 * reuse. */
bool candidate_refcount_odd(const heap_t *heap, const uint8_t *object);
static inline bool candidate_refcount(const heap_t *heap, const uint8_t *object)
{
	const struct py_layout *layout = heap->layout;
	return (candidate_counts_in_a_word(layout) && candidate_few_references(layout, object)) ||
	       candidate_refcount_odd(heap, object);
}

/*
 * The same for an object in the interpreter's image, of which some have very many references: a count that is also an address is one, too, where
 * the heap lies low (an interpreter that is no PIE).
 */
bool candidate_static(const heap_t *heap, const uint8_t *object);

#define CANDIDATE_LINK_MASK (~3ull) /* the collector's marks in its links */
#define CANDIDATE_LOWEST    4096    /* no page below can be mapped (vm.mmap_min_addr) */
#define CANDIDATE_HIGHEST   (1ull << 47)

/*
 * Whether an object whose type has PY_FLAG_HAVE_GC and before which object->type->prefix bytes can be read has a head as the collector makes it:
 * with links, or empty. Sets object->tracked.
 */
bool candidate_head(const heap_t *heap, struct object *object);

/* Whether it has such a head, and is tracked, as most are: asked of the object's own bytes only, and not of builds up to 3.7 or without lists. */
static inline bool candidate_head_common(const struct py_layout *layout, const uint8_t *object)
{
	const uint8_t *head = object - layout->gc_head_size;
	uint64_t next = load_u64(head, 0) & CANDIDATE_LINK_MASK, previous = load_u64(head, 8) & CANDIDATE_LINK_MASK;
	return !((next | previous) & ~(CANDIDATE_HIGHEST - 8)) && next >= CANDIDATE_LOWEST &&
	       previous >= CANDIDATE_LOWEST;
}

/* Whether it has one, and isn't tracked: of a type that no class statement made, whose instances may be so. */
static inline bool candidate_head_empty(const struct py_layout *layout, const uint8_t *object)
{
	const uint8_t *head = object - layout->gc_head_size;
	return !load_u64(head, 0) && !(load_u64(head, 8) & CANDIDATE_LINK_MASK);
}

/* Whether a neighbour agrees that what has such a head is linked to it; true when it isn't tracked. See also daemon/heap/links.h. */
bool candidate_linked(const heap_t *heap, const struct object *object);

/* Whether a free-threaded build's collector has the object, but leaves it alone (gc.freeze()); where there are lists, no. */
bool candidate_frozen(const heap_t *heap, const struct object *object);

/* Bits of a str's state, and what they are in one of ASCII characters, which follow it, as most are. */
struct candidate_text {
	uint32_t mask, state;
};

static inline struct candidate_text candidate_text(const struct py_layout *layout)
{
	const struct py_shape *shape = &layout->shape;
	uint32_t compact = shape->str_compact_shift == STR_NO_BIT ? 0 : 1u << shape->str_compact_shift;
	if (shape->str_ascii_shift == STR_NO_BIT)
		return (struct candidate_text){0, 1}; /* none is: nothing says so */
	uint32_t one_byte = 1u << shape->str_kind_shift, ascii = 1u << shape->str_ascii_shift;
	return (struct candidate_text){7 * one_byte | ascii | compact, one_byte | ascii | compact};
}

/* Whether an exact str is one of those, and lies in its block. */
static inline bool candidate_str_common(const struct py_layout *layout, struct candidate_text text,
					const uint8_t *object, uint64_t available)
{
	return (load_u32(object, layout->str_state) & text.mask) == text.state && available > layout->ascii_size &&
	       load_u64(object, layout->str_length) < available - layout->ascii_size;
}

/* The parts of candidate_accept() that only str and its subclasses need. */
bool candidate_str_fits(const heap_t *heap, const struct object *object);
bool candidate_size_fits(const heap_t *heap, const struct block *block, bool exact, const struct object *object);

/*
 * Whether `object` (address, bytes, available and type are set) is one: `exact` says that the block's size is what was
 * asked for, not a size class. Sets object->tracked; that it is linked remains to be seen.
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
