#include "daemon/heap/census.h"

#include "base/error.h"
#include "base/gentle.h"
#include "daemon/heap/candidate.h"
#include "daemon/heap/census_private.h"
#include "daemon/heap/gc.h"
#include "daemon/heap/outside.h"
#include "daemon/heap/size.h"

/* A word that isn't a reference may lead to what was an object, and is now in a free list of malloc's. */
static bool malloc_has_freed(const struct survey *survey, uint64_t address)
{
	const struct glibc_chunk *chunk = glibc_chunk_at(&survey->glibc, address);
	return chunk && chunk->state != GLIBC_IN_USE;
}

static bool in_image(const heap_t *heap, uint64_t address)
{
	return address >= heap->python->image_start && address < heap->python->image_end;
}

/* Nothing but a count and a type. */
static bool is_bare(const heap_t *heap, const struct type *type)
{
	return type->basicsize <= heap->layout->object_size && !(type->flags & PY_FLAG_HAVE_GC);
}

/* An object() is two words, a small number and a type: so are the end of one thing and the beginning of the next. It must begin a chunk. */
static bool astray(const struct survey *survey, const struct object *object)
{
	if (!is_bare(survey->heap, object->type))
		return false;
	const struct glibc_chunk *chunk = glibc_chunk_at(&survey->glibc, object->address);
	if (!chunk || chunk->start == object->address)
		return false;
	const uint8_t *hook = memory_at(survey->heap->memory, object->address - BLOCK_HOOK_PREFIX, BLOCK_HOOK_PREFIX);
	return !hook || !block_is_hooked(hook);
}

static bool plausible_outside(const struct survey *survey, const struct object *object)
{
	const heap_t *heap = survey->heap;
	if (in_image(heap, object->address) && candidate_static(heap, object->bytes))
		return true;
	return candidate_refcount(heap, object->bytes) && !malloc_has_freed(survey, object->address) &&
	       !astray(survey, object);
}

