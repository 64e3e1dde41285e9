/*
 * What one minor version of CPython says about itself: its shapes and its built-in tables. One file a minor version defines
 * one `struct py_minor`; version differences stand there and nowhere else.
 *
 * The tables are the .inc files, written by `make layouts` from DWARF. They list the fields that are there; all others are
 * PY_ABSENT, by PY_NOTHING in front of them.
 */
#pragma once
#include "symbols/layout.h"

struct py_minor {
	uint8_t minor;                        /* of 3.x */
	const struct py_shape *shape;         /* builds with a GIL */
	const struct py_shape *free_threaded; /* NULL: there are none */
	const struct py_builtin *builtins;
	size_t n_builtins;
	/* what a release in the middle of the minor changed about its shape; may be NULL */
	void (*drift)(uint32_t version, struct py_shape *shape);
};

extern const struct py_minor py36, py37, py38, py39, py310, py311, py312, py313, py314, py315;

#define PY_NOTHING_ROW(member, path) .member = PY_ABSENT,
#define PY_NOTHING PY_LAYOUT_FIELDS(PY_NOTHING_ROW, PY_NOTHING_ROW)

/* PY_VERSION_HEX of a final release */
#define PY_RELEASE(minor, micro) (3u << 24 | (uint32_t)(minor) << 16 | (uint32_t)(micro) << 8 | 0xf0)

/* a table's fields come after PY_NOTHING and override it on purpose */
#pragma GCC diagnostic ignored "-Woverride-init"
