#include "daemon/heap/census.h"

#include "base/error.h"
#include "daemon/heap/addresses.h"
#include "daemon/heap/allocator.h"
#include "daemon/heap/gc.h"
#include "daemon/heap/referents.h"
#include "daemon/heap/type.h"

#define LINK_MASK    (~3ull)
#define MAX_REFCOUNT (1ll << 31)

/* ob_gc_bits of free-threaded builds: CPython Include/internal/pycore_gc.h */
#define GC_BIT_TRACKED 1
#define GC_BIT_FROZEN  8

struct taker {
	heap_t *heap;
	census_visit *visit;
	void *context;
	struct census *census;
	struct allocator allocator;
	struct addresses seen;   /* objects outside the blocks */
	struct addresses frozen; /* objects of the permanent generation */
	int64_t tracked;         /* visited ones in the collector's lists, the permanent generation included */
	GArray *pending;         /* uint64_t: those still to be looked at */
	uint32_t prefixes[4];    /* bytes that may precede an object in its block */
	size_t n_prefixes;
	uint32_t overhead;       /* of a debug hook around a block's data */
	struct type *last; /* of the previous object */
};

static void emit(struct taker *taker, const struct object *object);

/* Whether the reference count of an object that lives in a block is one. */
static bool refcount_sane(const heap_t *heap, const uint8_t *object)
{
	const struct py_layout *layout = heap->layout;
	struct refcount refcount = object_refcount(layout, object);
	uint64_t word = load_u64(object, layout->ob_refcnt);
	switch (layout->shape.refcount) {
	case PY_REFCOUNT_PLAIN:
		if (refcount.immortal)
			return true;
		break;
	case PY_REFCOUNT_LOW32:
		/* all 64 bits count: a pointer whose low half looks immortal is none */
		if (refcount.immortal)
			return word <= UINT32_MAX;
		break;
	case PY_REFCOUNT_FLAGS:
		if (word >> 32 & 0xffff)
			return false;
		if (refcount.immortal)
			return true;
		break;
	case PY_REFCOUNT_SPLIT:
	case PY_REFCOUNT_DEFERRED:
		return refcount.immortal || (refcount.count >= 0 && refcount.count < MAX_REFCOUNT);
	}
	if (refcount.count <= 0 || refcount.count >= MAX_REFCOUNT)
		return false;
	/* where the heap lies below 4 GiB (an interpreter that is no PIE), a small pointer passes as a count */
	return refcount.count < 65536 || !memory_find(heap->memory, (uint64_t)refcount.count);
}

/* Whether a block of `size` bytes is what the type's allocator would ask for an instance. */
static bool size_fits(const heap_t *heap, const struct type *type, uint64_t size)
{
	uint32_t unit = heap->layout->shape.block_alignment;
	if (type->itemsize || type->flags & (PY_FLAG_UNICODE | PY_FLAG_INLINE_VALUES))
		return size >= type->prefix + type->basicsize;
	uint32_t wanted = (type->prefix + type->basicsize + unit - 1) / unit * unit;
	return size == wanted;
}

/* A collector's link that is no more than memory that looks like one: the neighbour doesn't point back. */
static bool linked(const heap_t *heap, uint64_t head, const uint8_t *at)
{
	uint64_t next = load_u64(at, 0) & LINK_MASK, back;
	if (!next)
		return (load_u64(at, 8) & LINK_MASK) == 0 || heap->collecting;
	if (heap->collecting)
		return memory_find(heap->memory, next) != NULL;
	return memory_u64(heap->memory, next + 8, &back) && (back & LINK_MASK) == head;
}

/* Whether an object of `type` lies `prefix` bytes into this block. */
static bool object_in_block(struct taker *taker, const struct block *block, struct object *object)
{
	heap_t *heap = taker->heap;
	const struct type *type = object->type;
	if (object->available < type->basicsize || !refcount_sane(heap, object->bytes))
		return false;
	bool fits = taker->allocator.debug_hooks ? block->size >= type->prefix + type->basicsize
						 : size_fits(heap, type, block->size);
	if (!(type->flags & PY_FLAG_HAVE_GC))
		return fits || !(type->flags & PY_FLAG_UNICODE);
	if (heap->layout->shape.gc == PY_GC_NONE) {
		/* tracked is a bit; frozen objects keep it, but gc.get_objects() leaves them out */
		uint8_t bits = object->bytes[heap->layout->ob_gc_bits];
		object->tracked = (bits & (GC_BIT_TRACKED | GC_BIT_FROZEN)) == GC_BIT_TRACKED;
		return true;
	}
	uint32_t head = heap->layout->gc_head_size;
	const uint8_t *links = object->bytes - head;
	object->tracked = load_u64(links, 0) != 0;
	if (!object->tracked)
		return (load_u64(links, 8) & LINK_MASK) == 0 || heap->collecting;
	return fits || linked(heap, object->address - head, links);
}