/* What may be an object outside the blocks: if it is one, visit it, and note what it refers to. */
static void visit_outside(struct taker *taker, uint64_t address)
{
	heap_t *heap = taker->heap;
	const struct py_layout *layout = heap->layout;
	struct object object;
	if (!object_at(heap, address, &object) || !plausible_outside(taker->survey, &object))
		return;
	bool static_type =
		object.type->flags & PY_FLAG_TYPE && !(load_u64(object.bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE);
	bool has_head = object.type->flags & PY_FLAG_HAVE_GC && !static_type;
	/* a word that isn't a reference may lead to what looks like an object; one of the compiler's may have no head */
	if (has_head && memory_at(heap->memory, address - object.type->prefix, object.type->prefix + 1) &&
	    !(candidate_head(heap, &object) && candidate_linked(heap, &object))) {
		if (!in_image(heap, address))
			return;
		object.tracked = false;
	}
	object.outside = true;
	taker->outside++;
	census_emit_one(taker, &object);
}

static int address_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/*
 * Objects outside the blocks: visit them, what they refer to, what that refers to, and so on. One thread does; all that was found so far
 * goes by in the order of addresses, for neighbours share cache lines: without an allocator of Python's own these are all objects there are.
 */
static void visit_pending(struct taker *taker)
{
	g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	while (taker->pending->len) {
		GArray *swap = found;
		found = taker->pending;
		taker->pending = swap;
		g_array_sort(found, address_compare);
		for (guint i = 0; i < found->len; i++) {
			memory_rest(taker->heap->memory, NULL);
			visit_outside(taker, g_array_index(found, uint64_t, i));
		}
		g_array_set_size(found, 0);
	}
}

/* What glibc leaves of a larger free chunk when it gives the rest away: too little for a chunk of its own. */
#define CHUNK_SLACK 48

/* Whether a chunk of malloc is the object of that type that lies `prefix` bytes into it. */
static bool chunk_holds(struct taker *taker, const struct block *block, uint32_t prefix, struct type *type)
{
	struct object object = {.address = block->address + prefix,
				.bytes = block->bytes + prefix,
				.available = block->size - prefix,
				.type = type};
	int64_t bytes;
	/* two words, a small number and the type of object(), say too little */
	if (is_bare(taker->heap, type) || !candidate_accept(taker->heap, block, true, &object) ||
	    !candidate_linked(taker->heap, &object))
		return false;
	if (type->kind == TYPE_ATOM && type->itemsize)
		return object_getsizeof(taker->heap, &object, &bytes) && (uint64_t)bytes <= object.available;
	return type->itemsize || type->flags & (PY_FLAG_UNICODE | PY_FLAG_INLINE_VALUES) ||
	       block->size - prefix - type->basicsize < CHUNK_SLACK;
}

/* A chunk of malloc in use: an object that perhaps nothing refers to. */
static void consider_chunk(struct taker *taker, const struct block *block)
{
	const struct survey *survey = taker->survey;
	for (size_t i = 0; i < survey->n_prefixes && block->domain != BLOCK_RAW; i++) {
		uint32_t prefix = (uint32_t)i * survey->prefix;
		struct type *type = census_type_behind(taker, block, prefix);
		if (type && chunk_holds(taker, block, prefix, type)) {
			census_consider(taker, block->address + prefix);
			return;
		}
	}
}

static void consider_chunks(void *context, const struct blocks *blocks)
{
	for (size_t i = 0; i < blocks->n; i++) {
		const struct block block = blocks_nth(blocks, i);
		consider_chunk(context, &block);
	}
}

static void consider_address(void *context, uint64_t address)
{
	census_consider(context, address);
}

/* What is held where no object's references lead, and what nothing holds. */
static void consider_unheld(struct taker *taker)
{
	heap_t *heap = taker->heap;
	outside_static(heap, consider_address, taker);
	outside_frames(heap, consider_address, taker);
	visit_pending(taker);
	outside_chunks(heap, &taker->survey->allocator, &taker->survey->glibc, consider_chunks, taker);
	visit_pending(taker);
}

static void consider_type_objects(struct taker *taker)
{
	for (size_t i = 0; i < type_count(taker->heap); i++)
		census_consider(taker, type_nth(taker->heap, i)->address);
	visit_pending(taker);
}

static void consider_lists(struct taker *taker)
{
	heap_t *heap = taker->heap;
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		const struct heap_collector *collector = &heap->interpreters[i].collector;
		for (size_t j = 0; j <= collector->n_generations; j++) {
			uint64_t head =
				j < collector->n_generations ? collector->generations[j].head : collector->permanent;
			uint64_t first;
			if (!head || !memory_u64(heap->memory, head, &first))
				continue;
			first &= LINK_MASK;
			links_meet(&taker->links, head);
			links_lead(&taker->links, first);
			if (first != head)
				census_consider(taker, first + heap->layout->gc_head_size);
		}
	}
	visit_pending(taker);
}

/* Whether to ask each object's neighbours at once: where their links are in disorder, or led to an object that was none. */
static bool ask_each(const heap_t *heap)
{
	return heap->layout->shape.gc == PY_GC_NONE || heap->collecting || heap->memory->torn;
}

/* What precedes an object: nothing, the collector's head, or that and two words for its dict (CPython 3.11+; the head has two words there). */
static void find_prefixes(struct survey *survey)
{
	const struct py_layout *layout = survey->heap->layout;
	uint32_t head = layout->shape.gc == PY_GC_NONE ? 0 : layout->gc_head_size;
	survey->prefix = head ? head : TYPE_MANAGED_BYTES;
	survey->n_prefixes = 1 + (head != 0) + (layout->shape.managed_dict_offset != 0);
}

static void add_frozen(void *context, const struct object *object)
{
	addresses_add(&((struct survey *)context)->frozen, object->address);
}

static void find_frozen(struct survey *survey)
{
	for (size_t i = 0; i < survey->heap->n_interpreters; i++) {
		uint64_t head = survey->heap->interpreters[i].collector.permanent;
		if (head)
			survey->census->permanent[i] = gc_walk_list(survey->heap, head, add_frozen, survey).objects;
	}
}

