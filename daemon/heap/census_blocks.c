#include "daemon/heap/candidate.h"
#include "daemon/heap/census_private.h"
#include "daemon/heap/object.h"

#define NO_ADDRESS   1 /* no word that is an address */
#define ADDRESS_BITS 57

/* The object of that type that the block may hold. False: it doesn't. */
static bool object_in(struct taker *taker, const struct block *block, struct type *type, struct object *object)
{
	const struct survey *survey = taker->survey;
	*object = (struct object){.address = block->address + type->prefix,
				  .bytes = block->bytes + type->prefix,
				  .available = block->size - type->prefix,
				  .type = type};
	if (!candidate_accept(taker->heap, block, survey->exact_sizes, object) ||
	    (survey->ask_each && !candidate_linked(taker->heap, object)))
		return false;
	taker->object_bytes += (int64_t)(block->size + survey->overhead);
	return true;
}

/* Whether a word may be the address of a type: those are larger than pymalloc's blocks. */
static inline bool maybe_type(struct taker *taker, uint64_t address)
{
	const struct survey *survey = taker->survey;
	return extent_of_memory(&survey->extent, address) &&
	       !(survey->allocator.pymalloc.n_arenas && allocator_owns(&survey->allocator, &taker->hint, address));
}

struct type *census_type_behind(struct taker *taker, const struct block *block, uint32_t prefix)
{
	if (block->size < prefix + taker->heap->layout->object_size)
		return NULL;
	uint64_t address = object_type_address(taker->heap->layout, block->bytes + prefix);
	struct type *type = maybe_type(taker, address) ? type_get(taker->heap, address) : NULL;
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
static bool settle_other(struct taker *taker, const struct block *block, struct type *type)
{
	const struct survey *survey = taker->survey;
	struct object object;
	while (type && may_be_other(taker, type)) {
		size_t i = 0;
		while (i < survey->n_prefixes && survey->prefixes[i] != type->prefix)
			i++;
		type = guess_type(taker, block, i + 1);
		if (type && object_in(taker, block, type, &object)) {
			census_emit_one(taker, &object);
			return true;
		}
	}
	return false;
}

/* What is no such object at first sight: one that is unlike most, one of another type, or a table. */
static void settle_odd(struct taker *taker, size_t i, struct type *type)
{
	const struct block block = blocks_nth(taker->batch, i);
	struct accepted *accepted = &taker->accepted;
	struct object object;
	if (object_in(taker, &block, type, &object))
		accepted->offsets[false][object.tracked][accepted->n[false][object.tracked]++] =
			taker->batch->offsets[i];
	else if (!may_be_other(taker, type) || !settle_other(taker, &block, type))
		census_visit_table(taker, &block);
}

/* As most are: with a small number of references, and right links or none, or short characters of one byte. */
static inline bool is_common(const struct py_layout *layout, enum shelf_kind kind, bool empty_heads,
			     struct candidate_text text, const uint8_t *bytes, uint64_t available)
{
	if (!candidate_few_references(layout, bytes))
		return false;
	if (kind == SHELF_TRACKED)
		return candidate_head_common(layout, bytes) || (empty_heads && candidate_head_empty(layout, bytes));
	if (kind == SHELF_TEXT)
		return candidate_str_common(layout, text, bytes, available);
	return true;
}

/* Of an object with a head: whether the collector has it in a list. */
static inline bool is_listed(const struct py_layout *layout, const uint8_t *bytes)
{
	return load_u64(bytes - layout->gc_head_size, 0) != 0;
}

static inline __attribute__((always_inline)) void settle_kind(struct taker *taker, const struct shelf *shelf,
							      enum shelf_kind kind)
{
	const struct py_layout *layout = taker->heap->layout;
	const struct type *type = shelf->type;
	const struct candidate_text text = candidate_text(layout);
	const uint32_t *offsets = taker->batch->offsets;
	const uint8_t *bytes = taker->batch->first.bytes + type->prefix;
	const uint64_t available = taker->batch->first.size - type->prefix;
	const bool empty_heads = !type->made_in_python;
	uint32_t *untracked = taker->accepted.offsets[true][false], *tracked = taker->accepted.offsets[true][true];
	size_t n_untracked = 0, n_tracked = 0;
	for (size_t at = shelf->first; at; at = taker->next[at]) {
		uint32_t offset = offsets[at - 1];
		if (G_LIKELY(is_common(layout, kind, empty_heads, text, bytes + offset, available))) {
			/* which of them can't be foretold either: written to both */
			bool listed = kind == SHELF_TRACKED && is_listed(layout, bytes + offset);
			untracked[n_untracked] = tracked[n_tracked] = offset;
			n_untracked += !listed;
			n_tracked += listed;
		} else {
			settle_odd(taker, at - 1, shelf->type);
		}
	}
	taker->accepted.n[true][false] = n_untracked;
	taker->accepted.n[true][true] = n_tracked;
	taker->object_bytes += (int64_t)((n_untracked + n_tracked) * taker->batch->first.size);
}

static void settle_each(struct taker *taker, const struct shelf *shelf)
{
	for (size_t at = shelf->first; at; at = taker->next[at])
		settle_odd(taker, at - 1, shelf->type);
}

static void settle_tables(struct taker *taker, const struct shelf *shelf)
{
	for (size_t at = shelf->first; at; at = taker->next[at]) {
		const struct block block = blocks_nth(taker->batch, at - 1);
		census_visit_table(taker, &block);
	}
}

/* Visit what was accepted of a shelf. */
static void emit_accepted(struct taker *taker, struct type *type)
{
	const struct block *block = &taker->batch->first;
	struct accepted *accepted = &taker->accepted;
	struct objects objects = {.first = {.address = block->address + type->prefix,
					    .bytes = block->bytes + type->prefix,
					    .available = block->size - type->prefix,
					    .type = type}};
	for (int common = 0; common < 2; common++) {
		for (int tracked = 0; tracked < 2; tracked++) {
			if (!(objects.n = accepted->n[common][tracked]))
				continue;
			accepted->n[common][tracked] = 0;
			objects.offsets = accepted->offsets[common][tracked];
			objects.first.common = common;
			objects.first.tracked = tracked;
			census_emit(taker, &objects);
		}
	}
}

static void settle_shelf(struct taker *taker, struct shelf *shelf)
{
	enum shelf_kind kind = shelf->kind;
	/* too small for most: a struct that may be without its end */
	if (shelf->type && taker->batch->first.size < shelf->type->prefix + (uint64_t)shelf->type->least)
		kind = SHELF_ODD;
	switch (kind) {
	case SHELF_NONE:
		settle_tables(taker, shelf);
		break;
	case SHELF_PLAIN:
		settle_kind(taker, shelf, SHELF_PLAIN);
		break;
	case SHELF_TRACKED:
		settle_kind(taker, shelf, SHELF_TRACKED);
		break;
	case SHELF_TEXT:
		settle_kind(taker, shelf, SHELF_TEXT);
		break;
	case SHELF_ODD:
		settle_each(taker, shelf);
		break;
	}
	shelf->first = 0;
	if (shelf->type)
		emit_accepted(taker, shelf->type);
}

/* Ask for the neighbours in the collector's list of what may be in these blocks. */
static void prefetch(struct taker *taker, const struct shelf *shelf)
{
	const struct type *type = shelf->type;
	if (!type || !(type->flags & PY_FLAG_HAVE_GC) || !type->prefix)
		return;
	for (size_t at = shelf->first; at; at = taker->next[at]) {
		const uint8_t *bytes = taker->batch->first.bytes + taker->batch->offsets[at - 1];
		const uint8_t *head = bytes + type->prefix - taker->heap->layout->gc_head_size;
		memory_prefetch(taker->heap->memory, (load_u64(head, 0) & LINK_MASK) + 8);
	}
}

static void settle(struct taker *taker)
{
	for (size_t i = 0; i < taker->n_used && taker->survey->ask_each; i++)
		prefetch(taker, taker->used[i]);
	for (size_t i = 0; i < taker->n_used; i++)
		settle_shelf(taker, taker->used[i]);
	taker->n_used = 0;
}

static enum shelf_kind shelf_kind(const struct taker *taker, const struct type *type)
{
	const struct py_layout *layout = taker->heap->layout;
	if (!type)
		return SHELF_NONE;
	/* each has to be asked, or nothing is as in most */
	if (taker->survey->ask_each || taker->survey->overhead || !candidate_counts_in_a_word(layout))
		return SHELF_ODD;
	if (type->flags & PY_FLAG_UNICODE)
		return type->flags & PY_FLAG_HEAPTYPE ? SHELF_ODD : SHELF_TEXT;
	if (!(type->flags & PY_FLAG_HAVE_GC))
		return SHELF_PLAIN;
	return heap_has(layout->gc_head_refs) ? SHELF_ODD : SHELF_TRACKED;
}

/* Types are multiples of 16, and of no larger power of two. */
static inline size_t shelf_index(uint64_t address)
{
	return (address >> 4) % (1 << SHELF_BITS);
}

/* What a shelf is for: the address of a type, and where in a block its objects begin. No address has its highest bits set. */
static inline uint64_t shelf_key(uint64_t address, uint64_t prefix)
{
	return address + ((prefix + 1) << ADDRESS_BITS);
}

/* Whether the shelf of this key is for this address, behind whatever prefix. */
static inline bool key_is_for(uint64_t key, uint64_t address)
{
	return (key ^ address) << (64 - ADDRESS_BITS) == 0;
}

static void shelf_clear(struct taker *taker, struct shelf *shelf, struct type *type)
{
	*shelf = (struct shelf){.type = type, .kind = shelf_kind(taker, type)};
}

static void shelf_assign(struct taker *taker, size_t index, uint64_t address, struct type *type)
{
	struct shelf *shelf = &taker->shelves[index];
	if (shelf->first)
		settle(taker); /* another type's, that has blocks in it */
	shelf_clear(taker, shelf, type);
	taker->keys[index] = type ? shelf_key(address, type->prefix) : address;
}

/* The shelf for what lies at an address, which may be a type: one of two, or whichever of them is free, or the first. */
static size_t shelf_get(struct taker *taker, uint64_t address)
{
	size_t index = shelf_index(address), other = index ^ 1;
	if (key_is_for(taker->keys[index], address))
		return index;
	if (key_is_for(taker->keys[other], address))
		return other;
	struct type *type = type_get(taker->heap, address);
	if (taker->shelves[index].type && !taker->shelves[other].type)
		index = other;
	/* what is no type doesn't take the place of one */
	if (type || !taker->shelves[index].type)
		shelf_assign(taker, index, address, type);
	return index;
}

/* The shelf of a block with a word that perhaps is a type not seen yet. */
static struct shelf *shelf_find(struct taker *taker, const uint8_t *bytes, size_t n)
{
	const struct survey *survey = taker->survey;
	for (size_t i = 0; i < n; i++) {
		uint64_t prefix = survey->prefixes[i];
		uint64_t address = object_type_address(taker->heap->layout, bytes + prefix);
		if (!maybe_type(taker, address))
			continue;
		size_t index = shelf_get(taker, address);
		if (taker->keys[index] == shelf_key(address, prefix))
			return &taker->shelves[index];
	}
	return &taker->tables;
}

/* Where to look in a block, and what to look for; of its own, for nothing that is written changes it. */
struct sieve {
	struct extent extent;
	uint64_t behind[MAX_PREFIXES], prefixes[MAX_PREFIXES];
};

/* The shelf for a block: by the first of `n` prefixes behind which there is a type. NULL: that has to be found out. */
static inline __attribute__((always_inline)) struct shelf *shelf_of(struct taker *taker, const struct sieve *sieve,
								    const uint8_t *bytes, size_t n)
{
#pragma GCC unroll 4
	for (size_t i = 0; i < n; i++) {
		uint64_t address = load_u64(bytes, sieve->behind[i]);
		size_t index = shelf_index(address);
		if (taker->keys[index] == shelf_key(address, sieve->prefixes[i]))
			return &taker->shelves[index];
		if (extent_leads_out(&sieve->extent, address) && !key_is_for(taker->keys[index], address))
			return NULL;
	}
	return &taker->tables;
}

/* Blocks that may have an object behind `n` prefixes. */
static inline __attribute__((always_inline)) void shelve(struct taker *taker, const struct sieve *sieve,
							 const struct blocks *blocks, size_t n)
{
	const uint8_t *first = blocks->first.bytes;
	const uint64_t ahead = taker->heap->layout->shape.pool_bytes;
	size_t n_used = taker->n_used;
	/* from the last one, so that each shelf has them in order */
	for (size_t i = blocks->n; i > 0; i--) {
		const uint8_t *bytes = first + blocks->offsets[i - 1];
		memory_ask(bytes + ahead); /* the next pool's */
		struct shelf *shelf = shelf_of(taker, sieve, bytes, n);
		if (G_UNLIKELY(!shelf)) {
			taker->n_used = n_used;
			shelf = shelf_find(taker, bytes, n);
			n_used = taker->n_used;
		}
		taker->used[n_used] = shelf;
		n_used += !shelf->first;
		taker->next[i] = shelf->first;
		shelf->first = (uint16_t)i;
	}
	taker->n_used = n_used;
}

void census_visit_blocks(void *context, const struct blocks *blocks)
{
	struct taker *taker = context;
	const struct survey *survey = taker->survey;
	const struct py_layout *layout = taker->heap->layout;
	struct sieve sieve = {.extent = survey->extent};
	size_t n = 0;
	if (blocks->first.domain == BLOCK_RAW)
		return;
	/* mimalloc's blocks are of any size, and types are in them */
	if (!survey->allocator.pymalloc.n_arenas)
		sieve.extent.n_pages = 0;
	for (; n < survey->n_prefixes && blocks->first.size >= survey->prefixes[n] + layout->object_size; n++) {
		sieve.prefixes[n] = survey->prefixes[n];
		sieve.behind[n] = survey->prefixes[n] + layout->ob_type;
	}
	memory_rest(taker->heap->memory, &taker->hold);
	taker->batch = blocks;
	/* the compiler makes a loop of its own for each number */
	if (n == 0)
		shelve(taker, &sieve, blocks, 0);
	else if (n == 1)
		shelve(taker, &sieve, blocks, 1);
	else if (n == 2)
		shelve(taker, &sieve, blocks, 2);
	else if (n == 3)
		shelve(taker, &sieve, blocks, 3);
	else
		shelve(taker, &sieve, blocks, n);
	settle(taker);
}

void census_shelves_init(struct taker *taker)
{
	for (size_t i = 0; i < SHELVES; i++) {
		shelf_clear(taker, &taker->shelves[i], NULL);
		taker->keys[i] = NO_ADDRESS;
	}
	shelf_clear(taker, &taker->tables, NULL);
}
