#include "symbols/validate.h"

#include <string.h>

#define INTERPRETERS_MAX 10000u
#define ATTEMPTS         20u
#define ATTEMPT_PAUSE_US 500u
/* objects looked at to tell how large a gc head is */
#define HEADS_TO_TRY 16u

bool access_u64(const struct interpreter_access *access, uint64_t address, uint64_t *value)
{
	return access->read(access->context, address, value, sizeof(*value));
}

bool access_u32(const struct interpreter_access *access, uint64_t address, uint32_t *value)
{
	return access->read(access->context, address, value, sizeof(*value));
}

/* Is `type` a type called `name`? Its name is a C string of the image. */
static bool type_is(const struct interpreter_access *access, const struct py_layout *layout, uint64_t type,
		    const char *name)
{
	char text[16];
	uint64_t at;
	size_t size = strlen(name) + 1;
	return size <= sizeof(text) && access_u64(access, type + layout->tp_name, &at) &&
	       access->read(access->context, at, text, size) && !memcmp(text, name, size);
}

bool access_is_a(const struct interpreter_access *access, const struct py_layout *layout, uint64_t object,
		 const char *name)
{
	uint64_t type;
	return object && access_u64(access, object + layout->ob_type, &type) && type &&
	       type_is(access, layout, type, name);
}

/* `type` is its own type, and is called that */
static bool type_type_holds(const struct interpreter_access *access, const struct py_layout *layout, uint64_t type)
{
	uint64_t own;
	return type && access_u64(access, type + layout->ob_type, &own) && own == type &&
	       type_is(access, layout, type, "type");
}

static bool head_read(const struct interpreter *found, const struct interpreter_access *access, uint64_t *head)
{
	uint64_t at = found->layout.shape.gc == PY_GC_GLOBAL ? found->interp_head
							     : found->runtime + found->layout.runtime_interpreters_head;
	return at && access_u64(access, at, head);
}

/* one interpreter: its threads are its own, its dicts are dicts */
static enum validity interpreter_check(const struct interpreter *found, const struct interpreter_access *access,
				       uint64_t interp, const char **why)
{
	const struct py_layout *layout = &found->layout;
	uint64_t thread, owner, sysdict, builtins;
	if (!access_u64(access, interp + layout->interp_tstate_head, &thread) ||
	    !access_u64(access, interp + layout->interp_sysdict, &sysdict) ||
	    !access_u64(access, interp + layout->interp_builtins, &builtins)) {
		*why = "its list of interpreters leads to memory that can't be read";
		return LAYOUT_WRONG;
	}
	if (thread && (!access_u64(access, thread + layout->tstate_interp, &owner) || owner != interp)) {
		*why = "a thread of its interpreter isn't one of that interpreter";
		return LAYOUT_WRONG;
	}
	if (!sysdict || !builtins)
		return LAYOUT_NOT_STARTED;
	if (!access_is_a(access, layout, sysdict, "dict") || !access_is_a(access, layout, builtins, "dict")) {
		*why = "its sys and builtins modules have no dicts";
		return LAYOUT_WRONG;
	}
	return LAYOUT_VALID;
}

/* from any object up: its type's type is `type` */
static bool type_type_find(struct interpreter *found, const struct interpreter_access *access, uint64_t interp)
{
	uint64_t dict, type, meta;
	const struct py_layout *layout = &found->layout;
	if (!access_u64(access, interp + layout->interp_sysdict, &dict) || !dict ||
	    !access_u64(access, dict + layout->ob_type, &type) || !access_u64(access, type + layout->ob_type, &meta) ||
	    !type_type_holds(access, layout, meta) || (found->type_type && found->type_type != meta))
		return false;
	found->type_type = meta;
	return true;
}

/* All interpreters; one that is just being made or taken down doesn't speak against the layout as long as another is
 * whole. */
