/* What an object refers to: the words of it, and of the tables it owns, that may be references. */
#pragma once
#include <stdint.h>

#include "daemon/heap/object.h"

/* `n` of at least one words, each `stride` bytes behind the other, any of which may be 0 */
typedef void referent_visit(void *context, const uint8_t *words, uint64_t n, uint64_t stride);

/*
 * Visit every word that may be a reference held by `object`: items, keys and values, attributes, and the
 * fields of structures whose layout isn't known. A superset of what tp_traverse visits: also words that are no
 * references at all. The visitor decides what is an object.
 */
void object_referents(heap_t *heap, const struct object *object, referent_visit *visit, void *context);
