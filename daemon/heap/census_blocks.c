#include "daemon/heap/candidate.h"
#include "daemon/heap/census_private.h"
#include "daemon/heap/object.h"
#include "daemon/heap/referents.h"

/* The object of that type that the block may hold. False: it doesn't. */
static bool object_in(struct taker *taker, const struct block *block, struct type *type, struct object *object)
{
	const struct survey *survey = taker->survey;
	*object = (struct object){.address = block->address + type->prefix,
				  .bytes = block->bytes + type->prefix,
				  .available = block->size - type->prefix,
				  .type = type};
	/* mimalloc's size classes are wider than what was asked for, as a hook's exact size is narrower */
	bool exact = survey->allocator.debug_hooks || survey->allocator.mimalloc.n_segments;
	if (!candidate_accept(taker->heap, block, exact, object))
		return false;
	taker->object_bytes += (int64_t)(block->size + survey->overhead);
	return true;
}

struct type *census_type_behind(struct taker *taker, const struct block *block, uint32_t prefix)
{
	const struct survey *survey = taker->survey;
	if (block->size < prefix + taker->heap->layout->object_size)
		return NULL;
	uint64_t address = object_type_address(taker->heap->layout, block->bytes + prefix);
	/* types are larger than pymalloc's blocks */
	if (survey->allocator.pymalloc.n_arenas && allocator_owns(&survey->allocator, &taker->hint, address))
		return NULL;
	struct type *type = type_get(taker->heap, address);
	return type && type->prefix == prefix ? type : NULL;
}

/*
 * What the block may be an object of, by its first words that may be a type, from the i-th prefix on. A type where an object without a
 * head has it settles what the block is, even if that object is dead: where another one would have its type, an int's unused digits
 * or a free list's member may still hold what was there before.
 */
static struct type *guess_type(struct taker *taker, const struct block *block, size_t i)
{
	const struct survey *survey = taker->survey;
	for (; i < survey->n_prefixes; i++) {
		struct type *type = census_type_behind(taker, block, survey->prefixes[i]);
		if (type)
			return type;
	}
	return NULL;
}

/* Whether a block that is no object of the type may be one of another type. */
static bool may_be_other(const struct taker *taker, const struct type *type)
{
	/* up to 3.7 the links in the head of an object that was never tracked are what was there before */
	return type->prefix || heap_has(taker->heap->layout->gc_head_refs);
}

/* Decide a block that was no object of the type guessed first: by the words behind it. */
static void settle_other(struct taker *taker, const struct block *block, struct type *type)
{
	const struct survey *survey = taker->survey;
	struct object object;
	while (type && may_be_other(taker, type)) {
		size_t i = 0;
		while (i < survey->n_prefixes && survey->prefixes[i] != type->prefix)
			i++;
		type = guess_type(taker, block, i + 1);
		if (type && object_in(taker, block, type, &object)) {
			census_emit(taker, &object, 1);
			return;
		}
	}
}

/* Ask for the memory outside the block that is going to be read: where a heap has aged, all of it is far away. */
static inline void prefetch(const struct memory *memory, const struct py_layout *layout, const struct guess *guess,
			    const struct type *type)
{
	const uint8_t *object = guess->bytes + type->prefix;
	if (guess->size < type->prefix + (uint64_t)type->least)
		return;
	if (layout->shape.gc != PY_GC_NONE)
		memory_prefetch(memory, (load_u64(object - layout->gc_head_size, 0) & LINK_MASK) + 8);
	if (type->kind == TYPE_DICT) {
		uint64_t keys = load_u64(object, layout->ma_keys), values = load_u64(object, layout->ma_values);
		memory_prefetch(memory, keys);
		memory_prefetch(memory, keys + 64);
		if (values)
			memory_prefetch(memory, values);
	} else if (type->kind == TYPE_LIST) {
		memory_prefetch(memory, load_u64(object, layout->list_ob_item));
	} else if (type->flags & PY_FLAG_MANAGED_DICT && type->prefix >= 16) {
		/* whichever of the two words it is, with whatever mark: the values are near */
		uint64_t managed = (uint64_t)(int64_t)layout->shape.managed_dict_offset;
		memory_prefetch(memory, load_u64(object, managed));
		if (layout->shape.attributes == PY_ATTRIBUTES_VALUES)
			memory_prefetch(memory, load_u64(object, managed - 8));
	}
}