static enum validity interpreters_check(struct interpreter *found, const struct interpreter_access *access,
					uint64_t *first, const char **why)
{
	uint64_t interp;
	unsigned whole = 0;
	if (!head_read(found, access, &interp)) {
		*why = found->runtime || found->interp_head ? "its runtime state can't be read"
							    : "its interpreters can't be found without symbols";
		return LAYOUT_WRONG;
	}
	for (unsigned n = 0; interp && n < INTERPRETERS_MAX; n++) {
		enum validity validity = interpreter_check(found, access, interp, why);
		if (validity == LAYOUT_WRONG)
			return LAYOUT_WRONG;
		if (validity == LAYOUT_VALID) {
			if (!type_type_find(found, access, interp)) {
				*why = "its type `type` isn't its own type";
				return LAYOUT_WRONG;
			}
			*first = interp;
			whole++;
		}
		if (!access_u64(access, interp + found->layout.interp_next, &interp)) {
			*why = "its list of interpreters leads to memory that can't be read";
			return LAYOUT_WRONG;
		}
	}
	return whole ? LAYOUT_VALID : LAYOUT_NOT_STARTED;
}

/* where the first of the generations is; 0: not there */
static uint64_t generations_find(struct interpreter *found, const struct interpreter_access *access, uint64_t interp)
{
	struct py_layout *layout = &found->layout;
	uint64_t heads, gc;
	if (layout->shape.gc == PY_GC_GLOBAL)
		return found->gc_generation0 && access_u64(access, found->gc_generation0, &heads) ? heads : 0;
	gc = layout->shape.gc == PY_GC_RUNTIME ? found->runtime + layout->runtime_gc : interp + layout->interp_gc;
	if (layout->gc_generation0 == PY_ABSENT)
		return gc + layout->gc_generations;
	/* builds of one version differ in where the generations start, and the pointer to them tells (layouts/py313.c) */
	if (!access_u64(access, gc + layout->gc_generation0, &heads) || heads <= gc || heads - gc >= layout->gc_size ||
	    layout->gc_size - (heads - gc) < 3 * layout->gc_generation_size)
		return 0;
	layout->gc_generations = (uint32_t)(heads - gc);
	return heads;
}

#define LIST_TRIES 1000 /* a microsecond each, and a list of a busy process is whole most of the time */

/*
 * While a collection runs the backward links of objects hold reference counts (CPython Modules/gcmodule.c, update_refs()), and the process may
 * stand still where one is only half linked (Include/internal/pycore_gc.h, _PyObject_GC_TRACK()): a list is whole where it begins, where it
 * ends, or was empty.
 */
static bool generation_is_circular(const struct interpreter *found, const struct interpreter_access *access,
				   uint64_t head)
{
	/* the process may run, and the last object be another one between two reads: look again */
	for (unsigned tries = 0; tries < LIST_TRIES; tries++) {
		uint64_t next, last, back;
		if (!access_u64(access, head, &next) || !access_u64(access, head + 8, &last))
			continue;
		next &= ~3ull;
		last &= ~3ull;
		if (next && last &&
		    (last == head || (access_u64(access, last, &back) && (back & ~3ull) == head) ||
		     (access_u64(access, next + 8, &back) && (back & ~3ull) == head)))
			return true;
	}
	return false;
}

/* does an object start `size` bytes behind the head? */
static bool head_has_size(const struct interpreter *found, const struct interpreter_access *access, uint64_t head,
			  uint32_t size)
{
	uint64_t type, meta, metameta;
	const struct py_layout *layout = &found->layout;
	return access_u64(access, head + size + layout->ob_type, &type) && type &&
	       access_u64(access, type + layout->ob_type, &meta) && meta &&
	       (meta == found->type_type ||
		(access_u64(access, meta + layout->ob_type, &metameta) && metameta == found->type_type));
}

/*
 * The gc head's size is checked on objects of the oldest generation: most of them are there, and stay. 3.6 and 3.7 have
 * two sizes (CPython bpo-27987, and distributors who took the patch): the table for the other one is tried next when
 * this one is wrong.
 */