/* If an object of the type at `address` lies `prefix` bytes into the block, visit it. */
static bool take_object(struct taker *taker, const struct block *block, uint32_t prefix, struct type *type)
{
	struct object object = {.address = block->address + prefix,
				.bytes = block->bytes + prefix,
				.available = block->size - prefix,
				.type = type};
	if (!object_in_block(taker, block, &object))
		return false;
	taker->last = type;
	taker->census->object_bytes += (int64_t)(block->size + taker->overhead);
	emit(taker, &object);
	return true;
}

static void visit_block(void *context, const struct block *block)
{
	struct taker *taker = context;
	heap_t *heap = taker->heap;
	const struct py_layout *layout = heap->layout;
	struct type *last = taker->last;
	if (block->domain == BLOCK_RAW)
		return;
	/* neighbours are often alike */
	if (last && block->size >= last->prefix + layout->object_size &&
	    object_type_address(layout, block->bytes + last->prefix) == last->address &&
	    take_object(taker, block, last->prefix, last))
		return;
	for (size_t i = 0; i < taker->n_prefixes; i++) {
		uint32_t prefix = taker->prefixes[i];
		if (block->size < prefix + layout->object_size)
			continue;
		uint64_t address = object_type_address(layout, block->bytes + prefix);
		/* types are larger than pymalloc's blocks */
		if (taker->allocator.pymalloc.n_arenas && allocator_owns(&taker->allocator, address))
			continue;
		struct type *type = type_get(heap, address);
		if (type && type->prefix == prefix && take_object(taker, block, prefix, type))
			return;
	}
}

/* A word that may refer to an object outside the blocks. */
static void consider(void *context, uint64_t address)
{
	struct taker *taker = context;
	if (address % 8 || allocator_owns(&taker->allocator, address) || addresses_has(&taker->seen, address))
		return;
	const uint8_t *bytes = memory_at(taker->heap->memory, address, taker->heap->layout->object_size);
	if (!bytes || !type_get(taker->heap, object_type_address(taker->heap->layout, bytes)))
		return;
	addresses_add(&taker->seen, address);
	g_array_append_val(taker->pending, address);
}

static void emit(struct taker *taker, const struct object *object)
{
	const struct py_layout *layout = taker->heap->layout;
	struct object listed = *object;
	/* gc.get_objects() doesn't list the permanent generation */
	if (object->tracked && taker->frozen.n && addresses_has(&taker->frozen, object->address))
		listed.tracked = false;
	taker->visit(taker->context, &listed);
	object_referents(taker->heap, object, consider, taker);
	if (!object->tracked || layout->shape.gc == PY_GC_NONE)
		return;
	taker->tracked++;
	/* the neighbour in the collector's list, wherever the list's head is */
	uint64_t next = load_u64(object->bytes - layout->gc_head_size, 0) & LINK_MASK;
	if (next && !allocator_owns(&taker->allocator, next))
		consider(taker, next + layout->gc_head_size);
}

static void visit_pending(struct taker *taker)
{
	heap_t *heap = taker->heap;
	const struct py_layout *layout = heap->layout;
	while (taker->pending->len) {
		uint64_t address = g_array_index(taker->pending, uint64_t, taker->pending->len - 1);
		g_array_set_size(taker->pending, taker->pending->len - 1);
		struct object object;
		if (!object_at(heap, address, &object) || !refcount_sane(heap, object.bytes))
			continue;
		bool static_type = object.type->flags & PY_FLAG_TYPE &&
				   !(load_u64(object.bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE);
		if (object.type->flags & PY_FLAG_HAVE_GC && !static_type && layout->shape.gc != PY_GC_NONE) {
			const uint8_t *links = memory_at(heap->memory, address - layout->gc_head_size, 16);
			object.tracked =
				links && load_u64(links, 0) && linked(heap, address - layout->gc_head_size, links);
		}
		object.outside = true;
		taker->census->outside++;
		emit(taker, &object);
	}
}

static void consider_type_objects(struct taker *taker)
{
	for (size_t i = 0; i < type_count(taker->heap); i++)
		consider(taker, type_nth(taker->heap, i)->address);
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
			if (head && memory_u64(heap->memory, head, &first) && (first & LINK_MASK) != head)
				consider(taker, (first & LINK_MASK) + heap->layout->gc_head_size);
		}
	}
	visit_pending(taker);
}

static void add_prefix(struct taker *taker, uint32_t prefix)
{
	for (size_t i = 0; i < taker->n_prefixes; i++) {
		if (taker->prefixes[i] == prefix)
			return;
	}
	taker->prefixes[taker->n_prefixes++] = prefix;
}

static void add_frozen(void *context, const struct object *object)
{
	struct taker *taker = context;
	addresses_add(&taker->frozen, object->address);
}

static void find_frozen(struct taker *taker)
{
	for (size_t i = 0; i < taker->heap->n_interpreters; i++) {
		uint64_t head = taker->heap->interpreters[i].collector.permanent;
		if (head)
			taker->census->permanent[i] = gc_walk_list(taker->heap, head, add_frozen, taker).objects;
	}
}

