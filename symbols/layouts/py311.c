/*
 * CPython 3.11: values and dict in front of the object, dict keys by log2, code object with inline caches, location table
 * (PEP 657). Debug builds of 3.8 to 3.11 have the layouts of release builds.
 *
 * int.__sizeof__ counts a digit of 0 from 3.11.2 (gh-100637). sys.getsizeof adds a collector header to every object whose type
 * has Py_TPFLAGS_HAVE_GC, static types included (Python/sysmodule.c); it asks PyObject_IS_GC before and after 3.11 and 3.12.
 * Objects frozen into the image are never freed and start with a count of 999999999 (pycore_object.h, _PyObject_IMMORTAL_REFCNT).
 */
#include "symbols/layouts/layouts.h"

#define SHAPE								\
	{								\
		.refcount = PY_REFCOUNT_PLAIN,				\
		.frozen_refcount = 999999999,				\
		.gc = PY_GC_INTERPRETER,				\
		.attributes = PY_ATTRIBUTES_VALUES,			\
		.dict_keys = PY_DICT_KEYS_LOG2,				\
		.lines = PY_LINES_LOCATIONS,				\
		.obmalloc = PY_OBMALLOC_STATIC,				\
		.pool_bytes = 16u << 10,				\
		.arena_bytes = 1u << 20,				\
		.block_alignment = 16,					\
		.str_interned_bits = 2,					\
		.str_kind_shift = 2,					\
		.str_compact_shift = 5,					\
		.str_ascii_shift = 6,					\
		.str_ready_shift = 7,					\
		.generator_cleared = 4,					\
		.managed_dict_offset = -24,				\
		.managed_weakref_offset = 0,				\
		.getsizeof_static_types_prefixed = true,		\
		.int_zero_has_digit = true,				\
		.heap_types_counted = true,				\
	}

static const struct py_shape shape = SHAPE;

static const struct py_layout release = {
	PY_NOTHING
#include "symbols/layouts/py311.inc"
	.shape = SHAPE,
};

static const struct py_layout trace_refs = {
	PY_NOTHING
#include "symbols/layouts/py311.inc"
#include "symbols/layouts/py311r.inc"
	.shape = SHAPE,
};

static const struct py_builtin builtins[] = {
	{.version = PY_RELEASE(11, 7), .minor = 11, .origin = "3.11.7, release, pyenv", .layout = &release},
	{.version = PY_RELEASE(11, 7),
	 .minor = 11, .debug = true,
	 .origin = "3.11.7, release, pyenv; debug is the same",
	 .layout = &release},
	{.version = PY_RELEASE(11, 7),
	 .minor = 11, .trace_refs = true,
	 .origin = "3.11.7 headers, trace refs",
	 .layout = &trace_refs},
	{.version = PY_RELEASE(11, 7),
	 .minor = 11, .debug = true, .trace_refs = true,
	 .origin = "3.11.7 headers, trace refs; debug is the same",
	 .layout = &trace_refs},
};

static void drift(uint32_t version, struct py_shape *found)
{
	found->int_zero_has_digit = version >= PY_RELEASE(11, 2);
}

const struct py_minor py311 = {
	.minor = 11,
	.shape = &shape,
	.builtins = builtins,
	.n_builtins = G_N_ELEMENTS(builtins),
	.drift = drift,
};