/* All memory where objects may lie that isn't of pymalloc's blocks. */
static struct coarse *find_outside(const struct survey *survey)
{
	const struct memory *memory = survey->heap->memory;
	const struct pymalloc *pymalloc = &survey->allocator.pymalloc;
	struct coarse *outside = g_new0(struct coarse, 1);
	for (size_t i = 0, range = 0; i < memory->n_regions; i++) {
		uint64_t at = memory->regions[i].start, end = at + memory->regions[i].size;
		while (at < end && !memory->regions[i].constant) {
			while (range < pymalloc->n_ranges && pymalloc->ranges[range].end <= at)
				range++;
			uint64_t start = range < pymalloc->n_ranges ? MIN(pymalloc->ranges[range].start, end) : end;
			coarse_add(outside, at, start);
			at = start < end ? MAX(pymalloc->ranges[range].end, start + 1) : end;
		}
	}
	return outside;
}

static void find_extent(struct survey *survey)
{
	const struct memory *memory = survey->heap->memory;
	const struct allocator *allocator = &survey->allocator;
	struct extent *extent = &survey->extent;
	if (memory->n_regions) {
		const struct memory_region *last = &memory->regions[memory->n_regions - 1];
		extent->low = MAX(memory->regions[0].start, 1);
		extent->span = last->start + last->size - extent->low;
	}
	if (allocator->pages) {
		extent->pages = allocator->pages;
		extent->blocks_low = allocator->low;
		extent->n_pages = (allocator->high - allocator->low) >> ALLOCATOR_PAGE_BITS;
	}
	extent->outside = find_outside(survey);
	/* blocks that the debug hooks don't know are passed over, with whatever is in them */
	survey->in_order = survey->allocator.pymalloc.n_arenas && !survey->allocator.debug_hooks;
	const struct pymalloc *pymalloc = &survey->allocator.pymalloc;
	dict_blocks_init(&survey->dict_blocks, survey->heap->layout, pymalloc->n_arenas ? pymalloc : NULL);
}

static void count_lists(struct survey *survey, int64_t tracked)
{
	heap_t *heap = survey->heap;
	size_t n = heap->n_interpreters * HEAP_MAX_GENERATIONS;
	g_autofree uint64_t *heads = g_new0(uint64_t, n);
	if (heap->collecting)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct heap_collector *collector = &heap->interpreters[i / HEAP_MAX_GENERATIONS].collector;
		if (i % HEAP_MAX_GENERATIONS < collector->n_generations)
			heads[i] = collector->generations[i % HEAP_MAX_GENERATIONS].head;
	}
	gc_count_lists(heap, heads, n, tracked - (int64_t)survey->frozen.n, survey->census->lists);
}

static void find_ranges(struct survey *survey)
{
	const struct pymalloc *pymalloc = &survey->allocator.pymalloc;
	const struct mimalloc *mimalloc = &survey->allocator.mimalloc;
	struct census *census = survey->census;
	census->ranges = g_new(struct address_range, pymalloc->n_ranges + mimalloc->n_segments + 1);
	for (size_t i = 0; i < pymalloc->n_ranges; i++)
		census->ranges[census->n_ranges++] =
			(struct address_range){pymalloc->ranges[i].start, pymalloc->ranges[i].end};
	for (size_t i = 0; i < mimalloc->n_segments; i++)
		census->ranges[census->n_ranges++] =
			(struct address_range){mimalloc->segments[i].start, mimalloc->segments[i].end};
}

static void taker_init(struct taker *taker, struct survey *survey, void *context)
{
	*taker = (struct taker){.survey = survey, .heap = survey->heap, .context = context};
	addresses_init(&taker->seen);
	census_shelves_init(taker);
	taker->piles = g_new(struct pile, BLOCKS_MOST);
	taker->pending = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	links_init(&taker->links, survey->allocator.low, survey->allocator.high);
}

static void taker_clear(struct taker *taker)
{
	addresses_clear(&taker->seen);
	g_free(taker->piles);
	g_array_unref(taker->pending);
	links_clear(&taker->links);
}

static void walk_part(struct taker *taker, size_t part)
{
	const struct survey *survey = taker->survey;
	const struct memory *memory = survey->heap->memory;
	uint64_t start, end;
	if (memory->window) {
		allocator_part(&survey->allocator, part, &start, &end);
		memory_hold(memory, &taker->hold, start, end);
		memory_rest(memory, &taker->hold);
		memory_at(memory, start, end - start); /* in one go */
	}
	allocator_walk(survey->heap, &survey->allocator, part, census_visit_blocks, taker, &taker->stats);
	census_settle(taker);
}

