/*
 * CPython 3.12: immortal objects (PEP 683), one tagged word for values or dict, allocator and state of static types in the
 * interpreter (Include/internal/pycore_interp.h).
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_LOW32,				\
		.gc = PY_GC_INTERPRETER,				\
		.attributes = PY_ATTRIBUTES_TAGGED,			\
		.dict_keys = PY_DICT_KEYS_LOG2,				\
		.lines = PY_LINES_LOCATIONS,				\
		.obmalloc = PY_OBMALLOC_EMBEDDED,			\
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
		.getsizeof_static_types_prefixed = true,		\
		.int_zero_has_digit = true,				\
		.heap_types_counted = true,				\
	}

static const struct py_shape shape = SHAPE;

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py312.inc"
	.shape = SHAPE,
};

static const struct py_layout debug = {
	PY_NOTHING
#include "symbols/layouts/py312.inc"
#include "symbols/layouts/py312d.inc"
	.shape = SHAPE,
};

static const struct py_layout trace_refs = {
	PY_NOTHING
#include "symbols/layouts/py312.inc"
#include "symbols/layouts/py312r.inc"
	.shape = SHAPE,
};

static const struct py_layout debug_trace_refs = {
	PY_NOTHING
#include "symbols/layouts/py312.inc"
#include "symbols/layouts/py312r.inc"
#include "symbols/layouts/py312dr.inc"
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(12, 1), .minor = 12, .origin = "3.12.1, release, pyenv", .layout = &release},
	{.version = PY_RELEASE(12, 1),
	 .minor = 12, .debug = true,
	 .origin = "3.12.1 headers, debug",
	 .layout = &debug},
	{.version = PY_RELEASE(12, 1),
	 .minor = 12, .trace_refs = true,
	 .origin = "3.12.1 headers, trace refs",
	 .layout = &trace_refs},
	{.version = PY_RELEASE(12, 1),
	 .minor = 12, .debug = true, .trace_refs = true,
	 .origin = "3.12.1 headers, debug, trace refs",
	 .layout = &debug_trace_refs},
};

const struct py_minor py312 = {
	.minor = 12,
	.shape = &shape,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
