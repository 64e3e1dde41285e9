/*
 * What sys.getsizeof() would say of an object, without asking it.
 *
 * sys.getsizeof() is the object's __sizeof__() plus the bytes before the object. Python's own types have about thirty
 * different __sizeof__, each known here by the name of the type that defines it; everything else inherits object's:
 * tp_basicsize + |ob_size| * tp_itemsize. A class whose __sizeof__ is its own and not one of ours can't be asked; its
 * instances are sized by object's rule and its type says so (size->known is false).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/dict.h"
#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

struct size_rule {
	const char *module, *qualname; /* of the type that defines this __sizeof__; NULL: object's */
	/* the bytes of __sizeof__(); false: something it needs can't be read */
	bool (*measure)(heap_t *heap, const struct object *object, int64_t *bytes);
	bool known;
};

/* The rule of object.__sizeof__, and the one for a class that has its own. */
extern const struct size_rule size_of_object, size_unknown;

/* The rule for the type that defines a __sizeof__ in C under this name, or NULL. */
const struct size_rule *size_rule_find(const char *module, const char *qualname);

/*
 * How the size of most objects of a type is told, by their own first bytes: all have the same; by the number of their items; of their digits; of
 * their characters; of the items that a list has room for; by the block that a dict's table lies in. Or by asking their rule.
 */
enum size_form {
	SIZE_FIXED,
	SIZE_ITEMS,
	SIZE_DIGITS,
	SIZE_SIGNED_DIGITS, /* their number is negative where the int is (up to 3.11) */
	SIZE_TEXT,
	SIZE_LIST,
	SIZE_DICT,
	SIZE_ASKED
};
enum size_form size_form_of(const heap_t *heap, const struct type *type);

/* what is needed for that, the same for all objects of a type in blocks of one size */
struct size_terms {
	uint64_t base, unit; /* bytes without items, and of one (of a dict's table: 1) */
	uint64_t most;       /* items that there is room for */
	uint32_t count;      /* offset of their number */
	uint32_t table, values;
	const struct dict_blocks *blocks;
	const struct py_shape *shape;
};
struct size_terms size_terms_of(const heap_t *heap, enum size_form form, const struct object *like);

/*
 * Of the common object (struct object) at `bytes`: sys.getsizeof() is terms->base and so many terms->unit. False: it has to be asked for with
 * object_getsizeof(), *units is undefined.
 */
static inline __attribute__((always_inline)) bool size_units(const struct size_terms *terms, enum size_form form,
							     const uint8_t *bytes, uint64_t *units)
{
	*units = 0;
	if (form == SIZE_FIXED)
		return true;
	if (form == SIZE_DICT) {
		*units = dict_block_bytes(terms->blocks, terms->shape, load_u64(bytes, terms->table));
		return *units && !load_u64(bytes, terms->values);
	}
	*units = load_u64(bytes, terms->count) >> (form == SIZE_DIGITS ? 3 : 0);
	if (form == SIZE_SIGNED_DIGITS && (int64_t)*units < 0)
		*units = -*units;
	/* no items, or more than there is room for: those need a closer look; text was looked at */
	return form == SIZE_TEXT || (form == SIZE_LIST ? *units : *units - 1) < terms->most;
}

/* sys.getsizeof(object); false: something it needs can't be read. */
static inline bool object_getsizeof(heap_t *heap, const struct object *object, int64_t *bytes)
{
	int64_t size = object->type->basicsize;
	if ((object->type->size != &size_of_object || object->type->itemsize) &&
	    !object->type->size->measure(heap, object, &size))
		return false;
	/* none keeps more than two tables */
	if ((uint64_t)size > 2 * heap->largest)
		return false;
	/* a static type is no GC object, though its own type has the flag (CPython typeobject.c, type_is_gc) */
	bool static_type = (object->type->flags & PY_FLAG_TYPE) &&
			   !(load_u64(object->bytes, heap->layout->tp_flags) & PY_FLAG_HEAPTYPE);
	bool prefixed = !static_type || heap->layout->shape.getsizeof_static_types_prefixed;
	*bytes = size + (prefixed ? object->type->prefix : 0);
	return true;
}
