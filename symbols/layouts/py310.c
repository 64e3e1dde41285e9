/*
 * CPython 3.10: line table of PEP 626, pools of 16 KiB in arenas of 1 MiB (Objects/obmalloc.c).
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_PLAIN,				\
		.gc = PY_GC_INTERPRETER,				\
		.attributes = PY_ATTRIBUTES_DICTOFFSET,			\
		.dict_keys = PY_DICT_KEYS_SIZE,				\
		.lines = PY_LINES_LINETABLE,				\
		.obmalloc = PY_OBMALLOC_STATIC,				\
		.pool_bytes = 16u << 10,				\
		.arena_bytes = 1u << 20,				\
		.block_alignment = 16,					\
		.str_interned_bits = 2,					\
		.str_kind_shift = 2,					\
		.str_compact_shift = 5,					\
		.str_ascii_shift = 6,					\
		.str_ready_shift = 7,					\
		.generator_cleared = 255,				\
		.managed_dict_offset = 0,				\
		.managed_weakref_offset = 0,				\
		.heap_types_counted = true,				\
	}

static const struct py_shape shape = SHAPE;

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py310.inc"
	.shape = SHAPE,
};

static const struct py_layout trace_refs = {
	PY_NOTHING
#include "symbols/layouts/py310.inc"
#include "symbols/layouts/py310r.inc"
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(10, 13), .minor = 10, .origin = "3.10.13, release, pyenv", .layout = &release},
	{.version = PY_RELEASE(10, 13),
	 .minor = 10, .debug = true,
	 .origin = "3.10.13, release, pyenv; debug is the same",
	 .layout = &release},
	{.version = PY_RELEASE(10, 13),
	 .minor = 10, .trace_refs = true,
	 .origin = "3.10.13 headers, trace refs",
	 .layout = &trace_refs},
	{.version = PY_RELEASE(10, 13),
	 .minor = 10, .debug = true, .trace_refs = true,
	 .origin = "3.10.13 headers, trace refs; debug is the same",
	 .layout = &trace_refs},
};

const struct py_minor py310 = {
	.minor = 10,
	.shape = &shape,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
