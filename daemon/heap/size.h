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
