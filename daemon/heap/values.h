/*
 * The value of an object as Python would print it, from memory alone: nothing of the target is called.
 *
 * str, bytes, int, float, bool, None, enum members, short containers of these, names of functions, classes and modules; of other
 * instances the class and a few attributes: `<Cart items=[1, 2] owner='ann'>`. What doesn't fit ends in an ellipsis.
 */
#pragma once
#include <glib.h>

#include "daemon/heap/references.h"

/*
 * The value of the object at `address` in at most about `width` characters, escaped and printable. Never NULL; "?" when there is no
 * object that can be read. Uses `references` for a pass of its own: not from inside another one. Free with g_free().
 */
char *value_text(references_t *references, uint64_t address, size_t width);
