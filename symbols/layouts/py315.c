/*
 * CPython 3.15.
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_FLAGS,				\
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
		.generator_cleared = 5,					\
		.managed_dict_offset = -24,				\
		.managed_weakref_offset = -32,				\
		.static_builtin_dicts = true,				\
		.dicts_always_tracked = true,				\
		.int_zero_has_digit = true,				\
		.stack_refs = PY_STACK_TAGGED,				\
		.heap_types_counted = true,				\
	}

#define SHAPE_FREE_THREADED						\
	{								\
		.refcount = PY_REFCOUNT_DEFERRED,			\
		.gc = PY_GC_NONE,					\
		.attributes = PY_ATTRIBUTES_INLINE,			\
		.dict_keys = PY_DICT_KEYS_LOG2,				\
		.lines = PY_LINES_LOCATIONS,				\
		.obmalloc = PY_OBMALLOC_POINTER,			\
		.pool_bytes = 16u << 10,				\
		.arena_bytes = 1u << 20,				\
		.block_alignment = 16,					\
		.str_interned_bits = 8,					\
		.str_kind_shift = 8,					\
		.str_compact_shift = 11,				\
		.str_ascii_shift = 12,					\
		.str_ready_shift = 255,					\
		.generator_cleared = 5,					\
		.managed_dict_offset = -8,				\
		.managed_weakref_offset = -16,				\
		.static_builtin_dicts = true,				\
		.dicts_always_tracked = true,				\
		.int_zero_has_digit = true,				\
		.stack_refs = PY_STACK_TAGGED,				\
		.heap_types_counted = true,				\
	}

static const struct py_shape shape = SHAPE;
static const struct py_shape shape_free_threaded = SHAPE_FREE_THREADED;

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py315.inc"
	.shape = SHAPE,
};

static const struct py_layout debug = {
	PY_NOTHING
#include "symbols/layouts/py315.inc"
#include "symbols/layouts/py315d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded = {
	PY_NOTHING
#include "symbols/layouts/py315t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug = {
	PY_NOTHING
#include "symbols/layouts/py315t.inc"
#include "symbols/layouts/py315td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout release_0 = {
	PY_NOTHING
#include "symbols/layouts/py315.inc"
#include "symbols/layouts/py315_0.inc"
	.shape = SHAPE,
};

static const struct py_layout debug_0 = {
	PY_NOTHING
#include "symbols/layouts/py315.inc"
#include "symbols/layouts/py315_0d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded_0 = {
	PY_NOTHING
#include "symbols/layouts/py315t.inc"
#include "symbols/layouts/py315_0t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug_0 = {
	PY_NOTHING
#include "symbols/layouts/py315t.inc"
#include "symbols/layouts/py315_0td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(15, 0), .minor = 15, .origin = "3.15.0, release, Debian forky", .layout = &release_0},
	{.version = PY_RELEASE(15, 0),
	 .minor = 15, .debug = true,
	 .origin = "3.15.0, debug, Debian forky",
	 .layout = &debug_0},
	{.version = PY_RELEASE(15, 0),
	 .minor = 15, .free_threaded = true,
	 .origin = "3.15.0 headers, free-threaded",
	 .layout = &free_threaded_0},
	{.version = PY_RELEASE(15, 0),
	 .minor = 15, .debug = true, .free_threaded = true,
	 .origin = "3.15.0 headers, free-threaded, debug",
	 .layout = &free_threaded_debug_0},
	{.version = PY_RELEASE(15, 2), .minor = 15, .origin = "3.15.2, release, Debian sid", .layout = &release},
	{.version = PY_RELEASE(15, 2),
	 .minor = 15, .debug = true,
	 .origin = "3.15.2, debug, Debian sid",
	 .layout = &debug},
	{.version = PY_RELEASE(15, 2),
	 .minor = 15, .free_threaded = true,
	 .origin = "3.15.2 headers, free-threaded",
	 .layout = &free_threaded},
	{.version = PY_RELEASE(15, 2),
	 .minor = 15, .debug = true, .free_threaded = true,
	 .origin = "3.15.2 headers, free-threaded, debug",
	 .layout = &free_threaded_debug},
};

const struct py_minor py315 = {
	.minor = 15,
	.shape = &shape,
	.free_threaded = &shape_free_threaded,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
