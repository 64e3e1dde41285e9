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
		struct type *type = census_type_behind(taker, block, (uint32_t)i * survey->prefix);
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
		type = guess_type(taker, block, type->prefix / survey->prefix + 1);
		if (type && object_in(taker, block, type, &object)) {
			census_emit_one(taker, &object);
			return true;
		}
	}
	return false;
}

/* What is no such object at first sight: one that is unlike most, one of another type, or a table. */
static void settle_odd(struct taker *taker, uint32_t offset, struct type *type)
{
	const struct block block = block_at(&taker->batch, offset);
	struct accepted *accepted = &taker->accepted;
	struct object object;
	if (object_in(taker, &block, type, &object))
		accepted->offsets[object.tracked][accepted->n[object.tracked]++] = offset;
	else if (!may_be_other(taker, type) || !settle_other(taker, &block, type))
		census_visit_tables(taker, &offset, 1);
}

/* Objects of the type in blocks of the batch. */
static struct objects objects_of(const struct taker *taker, struct type *type, const uint32_t *offsets, size_t n)
{
	const struct block *block = &taker->batch;
	return (struct objects){.first = {.address = block->address + type->prefix,
					  .bytes = block->bytes + type->prefix,
					  .available = block->size - type->prefix,
					  .type = type},
				.offsets = offsets,
				.n = n};
}

/* Common ones, whose references have been counted. */
static void emit_common(struct taker *taker, struct objects *objects, bool tracked)
{
	if (!objects->n)
		return;
	objects->first.common = true;
	objects->first.tracked = tracked;
	taker->object_bytes += (int64_t)(objects->n * taker->batch.size);
	census_emit(taker, objects);
}

static void emit_accepted(struct taker *taker, struct type *type)
{
	struct accepted *accepted = &taker->accepted;
	for (int tracked = 0; tracked < 2; tracked++) {
		if (!accepted->n[tracked])
			continue;
		struct objects objects = objects_of(taker, type, accepted->offsets[tracked], accepted->n[tracked]);
		accepted->n[tracked] = 0;
		objects.first.tracked = tracked;
		census_emit(taker, &objects);
	}
}

/* Reference counts of some objects, taken together. Unsigned: what isn't common may have any number where the count would be. */
struct tally {
	uint64_t any; /* or-ed: the counts less one */
	uint64_t refs, most;
};

static inline void tally_add(struct tally *tally, uint64_t count)
{
	tally->any |= count - 1;
	tally->refs += count;
	tally->most = MAX(tally->most, count);
}

/* They are those of the objects. False: one isn't candidate_few_references(). */
static inline bool tally_end(const struct tally *tally, struct objects *objects)
{
	objects->refs = (int64_t)tally->refs;
	objects->refs_max = (int64_t)tally->most;
	return tally->any < CANDIDATE_FEW_REFERENCES;
}

/* what objects without a head are; the compiler makes loops of its own for each */
enum headless { HEADLESS_PLAIN, HEADLESS_TEXT, HEADLESS_WIDE_TEXT };

/* Whether objects without a head are all common, as in most batches. Counts their references and characters, too. */
static inline __attribute__((always_inline)) bool all_common(const struct taker *taker, struct objects *objects,
							     enum headless kind)
{
	const struct py_layout *layout = taker->heap->layout;
	const uint32_t count_at = layout->ob_refcnt;
	const struct candidate_text text = candidate_text(layout, objects->first.available);
	const uint8_t *bytes = objects->first.bytes;
	struct tally tally = {0};
	uint64_t characters = 0, longest = 0, wide = 0;
	uint32_t states = 0;
	for (size_t i = 0; i < objects->n; i++) {
		const uint8_t *object = bytes + objects->offsets[i];
		tally_add(&tally, load_u64(object, count_at));
		if (kind == HEADLESS_WIDE_TEXT)
			wide |= load_u64(object, text.wide_at);
		if (kind != HEADLESS_PLAIN) {
			uint64_t length = load_u64(object, text.length_at);
			states |= load_u32(object, text.state_at) ^ text.state;
			characters += length;
			longest = MAX(longest, length);
		}
	}
	objects->characters = characters;
	return tally_end(&tally, objects) && !(states & text.mask) && !wide &&
	       (kind == HEADLESS_PLAIN || longest < text.room);
}

