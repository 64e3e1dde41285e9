/*
 * The layout of an interpreter from its own debug information.
 *
 * Types are looked for by name among the children of the units: those of the source files where CPython's structures
 * are used first, all others only when something without which nothing works is still missing. One pass, no DIE is
 * visited twice.
 */
#pragma once
#include <glib.h>

#include "symbols/elf.h"
#include "symbols/layout.h"

enum dwarf_effort {
	DWARF_QUICK, /* stop after the units of the well known source files when they had the essential structures */
	DWARF_ALL,   /* look at every unit until everything is found: for `make layouts` and the tests */
};

struct dwarf_layout {
	/* what was found; PY_ABSENT where the structure has no such field. The shape isn't touched. */
	struct py_layout layout;
	/* for each of py_layout_fields: a complete definition of one of its structures was seen. Where false, nothing
	 * is known. */
	bool *known;
	/* for each: the structure is an object, it starts with a PyObject */
	bool *object;
	size_t n_known;
};

/*
 * Read what `elf` has. Errors: UNKNOWN (no debug information, or none of CPython's structures in it), FAILED (corrupt).
 */
bool dwarf_layout_read(const struct elf_file *elf, enum dwarf_effort effort, struct dwarf_layout *out, GError **error);
void dwarf_layout_clear(struct dwarf_layout *layout);
