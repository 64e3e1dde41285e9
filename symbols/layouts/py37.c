/*
 * CPython 3.7: one collector for the process, in _PyRuntime (Include/internal/pystate.h).
 *
 * 3.7.0 to 3.7.3 have a PyGC_Head of 24 bytes and 8-byte block alignment (bpo-27987, fixed in 3.7.4).
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_PLAIN,				\
		.gc = PY_GC_RUNTIME,					\
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
	}

static const struct py_shape shape = SHAPE;

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py37.inc"
	.shape = SHAPE,
};

static const struct py_layout debug = {
	PY_NOTHING
#include "symbols/layouts/py37.inc"
#include "symbols/layouts/py37d.inc"
	.shape = SHAPE,
};

static const struct py_layout old = {
	PY_NOTHING
#include "symbols/layouts/py37.inc"
#include "symbols/layouts/py37_0.inc"
	.shape = SHAPE,
};

static const struct py_layout old_debug = {
	PY_NOTHING
#include "symbols/layouts/py37.inc"
#include "symbols/layouts/py37d.inc"
#include "symbols/layouts/py37_0d.inc"
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(7, 0), .minor = 7, .origin = "3.7.16 with the gc head of 3.7.0-3", .layout = &old},
	{.version = PY_RELEASE(7, 0),
	 .minor = 7, .debug = true, .trace_refs = true,
	 .origin = "3.7.16 headers, debug, with the gc head of 3.7.0-3",
	 .layout = &old_debug},
	{.version = PY_RELEASE(7, 4), .minor = 7, .origin = "3.7.16, release, pyenv", .layout = &release},
	{.version = PY_RELEASE(7, 4),
	 .minor = 7, .debug = true, .trace_refs = true,
	 .origin = "3.7.16 headers, debug",
	 .layout = &debug},
};

const struct py_minor py37 = {
	.minor = 7,
	.shape = &shape,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