static void count_lists(struct taker *taker)
{
	heap_t *heap = taker->heap;
	size_t n = heap->n_interpreters * HEAP_MAX_GENERATIONS;
	g_autofree uint64_t *heads = g_new0(uint64_t, n);
	if (heap->collecting)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct heap_collector *collector = &heap->interpreters[i / HEAP_MAX_GENERATIONS].collector;
		if (i % HEAP_MAX_GENERATIONS < collector->n_generations)
			heads[i] = collector->generations[i % HEAP_MAX_GENERATIONS].head;
	}
	gc_count_lists(heap, heads, n, taker->tracked - (int64_t)taker->frozen.n, taker->census->lists);
}

static void find_ranges(struct taker *taker)
{
	const struct allocator *allocator = &taker->allocator;
	struct census *census = taker->census;
	census->ranges = g_new(struct address_range, allocator->pymalloc.n_ranges + allocator->mimalloc.n_segments + 1);
	for (size_t i = 0; i < allocator->pymalloc.n_ranges; i++)
		census->ranges[census->n_ranges++] =
			(struct address_range){allocator->pymalloc.ranges[i].start, allocator->pymalloc.ranges[i].end};
	for (size_t i = 0; i < allocator->mimalloc.n_segments; i++)
		census->ranges[census->n_ranges++] = (struct address_range){allocator->mimalloc.segments[i].start,
									    allocator->mimalloc.segments[i].end};
}

static void take_all(struct taker *taker)
{
	find_frozen(taker);
	const struct py_layout *layout = taker->heap->layout;
	struct block_stats stats = {0};
	add_prefix(taker, 0);
	if (layout->shape.gc != PY_GC_NONE)
		add_prefix(taker, layout->gc_head_size);
	if (layout->shape.managed_dict_offset) {
		add_prefix(taker, taker->prefixes[taker->n_prefixes - 1] + 16);
		add_prefix(taker, 16);
	}
	allocator_walk(taker->heap, &taker->allocator, visit_block, taker, &stats);
	visit_pending(taker);
	consider_lists(taker);
	consider_type_objects(taker);
	count_lists(taker);
	find_ranges(taker);
	taker->census->used_blocks = stats.used_blocks;
	taker->census->used_bytes = stats.used_bytes;
	taker->census->free_bytes = stats.free_bytes;
	taker->census->free_pool_bytes = stats.free_pool_bytes;
	taker->census->damaged = stats.damaged;
	taker->census->raw_blocks = taker->allocator.pymalloc.raw_blocks;
	taker->census->allocator = taker->allocator.known;
}

static void visit_permanent(void *context, const struct object *object)
{
	struct taker *taker = context;
	struct object untracked = *object;
	untracked.tracked = false; /* gc.get_objects() doesn't list them */
	taker->visit(taker->context, &untracked);
}

static void take_lists(struct taker *taker)
{
	heap_t *heap = taker->heap;
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		const struct heap_collector *collector = &heap->interpreters[i].collector;
		for (size_t j = 0; j < collector->n_generations; j++) {
			struct gc_walk walk =
				gc_walk_list(heap, collector->generations[j].head, taker->visit, taker->context);
			taker->census->lists[i * HEAP_MAX_GENERATIONS + j] = walk.objects;
			taker->census->unreadable += walk.unreadable;
		}
		if (!collector->permanent)
			continue;
		struct gc_walk walk = gc_walk_list(heap, collector->permanent, visit_permanent, taker);
		taker->census->permanent[i] = walk.objects;
		taker->census->unreadable += walk.unreadable;
	}
}

bool census_take(heap_t *heap, enum census_coverage coverage, census_visit *visit, void *context, struct census *census,
		 GError **error)
{
	struct taker taker = {.heap = heap, .visit = visit, .context = context, .census = census};
	memset(census, 0, sizeof(*census));
	census->lists = g_new(int64_t, heap->n_interpreters * HEAP_MAX_GENERATIONS);
	census->permanent = g_new(int64_t, heap->n_interpreters);
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		census->permanent[i] = -1;
		for (size_t j = 0; j < HEAP_MAX_GENERATIONS; j++)
			census->lists[i * HEAP_MAX_GENERATIONS + j] = -1;
	}
	if (coverage == CENSUS_GC) {
		take_lists(&taker);
		return true;
	}
	if (!allocator_open(heap, &taker.allocator)) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_UNKNOWN,
			  "the state of its allocator isn't where the layout says", NULL,
			  "cannot read the heap of CPython %s", heap->python->version_text);
		census_clear(census);
		return false;
	}
	taker.overhead = taker.allocator.debug_hooks ? BLOCK_HOOK_PREFIX + BLOCK_HOOK_SUFFIX : 0;
	addresses_init(&taker.seen);
	addresses_init(&taker.frozen);
	taker.pending = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	take_all(&taker);
	g_array_unref(taker.pending);
	addresses_clear(&taker.seen);
	addresses_clear(&taker.frozen);
	allocator_clear(&taker.allocator);
	return true;
}

void census_clear(struct census *census)
{
	g_clear_pointer(&census->lists, g_free);
	g_clear_pointer(&census->permanent, g_free);
	g_clear_pointer(&census->ranges, g_free);
}
