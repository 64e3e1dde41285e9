/* What an object refers to: the words of it, and of the tables it owns, that may be references. */
#pragma once
#include <stdint.h>

#include "daemon/heap/allocator.h"
#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

/* `n` of at least one words, each `stride` bytes behind the other, any of which may be 0 */
typedef void referent_visit(void *context, const uint8_t *words, uint64_t n, uint64_t stride);

/* Bytes from an object's beginning to its first word that may be a reference: before are numbers, and its tables. */
static inline uint64_t object_referents_begin(const struct py_layout *layout, const struct type *type)
{
	switch (type->kind) {
	case TYPE_DICT:
		return layout->ma_values + 8ull;
	case TYPE_LIST:
		return layout->list_ob_item + 16ull; /* the items that there is room for are counted in between */
	case TYPE_TUPLE:
		return layout->ob_size + 8ull;
	default:
		return layout->object_size;
	}
}

/*
 * Visit every word that may be a reference held by `object`: items, keys and values, attributes, and the
 * fields of structures whose layout isn't known. A superset of what tp_traverse visits: also words that are no
 * references at all. The visitor decides what is an object.
 *
 * `blocks`: who looks at all blocks of an allocator meets the tables there, too, and need not be led to them one by one; NULL: lead to all.
 */
void object_referents(heap_t *heap, const struct object *object, const struct allocator *blocks, referent_visit *visit,
		      void *context);
