/*
 * The line of an instruction, from the table its code object carries. Three encodings:
 *
 *   LNOTAB     up to 3.9: pairs (bytes of code, lines signed) that are added up      CPython Objects/lnotab_notes.txt
 *   LINETABLE  3.10: pairs (bytes of code, lines signed), -128 for no line           CPython 3.10 Objects/lnotab_notes.txt, PEP 626
 *   LOCATIONS  3.11 and later: entries of a byte 1cccclll (kind, code units - 1) and what the kind needs
 *              CPython Objects/locations.md (3.11+), InternalDocs/code_objects.md (3.13+)
 *
 * Tables are foreign bytes: they may end anywhere and hold anything.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "symbols/layout.h"

#define LINE_NONE 0 /* the instruction belongs to no line (it was made by the compiler) */

/*
 * The line of the instruction at byte `at` of the code (negative: it hasn't begun, that is the first line). `first` is co_firstlineno.
 * LINE_NONE also when the table doesn't say.
 */
int line_of(enum py_lines kind, const uint8_t *table, size_t size, int first, int64_t at);
