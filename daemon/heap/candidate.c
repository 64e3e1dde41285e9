#include "daemon/heap/candidate.h"

#include "daemon/heap/str.h"
#include "daemon/heap/type.h"

#define LINK_MASK     CANDIDATE_LINK_MASK
#define HIGHEST_COUNT (4ull << 20) /* of a collection, with its marks; no heap lies lower */
#define MAX_REFCOUNT  (1ll << 31)

/* ob_gc_bits of free-threaded builds: CPython Include/internal/pycore_gc.h */
#define GC_BIT_TRACKED 1
#define GC_BIT_FROZEN  8

/* gc_refs up to 3.7: Include/internal/mem.h, _PyGC_REFS_UNTRACKED and _PyGC_REFS_TENTATIVELY_UNREACHABLE */
#define GC_REFS_UNTRACKED (-2)
#define GC_REFS_LOWEST    (-4)

/* Where the heap lies below 4 GiB (an interpreter that is no PIE), a pointer to a block passes as a count, and a large count as a pointer. */
static bool maybe_pointer(const heap_t *heap, uint64_t word)
{
	return word >= 65536 && word % 8 == 0 && memory_find(heap->memory, word);
}

bool candidate_refcount_odd(const heap_t *heap, const uint8_t *object)
{
	const struct py_layout *layout = heap->layout;
	struct refcount refcount = object_refcount(layout, object);
	/* free-threaded builds have no such field */
	uint64_t word = heap_has(layout->ob_refcnt) ? load_u64(object, layout->ob_refcnt) : 0;
	switch (layout->shape.refcount) {
	case PY_REFCOUNT_PLAIN:
		if (refcount.immortal)
			return !maybe_pointer(heap, word);
		break;
	case PY_REFCOUNT_LOW32:
		/* all 64 bits count: a pointer whose low half looks immortal is none */
		if (refcount.immortal)
			return word <= UINT32_MAX;
		break;
	case PY_REFCOUNT_FLAGS:
		if (word >> 32 & 0xffff)
			return false;
		if (refcount.immortal)
			return true;
		break;
	case PY_REFCOUNT_SPLIT:
	case PY_REFCOUNT_DEFERRED:
		if (refcount.immortal)
			return true;
		/* references from stacks, and those counted by threads, are not in the count of a deferred object */
		if (object[layout->ob_gc_bits] & PY_GC_BIT_DEFERRED)
			return refcount.count > -MAX_REFCOUNT && refcount.count < MAX_REFCOUNT;
		break;
	}
	if (refcount.count <= 0 || refcount.count >= MAX_REFCOUNT)
		return false;
	return !maybe_pointer(heap, (uint64_t)refcount.count);
}

bool candidate_static(const heap_t *heap, const uint8_t *object)
{
	if (heap->layout->shape.refcount != PY_REFCOUNT_PLAIN)
		return candidate_refcount(heap, object);
	int64_t count = load_i64(object, heap->layout->ob_refcnt);
	return count > 0 && count < MAX_REFCOUNT;
}

/* Whether the block's size is what the type's allocator would ask for an instance. */
bool candidate_size_fits(const heap_t *heap, const struct block *block, bool exact, const struct object *object)
{
	const struct type *type = object->type;
	uint32_t unit = heap->layout->shape.block_alignment;
	if (exact)
		return block->size >= type->prefix + (uint64_t)type_struct_size(heap, type, object->bytes);
	if (type->itemsize || type->flags & (PY_FLAG_UNICODE | PY_FLAG_INLINE_VALUES))
		return block->size >= type->prefix + type->basicsize;
	uint32_t wanted = (type->prefix + type_struct_size(heap, type, object->bytes) + unit - 1) / unit * unit;
	return block->size == wanted;
}

/*
 * A str begins with a shorter struct than its type says, unless it is an instance of a subclass, and its characters follow (CPython
 * Objects/unicodeobject.c, PyUnicode_New()).
 */
bool candidate_str_fits(const heap_t *heap, const struct object *object)
{
	const struct py_layout *layout = heap->layout;
	struct str str;
	if (object->available < layout->ascii_size || !str_read_at(heap, object->address, object->bytes, &str))
		return false;
	if (!str.compact)
		return object->available >= layout->unicode_size;
	uint64_t header = str.ascii ? layout->ascii_size : layout->compact_size;
	return object->available >= header && str.length < (object->available - header) / MAX(str.kind, 1);
}

/* In a torn copy a collection may have run while this part was copied: the count of one, where a link would be. */
static bool maybe_count(const heap_t *heap, uint64_t link)
{
	return heap->memory->torn && link && link < HIGHEST_COUNT;
}

/* Whether there is a head of an object. */
static bool is_head(heap_t *heap, uint64_t head)
{
	uint64_t address;
	const struct type *type =
		memory_u64(heap->memory, head + heap->layout->gc_head_size + heap->layout->ob_type, &address)
			? type_get(heap, address)
			: NULL;
	return type && type->flags & PY_FLAG_HAVE_GC;
}

