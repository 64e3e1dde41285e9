#include "daemon/heap/candidate.h"
#include "daemon/heap/census_private.h"
#include "daemon/heap/object.h"
#include "daemon/heap/referents.h"

/* An address outside the blocks that may be an object's. */
static void consider_outside(struct taker *taker, uint64_t address)
{
	if (addresses_has(&taker->seen, address))
		return;
	const uint8_t *bytes = memory_probe(taker->heap->memory, address, taker->heap->layout->object_size);
	if (!bytes || !type_get(taker->heap, object_type_address(taker->heap->layout, bytes)))
		return;
	addresses_add(&taker->seen, address);
	g_array_append_val(taker->pending, address);
}

static inline void consider_word(struct taker *taker, uint64_t address)
{
	const struct survey *survey = taker->survey;
	if (extent_of_memory(&survey->extent, address) && !allocator_owns(&survey->allocator, &taker->hint, address))
		consider_outside(taker, address);
}

void census_consider(struct taker *taker, uint64_t address)
{
	consider_word(taker, address);
}

/* The words in [at, end), of which most lead into a block, or nowhere. `extent` is the caller's own: nothing that is written changes it. */
static inline void consider_span(struct taker *taker, const struct extent *extent, const uint8_t *at,
				 const uint8_t *end)
{
	for (; at + 8 <= end; at += 8) {
		uint64_t address = load_u64(at, 0);
		if (!extent_of_blocks(extent, address) && extent_of_memory(extent, address))
			consider_word(taker, address);
	}
}

static void consider_words(void *context, const uint8_t *words, uint64_t n, uint64_t stride)
{
	struct taker *taker = context;
	const struct extent extent = taker->survey->extent;
	if (stride == 8)
		consider_span(taker, &extent, words, words + 8 * n);
	for (uint64_t i = 0; i < n && stride != 8; i++)
		consider_word(taker, load_u64(words, i * stride));
}

/* The place in the collector's list; the neighbour there may be outside of the blocks. */
static inline void visit_link(struct taker *taker, const struct object *object)
{
	uint32_t head_size = taker->heap->layout->gc_head_size;
	uint64_t next = load_u64(object->bytes - head_size, 0) & LINK_MASK;
	links_meet(&taker->links, object->address - head_size);
	links_lead(&taker->links, next);
	if (next && !allocator_owns(&taker->survey->allocator, &taker->hint, next))
		consider_outside(taker, next + head_size);
}

/* gc.get_objects() doesn't list the permanent generation. */
static void unlist_frozen(const struct survey *survey, struct object *objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (objects[i].tracked && addresses_has(&survey->frozen, objects[i].address))
			objects[i].tracked = false;
}

/* A free-threaded build has no lists: each object says what the collector has to do with it. */
static void visit_unlisted(struct taker *taker, const struct object *objects, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool frozen = !objects[i].tracked && candidate_frozen(taker->heap, &objects[i]);
		taker->frozen += frozen;
		if (taker->survey->all || objects[i].tracked || frozen)
			taker->survey->visit(taker->context, &objects[i], 1);
	}
}

/* Bytes from an object to the address of its table; 0: it has none of its own, or more than one. */
static uint64_t table_offset(const struct py_layout *layout, const struct type *type)
{
	switch (type->kind) {
	case TYPE_DICT:
		return layout->ma_keys;
	case TYPE_LIST:
		return layout->list_ob_item;
	case TYPE_SET:
		return layout->set_table;
	default:
		return 0;
	}
}

/* What objects in blocks refer to; their tables are met there, too, but for large ones. */
static void visit_own_words(struct taker *taker, const struct object *objects, size_t n)
{
	const struct extent extent = taker->survey->extent;
	const struct type *type = objects->type;
	const struct py_layout *layout = taker->heap->layout;
	const uint64_t table_at = table_offset(layout, type);
	const bool apart = type->kind == TYPE_DEQUE || type->kind == TYPE_TYPE;
	uint64_t from = object_referents_begin(layout, type), to = type->basicsize;
	/* what follows the struct, and in the last word what is left over there */
	if (type->itemsize || type->flags & PY_FLAG_INLINE_VALUES)
		to = UINT64_MAX;
	/* pointers to the dict, or to values in its place */
	uint64_t before = type->prefix > layout->gc_head_size ? type->prefix - layout->gc_head_size : 0;
	for (size_t i = 0; i < n; i++) {
		const struct object *object = &objects[i];
		const uint8_t *bytes = object->bytes;
		uint64_t table = table_at ? load_u64(bytes, table_at) : 0;
		if (apart || (table && !extent_of_blocks(&extent, table))) {
			object_referents(taker->heap, object, &taker->survey->allocator, consider_words, taker);
			continue;
		}
		if (before)
			consider_span(taker, &extent, bytes - type->prefix, bytes - type->prefix + before);
		consider_span(taker, &extent, bytes + from, bytes + MIN(to, object->available));
	}
}

static void check(struct taker *taker, const struct object *objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		taker->mistaken |= !candidate_linked(taker->heap, &objects[i]);
}

void census_visit_table(struct taker *taker, const struct block *block)
{
	const struct extent extent = taker->survey->extent;
	if (taker->survey->in_order && !taker->checks)
		consider_span(taker, &extent, block->bytes, block->bytes + block->size);
}

void census_emit(struct taker *taker, struct object *objects, size_t n)
{
	const struct survey *survey = taker->survey;
	if (taker->checks) {
		check(taker, objects, n);
		return;
	}
	const struct type *type = objects->type;
	if (type->kind != TYPE_ATOM || type->flags & PY_FLAG_HEAPTYPE) {
		if (survey->in_order && !objects->outside)
			visit_own_words(taker, objects, n);
		else
			for (size_t i = 0; i < n; i++)
				object_referents(taker->heap, &objects[i], survey->in_order ? &survey->allocator : NULL,
						 consider_words, taker);
	}
	if (taker->heap->layout->shape.gc == PY_GC_NONE) {
		visit_unlisted(taker, objects, n);
		return;
	}
	if (type->flags & PY_FLAG_HAVE_GC) {
		for (size_t i = 0; i < n; i++) {
			if (!objects[i].tracked)
				continue;
			taker->tracked++;
			visit_link(taker, &objects[i]);
		}
		if (survey->frozen.n)
			unlist_frozen(survey, objects, n);
	}
	survey->visit(taker->context, objects, n);
}
