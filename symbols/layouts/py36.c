/*
 * CPython 3.6: gc heads behind the exported pointer _PyGC_generation0, plain counts, PyGC_Head a union (Modules/gcmodule.c).
 *
 * Stock builds have a PyGC_Head of 24 bytes and 8-byte block alignment; pyenv patches both to 32 and 16. The interpreter's finder
 * looks at the live image.
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_PLAIN,				\
		.gc = PY_GC_GLOBAL,					\
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
#include "symbols/layouts/py36.inc"
	.shape = SHAPE,
};

static const struct py_layout debug = {
	PY_NOTHING
#include "symbols/layouts/py36.inc"
#include "symbols/layouts/py36d.inc"
	.shape = SHAPE,
};

static const struct py_layout stock = {
	PY_NOTHING
#include "symbols/layouts/py36.inc"
#include "symbols/layouts/py36_0.inc"
	/* private to Modules/gcmodule.c: the head, two ints */
	.gc_generation_size = 32,
	.gc_generation_threshold = 24,
	.gc_generation_count = 28,
	.shape = SHAPE,
};

static const struct py_layout stock_debug = {
	PY_NOTHING
#include "symbols/layouts/py36.inc"
#include "symbols/layouts/py36d.inc"
#include "symbols/layouts/py36_0d.inc"
	/* private to Modules/gcmodule.c: the head, two ints */
	.gc_generation_size = 32,
	.gc_generation_threshold = 24,
	.gc_generation_count = 28,
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(6, 0), .minor = 6, .origin = "3.6.15 with the gc head of stock 3.6", .layout = &stock},
	{.version = PY_RELEASE(6, 0),
	 .minor = 6, .debug = true, .trace_refs = true,
	 .origin = "3.6.15 headers, debug, with the gc head of stock 3.6",
	 .layout = &stock_debug},
	{.version = PY_RELEASE(6, 15), .minor = 6, .origin = "3.6.15, release, pyenv", .layout = &release},
	{.version = PY_RELEASE(6, 15),
	 .minor = 6, .debug = true, .trace_refs = true,
	 .origin = "3.6.15 headers, debug",
	 .layout = &debug},
};

const struct py_minor py36 = {
	.minor = 6,
	.shape = &shape,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
};
