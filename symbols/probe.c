#include "symbols/probe.h"

#include "symbols/validate.h"

/* what a few inserted members move things by, at most */
#define WORDS 16

typedef bool probe(const struct interpreter *found, const struct interpreter_access *access, uint64_t address);

/* the state of the allocator: its arenas are there (with PYTHONMALLOC=malloc there are none, and nothing can be told) */
static bool is_obmalloc_state(const struct interpreter *found, const struct interpreter_access *access, uint64_t state)
{
	const struct py_layout *layout = &found->layout;
	uint64_t arenas, arena;
	uint32_t maxarenas;
	if (!access_u64(access, state + layout->obmalloc_arenas, &arenas) ||
	    !access_u32(access, state + layout->obmalloc_maxarenas, &maxarenas))
		return false;
	return arenas && maxarenas >= 16 && !(maxarenas & (maxarenas - 1)) && !(arenas & 7) &&
	       access_u64(access, arenas, &arena) && !(arena & 4095);
}

/* interp->obmalloc, to the state */
static bool is_obmalloc(const struct interpreter *found, const struct interpreter_access *access, uint64_t address)
{
	uint64_t state;
	return access_u64(access, address, &state) && state && !(state & 7) && is_obmalloc_state(found, access, state);
}

/* the states of static types: each names its type */
static bool is_static_types(const struct interpreter *found, const struct interpreter_access *access, uint64_t address)
{
	const struct py_layout *layout = &found->layout;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t type, meta, entry = address + (uint64_t)i * layout->static_type_entry_size;
		if (!access_u64(access, entry + layout->static_type_type, &type) || type < found->image_start ||
		    type >= found->image_end || !access_u64(access, type + layout->ob_type, &meta) ||
		    meta != found->type_type)
			return false;
	}
	return true;
}

/* how far off `offset` is: the nearest place that passes, or 0 */
static int32_t distance_find(const struct interpreter *found, const struct interpreter_access *access, uint64_t base,
			     uint32_t offset, probe *passes)
{
	for (int32_t words = 0; words <= WORDS; words++) {
		if (passes(found, access, base + offset + (uint64_t)words * 8))
			return words * 8;
		if (words && offset >= (uint32_t)words * 8 &&
		    passes(found, access, base + offset - (uint64_t)words * 8))
			return -words * 8;
	}
	return 0;
}

void layout_probe(struct interpreter *found, const struct interpreter_access *access)
{
	struct py_layout *layout = &found->layout;
	uint64_t interp;
	/* the first one made has all of it: later ones may share its allocator and types */
	if (layout->runtime_interpreters_main == PY_ABSENT ||
	    !access_u64(access, found->runtime + layout->runtime_interpreters_main, &interp) || !interp)
		return;
	if (layout->shape.obmalloc != PY_OBMALLOC_STATIC && layout->interp_obmalloc != PY_ABSENT)
		layout->interp_obmalloc += (uint32_t)distance_find(
			found, access, interp, layout->interp_obmalloc,
			layout->shape.obmalloc == PY_OBMALLOC_POINTER ? is_obmalloc : is_obmalloc_state);
	if (layout->interp_static_types != PY_ABSENT && layout->static_type_entry_size != PY_ABSENT) {
		int32_t by = distance_find(found, access, interp, layout->interp_static_types, is_static_types);
		layout->interp_static_types += (uint32_t)by;
		if (layout->interp_extension_types != PY_ABSENT)
			layout->interp_extension_types += (uint32_t)by;
	}
}