/*
 * Whether the head at `head` is linked into a list, and not just memory that looks like it: a neighbour points to it. Both do unless the
 * target stopped while it was being linked, or unlinked.
 */
static bool linked(heap_t *heap, uint64_t head, const uint8_t *at)
{
	uint64_t next = load_u64(at, 0) & LINK_MASK, prev = load_u64(at, 8) & LINK_MASK, link;
	if (!next)
		return !prev;
	bool there = memory_u64(heap->memory, next + 8, &link);
	if (there && maybe_count(heap, link))
		return true;
	/* while a collection runs objects have counts where they would point back; the lists themselves do (from 3.8 on) */
	if (heap->collecting && there && !heap_has(heap->layout->gc_head_refs) && is_head(heap, next))
		return true;
	return (there && (link & LINK_MASK) == head) ||
	       (memory_u64(heap->memory, prev, &link) && (link & LINK_MASK) == head);
}

/* Whether the collector has listed an object that has a head, and whether the head of one it hasn't listed is that of
 * an object. */
static bool head_tracked(const heap_t *heap, const uint8_t *head, bool *plausible)
{
	const struct py_layout *layout = heap->layout;
	if (heap_has(layout->gc_head_refs)) {
		/* up to 3.7: a count of its own says so, and the links of an untracked object are stale */
		int64_t refs = load_i64(head, layout->gc_head_refs) >> 1;
		*plausible = refs >= GC_REFS_LOWEST && refs < MAX_REFCOUNT;
		return refs != GC_REFS_UNTRACKED;
	}
	*plausible = (load_u64(head, 8) & LINK_MASK) == 0;
	return load_u64(head, 0) != 0;
}

/* Free-threaded builds: tracked is a bit; frozen objects keep it, but gc.get_objects() leaves them out. */
static bool bit_tracked(const heap_t *heap, const struct object *object)
{
	return (object->bytes[heap->layout->ob_gc_bits] & (GC_BIT_TRACKED | GC_BIT_FROZEN)) == GC_BIT_TRACKED;
}

bool candidate_frozen(const heap_t *heap, const struct object *object)
{
	const uint8_t both = GC_BIT_TRACKED | GC_BIT_FROZEN;
	return heap->layout->shape.gc == PY_GC_NONE && object->type->flags & PY_FLAG_HAVE_GC &&
	       (object->bytes[heap->layout->ob_gc_bits] & both) == both;
}

/* the lists' own heads lie at multiples of 4 (3.13.5, where the generations became a type of that alignment) */
static bool link_plausible(uint64_t link)
{
	return link >= CANDIDATE_LOWEST && link < CANDIDATE_HIGHEST && link % 4 == 0;
}

/*
 * Whether the links of a head could be links at all: not the text or the numbers of a block that still holds, further behind, the header
 * of what was there before.
 */
static bool links_plausible(const heap_t *heap, const uint8_t *head)
{
	return link_plausible(load_u64(head, 0) & LINK_MASK) &&
	       (heap->collecting || link_plausible(load_u64(head, 8) & LINK_MASK) ||
		maybe_count(heap, load_u64(head, 8)));
}

/* Whether the object is just being appended to a list: the one before it points to it, its own link to the list isn't made yet. */
static bool being_linked(const heap_t *heap, uint64_t head, const uint8_t *at)
{
	uint64_t prev = load_u64(at, 8) & LINK_MASK, link;
	return !heap_has(heap->layout->gc_head_refs) && link_plausible(prev) && memory_u64(heap->memory, prev, &link) &&
	       (link & LINK_MASK) == head;
}

bool candidate_head(const heap_t *heap, struct object *object)
{
	if (heap->layout->shape.gc == PY_GC_NONE) {
		object->tracked = bit_tracked(heap, object);
		return !object->type->always_listed || object->bytes[heap->layout->ob_gc_bits] & GC_BIT_TRACKED;
	}
	bool plausible;
	const uint8_t *head = object->bytes - heap->layout->gc_head_size;
	object->tracked = head_tracked(heap, head, &plausible);
	if (!object->tracked)
		return !object->type->always_listed &&
		       (plausible || being_linked(heap, object->address - heap->layout->gc_head_size, head));
	return links_plausible(heap, head);
}

bool candidate_linked(heap_t *heap, const struct object *object)
{
	uint32_t head_size = heap->layout->gc_head_size;
	return heap->layout->shape.gc == PY_GC_NONE || !object->tracked ||
	       linked(heap, object->address - head_size, object->bytes - head_size);
}

bool candidate_unborn(const heap_t *heap, const struct object *object)
{
	const uint32_t head_size = heap->layout->gc_head_size;
	bool plausible;
	if (heap->memory->torn)
		return false;
	if (!(object->type->flags & PY_FLAG_HAVE_GC))
		return true;
	if (heap->layout->shape.gc == PY_GC_NONE)
		return !(object->bytes[heap->layout->ob_gc_bits] & GC_BIT_TRACKED);
	const uint8_t *head = memory_at(heap->memory, object->address - head_size, head_size);
	return head && !head_tracked(heap, head, &plausible);
}