static void *walk_parts(void *data)
{
	struct taker *taker = data;
	struct survey *survey = taker->survey;
	size_t n = allocator_parts(&survey->allocator), part;
	/*
	 * From the last one: the kernel gives memory from above, so what lies highest is oldest. There are the containers that lead to most of the
	 * rest, with large tables; who meets one last keeps the others waiting.
	 */
	while ((part = atomic_fetch_add(&survey->next, 1)) < n)
		walk_part(taker, n - 1 - part);
	memory_release(survey->heap->memory, &taker->hold);
	return NULL;
}

/* What another thread found, into the first one's account. */
static void taker_merge(struct taker *first, const struct taker *other)
{
	for (guint i = 0; i < other->pending->len; i++)
		census_consider(first, g_array_index(other->pending, uint64_t, i));
	block_stats_add(&first->stats, &other->stats);
	links_merge(&first->links, &other->links);
	first->tracked += other->tracked;
	first->frozen += other->frozen;
	first->object_bytes += other->object_bytes;
}

/* All objects, into the account of the first of the takers; they are the caller's to clear. */
static void visit_all(struct survey *survey, struct taker *takers, void *const *contexts, size_t n)
{
	g_autofree GThread **threads = g_new0(GThread *, n);
	survey->next = 0;
	for (size_t i = 0; i < n; i++)
		taker_init(&takers[i], survey, contexts[i]);
	for (size_t i = 0; i < n; i++)
		threads[i] = gentle_thread("walk", walk_parts, &takers[i]);
	for (size_t i = 0; i < n; i++)
		g_thread_join(threads[i]);
	for (size_t i = 1; i < n; i++)
		taker_merge(&takers[0], &takers[i]);
	struct taker *first = &takers[0];
	visit_pending(first);
	consider_lists(first);
	consider_type_objects(first);
	consider_unheld(first);
}

static void takers_clear(struct taker *takers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		taker_clear(&takers[i]);
}

/* Whether a block was taken for an object that its neighbours in the collector's lists don't know. */
static bool mistaken(struct survey *survey, struct taker *first)
{
	struct taker *checker = g_aligned_alloc(1, sizeof(*checker), CACHE_LINE);
	taker_init(checker, survey, NULL);
	checker->checks = true;
	for (size_t part = 0; part < allocator_parts(&survey->allocator) && !checker->mistaken; part++) {
		uint64_t start, end;
		allocator_part(&survey->allocator, part, &start, &end);
		if (links_open(&first->links, start, end))
			walk_part(checker, part);
	}
	memory_release(survey->heap->memory, &checker->hold);
	bool result = checker->mistaken;
	taker_clear(checker);
	g_aligned_free(checker);
	return result;
}

static void take_all(struct survey *survey, const struct census_visitor *visitor)
{
	struct census *census = survey->census;
	size_t n = visitor->n;
	/* each in cache lines of its own: threads that write to one wait for each other */
	struct taker *takers = g_aligned_alloc(n, sizeof(*takers), CACHE_LINE), *first = &takers[0];
	find_prefixes(survey);
	find_frozen(survey);
	find_extent(survey);
	/* mimalloc's size classes are wider than what was asked for, as a hook's exact size is narrower */
	survey->exact_sizes = survey->allocator.debug_hooks || survey->allocator.mimalloc.n_segments;
	survey->ask_each = ask_each(survey->heap);
	visit_all(survey, takers, visitor->contexts, n);
	if (!survey->ask_each && mistaken(survey, first)) {
		takers_clear(takers, n);
		for (size_t i = 0; i < n; i++)
			visitor->forget(visitor->contexts[i]);
		survey->ask_each = true;
		visit_all(survey, takers, visitor->contexts, n);
	}
	count_lists(survey, first->tracked);
	find_ranges(survey);
	/* without lists nothing says whose they are */
	if (survey->heap->layout->shape.gc == PY_GC_NONE && survey->heap->n_interpreters == 1)
		census->permanent[0] = first->frozen;
	census->outside = first->outside;
	census->object_bytes = first->object_bytes;
	census->used_blocks = first->stats.used_blocks;
	census->used_bytes = first->stats.used_bytes;
	census->free_bytes = first->stats.free_bytes;
	census->free_pool_bytes = first->stats.free_pool_bytes;
	census->damaged = first->stats.damaged + survey->allocator.pymalloc.damaged;
	const struct pymalloc *pymalloc = &survey->allocator.pymalloc;
	census->allocated_blocks = pymalloc->all_blocks >= 0   ? pymalloc->all_blocks
				   : pymalloc->raw_blocks >= 0 ? census->used_blocks + pymalloc->raw_blocks
							       : -1;
	census->allocator = survey->allocator.known;
	takers_clear(takers, n);
	g_aligned_free(takers);
}

