/*
 * Which CPython it is: the version from the running image or from file names, and the text of it.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "symbols/elf.h"
#include "symbols/interpreter.h"

#define VERSION_TEXT_MAX 32

/* 0x030f00b2 -> "3.15.0b2" (PY_VERSION_HEX, Include/patchlevel.h) */
void version_format(uint32_t version, char text[VERSION_TEXT_MAX]);

/* "3.8.18 (default, …" -> PY_VERSION_HEX; 0: it doesn't start with a version */
uint32_t version_parse(const char *text, size_t size);

/* Is it one that this program has shapes for? (A layout is another question.) */
bool version_is_supported(uint32_t version);

/*
 * Find what Py_GetVersion() returned in the writable segments of the image: "3.8.18 (default, …) \n[GCC 12.2.0]", a
 * static buffer that the start of every CPython fills (Python/getversion.c). 0: there is none, the interpreter hasn't
 * started. `address`, which may be NULL, gets where it is.
 */
uint32_t version_scan(const struct elf_file *elf, uint64_t bias, const struct interpreter_access *access,
		      uint64_t *address);

/* From a file name: "libpython3.8.so.1.0", "python3.12d", "math.cpython-312-x86_64-linux-gnu.so"; 0: none. The micro
 * version is 0. */
uint32_t version_from_name(const char *path);

/* Does the name belong to a debug (d) or free-threaded (t) build? */
void version_flags_from_name(const char *path, bool *debug, bool *free_threaded);
