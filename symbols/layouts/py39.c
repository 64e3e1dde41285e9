/*
 * CPython 3.9: a collector for every interpreter (Include/internal/pycore_interp.h).
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_PLAIN,				\
		.gc = PY_GC_INTERPRETER,				\
		.attributes = PY_ATTRIBUTES_DICTOFFSET,			\
		.dict_keys = PY_DICT_KEYS_SIZE,				\
		.lines = PY_LINES_LNOTAB,				\
		.obmalloc = PY_OBMALLOC_STATIC,				\
		.pool_bytes = 4u << 10,					\
		.arena_bytes = 256u << 10,				\
		.block_alignment = 16,					\
		.str_interned_bits = 2,					\
		.str_kind_shift = 2,					\
		.str_compact_shift = 5,					\
		.str_ascii_shift = 6,					\
		.str_ready_shift = 7,					\
		.generator_cleared = 255,				\
		.managed_dict_offset = 0,				\
		.managed_weakref_offset = 0,				\
		.static_base_owned = true,				\
		.heap_types_counted = true,				\
	}

static const struct py_shape shape = SHAPE;

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py39.inc"
	.shape = SHAPE,
};

static const struct py_layout trace_refs = {
	PY_NOTHING
#include "symbols/layouts/py39.inc"
#include "symbols/layouts/py39r.inc"
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(9, 18), .minor = 9, .origin = "3.9.18, release, pyenv", .layout = &release},
	{.version = PY_RELEASE(9, 18),
	 .minor = 9, .debug = true,
	 .origin = "3.9.18, release, pyenv; debug is the same",
	 .layout = &release},
	{.version = PY_RELEASE(9, 18),
	 .minor = 9, .trace_refs = true,
	 .origin = "3.9.18 headers, trace refs",
	 .layout = &trace_refs},
	{.version = PY_RELEASE(9, 18),
	 .minor = 9, .debug = true, .trace_refs = true,
	 .origin = "3.9.18 headers, trace refs; debug is the same",
	 .layout = &trace_refs},
};

const struct py_minor py39 = {
	.minor = 9,
	.shape = &shape,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