/* Some of the objects aren't common; those that are stay in the pile. */
static inline __attribute__((always_inline)) void keep_common(struct taker *taker, struct objects *objects,
							      uint32_t *pile, enum headless kind)
{
	const struct py_layout *layout = taker->heap->layout;
	const uint32_t count_at = layout->ob_refcnt;
	const struct candidate_text text = candidate_text(layout, objects->first.available);
	const uint8_t *bytes = objects->first.bytes;
	size_t kept = 0;
	for (size_t i = 0; i < objects->n; i++) {
		const uint8_t *object = bytes + pile[i];
		if (candidate_few_references(load_u64(object, count_at)) &&
		    (kind == HEADLESS_PLAIN || candidate_str_common(&text, object)))
			pile[kept++] = pile[i];
		else
			settle_odd(taker, pile[i], objects->first.type);
	}
	objects->n = kept;
	all_common(taker, objects, kind);
}

static inline __attribute__((always_inline)) void settle_headless(struct taker *taker, struct type *type,
								  uint32_t *pile, size_t n, enum headless kind)
{
	struct objects objects = objects_of(taker, type, pile, n);
	if (!all_common(taker, &objects, kind))
		keep_common(taker, &objects, pile, kind);
	emit_common(taker, &objects, false);
}

/* Whether objects with a head are all common, and either all tracked or all not, as in most batches. */
enum alike { ALIKE_NOT, ALIKE_TRACKED, ALIKE_EMPTY };

/* Counts their references, too. */
static enum alike find_alike(const struct taker *taker, struct objects *objects)
{
	const struct py_layout *layout = taker->heap->layout;
	const uint32_t count_at = layout->ob_refcnt, head_bytes = layout->gc_head_size;
	struct candidate_heads heads = candidate_heads_begin();
	const uint8_t *bytes = objects->first.bytes;
	struct tally tally = {0};
	for (size_t i = 0; i < objects->n; i++) {
		const uint8_t *object = bytes + objects->offsets[i];
		tally_add(&tally, load_u64(object, count_at));
		candidate_heads_add(&heads, object - head_bytes);
	}
	if (!tally_end(&tally, objects))
		return ALIKE_NOT;
	return candidate_heads_common(&heads) ? ALIKE_TRACKED : candidate_heads_empty(&heads) ? ALIKE_EMPTY : ALIKE_NOT;
}

static void count_references(const struct taker *taker, struct objects *objects)
{
	const uint32_t count_at = taker->heap->layout->ob_refcnt;
	struct tally tally = {0};
	for (size_t i = 0; i < objects->n; i++)
		tally_add(&tally, load_u64(objects->first.bytes + objects->offsets[i], count_at));
	tally_end(&tally, objects);
}

/* Objects with a head of which some are tracked, some not, and some perhaps aren't common. */
static void settle_mixed(struct taker *taker, struct type *type, uint32_t *pile, size_t n)
{
	const struct py_layout *layout = taker->heap->layout;
	const uint32_t count_at = layout->ob_refcnt, head_bytes = layout->gc_head_size;
	const bool may_be_empty = !type->always_listed;
	struct objects tracked = objects_of(taker, type, pile, 0),
		       untracked = objects_of(taker, type, taker->untracked.offsets, 0);
	const uint8_t *bytes = tracked.first.bytes;
	size_t n_tracked = 0, n_untracked = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t offset = pile[i];
		const uint8_t *object = bytes + offset;
		struct candidate_heads head = candidate_heads_begin();
		candidate_heads_add(&head, object - head_bytes);
		bool listed = candidate_heads_common(&head), empty = may_be_empty & candidate_heads_empty(&head);
		if (G_UNLIKELY(!(listed | empty) || !candidate_few_references(load_u64(object, count_at)))) {
			settle_odd(taker, offset, type);
			continue;
		}
		/* which of them can't be foretold: written to both */
		pile[n_tracked] = taker->untracked.offsets[n_untracked] = offset;
		n_tracked += listed;
		n_untracked += !listed;
	}
	tracked.n = n_tracked;
	untracked.n = n_untracked;
	count_references(taker, &tracked);
	count_references(taker, &untracked);
	emit_common(taker, &untracked, false);
	emit_common(taker, &tracked, true);
}

static void settle_headed(struct taker *taker, struct type *type, uint32_t *pile, size_t n)
{
	struct objects objects = objects_of(taker, type, pile, n);
	enum alike alike = find_alike(taker, &objects);
	if (alike == ALIKE_TRACKED || (alike == ALIKE_EMPTY && !type->always_listed))
		emit_common(taker, &objects, alike == ALIKE_TRACKED);
	else
		settle_mixed(taker, type, pile, n);
}

