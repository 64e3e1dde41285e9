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

const struct py_minor py315 = {
	.minor = 15,
	.shape = &shape,
	.free_threaded = &shape_free_threaded,
};
