/*
 * References that modules made by Cython hold, and to which no pointer leads.
 *
 * Such a module imports every type it was compiled for, and makes the constant tuples and the code objects of its functions, when it is
 * imported, and stores each into a variable of its C file (Cython/Compiler/ModuleNode.py, generate_type_import_code(); Code.py,
 * generate_cached_constants()); it gives none of them back. A variable that no function reads the C compiler leaves out, and the reference
 * stays. What the module leaves in memory tells of it: its read-only data has the names it asked for, its variables the strings that a
 * constant is made of.
 *
 * A module explains one reference to a type whose name and module it has among its strings and to which none of its variables points, and
 * one to a tuple or code object that nothing else explains and all of whose strings its variables point to. An object made again and
 * again, as a leak is, is not explained a second time.
 */
#pragma once
#include <glib.h>
#include <stdint.h>

#include "daemon/analysis/audit.h"

/* the field of a reference to what a module keeps; its word is the start of the module's image */
#define CYTHON_FIELD "kept since its import (Cython)"

struct cython_kept {
	uint32_t object; /* index in the audit's table */
	uint32_t image;  /* index of owners.images: whose module keeps it */
};

/* What of the references that nothing explains so far is of that kind: of struct cython_kept, by object; free with g_array_unref(). */
GArray *cython_find(audit_t *audit);
