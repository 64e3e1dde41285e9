/*
 * CPython 3.13: inline values, the allocator behind a pointer; the first free-threaded builds (PEP 703).
 *
 * The generations are at 24 in the collector's state, and at 20 in Debian's builds, whose patch for m68k makes the typedef PyGC_Head
 * 4-aligned: gc_generation0 points to them in both. It is NULL in free-threaded builds, whose heads are zeros.
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_LOW32,				\
		.gc = PY_GC_INTERPRETER,				\
		.attributes = PY_ATTRIBUTES_INLINE,			\
		.dict_keys = PY_DICT_KEYS_LOG2,				\
		.lines = PY_LINES_LOCATIONS,				\
		.obmalloc = PY_OBMALLOC_POINTER,			\
		.pool_bytes = 16u << 10,				\
		.arena_bytes = 1u << 20,				\
		.block_alignment = 16,					\
		.str_interned_bits = 2,					\
		.str_kind_shift = 2,					\
		.str_compact_shift = 5,					\
		.str_ascii_shift = 6,					\
		.str_ready_shift = 255,					\
		.generator_cleared = 4,					\
		.managed_dict_offset = -24,				\
		.managed_weakref_offset = -32,				\
		.static_builtin_dicts = true,				\
		.int_zero_has_digit = true,				\
		.heap_types_counted = true,				\
	}

#define SHAPE_FREE_THREADED						\
	{								\
		.refcount = PY_REFCOUNT_SPLIT,				\
		.gc = PY_GC_NONE,					\
		.attributes = PY_ATTRIBUTES_INLINE,			\
		.dict_keys = PY_DICT_KEYS_LOG2,				\
		.lines = PY_LINES_LOCATIONS,				\
		.obmalloc = PY_OBMALLOC_POINTER,			\
		.pool_bytes = 16u << 10,				\
		.arena_bytes = 1u << 20,				\
		.block_alignment = 16,					\
		.str_interned_bits = 2,					\
		.str_kind_shift = 2,					\
		.str_compact_shift = 5,					\
		.str_ascii_shift = 6,					\
		.str_ready_shift = 255,					\
		.generator_cleared = 4,					\
		.managed_dict_offset = -8,				\
		.managed_weakref_offset = -16,				\
		.static_builtin_dicts = true,				\
		.int_zero_has_digit = true,				\
		.stack_refs = PY_STACK_DEFERRED,			\
		.heap_types_counted = true,				\
	}

static const struct py_shape shape = SHAPE;
static const struct py_shape shape_free_threaded = SHAPE_FREE_THREADED;

static const struct py_layout release_0 = {
	PY_NOTHING
#include "symbols/layouts/py313.inc"
#include "symbols/layouts/py313_0.inc"
	.shape = SHAPE,
};

static const struct py_layout debug_0 = {
	PY_NOTHING
#include "symbols/layouts/py313.inc"
#include "symbols/layouts/py313_0d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded_0 = {
	PY_NOTHING
#include "symbols/layouts/py313t.inc"
#include "symbols/layouts/py313_0t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug_0 = {
	PY_NOTHING
#include "symbols/layouts/py313t.inc"
#include "symbols/layouts/py313_0td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout release_5 = {
	PY_NOTHING
#include "symbols/layouts/py313.inc"
#include "symbols/layouts/py313_5.inc"
	.shape = SHAPE,
};

static const struct py_layout debug_5 = {
	PY_NOTHING
#include "symbols/layouts/py313.inc"
#include "symbols/layouts/py313_5d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded_5 = {
	PY_NOTHING
#include "symbols/layouts/py313t.inc"
#include "symbols/layouts/py313_5t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug_5 = {
	PY_NOTHING
#include "symbols/layouts/py313t.inc"
#include "symbols/layouts/py313_5td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py313.inc"
	.shape = SHAPE,
};

static const struct py_layout debug = {
	PY_NOTHING
#include "symbols/layouts/py313.inc"
#include "symbols/layouts/py313d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded = {
	PY_NOTHING
#include "symbols/layouts/py313t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug = {
	PY_NOTHING
#include "symbols/layouts/py313t.inc"
#include "symbols/layouts/py313td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(13, 0), .minor = 13, .origin = "3.13.0, release, pyenv", .layout = &release_0},
	{.version = PY_RELEASE(13, 0),
	 .minor = 13, .debug = true,
	 .origin = "3.13.0 headers, debug",
	 .layout = &debug_0},
	{.version = PY_RELEASE(13, 0),
	 .minor = 13, .free_threaded = true,
	 .origin = "3.13.0 headers, free-threaded",
	 .layout = &free_threaded_0},
	{.version = PY_RELEASE(13, 0),
	 .minor = 13, .debug = true, .free_threaded = true,
	 .origin = "3.13.0 headers, free-threaded, debug",
	 .layout = &free_threaded_debug_0},
	{.version = PY_RELEASE(13, 5), .minor = 13, .origin = "3.13.5, release, Debian trixie", .layout = &release_5},
	{.version = PY_RELEASE(13, 5),
	 .minor = 13, .debug = true,
	 .origin = "3.13.5, debug, Debian trixie",
	 .layout = &debug_5},
	{.version = PY_RELEASE(13, 5),
	 .minor = 13, .free_threaded = true,
	 .origin = "3.13.5 headers, free-threaded",
	 .layout = &free_threaded_5},
	{.version = PY_RELEASE(13, 5),
	 .minor = 13, .debug = true, .free_threaded = true,
	 .origin = "3.13.5 headers, free-threaded, debug",
	 .layout = &free_threaded_debug_5},
	{.version = PY_RELEASE(13, 15),
	 .minor = 13,
	 .origin = "3.13.15 and 3.13.18, release, Debian",
	 .layout = &release},
	{.version = PY_RELEASE(13, 15),
	 .minor = 13, .debug = true,
	 .origin = "3.13.15 and 3.13.18, debug, Debian",
	 .layout = &debug},
	{.version = PY_RELEASE(13, 15),
	 .minor = 13, .free_threaded = true,
	 .origin = "3.13.15 built from source, free-threaded",
	 .layout = &free_threaded},
	{.version = PY_RELEASE(13, 15),
	 .minor = 13, .debug = true, .free_threaded = true,
	 .origin = "3.13.15 headers, free-threaded, debug",
	 .layout = &free_threaded_debug},
};

const struct py_minor py313 = {
	.minor = 13,
	.shape = &shape,
	.free_threaded = &shape_free_threaded,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
