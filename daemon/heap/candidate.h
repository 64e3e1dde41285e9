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

#define CANDIDATE_FEW_REFERENCES 65536 /* a power of two */

/* Whether reference counts are one word, that of most objects a small number. */
static inline bool candidate_counts_in_a_word(const struct py_layout *layout)
{
	return layout->shape.refcount <= PY_REFCOUNT_FLAGS;
}

/* Whether one of these is such a number. */
static inline bool candidate_few_references(uint64_t count)
{
	return count - 1 < CANDIDATE_FEW_REFERENCES;
}

/* Whether the reference count at `object` is one of a live object. Objects with none (0) are dead: freed, or kept for
 * reuse. */
bool candidate_refcount_odd(const heap_t *heap, const uint8_t *object);
static inline bool candidate_refcount(const heap_t *heap, const uint8_t *object)
{
	const struct py_layout *layout = heap->layout;
	return (candidate_counts_in_a_word(layout) && candidate_few_references(load_u64(object, layout->ob_refcnt))) ||
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

/*
 * The heads of some objects, taken together: what is true of their words or-ed, or and-ed, is true of each. Asked of the heads' own bytes only, and
 * not of builds up to 3.7 or without lists.
 */
typedef uint64_t candidate_links __attribute__((vector_size(16))); /* to the next one, and to the one before */
struct candidate_heads {
	candidate_links any, every;
};

static inline struct candidate_heads candidate_heads_begin(void)
{
	return (struct candidate_heads){.every = {UINT64_MAX, UINT64_MAX}};
}

static inline void candidate_heads_add(struct candidate_heads *heads, const uint8_t *head)
{
	candidate_links links;
	memcpy(&links, head, sizeof(links));
	heads->any |= links;
	heads->every &= links;
}

/* Whether they are linked, and so tracked, as most are. Of several it may say no, though each is: if they have no high bit in common. */
static inline bool candidate_heads_common(const struct candidate_heads *heads)
{
	return !((heads->any[0] | heads->any[1]) & CANDIDATE_LINK_MASK & ~(CANDIDATE_HIGHEST - 8)) &&
	       heads->every[0] >= CANDIDATE_LOWEST && heads->every[1] >= CANDIDATE_LOWEST;
}

/* Whether they are empty, and so not tracked: of a type that no class statement made, whose instances may be so. */
static inline bool candidate_heads_empty(const struct candidate_heads *heads)
{
	return !heads->any[0] && !(heads->any[1] & CANDIDATE_LINK_MASK);
}

/* Whether a neighbour agrees that what has such a head is linked to it; true when it isn't tracked. See also daemon/heap/links.h. */
bool candidate_linked(heap_t *heap, const struct object *object);

/* Whether a free-threaded build's collector has the object, but leaves it alone (gc.freeze()); where there are lists, no. */
bool candidate_frozen(const heap_t *heap, const struct object *object);

/* Where a str says what it is, and the bits that it says in one of ASCII characters, which follow it, as most are. */
struct candidate_text {
	uint32_t mask, state;
	uint64_t state_at, length_at; /* offsets */
	/* up to 3.11, of a pointer to the same in wide characters, which is 0 in a str that wasn't asked for them; else 0 */
	uint64_t wide_at;
	uint64_t room; /* for characters and the 0 behind them, where an object has that many bytes */
};

/* Of exact str in as many bytes. */
static inline struct candidate_text candidate_text(const struct py_layout *layout, uint64_t available)
{
	const struct py_shape *shape = &layout->shape;
	uint32_t compact = shape->str_compact_shift == STR_NO_BIT ? 0 : 1u << shape->str_compact_shift;
	struct candidate_text text = {.state_at = layout->str_state, .length_at = layout->str_length, .state = 1};
	/* none is: nothing says so, or there is no room */
	if (shape->str_ascii_shift == STR_NO_BIT || available <= layout->ascii_size)
		return text;
	uint32_t one_byte = 1u << shape->str_kind_shift, ascii = 1u << shape->str_ascii_shift;
	text.mask = 7 * one_byte | ascii | compact;
	text.state = one_byte | ascii | compact;
	text.room = available - layout->ascii_size;
	text.wide_at = layout->str_wstr == PY_ABSENT ? 0 : layout->str_wstr;
	return text;
}

/* Whether a str is one of those, lies in its block, and has nothing elsewhere. */
static inline bool candidate_str_common(const struct candidate_text *text, const uint8_t *object)
{
	return (load_u32(object, text->state_at) & text->mask) == text->state &&
	       load_u64(object, text->length_at) < text->room && (!text->wide_at || !load_u64(object, text->wide_at));
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
 * Whether an accepted object whose size can't be told is one that the target was stopped in the middle of making: it has its type, but its count, its
 * size and its tables may still be those of what was there before (from free lists: CPython Objects/dictobject.c, new_dict(); from the
 * allocator: Objects/longobject.c, _PyLong_New()). The collector isn't told of it yet. Such a block isn't an object; there is at most one for
 * each thread that runs.
 */
bool candidate_unborn(const heap_t *heap, const struct object *object);