static void settle_shelf(struct taker *taker, struct shelf *shelf)
{
	struct type *type = shelf->type;
	size_t n = 0;
	for (size_t at = shelf->first; at; at = taker->batch[at - 1].next) {
		const struct guess *guess = &taker->batch[at - 1];
		const struct block block = {guess->address, guess->bytes, guess->size, BLOCK_ANY};
		if (object_in(taker, &block, type, &taker->accepted[n]))
			n++;
		else if (may_be_other(taker, type))
			settle_other(taker, &block, type);
	}
	shelf->first = shelf->last = 0;
	if (n)
		census_emit(taker, taker->accepted, n);
}

void census_settle(struct taker *taker)
{
	for (size_t i = 0; i < taker->n_used; i++)
		settle_shelf(taker, taker->used[i]);
	taker->n_used = taker->n_batch = 0;
}

/* The shelf of the type that the word at `prefix` would make the block an object of, or NULL. */
static inline struct shelf *shelf_behind(struct taker *taker, const struct block *block, uint32_t prefix)
{
	if (block->size < prefix + taker->heap->layout->object_size)
		return NULL;
	uint64_t address = object_type_address(taker->heap->layout, block->bytes + prefix);
	struct shelf *shelf = &taker->shelves[(address >> 4) * 0x9e3779b97f4a7c15ull >> (64 - SHELF_BITS)];
	if (address && shelf->address == address)
		return shelf->type->prefix == prefix ? shelf : NULL;
	struct type *type = census_type_behind(taker, block, prefix);
	if (!type)
		return NULL;
	if (shelf->first)
		census_settle(taker); /* another type's, that has blocks in it */
	*shelf = (struct shelf){.address = address, .type = type};
	return shelf;
}

static const struct guess *guess_add(struct taker *taker, const struct block *block, struct shelf *shelf)
{
	struct guess *guess = &taker->batch[taker->n_batch++];
	*guess = (struct guess){.address = block->address, .bytes = block->bytes, .size = block->size};
	if (shelf->first)
		taker->batch[shelf->last - 1].next = (uint16_t)taker->n_batch;
	else
		taker->used[taker->n_used++] = shelf;
	shelf->last = (uint16_t)taker->n_batch;
	if (!shelf->first)
		shelf->first = shelf->last;
	return guess;
}

void census_visit_block(void *context, const struct block *block)
{
	struct taker *taker = context;
	const struct survey *survey = taker->survey;
	if (block->domain == BLOCK_RAW)
		return;
	if (memory_pressed(taker->heap->memory)) {
		census_settle(taker);
		memory_rest(taker->heap->memory, &taker->hold);
	}
	struct shelf *shelf = NULL;
	for (size_t i = 0; i < survey->n_prefixes && !shelf; i++)
		shelf = shelf_behind(taker, block, survey->prefixes[i]);
	if (!shelf)
		return;
	const struct guess *guess = guess_add(taker, block, shelf);
	if (shelf->type->flags & PY_FLAG_HAVE_GC)
		prefetch(taker->heap->memory, taker->heap->layout, guess, shelf->type);
	if (taker->n_batch == BATCH)
		census_settle(taker);
}

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
	if (address && address % 8 == 0 && !allocator_owns(&taker->survey->allocator, &taker->hint, address))
		consider_outside(taker, address);
}

void census_consider(struct taker *taker, uint64_t address)
{
	consider_word(taker, address);
}

static void consider_words(void *context, const uint8_t *words, uint64_t n, uint64_t stride)
{
	struct taker *taker = context;
	for (uint64_t i = 0; i < n; i++)
		consider_word(taker, load_u64(words, i * stride));
}

/* The neighbour in the collector's list, wherever the list's head is. */
static void consider_neighbour(struct taker *taker, const struct object *object)
{
	uint32_t head_size = taker->heap->layout->gc_head_size;
	uint64_t next = load_u64(object->bytes - head_size, 0) & LINK_MASK;
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

void census_emit(struct taker *taker, struct object *objects, size_t n)
{
	const struct survey *survey = taker->survey;
	const struct type *type = objects->type;
	if (type->kind != TYPE_ATOM || type->flags & PY_FLAG_HEAPTYPE)
		for (size_t i = 0; i < n; i++)
			object_referents(taker->heap, &objects[i], consider_words, taker);
	if (taker->heap->layout->shape.gc == PY_GC_NONE) {
		visit_unlisted(taker, objects, n);
		return;
	}
	if (type->flags & PY_FLAG_HAVE_GC) {
		for (size_t i = 0; i < n; i++) {
			taker->tracked += objects[i].tracked;
			if (objects[i].tracked)
				consider_neighbour(taker, &objects[i]);
		}
		if (survey->frozen.n)
			unlist_frozen(survey, objects, n);
	}
	survey->visit(taker->context, objects, n);
}
