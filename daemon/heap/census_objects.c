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

/* A word that leads out of the blocks, as far as can be told coarsely. The same few addresses come again and again: those of None, say. */
static inline void consider_coarse(struct taker *taker, const struct extent *extent, uint64_t address)
{
	uint64_t *recent = &taker->recent[(address >> 4) % RECENT];
	if (*recent == address || !extent_leads_out(extent, address))
		return;
	*recent = address;
	consider_word(taker, address);
}

static inline void consider_at(struct taker *taker, const struct extent *extent, const uint8_t *word)
{
	if (G_UNLIKELY(coarse_has_at(extent->outside, word)))
		consider_coarse(taker, extent, load_u64(word, 0));
}

static bool any_leads_out(const struct coarse *outside, const uint8_t *bytes, const uint32_t *offsets, size_t n)
{
	unsigned any = 0;
#pragma GCC unroll 4
	for (size_t i = 0; i < n; i++)
		any |= coarse_has_at(outside, bytes + offsets[i]);
	return any;
}

#define STRIP 32 /* blocks */

/*
 * The same word of some blocks. In most piles none of them leads out. If some do, which ones can't be foretold, and there are more in the next strip,
 * mostly of one address: they are set apart first.
 */
static void consider_column(struct taker *taker, const struct extent *extent, const uint8_t *bytes,
			    const uint32_t *offsets, size_t n)
{
	const struct coarse *outside = extent->outside;
	uint64_t *aside = taker->aside, last = 0;
	size_t n_aside = 0;
	unsigned any = 0;
	for (size_t from = 0, to; from < n; from = to) {
		to = MIN(from + STRIP, n);
		if (!any && !any_leads_out(outside, bytes, offsets + from, to - from))
			continue;
		any = 0;
		for (size_t i = from; i < to; i++) {
			const uint8_t *word = bytes + offsets[i];
			uint64_t address = load_u64(word, 0);
			unsigned out = coarse_has_at(outside, word);
			any |= out;
			aside[n_aside] = address;
			n_aside += out & (address != last);
		}
		last = n_aside ? aside[n_aside - 1] : 0;
	}
	for (size_t i = 0; i < n_aside; i++)
		consider_coarse(taker, extent, aside[i]);
}

static bool any_word_leads_out(const struct coarse *outside, const uint8_t *words, uint64_t n, uint64_t stride)
{
	unsigned any = 0;
#pragma GCC unroll 8
	for (uint64_t i = 0; i < n; i++)
		any |= coarse_has_at(outside, words + i * stride);
	return any;
}

static void consider_words(void *context, const uint8_t *words, uint64_t n, uint64_t stride)
{
	struct taker *taker = context;
	const struct extent extent = taker->survey->extent;
	for (uint64_t from = 0, to; from < n; from = to) {
		to = MIN(from + STRIP, n);
		if (!any_word_leads_out(extent.outside, words + from * stride, to - from, stride))
			continue;
		for (uint64_t i = from; i < to; i++)
			consider_at(taker, &extent, words + i * stride);
	}
}

/* Their places in the collector's lists; a neighbour there may be outside of the blocks. */
static void visit_links(struct taker *taker, const struct objects *objects)
{
	const uint32_t head_size = taker->heap->layout->gc_head_size;
	const struct extent extent = taker->survey->extent;
	const uint8_t *bytes = objects->first.bytes - head_size;
	const uint32_t *offsets = objects->offsets;
	uint64_t address = objects->first.address - head_size;
	const struct links links = taker->links;
	struct links_run run = links_run_begin();
	for (size_t i = 0, n = objects->n; i < n; i++) {
		uint32_t offset = offsets[i];
		uint64_t next = load_u64(bytes + offset, 0) & LINK_MASK;
		links_run_meet(&links, &run, address + offset);
		links_lead(&links, next);
		if (G_UNLIKELY(coarse_has(extent.outside, next)) && extent_leads_out(&extent, next))
			consider_word(taker, next + head_size);
	}
	links_run_end(&links, &run);
}

/* A free-threaded build has no lists: each object says what the collector has to do with it. */
static void visit_unlisted(struct taker *taker, const struct objects *objects)
{
	const struct survey *survey = taker->survey;
	for (size_t i = 0; i < objects->n && !objects->first.tracked; i++) {
		const struct object object = objects_nth(objects, i);
		bool frozen = candidate_frozen(taker->heap, &object);
		taker->frozen += frozen;
		if (frozen && !survey->all)
			survey->visit(taker->context,
				      &(struct objects){.first = object, .offsets = &(uint32_t){0}, .n = 1});
	}
	if (survey->all || objects->first.tracked)
		survey->visit(taker->context, objects);
}

/* gc.get_objects() doesn't list the permanent generation. */
static void visit_frozen(struct taker *taker, const struct objects *objects)
{
	const struct survey *survey = taker->survey;
	for (size_t i = 0; i < objects->n; i++) {
		struct object object = objects_nth(objects, i);
		object.tracked = !addresses_has(&survey->frozen, object.address);
		object.common = false; /* its references weren't counted by themselves */
		survey->visit(taker->context, &(struct objects){.first = object, .offsets = &(uint32_t){0}, .n = 1});
	}
}