static void settle_each(struct taker *taker, struct type *type, const uint32_t *pile, size_t n)
{
	for (size_t i = 0; i < n; i++)
		settle_odd(taker, pile[i], type);
}

static void settle_shelf(struct taker *taker, struct shelf *shelf, uint32_t *pile)
{
	const struct label *label = &taker->labels[shelf - taker->shelves];
	struct type *type = label->type;
	enum shelf_kind kind = label->kind;
	size_t n = (size_t)(shelf->end - pile);
	shelf->end = NULL;
	/* too small for most: a struct that may be without its end */
	if (type && taker->batch.size < type->prefix + (uint64_t)type->least)
		kind = SHELF_ODD;
	switch (kind) {
	case SHELF_NONE:
		census_visit_tables(taker, pile, n);
		return;
	case SHELF_PLAIN:
		settle_headless(taker, type, pile, n, HEADLESS_PLAIN);
		break;
	case SHELF_TEXT:
		settle_headless(taker, type, pile, n, HEADLESS_TEXT);
		break;
	case SHELF_WIDE_TEXT:
		settle_headless(taker, type, pile, n, HEADLESS_WIDE_TEXT);
		break;
	case SHELF_TRACKED:
		settle_headed(taker, type, pile, n);
		break;
	case SHELF_ODD:
		settle_each(taker, type, pile, n);
		break;
	}
	emit_accepted(taker, type);
}

/* Ask for the neighbours in the collector's list of what may be in these blocks. */
static void prefetch(struct taker *taker, const struct shelf *shelf, const uint32_t *pile)
{
	const struct type *type = taker->labels[shelf - taker->shelves].type;
	if (!type || !(type->flags & PY_FLAG_HAVE_GC) || !type->prefix)
		return;
	for (const uint32_t *offset = pile; offset < shelf->end; offset++) {
		const uint8_t *bytes = taker->batch.bytes + *offset;
		const uint8_t *head = bytes + type->prefix - taker->heap->layout->gc_head_size;
		memory_prefetch(taker->heap->memory, (load_u64(head, 0) & LINK_MASK) + 8);
	}
}

static struct mix *mix_of(struct taker *taker, uint64_t block_bytes)
{
	return &taker->mixes[MIN(block_bytes / MIX_BYTES, MIXES - 1)];
}

#define MIX_MOST (1u << 16) /* blocks after which those before count half */

/* What the blocks on the shelves are, for those to come. */
static void mix_learn(struct taker *taker)
{
	struct mix *mix = mix_of(taker, taker->batch.size);
	uint32_t sum = mix->none;
	for (size_t i = 0; i < taker->n_used; i++) {
		const struct shelf *shelf = taker->used[i];
		const struct type *type = taker->labels[shelf - taker->shelves].type;
		size_t prefix = type ? type->prefix / taker->survey->prefix : MAX_PREFIXES;
		*(prefix < MAX_PREFIXES ? &mix->behind[prefix] : &mix->none) +=
			(uint32_t)(shelf->end - taker->piles[i].offsets);
	}
	for (size_t i = 0; i < MAX_PREFIXES; i++)
		sum += mix->behind[i];
	for (size_t i = 0; i < MAX_PREFIXES && sum > MIX_MOST; i++)
		mix->behind[i] /= 2;
	mix->none /= sum > MIX_MOST ? 2 : 1;
}

