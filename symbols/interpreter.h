/*
 * The CPython inside a process: which file it is, its version and build, where its roots are, and the layout of its
 * structures.
 *
 * Nothing is run and nothing is written to find that out: the maps, the ELF files behind them, and reads of the
 * process's memory through a callback (live, core or image alike).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "symbols/layout.h"
#include "symbols/maps.h"

enum layout_origin { LAYOUT_DWARF, LAYOUT_DEBUG_OFFSETS, LAYOUT_BUILTIN };

/* read `size` bytes of the target at `address` to `out`; false when any of it can't be read */
typedef bool interpreter_read(void *context, uint64_t address, void *out, uint64_t size);
/* an open descriptor of a mapping's file, or -1 with errno (maps_open for a live process; a sysroot for a core) */
typedef int interpreter_open(void *context, const struct mapping *mapping);

typedef struct interpreter {
	char *path;            /* of the ELF file that holds the interpreter, as the target sees it, escaped */
	uint32_t version;      /* PY_VERSION_HEX, 0x030c01f0 = 3.12.1 final */
	char version_text[32]; /* "3.12.1", "3.15.0b2" */
	bool debug;            /* Py_DEBUG */
	bool free_threaded;
	bool trace_refs;    /* objects have _ob_next, _ob_prev before the refcount */
	bool symbols_found; /* false: found by scanning, there was no symbol table */
	enum layout_origin origin;
	uint64_t bias;                   /* run-time address - link-time address of the file */
	uint64_t image_start, image_end; /* where the file (its bss included) lies in memory */
	/* run-time addresses of the roots; 0: this version or build has none */
	uint64_t runtime;                   /* _PyRuntime */
	uint64_t gc_generation0;            /* 3.6: the pointer _PyGC_generation0 */
	uint64_t gc_enabled, gc_collecting; /* 3.6: statics of gcmodule.c; 0 where stripped */
	uint64_t interp_head;               /* 3.6: the pointer interp_head */
	uint64_t thread_current;    /* 3.6: the pointer _PyThreadState_Current, to the thread that has the GIL */
	uint64_t gil_cond;          /* 3.6: the static of ceval_gil.h; 0 where stripped */
	uint64_t all_blocks;        /* up to 3.8: _Py_AllocatedBlocks, which counts every block handed out */
	uint64_t raw_blocks;        /* 3.9 to 3.11: raw_allocated_blocks, which counts those not from pools */
	uint64_t arenas, maxarenas; /* <= 3.11: the statics of obmalloc.c; found by scan where stripped */
	uint64_t method_cache;      /* <= 3.9: the static of typeobject.c; 0 also where stripped */
	uint64_t type_type;         /* PyType_Type */
	struct py_layout layout;
} interpreter_t;

/* how to reach the process an interpreter is looked for in */
struct interpreter_access {
	void *context;
	interpreter_read *read;
	interpreter_open *open;
	/* an open descriptor of a file by its path in the target's root (separate debug files), or -1 with errno; may
	 * be NULL */
	int (*open_path)(void *context, const char *path);
};

/*
 * Look for the interpreter. Errors, all of SYMBOLS_ERROR, with cause and remedy: UNKNOWN (not a Python process; a
 * CPython whose version or build isn't supported, named; a layout that doesn't validate), FAILED (corrupt ELF,
 * unreadable file).
 */
interpreter_t *interpreter_find(const struct maps *maps, const struct interpreter_access *access, GError **error);
void interpreter_free(interpreter_t *interpreter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(interpreter_t, interpreter_free)

/*
 * A quick answer for lists of processes, from the maps and file names alone (no memory of the process is read): "3.12",
 * or NULL when it doesn't look like a CPython. Static string.
 */
const char *interpreter_guess(const struct maps *maps);