static bool may_be_frozen(const struct taker *taker, const struct objects *objects)
{
	const struct addresses *frozen = &taker->survey->frozen;
	uint64_t from = objects->n > 1 ? taker->batch.address : objects->first.address + objects->offsets[0];
	uint64_t to = objects->n > 1 ? taker->batch_end : from;
	return frozen->n && from <= frozen->highest && to >= frozen->lowest;
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

/* Those of the objects whose tables aren't met in a block. */
static void visit_tables_outside(struct taker *taker, const struct extent *extent, const struct objects *objects,
				 uint64_t table_at)
{
	const uint8_t *bytes = objects->first.bytes + table_at;
	for (size_t from = 0, to; from < objects->n; from = to) {
		to = MIN(from + STRIP, objects->n);
		if (G_LIKELY(!any_leads_out(extent->outside, bytes, objects->offsets + from, to - from)))
			continue;
		for (size_t i = from; i < to; i++) {
			uint64_t table = load_u64(bytes + objects->offsets[i], 0);
			if (!coarse_has(extent->outside, table) || !extent_leads_out(extent, table))
				continue;
			const struct object object = objects_nth(objects, i);
			object_referents(taker->heap, &object, &taker->survey->allocator, consider_words, taker);
		}
	}
}

static void visit_referents(struct taker *taker, const struct objects *objects, const struct allocator *blocks)
{
	for (size_t i = 0; i < objects->n; i++) {
		const struct object object = objects_nth(objects, i);
		object_referents(taker->heap, &object, blocks, consider_words, taker);
	}
}

/* What objects in blocks refer to; their tables are met there, too, but for large ones. */
static void visit_own_words(struct taker *taker, const struct objects *objects)
{
	const struct extent extent = taker->survey->extent;
	const struct py_layout *layout = taker->heap->layout;
	const struct type *type = objects->first.type;
	const uint64_t table_at = table_offset(layout, type);
	uint64_t from = object_referents_begin(layout, type), to = type->basicsize;
	/* what follows the struct, and in the last word what is left over there */
	if (type->itemsize || type->flags & PY_FLAG_INLINE_VALUES)
		to = objects->first.available;
	to = MIN(to, objects->first.available);
	/* pointers to the dict, or to values in its place */
	uint64_t before = type->prefix > layout->gc_head_size ? type->prefix - layout->gc_head_size : 0;
	for (uint64_t at = 0; at + 8 <= before; at += 8)
		consider_column(taker, &extent, objects->first.bytes + at - type->prefix, objects->offsets, objects->n);
	for (uint64_t at = from; at + 8 <= to; at += 8)
		consider_column(taker, &extent, objects->first.bytes + at, objects->offsets, objects->n);
	if (table_at)
		visit_tables_outside(taker, &extent, objects, table_at);
}

static void check(struct taker *taker, const struct objects *objects)
{
	for (size_t i = 0; i < objects->n; i++) {
		const struct object object = objects_nth(objects, i);
		taker->mistaken |= !candidate_linked(taker->heap, &object);
	}
}

void census_visit_tables(struct taker *taker, const uint32_t *offsets, size_t n)
{
	const struct extent extent = taker->survey->extent;
	const struct block *first = &taker->batch;
	if (!taker->survey->in_order || taker->checks)
		return;
	for (uint64_t at = 0; at + 8 <= first->size; at += 8)
		consider_column(taker, &extent, first->bytes + at, offsets, n);
}

static void visit_words(struct taker *taker, const struct objects *objects)
{
	const struct survey *survey = taker->survey;
	const struct type *type = objects->first.type;
	bool apart = type->kind == TYPE_DEQUE || type->kind == TYPE_TYPE;
	if (survey->in_order && !objects->first.outside && !apart)
		visit_own_words(taker, objects);
	else
		visit_referents(taker, objects, survey->in_order ? &survey->allocator : NULL);
}

void census_emit(struct taker *taker, const struct objects *objects)
{
	const struct survey *survey = taker->survey;
	const struct type *type = objects->first.type;
	if (taker->checks) {
		check(taker, objects);
		return;
	}
	if (type->kind != TYPE_ATOM || type->flags & PY_FLAG_HEAPTYPE)
		visit_words(taker, objects);
	if (taker->heap->layout->shape.gc == PY_GC_NONE) {
		visit_unlisted(taker, objects);
		return;
	}
	if (type->flags & PY_FLAG_HAVE_GC && objects->first.tracked) {
		taker->tracked += (int64_t)objects->n;
		visit_links(taker, objects);
		if (may_be_frozen(taker, objects)) {
			visit_frozen(taker, objects);
			return;
		}
	}
	survey->visit(taker->context, objects);
}

void census_emit_one(struct taker *taker, const struct object *object)
{
	census_emit(taker, &(struct objects){.first = *object, .offsets = &(uint32_t){0}, .n = 1});
}
