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
			census_emit(taker, &object, 1);
			return true;
		}
	}
	return false;
}

/* What is no such object at first sight: one that is unlike most, one of another type, or a table. */
static bool settle_odd(struct taker *taker, const struct block *block, struct type *type, struct object *object)
{
	if (object_in(taker, block, type, object))
		return true;
	if (!may_be_other(taker, type) || !settle_other(taker, block, type))
		census_visit_table(taker, block);
	return false;
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

static inline __attribute__((always_inline)) size_t settle_kind(struct taker *taker, const struct shelf *shelf,
								enum shelf_kind kind)
{
	const struct py_layout *layout = taker->heap->layout;
	const struct block *batch = taker->batch;
	struct type *type = shelf->type;
	const uint64_t prefix = type->prefix, least = prefix + type->least;
	const bool common = kind != SHELF_ODD;
	const struct candidate_text text = candidate_text(layout);
	const bool empty_heads = !type->made_in_python;
	struct object *object = taker->accepted;
	int64_t bytes = 0;
	for (size_t at = shelf->first; at; at = taker->next[at]) {
		const struct block *block = &batch[at - 1];
		if (common && block->size >= least &&
		    is_common(layout, kind, empty_heads, text, block->bytes + prefix, block->size - prefix)) {
			*object = (struct object){.address = block->address + prefix,
						  .bytes = block->bytes + prefix,
						  .available = block->size - prefix,
						  .type = type,
						  .common = true,
						  .tracked = kind == SHELF_TRACKED &&
							     is_listed(layout, block->bytes + prefix)};
			bytes += (int64_t)block->size;
			object++;
		} else {
			object += settle_odd(taker, block, type, object);
		}
	}
	taker->object_bytes += bytes;
	return (size_t)(object - taker->accepted);
}

static void settle_tables(struct taker *taker, const struct shelf *shelf)
{
	for (size_t at = shelf->first; at; at = taker->next[at])
		census_visit_table(taker, &taker->batch[at - 1]);
}

static void settle_shelf(struct taker *taker, struct shelf *shelf)
{
	size_t n = 0;
	*shelf->tail = 0;
	switch (shelf->kind) {
	case SHELF_NONE:
		settle_tables(taker, shelf);
		break;
	case SHELF_PLAIN:
		n = settle_kind(taker, shelf, SHELF_PLAIN);
		break;
	case SHELF_TRACKED:
		n = settle_kind(taker, shelf, SHELF_TRACKED);
		break;
	case SHELF_TEXT:
		n = settle_kind(taker, shelf, SHELF_TEXT);
		break;
	case SHELF_ODD:
		n = settle_kind(taker, shelf, SHELF_ODD);
		break;
	}
	shelf->tail = &shelf->first;
	if (n)
		census_emit(taker, taker->accepted, n);
}

/* Ask for the neighbours in the collector's list of what may be in these blocks. */
static void prefetch(struct taker *taker, const struct shelf *shelf)
{
	const struct type *type = shelf->type;
	if (!type || !(type->flags & PY_FLAG_HAVE_GC) || !type->prefix)
		return;
	*shelf->tail = 0;
	for (size_t at = shelf->first; at; at = taker->next[at]) {
		const uint8_t *head = taker->batch[at - 1].bytes + type->prefix - taker->heap->layout->gc_head_size;
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

/* Whether the shelf is for this address, behind whatever prefix. */
static inline bool shelf_is_for(const struct shelf *shelf, uint64_t address)
{
	return (shelf->key ^ address) << (64 - ADDRESS_BITS) == 0;
}

static void shelf_assign(struct taker *taker, struct shelf *shelf, uint64_t address, struct type *type)
{
	if (shelf->tail != &shelf->first)
		settle(taker); /* another type's, that has blocks in it */
	*shelf = (struct shelf){.key = type ? shelf_key(address, type->prefix) : address,
				.type = type,
				.kind = shelf_kind(taker, type)};
	shelf->tail = &shelf->first;
}

/* The shelf for what lies at an address, which may be a type: one of two, or whichever of them is free, or the first. */
static struct shelf *shelf_get(struct taker *taker, uint64_t address)
{
	size_t index = shelf_index(address);
	struct shelf *shelf = &taker->shelves[index], *other = &taker->shelves[index ^ 1];
	if (shelf_is_for(shelf, address))
		return shelf;
	if (shelf_is_for(other, address))
		return other;
	struct type *type = type_get(taker->heap, address);
	if (shelf->type && !other->type)
		shelf = other;
	/* what is no type doesn't take the place of one */
	if (type || !shelf->type)
		shelf_assign(taker, shelf, address, type);
	return shelf;
}

/* The shelf of a block with a word that perhaps is a type not seen yet. */
static struct shelf *shelf_find(struct taker *taker, const struct block *block)
{
	const struct survey *survey = taker->survey;
	for (size_t i = 0; i < survey->n_prefixes; i++) {
		uint64_t prefix = survey->prefixes[i];
		if (block->size < prefix + taker->heap->layout->object_size)
			continue;
		uint64_t address = object_type_address(taker->heap->layout, block->bytes + prefix);
		if (!maybe_type(taker, address))
			continue;
		struct shelf *shelf = shelf_get(taker, address);
		if (shelf->key == shelf_key(address, prefix))
			return shelf;
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
		struct shelf *shelf = &taker->shelves[shelf_index(address)];
		if (shelf->key == shelf_key(address, sieve->prefixes[i]))
			return shelf;
		if (!extent_of_blocks(&sieve->extent, address) && extent_of_memory(&sieve->extent, address) &&
		    !shelf_is_for(shelf, address))
			return NULL;
	}
	return &taker->tables;
}

/* Blocks of one size, [from, to), that may have an object behind `n` prefixes. */
static inline __attribute__((always_inline)) void shelve(struct taker *taker, const struct sieve *sieve, size_t from,
							 size_t to, size_t n)
{
	const struct block *blocks = taker->batch;
	size_t n_used = taker->n_used;
	for (size_t i = from; i < to; i++) {
		struct shelf *shelf = shelf_of(taker, sieve, blocks[i].bytes, n);
		if (!shelf) {
			taker->n_used = n_used;
			shelf = shelf_find(taker, &blocks[i]);
			n_used = taker->n_used;
		}
		taker->used[n_used] = shelf;
		n_used += shelf->tail == &shelf->first;
		*shelf->tail = (uint16_t)(i + 1);
		shelf->tail = &taker->next[i + 1];
	}
	taker->n_used = n_used;
}

/* The same: the compiler makes a loop of its own for each number. */
static void shelve_all(struct taker *taker, const struct sieve *sieve, size_t from, size_t to, size_t n)
{
	switch (n) {
	case 0:
		shelve(taker, sieve, from, to, 0);
		break;
	case 1:
		shelve(taker, sieve, from, to, 1);
		break;
	case 2:
		shelve(taker, sieve, from, to, 2);
		break;
	case 3:
		shelve(taker, sieve, from, to, 3);
		break;
	default:
		shelve(taker, sieve, from, to, n);
		break;
	}
}

void census_visit_blocks(void *context, const struct block *blocks, size_t n)
{
	struct taker *taker = context;
	const struct survey *survey = taker->survey;
	const struct py_layout *layout = taker->heap->layout;
	struct sieve sieve = {.extent = survey->extent};
	/* mimalloc's blocks are of any size, and types are in them */
	if (!survey->allocator.pymalloc.n_arenas)
		sieve.extent.n_pages = 0;
	for (size_t i = 0; i < survey->n_prefixes; i++) {
		sieve.prefixes[i] = survey->prefixes[i];
		sieve.behind[i] = survey->prefixes[i] + layout->ob_type;
	}
	memory_rest(taker->heap->memory, &taker->hold);
	taker->batch = blocks;
	for (size_t from = 0, to; from < n; from = to) {
		const struct block *first = &blocks[from];
		size_t n_prefixes = 0;
		for (to = from + 1; to < n && blocks[to].size == first->size && blocks[to].domain == first->domain;)
			to++;
		while (n_prefixes < survey->n_prefixes &&
		       first->size >= survey->prefixes[n_prefixes] + layout->object_size)
			n_prefixes++;
		if (first->domain != BLOCK_RAW)
			shelve_all(taker, &sieve, from, to, n_prefixes);
	}
	settle(taker);
}

void census_shelves_init(struct taker *taker)
{
	for (size_t i = 0; i < G_N_ELEMENTS(taker->shelves); i++)
		shelf_assign(taker, &taker->shelves[i], NO_ADDRESS, NULL);
	shelf_assign(taker, &taker->tables, NO_ADDRESS, NULL);
}
