/*
 * Buffers: memory an object owns that is no Python object, and often far larger than the object.
 *
 * numpy's ndarray is public ABI (numpy/ndarraytypes.h, PyArrayObject_fields); two layouts of its descriptor are told apart by their
 * contents (numpy 1.x and 2.x). A view owns nothing.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/object.h"

struct buffer_rule {
	const char *module, *qualname;
	/* bytes of the buffer `object` owns, 0 when it is somebody else's; false: something can't be read */
	bool (*measure)(heap_t *heap, const struct object *object, int64_t *bytes);
};

/* The rule for a type of this name, or NULL: its objects own no buffer this program knows of. */
const struct buffer_rule *buffer_rule_find(const char *module, const char *qualname);

/* numpy.ndarray.__sizeof__ and numpy.generic.__sizeof__, for daemon/heap/size.h */
bool ndarray_sizeof(heap_t *heap, const struct object *object, int64_t *bytes);
bool numpy_scalar_sizeof(heap_t *heap, const struct object *object, int64_t *bytes);
