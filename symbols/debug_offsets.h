/*
 * _Py_DebugOffsets: the table of offsets that CPython 3.13 and later carry at the start of _PyRuntime for debuggers
 * (Include/internal/pycore_debug_offsets.h; in 3.13 pycore_runtime.h).
 *
 * Its own shape depends on the minor version: entries are inserted in its middle. It stays the same within one
 * [3.13.0-18, 3.14.8-10, 3.15.0-2]. All entries are u64 behind the 8 bytes of the cookie.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "symbols/layout.h"

#define DEBUG_OFFSETS_COOKIE "xdebugpy"
#define DEBUG_OFFSETS_BYTES  1024 /* at least as large as any known table */

/* The start of the table, which all versions share; false: no cookie, or a version that isn't 3.13 or later. */
bool debug_offsets_version(const uint8_t *bytes, size_t size, uint32_t *version, bool *free_threaded);

/*
 * Lay the table's offsets over `layout`. Each must lie inside its structure, whose size the table gives too; one that
 * doesn't makes the table void. `n_changed`, which may be NULL, gets how many differ from what the layout said. False:
 * unknown version, void, or too short; the layout is then as it was.
 */
bool debug_offsets_apply(const uint8_t *bytes, size_t size, struct py_layout *layout, unsigned *n_changed);