static bool gc_heads_check(const struct interpreter *found, const struct interpreter_access *access, uint64_t heads)
{
	unsigned right = 0, seen = 0;
	for (int i = 2; i >= 0; i--) {
		uint64_t end = heads + (uint64_t)i * found->layout.gc_generation_size, at;
		if (!access_u64(access, end, &at))
			return false;
		for (at &= ~3ull; at && at != end && seen < HEADS_TO_TRY; at &= ~3ull) {
			right += head_has_size(found, access, at, found->layout.gc_head_size);
			seen++;
			if (!access_u64(access, at, &at))
				break;
		}
	}
	return right * 4 >= seen * 3;
}

/* heads that nothing ever used, each followed by a threshold; not all of these are 0 */
static bool generations_unused_at(const struct interpreter *found, const struct interpreter_access *access, uint64_t at)
{
	const struct py_layout *layout = &found->layout;
	uint32_t thresholds = 0;
	for (unsigned i = 0; i < 3; i++, at += layout->gc_generation_size) {
		uint64_t next, previous;
		uint32_t threshold;
		if (!access_u64(access, at, &next) || next || !access_u64(access, at + 8, &previous) || previous ||
		    !access_u32(access, at + layout->gc_generation_threshold, &threshold))
			return false;
		thresholds |= threshold;
	}
	return thresholds;
}

/* Free-threaded builds keep thresholds and counts there, and no lists; and their generation0 is NULL. */
static void generations_find_unused(struct interpreter *found, const struct interpreter_access *access, uint64_t interp)
{
	static const int32_t places[] = {0, 4, -4};
	struct py_layout *layout = &found->layout;
	if (layout->gc_generations == PY_ABSENT || layout->interp_gc == PY_ABSENT)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		uint32_t at = layout->gc_generations + (uint32_t)places[i];
		if (generations_unused_at(found, access, interp + layout->interp_gc + at)) {
			layout->gc_generations = at;
			return;
		}
	}
}

static bool collector_check(struct interpreter *found, const struct interpreter_access *access, uint64_t interp,
			    const char **why)
{
	if (found->layout.shape.gc == PY_GC_NONE) {
		generations_find_unused(found, access, interp);
		return true;
	}
	uint64_t heads = generations_find(found, access, interp);
	if (!heads) {
		*why = "its collector's generations aren't where they should be";
		return false;
	}
	for (unsigned i = 0; i < 3; i++) {
		if (!generation_is_circular(found, access, heads + (uint64_t)i * found->layout.gc_generation_size)) {
			*why = "its collector's lists aren't circular";
			return false;
		}
	}
	if (!gc_heads_check(found, access, heads)) {
		*why = "there are no objects in its collector's lists";
		return false;
	}
	return true;
}

/* every offset that is needed to check anything at all */
static bool layout_has_essentials(const struct interpreter *found)
{
	const struct py_layout *layout = &found->layout;
	const uint32_t needed[] = {
		layout->ob_type,       layout->tp_name,        layout->interp_next,     layout->interp_tstate_head,
		layout->tstate_interp, layout->interp_sysdict, layout->interp_builtins, layout->object_size};
	for (size_t i = 0; i < G_N_ELEMENTS(needed); i++)
		if (needed[i] == PY_ABSENT)
			return false;
	return layout->shape.gc == PY_GC_GLOBAL || layout->runtime_interpreters_head != PY_ABSENT;
}

enum validity layout_validate(struct interpreter *found, const struct interpreter_access *access, const char **why)
{
	if (!layout_has_essentials(found)) {
		*why = "fields that every CPython has are missing";
		return LAYOUT_WRONG;
	}
	uint64_t type = found->type_type;
	enum validity validity = LAYOUT_WRONG;
	for (unsigned attempt = 0; attempt < ATTEMPTS && validity != LAYOUT_VALID; attempt++) {
		uint64_t interp = 0;
		if (attempt)
			g_usleep(ATTEMPT_PAUSE_US);
		found->type_type = type;
		validity = interpreters_check(found, access, &interp, why);
		if (validity == LAYOUT_VALID && !collector_check(found, access, interp, why))
			validity = LAYOUT_WRONG;
	}
	if (validity != LAYOUT_VALID)
		found->type_type = type;
	return validity;
}
