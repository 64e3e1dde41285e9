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
 * their characters. Or by asking their rule.
 */
enum size_form { SIZE_FIXED, SIZE_ITEMS, SIZE_DIGITS, SIZE_TEXT, SIZE_ASKED };
enum size_form size_form_of(const heap_t *heap, const struct type *type);

/* sys.getsizeof() of an object that is common, as most of the form are; false: it has to be asked for with object_getsizeof(). */
static inline __attribute__((always_inline)) bool object_getsizeof_form(heap_t *heap, const struct py_layout *layout,
									const struct type *type, enum size_form form,
									const struct object *object, int64_t *bytes)
{
	uint64_t size = type->basicsize, items = 0;
	if (form == SIZE_ITEMS)
		size += (items = load_u64(object->bytes, layout->ob_size)) * type->itemsize;
	if (form == SIZE_DIGITS)
		size = layout->long_digit + (load_u64(object->bytes, layout->long_tag) >> 3) * 4;
	if (form == SIZE_TEXT)
		size = layout->ascii_size + 1 + load_u64(object->bytes, layout->str_length);
	if (form == SIZE_ASKED) {
		*bytes = 0;
		if (!type->size->measure(heap, object, bytes))
			return false;
		*bytes += type->prefix;
		return true;
	}
	*bytes = (int64_t)(size + type->prefix);
	/* no items, or more than there is room for: those need a closer look */
	return form == SIZE_FIXED || form == SIZE_TEXT ||
	       (items <= object->available && size - type->basicsize - 1 < object->available - type->basicsize);
}

/* sys.getsizeof(object); false: something it needs can't be read. */
static inline bool object_getsizeof(heap_t *heap, const struct object *object, int64_t *bytes)
{
	int64_t size = object->type->basicsize;
	if ((object->type->size != &size_of_object || object->type->itemsize) &&
	    !object->type->size->measure(heap, object, &size))
		return false;
	/* a static type is no GC object, though its own type has the flag (CPython typeobject.c, type_is_gc) */
	bool static_type = (object->type->flags & PY_FLAG_TYPE) &&
			   !(load_u64(object->bytes, heap->layout->tp_flags) & PY_FLAG_HEAPTYPE);
	bool prefixed = !static_type || heap->layout->shape.getsizeof_static_types_prefixed;
	*bytes = size + (prefixed ? object->type->prefix : 0);
	return true;
}
