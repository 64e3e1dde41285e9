/*
 * Attributes of instances of Python classes: in a dict, or as values with the names in the class's shared keys (CPython
 * Objects/dictobject.c, Objects/typeobject.c). And the few other looks at an object that readers of program state need.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

/* One attribute: `name` is a str. Returning false ends the walk. */
typedef bool attribute_visit(void *context, uint64_t name, uint64_t value);

/* Walk the attributes in the instance's __dict__, whatever form that has. */
void attributes_walk(heap_t *heap, uint64_t object, attribute_visit *visit, void *context);

/* The value of the attribute of this ASCII name in the instance's __dict__; 0: none. */
uint64_t attribute_get(heap_t *heap, uint64_t object, const char *name);

/* The type of what is at `address`, or NULL when that is no object. */
struct type *type_of(heap_t *heap, uint64_t address);

/* Whether the object is exactly of this type; or of it or a class made from it. module NULL: any. */
bool object_is(heap_t *heap, uint64_t address, const char *module, const char *qualname);
bool object_is_a(heap_t *heap, uint64_t address, const char *module, const char *qualname);

/* The value of an int (or bool); false: it is none, or doesn't fit. */
bool int_read(heap_t *heap, uint64_t address, int64_t *value);

/* The module `name` (ASCII) of an interpreter's sys.modules: its globals dict; 0: not imported. */
uint64_t module_globals(heap_t *heap, uint64_t interpreter, const char *name);