/* the lists only: one thread, the visitor's first context */
struct lister {
	census_visit *visit;
	void *context;
};

static void visit_listed(void *context, const struct object *object)
{
	const struct lister *lister = context;
	const uint32_t offset = 0;
	lister->visit(lister->context, &(struct objects){.first = *object, .offsets = &offset, .n = 1});
}

static void visit_permanent(void *context, const struct object *object)
{
	struct object untracked = *object;
	untracked.tracked = false; /* gc.get_objects() doesn't list them */
	visit_listed(context, &untracked);
}

static void take_lists(heap_t *heap, struct lister *lister, struct census *census)
{
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		const struct heap_collector *collector = &heap->interpreters[i].collector;
		for (size_t j = 0; j < collector->n_generations; j++) {
			struct gc_walk walk = gc_walk_list(heap, collector->generations[j].head, visit_listed, lister);
			census->lists[i * HEAP_MAX_GENERATIONS + j] = walk.objects;
			census->unreadable += walk.unreadable;
		}
		if (!collector->permanent)
			continue;
		struct gc_walk walk = gc_walk_list(heap, collector->permanent, visit_permanent, lister);
		census->permanent[i] = walk.objects;
		census->unreadable += walk.unreadable;
	}
}

static void census_init(struct census *census, size_t n_interpreters)
{
	memset(census, 0, sizeof(*census));
	census->lists = g_new(int64_t, n_interpreters * HEAP_MAX_GENERATIONS);
	census->permanent = g_new(int64_t, n_interpreters);
	for (size_t i = 0; i < n_interpreters * HEAP_MAX_GENERATIONS; i++)
		census->lists[i] = -1;
	for (size_t i = 0; i < n_interpreters; i++)
		census->permanent[i] = -1;
}

bool census_take(heap_t *heap, enum census_coverage coverage, const struct census_visitor *visitor,
		 struct census *census, GError **error)
{
	census_init(census, heap->n_interpreters);
	/* free-threaded builds have no lists: what is tracked says so itself */
	if (coverage == CENSUS_GC && heap->layout->shape.gc != PY_GC_NONE) {
		struct lister lister = {visitor->visit, visitor->contexts[0]};
		take_lists(heap, &lister, census);
		return true;
	}
	struct survey survey = {.heap = heap, .visit = visitor->visit, .all = coverage == CENSUS_ALL, .census = census};
	if (!allocator_open(heap, &survey.allocator)) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_UNKNOWN,
			  "the state of its allocator isn't where the layout says", NULL,
			  "cannot read the heap of CPython %s", heap->python->version_text);
		census_clear(census);
		return false;
	}
	survey.overhead = survey.allocator.debug_hooks ? BLOCK_HOOK_PREFIX + BLOCK_HOOK_SUFFIX : 0;
	addresses_init(&survey.frozen);
	glibc_find(heap->memory, heap->maps, &survey.allocator, &survey.glibc);
	heap->dict_blocks = &survey.dict_blocks;
	take_all(&survey, visitor);
	heap->dict_blocks = NULL;
	g_free(survey.extent.outside);
	addresses_clear(&survey.frozen);
	glibc_clear(&survey.glibc);
	allocator_clear(&survey.allocator);
	return true;
}

void census_clear(struct census *census)
{
	g_clear_pointer(&census->lists, g_free);
	g_clear_pointer(&census->permanent, g_free);
	g_clear_pointer(&census->ranges, g_free);
}
