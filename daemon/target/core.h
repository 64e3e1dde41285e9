/*
 * Core files as targets: written by the kernel (core(5)) or by gcore. Memory comes from the file's segments; what the kernel leaves out, the
 * read-only parts of executables and libraries, from those files themselves: by their paths in the core's note of files, below `sysroot`
 * where one is given, and only when their first page is the one in the core. Pages that are nowhere can't be read; they are not guessed.
 */
#pragma once
#include "daemon/target/snapshot.h"

struct core_options {
	const char *path;
	const char *exe;     /* the executable, where it isn't where it was; NULL */
	const char *sysroot; /* the root of the machine it came from; NULL: this one's */
};

/*
 * Open a core file, or an image that `reftop save` wrote (daemon/target/image.h). target_snapshot() gives the same picture each time.
 * Errors: FAILED (no such file, no core, nothing to find an interpreter in, each with its cause), UNKNOWN (another architecture; no CPython
 * it knows).
 */
target_t *target_open_file(const struct core_options *options, GError **error);
/* Set *error to say that a file is incomplete, where that is why something can't be read; false: it is complete, or no file. */
bool target_incomplete(const target_t *target, GError **error);
/*
 * An open descriptor of the file behind a mapping of a target, of a process or of a file; -1: it isn't here, or isn't the one that was
 * mapped: its first page is compared with that in `memory`.
 */
int target_open_mapping(const target_t *target, const struct memory *memory, const struct mapping *mapping);
/* Whether the target is a file. */
bool target_is_file(const target_t *target);
