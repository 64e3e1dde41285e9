#include "symbols/layout.h"

#include <string.h>

#include "symbols/layouts/layouts.h"

const struct py_layout_field py_layout_fields[] = {
#define OFFSET_ROW(member, path) {#member, path, offsetof(struct py_layout, member), false},
#define SIZE_ROW(member, path)   {#member, path, offsetof(struct py_layout, member), true},
	PY_LAYOUT_FIELDS(OFFSET_ROW, SIZE_ROW)};

const size_t py_layout_n_fields = G_N_ELEMENTS(py_layout_fields);

static const struct py_minor *const minors[] = {
	&py36, &py37, &py38, &py39, &py310, &py311, &py312, &py313, &py314, &py315,
};

static const struct py_minor *minor_find(uint32_t version)
{
	if (version >> 24 != 3)
		return NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(minors); i++)
		if (minors[i]->minor == (version >> 16 & 0xff))
			return minors[i];
	return NULL;
}

/*
 * Among several tables of one kind the newest that isn't newer than the interpreter wins (drift happens at a release
 * and stays); an interpreter older than all of them gets the oldest.
 */
const struct py_builtin *py_builtin_find(uint32_t version, bool debug, bool free_threaded, bool trace_refs)
{
	const struct py_minor *minor = minor_find(version);
	const struct py_builtin *best = NULL;
	for (size_t i = 0; minor && i < minor->n_builtins; i++) {
		const struct py_builtin *builtin = &minor->builtins[i];
		if (builtin->debug != debug || builtin->free_threaded != free_threaded ||
		    builtin->trace_refs != trace_refs)
			continue;
		bool fits = builtin->version >> 8 <= version >> 8;
		if (!best || (fits && (best->version >> 8 > version >> 8 || builtin->version > best->version)) ||
		    (!fits && best->version >> 8 > version >> 8 && builtin->version < best->version))
			best = builtin;
	}
	return best;
}

const struct py_builtin *py_builtin_all(size_t *n)
{
	static struct py_builtin *all;
	static size_t count;
	static gsize once;
	if (g_once_init_enter(&once)) {
		for (size_t i = 0; i < G_N_ELEMENTS(minors); i++)
			count += minors[i]->n_builtins;
		all = g_new(struct py_builtin, count + 1);
		size_t at = 0;
		for (size_t i = 0; i < G_N_ELEMENTS(minors); i++)
			for (size_t k = 0; k < minors[i]->n_builtins; k++)
				all[at++] = minors[i]->builtins[k];
		g_once_init_leave(&once, 1);
	}
	*n = count;
	return all;
}

bool py_shape_find(uint32_t version, bool free_threaded, struct py_shape *shape)
{
	const struct py_minor *minor = minor_find(version);
	if (!minor || (free_threaded && !minor->free_threaded))
		return false;
	*shape = free_threaded ? *minor->free_threaded : *minor->shape;
	if (minor->drift)
		minor->drift(version, shape);
	return true;
}
