/*
 * Is a layout true of a running interpreter? And what moved inside its minor version.
 *
 * The process runs meanwhile: whatever can be caught half way is looked at several times before it counts as wrong.
 */
#pragma once
#include <glib.h>

#include "symbols/interpreter.h"

enum validity {
	LAYOUT_VALID,
	LAYOUT_WRONG,
	LAYOUT_NOT_STARTED, /* there is no interpreter in the process yet, or no longer */
};

/*
 * Check found->layout against the process, and correct what drifts inside a minor (the generations, the size of the gc
 * head). Sets found->type_type. `why` gets a static string that says what is wrong.
 */
enum validity layout_validate(struct interpreter *found, const struct interpreter_access *access, const char **why);

/* one u64 of the target; false: not readable */
bool access_u64(const struct interpreter_access *access, uint64_t address, uint64_t *value);
bool access_u32(const struct interpreter_access *access, uint64_t address, uint32_t *value);

/* Is the object at `object` an instance of exactly the built-in type called `name`? */
bool access_is_a(const struct interpreter_access *access, const struct py_layout *layout, uint64_t object,
		 const char *name);
