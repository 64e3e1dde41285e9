/* What an object refers to: the words of it, and of the tables it owns, that may be references. */
#pragma once
#include <stdint.h>

#include "daemon/heap/object.h"

typedef void referent_visit(void *context, uint64_t address);

/*
 * Visit every non-zero word that may be a reference held by `object`: items, keys and values, attributes, and the
 * fields of structures whose layout isn't known. A superset of what tp_traverse visits: also words that are no
 * references at all. The visitor decides what is an object.
 */
void object_referents(heap_t *heap, const struct object *object, referent_visit *visit, void *context);
