/*
 * Up to 3.9 lists and dicts that died are kept for reuse in static arrays of 80 pointers (CPython Objects/listobject.c, dictobject.c, free_list);
 * what lies in them above the count of those that are kept is left over. Nothing says where the arrays are in a stripped interpreter, but
 * nothing else in its static data is a row of pointers to lists, or to dicts.
 */
#include "daemon/analysis/owners.h"
#include "daemon/heap/type.h"

#define ARRAY_LENGTH 80 /* PyList_MAXFREELIST, PyDict_MAXFREELIST */
#define SHORTEST     4

/* Within a row of words that point to blocks of pymalloc's: those that point to objects of one type, dead or alive. */
struct kind {
	uint64_t type, first, last; /* addresses of words */
	size_t n;
};

/* the types `list` and `dict` */
static void find_types(const heap_t *heap, struct kind kinds[2])
{
	for (size_t i = 0; i < type_count(heap); i++) {
		const struct type *type = type_nth(heap, i);
		if (strcmp(type->module, "builtins") != 0 || type->flags & PY_FLAG_HEAPTYPE)
			continue;
		if (!strcmp(type->qualname, "list"))
			kinds[0].type = type->address;
		else if (!strcmp(type->qualname, "dict"))
			kinds[1].type = type->address;
	}
}

static void finish_row(struct owners *owners, struct kind kinds[2])
{
	for (size_t i = 0; i < 2; i++) {
		struct kind *kind = &kinds[i];
		size_t length = kind->n ? (size_t)(kind->last - kind->first) / 8 + 1 : 0;
		/* blocks of the array's lower end were handed out again, perhaps as something else */
		if (length >= SHORTEST && length <= ARRAY_LENGTH &&
		    (kind->n == length || (kind->n >= 2 * SHORTEST && kind->n * 2 >= length)))
			cover_set(&owners->cover, kind->first, kind->last + 8);
		*kind = (struct kind){.type = kind->type};
	}
}

static void scan_region(struct owners *owners, const struct cover_region *region, struct kind kinds[2])
{
	const heap_t *heap = owners->heap;
	struct allocator_hint hint = {0};
	for (uint64_t offset = 0; offset + 8 <= region->size; offset += 8) {
		uint64_t word = load_u64(region->bytes, offset), type = 0;
		if (!allocator_owns(&owners->allocator, &hint, word) || word % 8 ||
		    !memory_u64(heap->memory, word + heap->layout->ob_type, &type)) {
			finish_row(owners, kinds);
			continue;
		}
		struct kind *kind = type == kinds[0].type ? &kinds[0] : type == kinds[1].type ? &kinds[1] : NULL;
		if (!kind)
			continue;
		kind->last = region->start + offset;
		if (!kind->n++)
			kind->first = kind->last;
	}
	finish_row(owners, kinds);
}

void owners_cover_free_lists(struct owners *owners)
{
	const struct py_layout *layout = owners->heap->layout;
	struct kind kinds[2] = {0};
	find_types(owners->heap, kinds);
	const struct owners_image *image = kinds[0].type ? owners_image_at(owners, kinds[0].type) : NULL;
	if (layout->shape.gc == PY_GC_NONE || heap_has(layout->interp_freelists) ||
	    heap_has(layout->interp_list_free) || !image)
		return;
	for (size_t i = 0; i < owners->cover.n; i++) {
		const struct cover_region *region = &owners->cover.regions[i];
		if (region->start < image->end && image->start < region->start + region->size)
			scan_region(owners, region, kinds);
	}
}