static void settle(struct taker *taker)
{
	mix_learn(taker);
	for (size_t i = 0; i < taker->n_used && taker->survey->ask_each; i++)
		prefetch(taker, taker->used[i], taker->piles[i].offsets);
	for (size_t i = 0; i < taker->n_used; i++)
		settle_shelf(taker, taker->used[i], taker->piles[i].offsets);
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
		return type->flags & PY_FLAG_HEAPTYPE            ? SHELF_ODD
		       : heap_has(taker->heap->layout->str_wstr) ? SHELF_WIDE_TEXT
								 : SHELF_TEXT;
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

static void shelf_clear(struct taker *taker, size_t index, uint64_t key, struct type *type)
{
	taker->shelves[index] = (struct shelf){.key = key};
	taker->labels[index] = (struct label){.type = type, .kind = shelf_kind(taker, type)};
}

static void shelf_assign(struct taker *taker, size_t index, uint64_t address, struct type *type)
{
	if (taker->shelves[index].end)
		settle(taker); /* another type's, that has blocks in it */
	shelf_clear(taker, index, type ? shelf_key(address, type->prefix) : address, type);
}

/* The shelf for what lies at an address, which may be a type: one of two, or whichever of them is free, or the first. */
static struct shelf *shelf_get(struct taker *taker, uint64_t address)
{
	size_t index = shelf_index(address), other = index ^ 1;
	if (key_is_for(taker->shelves[index].key, address))
		return &taker->shelves[index];
	if (key_is_for(taker->shelves[other].key, address))
		return &taker->shelves[other];
	struct type *type = type_get(taker->heap, address);
	if (taker->labels[index].type && !taker->labels[other].type)
		index = other;
	/* what is no type doesn't take the place of one */
	if (type || !taker->labels[index].type)
		shelf_assign(taker, index, address, type);
	return &taker->shelves[index];
}

/* The shelf of a block with a word that perhaps is a type not seen yet. */
static struct shelf *shelf_find(struct taker *taker, const uint8_t *bytes, size_t n)
{
	const struct survey *survey = taker->survey;
	for (size_t i = 0; i < n; i++) {
		uint64_t prefix = i * survey->prefix;
		uint64_t address = object_type_address(taker->heap->layout, bytes + prefix);
		if (!maybe_type(taker, address))
			continue;
		struct shelf *shelf = shelf_get(taker, address);
		if (shelf->key == shelf_key(address, prefix))
			return shelf;
	}
	return &taker->shelves[SHELVES];
}

/*
 * What to look for in a block, by which of the words that may be its type lead out of the blocks: bit i stands for the i-th prefix. A type lies
 * there; what else there is in an object's place for it hardly ever leads there. So the first of these words is the type, if any is. To ask of
 * one after the other were a guess at each, and a processor guesses wrong where neighbours are strangers. Where not all words are asked, bits
 * without one stand for the next word.
 */
struct guess {
	uint64_t prefix;
	uint64_t mask;         /* 0: no word leads out */
	uint64_t key;          /* shelf_key() of a type is its address and this */
	struct shelf *shelves; /* of types; or the only one that it can be */
};

/* Where to look in a block; of its own, for nothing that is written changes it. */
struct sieve {
	struct extent extent;
	size_t n;              /* prefixes of an object that a block has room for */
	size_t asked;          /* so many of their words are asked whether they lead out */
	uint64_t behind, step; /* offsets of the word behind the first one, and from there to that behind the next */
	struct guess guesses[1 << MAX_PREFIXES];
	unsigned only; /* a bit for each guess: whether the block holds no object if that isn't its type */
};

#define MIX_FEW 32 /* what is one block in so many, or less, may take longer */

/*
 * How many of a block's n words that may be its type to ask whether they lead out. Where nearly all blocks of the size hold an object, the last word
 * that is a type in some of them need not be asked: it is one if none before it leads out, and else there is no shelf for it.
 */
static size_t words_asked(const struct mix *mix, size_t n)
{
	uint32_t sum = mix->none;
	for (size_t i = 0; i < n; i++)
		sum += mix->behind[i];
	if (!n || mix->none >= sum / MIX_FEW)
		return n;
	while (n > 1 && mix->behind[n - 1] < sum / MIX_FEW)
		n--;
	return n - 1;
}

static void sieve_init(struct sieve *sieve, struct taker *taker, uint64_t block_bytes)
{
	const struct survey *survey = taker->survey;
	const struct py_layout *layout = taker->heap->layout;
	sieve->extent = survey->extent;
	/* mimalloc's blocks are of any size, and types are in them */
	if (!survey->allocator.pymalloc.n_arenas)
		sieve->extent.n_pages = 0;
	sieve->behind = layout->ob_type;
	sieve->step = survey->prefix;
	sieve->n = 0;
	sieve->only = 0;
	while (sieve->n < survey->n_prefixes && block_bytes >= sieve->n * sieve->step + layout->object_size)
		sieve->n++;
	sieve->asked = words_asked(mix_of(taker, block_bytes), sieve->n);
	sieve->guesses[0] = (struct guess){.key = NO_ADDRESS, .shelves = &taker->shelves[SHELVES]};
	for (size_t bits = sieve->asked < sieve->n ? 0 : 1; bits < 1u << sieve->asked; bits++) {
		uint64_t prefix = (bits ? (uint64_t)__builtin_ctzll(bits) : sieve->asked) * sieve->step;
		sieve->guesses[bits] = (struct guess){prefix, UINT64_MAX, shelf_key(0, prefix), taker->shelves};
		if (sieve->asked == sieve->n && !(bits & (bits - 1)))
			sieve->only |= 1u << bits;
	}
}

/* The shelf for a block in which the first word that leads out is no type that is known behind there. */
static __attribute__((noinline)) struct shelf *shelf_seek(struct taker *taker, const struct sieve *sieve,
							  const uint8_t *bytes)
{
	for (size_t i = 0; i < sieve->n; i++) {
		uint64_t prefix = i * sieve->step;
		if (!coarse_has_at(sieve->extent.outside, bytes + sieve->behind + prefix))
			continue;
		uint64_t address = load_u64(bytes, sieve->behind + prefix);
		struct shelf *shelf = &taker->shelves[shelf_index(address)];
		if (shelf->key == shelf_key(address, prefix))
			return shelf;
		if (!key_is_for(shelf->key, address) && extent_leads_out(&sieve->extent, address))
			return shelf_find(taker, bytes, sieve->n);
	}
	return &taker->shelves[SHELVES];
}

/*
 * The shelf for a block that has none at first sight. Many blocks have the address of something else where a type would be, always of the same few:
 * the shelf of that says so.
 */
static inline struct shelf *shelf_of_odd(struct taker *taker, const struct sieve *sieve, struct odd odd)
{
	const struct guess *guess = &sieve->guesses[odd.bits];
	const uint8_t *bytes = taker->batch.bytes + odd.offset;
	uint64_t address = load_u64(bytes, sieve->behind + guess->prefix);
	if (sieve->only >> odd.bits & 1 && taker->shelves[shelf_index(address)].key == address)
		return &taker->shelves[SHELVES];
	return shelf_seek(taker, sieve, bytes);
}

/* A pile for a shelf that has none. */
static __attribute__((noinline, cold)) void pile_begin(struct taker *taker, struct shelf *shelf)
{
	taker->used[taker->n_used] = shelf;
	shelf->end = taker->piles[taker->n_used++].offsets;
}

/* Where one more block goes on a shelf. */
static inline __attribute__((always_inline)) uint32_t *shelf_room(struct taker *taker, struct shelf *shelf)
{
	if (__builtin_expect(!shelf->end, 0))
		pile_begin(taker, shelf);
	return shelf->end++;
}

#define STRIP 8    /* blocks */
#define NEAR  2048 /* bytes ahead */

/*
 * Put some blocks, at offsets from `first`, on their shelves: of each, n words are asked, which are all, or the next one is taken for a type without
 * being asked. What has no shelf at first sight goes to `odd`; returns its end. All places are found before anything is put there: a processor
 * doesn't look at the end of a shelf while it doesn't know where an earlier block goes, for that may be where the end lies.
 */
static inline __attribute__((always_inline)) struct odd *shelve_strip(struct taker *taker, const struct sieve *sieve,
								      const uint8_t *words, uint32_t first,
								      const uint32_t *offsets, size_t n_blocks,
								      size_t n, bool all, struct odd *odd)
{
	const struct coarse *outside = sieve->extent.outside;
	uint32_t *places[STRIP];
#pragma GCC unroll 8
	for (size_t k = 0; k < n_blocks; k++) {
		const uint8_t *word = words + offsets[k];
		size_t bits = 0;
#pragma GCC unroll 3
		for (size_t i = n; i-- > 0;)
			bits = 2 * bits + coarse_has_at(outside, word + i * sieve->step);
		const struct guess *guess = &sieve->guesses[bits];
		uint64_t address = load_u64(word, guess->prefix) & (all ? guess->mask : UINT64_MAX);
		struct shelf *shelf = (all ? guess->shelves : taker->shelves) + shelf_index(address);
		/* in a loop that is unrolled G_UNLIKELY() gets lost */
		if (__builtin_expect(shelf->key != address + guess->key, 0)) {
			places[k] = &odd->offset;
			odd->bits = (uint32_t)bits;
			odd++;
		} else {
			places[k] = shelf_room(taker, shelf);
		}
	}
#pragma GCC unroll 8
	for (size_t k = 0; k < n_blocks; k++)
		*places[k] = offsets[k] + first;
	return odd;
}

/* Put blocks on their shelves, of which so many words are asked. */
static inline __attribute__((always_inline)) void shelve(struct taker *taker, const struct sieve *sieve,
							 const struct blocks *blocks, size_t n, bool all)
{
	const uint32_t first = (uint32_t)(blocks->first.address - taker->batch.address);
	const uint8_t *bytes = blocks->first.bytes, *near = bytes, *next = bytes + blocks->ahead;
	const uint8_t *words = bytes + sieve->behind;
	const uint32_t *at = blocks->offsets, *end = at + blocks->n;
	const uint8_t *asked = blocks->ahead ? next + *at : (const uint8_t *)UINTPTR_MAX;
	struct odd *odd = taker->odd;
	for (; end - at >= STRIP; at += STRIP) {
		/* each line once: to ask takes as long as to read what is near */
		const uint32_t end_of_strip = at[STRIP - 1] + (uint32_t)blocks->first.size;
		for (const uint8_t *last = bytes + end_of_strip + NEAR; near < last; near += MEMORY_LINE)
			memory_ask_near(near);
		/* the next blocks, as far in as these are; processors ignore some of that, which is why what is near is asked for again */
		for (const uint8_t *last = next + end_of_strip; asked < last; asked += MEMORY_LINE)
			memory_ask(asked);
		odd = shelve_strip(taker, sieve, words, first, at, STRIP, n, all, odd);
	}
	for (; at < end; at++)
		odd = shelve_strip(taker, sieve, words, first, at, 1, n, all, odd);
	for (const struct odd *each = taker->odd; each < odd; each++)
		*shelf_room(taker, shelf_of_odd(taker, sieve, *each)) = each->offset;
}

/* For each number of words, all or not, a loop of its own: it is what takes the longest of all. */
typedef void shelver(struct taker *taker, const struct sieve *sieve, const struct blocks *blocks);

#define SHELVER(name, n, all)                                                                                          \
	static void name(struct taker *taker, const struct sieve *sieve, const struct blocks *blocks)                  \
	{                                                                                                              \
		shelve(taker, sieve, blocks, n, all);                                                                  \
	}
SHELVER(shelve_none_of_none, 0, true)
SHELVER(shelve_one_of_one, 1, true)
SHELVER(shelve_two_of_two, 2, true)
SHELVER(shelve_three_of_three, 3, true)
SHELVER(shelve_none, 0, false)
SHELVER(shelve_one, 1, false)
SHELVER(shelve_two, 2, false)

/* by whether all words are asked, and how many */
static shelver *const shelvers[2][MAX_PREFIXES + 1] = {
	{shelve_none, shelve_one, shelve_two, NULL},
	{shelve_none_of_none, shelve_one_of_one, shelve_two_of_two, shelve_three_of_three},
};

/* Whether blocks are like those of the batch, lie in one piece with them, and there is room for them. */
static bool batch_takes(const struct taker *taker, const struct blocks *blocks)
{
	const struct block *batch = &taker->batch, *first = &blocks->first;
	uint64_t place = first->address - batch->address;
	return taker->n_batch && taker->n_batch + blocks->n <= BLOCKS_MOST && first->size == batch->size &&
	       first->domain == batch->domain && place <= INT32_MAX &&
	       (uintptr_t)first->bytes - (uintptr_t)batch->bytes == place;
}

void census_visit_blocks(void *context, const struct blocks *blocks)
{
	struct taker *taker = context;
	struct sieve sieve;
	if (blocks->first.domain == BLOCK_RAW)
		return;
	if (!batch_takes(taker, blocks)) {
		census_settle(taker);
		memory_rest(taker->heap->memory, &taker->hold);
		taker->batch = blocks->first;
		taker->batch_end = 0;
	}
	sieve_init(&sieve, taker, blocks->first.size);
	taker->n_batch += blocks->n;
	taker->batch_end =
		MAX(taker->batch_end, blocks->first.address + blocks->offsets[blocks->n - 1] + blocks->first.size);
	bool all = sieve.asked == sieve.n;
	shelvers[all][sieve.asked](taker, &sieve, blocks);
}

void census_settle(struct taker *taker)
{
	settle(taker);
	taker->n_batch = 0;
}

void census_shelves_init(struct taker *taker)
{
	for (size_t i = 0; i <= SHELVES; i++)
		shelf_clear(taker, i, NO_ADDRESS, NULL);
}
