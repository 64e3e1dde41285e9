/*
 * CPython 3.14: u32 counts with flags, all dicts tracked; free-threaded with deferred and per-thread counts.
 *
 * 3.14.0 to 3.14.4 have the incremental collector (young, old[0], old[1]), later ones the generational one again (gh-142516).
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
		.generator_cleared = 4,					\
		.managed_dict_offset = -24,				\
		.managed_weakref_offset = -32,				\
		.static_builtin_dicts = true,				\
		.dicts_always_tracked = true,				\
		.int_zero_has_digit = true,				\
		.gc_head_old_space_bit = true,				\
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
		.generator_cleared = 4,					\
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
#include "symbols/layouts/py314.inc"
	.shape = SHAPE,
};

static const struct py_layout debug = {
	PY_NOTHING
#include "symbols/layouts/py314.inc"
#include "symbols/layouts/py314d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded = {
	PY_NOTHING
#include "symbols/layouts/py314t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug = {
	PY_NOTHING
#include "symbols/layouts/py314t.inc"
#include "symbols/layouts/py314td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout release_8 = {
	PY_NOTHING
#include "symbols/layouts/py314.inc"
#include "symbols/layouts/py314_8.inc"
	.shape = SHAPE,
};

static const struct py_layout debug_8 = {
	PY_NOTHING
#include "symbols/layouts/py314.inc"
#include "symbols/layouts/py314_8d.inc"
	.shape = SHAPE,
};

static const struct py_layout free_threaded_8 = {
	PY_NOTHING
#include "symbols/layouts/py314t.inc"
#include "symbols/layouts/py314_8t.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout free_threaded_debug_8 = {
	PY_NOTHING
#include "symbols/layouts/py314t.inc"
#include "symbols/layouts/py314_8td.inc"
	.shape = SHAPE_FREE_THREADED,
};

static const struct py_layout release_0 = {
	PY_NOTHING
#include "symbols/layouts/py314.inc"
#include "symbols/layouts/py314_8.inc"
#include "symbols/layouts/py314_0.inc"
	.shape = SHAPE,
};

static const struct py_layout debug_0 = {
	PY_NOTHING
#include "symbols/layouts/py314.inc"
#include "symbols/layouts/py314_8d.inc"
#include "symbols/layouts/py314_0d.inc"
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(14, 0),
	 .minor = 14,
	 .origin = "3.14.8 headers with the collector of 3.14.0-4",
	 .layout = &release_0},
	{.version = PY_RELEASE(14, 0),
	 .minor = 14, .debug = true,
	 .origin = "3.14.8 headers, debug, with the collector of 3.14.0-4",
	 .layout = &debug_0},
	{.version = PY_RELEASE(14, 5), .minor = 14, .origin = "3.14.8, release, Debian forky", .layout = &release_8},
	{.version = PY_RELEASE(14, 5),
	 .minor = 14, .debug = true,
	 .origin = "3.14.8, debug, Debian forky",
	 .layout = &debug_8},
	{.version = PY_RELEASE(14, 0),
	 .minor = 14, .free_threaded = true,
	 .origin = "3.14.8 headers, free-threaded",
	 .layout = &free_threaded_8},
	{.version = PY_RELEASE(14, 0),
	 .minor = 14, .debug = true, .free_threaded = true,
	 .origin = "3.14.8 headers, free-threaded, debug",
	 .layout = &free_threaded_debug_8},
	{.version = PY_RELEASE(14, 10), .minor = 14, .origin = "3.14.10, release, Debian sid", .layout = &release},
	{.version = PY_RELEASE(14, 10),
	 .minor = 14, .debug = true,
	 .origin = "3.14.10, debug, Debian sid",
	 .layout = &debug},
	{.version = PY_RELEASE(14, 10),
	 .minor = 14, .free_threaded = true,
	 .origin = "3.14.10 headers, free-threaded",
	 .layout = &free_threaded},
	{.version = PY_RELEASE(14, 10),
	 .minor = 14, .debug = true, .free_threaded = true,
	 .origin = "3.14.10 headers, free-threaded, debug",
	 .layout = &free_threaded_debug},
};

const struct py_minor py314 = {
	.minor = 14,
	.shape = &shape,
	.free_threaded = &shape_free_threaded,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
