#include "daemon/heap/pymalloc.h"

#include "base/gentle.h"
#include "daemon/heap/object.h"

/* arena_object */
#define ARENA_OBJECT_BYTES 48
#define ARENA_ADDRESS      0
#define ARENA_POOL_ADDRESS 8
#define ARENA_TOTAL_POOLS  20
/* pool_header */
#define POOL_HEADER_BYTES 48
#define POOL_COUNT        0
#define POOL_FREE_BLOCK   8
#define POOL_ARENA_INDEX  32
#define POOL_SIZE_CLASS   36
#define POOL_NEXT_OFFSET  40

#define MAX_ARENAS     (1u << 22)
#define MAX_POOL_BYTES 65536
#define MAX_BLOCKS     (MAX_POOL_BYTES / 8)
#define SMALLEST_BLOCK 8
#define ARENAS_EACH    16 /* whose headers a thread of its own is worth reading */
#define MAX_THREADS    8
#define MAX_SPAN       (1ull << 40) /* bytes between the first pool and the last, of which a table is kept */

static bool pool_bytes_known(const struct py_shape *shape)
{
	uint32_t bytes = shape->pool_bytes;
	return bytes && bytes <= MAX_POOL_BYTES && !(bytes & (bytes - 1));
}

static int arena_compare(const void *a, const void *b)
{
	const struct arena *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

/* The arena_object array of one allocator state. */
static bool arenas_read(const heap_t *heap, uint64_t array, uint32_t n, GArray *found)
{
	const struct py_shape *shape = &heap->layout->shape;
	if (!array || n > MAX_ARENAS)
		return n == 0 || !array;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *entry =
			memory_at(heap->memory, array + (uint64_t)i * ARENA_OBJECT_BYTES, ARENA_OBJECT_BYTES);
		if (!entry)
			return false;
		struct arena arena = {.start = load_u64(entry, ARENA_ADDRESS)};
		uint32_t pools = load_u32(entry, ARENA_TOTAL_POOLS);
		if (!arena.start)
			continue;
		arena.first_pool = (arena.start + shape->pool_bytes - 1) / shape->pool_bytes * shape->pool_bytes;
		/* a build with huge pages has larger arenas: go by the number of pools */
		arena.end = arena.first_pool + (uint64_t)pools * shape->pool_bytes;
		arena.virgin = load_u64(entry, ARENA_POOL_ADDRESS);
		if (!pools || pools > (1u << 16) || arena.first_pool < arena.start || arena.end < arena.first_pool ||
		    arena.virgin < arena.first_pool || arena.virgin > arena.end)
			return false;
		g_array_append_val(found, arena);
	}
	return true;
}

static bool state_read(const heap_t *heap, uint64_t state, struct pymalloc *pymalloc, GArray *found)
{
	const struct py_layout *layout = heap->layout;
	uint64_t array, raw;
	uint32_t n;
	if (!memory_u64(heap->memory, state + layout->obmalloc_arenas, &array) ||
	    !memory_u32(heap->memory, state + layout->obmalloc_maxarenas, &n))
		return false;
	if (heap_has(layout->obmalloc_raw_blocks) &&
	    memory_u64(heap->memory, state + layout->obmalloc_raw_blocks, &raw))
		pymalloc->raw_blocks = MAX(pymalloc->raw_blocks, 0) + (int64_t)raw;
	return arenas_read(heap, array, n, found);
}

static bool all_arenas(const heap_t *heap, struct pymalloc *pymalloc, GArray *found)
{
	const struct py_layout *layout = heap->layout;
	uint64_t array;
	uint32_t n;
	if (layout->shape.obmalloc == PY_OBMALLOC_STATIC) {
		uint64_t blocks;
		if (!heap->python->arenas)
			return true;
		if (heap->python->all_blocks && memory_u64(heap->memory, heap->python->all_blocks, &blocks))
			pymalloc->all_blocks = (int64_t)blocks;
		if (heap->python->raw_blocks && memory_u64(heap->memory, heap->python->raw_blocks, &blocks))
			pymalloc->raw_blocks = (int64_t)blocks;
		return memory_u64(heap->memory, heap->python->arenas, &array) &&
		       memory_u32(heap->memory, heap->python->maxarenas, &n) && arenas_read(heap, array, n, found);
	}
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL); /* interpreters may share one state */
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		uint64_t state = heap->interpreters[i].address + layout->interp_obmalloc;
		if (!heap_has(layout->interp_obmalloc) || !heap_has(layout->obmalloc_arenas))
			return true;
		if (layout->shape.obmalloc == PY_OBMALLOC_POINTER && !memory_u64(heap->memory, state, &state))
			return false;
		if (!state || !g_hash_table_add(seen, (gpointer)state))
			continue;
		if (!state_read(heap, state, pymalloc, found))
			return false;
	}
	return true;
}

/* Of two arenas that can't both be there the first one stays: no block is met twice. */
static void drop_overlapping(struct pymalloc *pymalloc)
{
	size_t kept = 0;
	for (size_t i = 0; i < pymalloc->n_arenas; i++) {
		if (!kept || pymalloc->arenas[i].start >= pymalloc->arenas[kept - 1].end)
			pymalloc->arenas[kept++] = pymalloc->arenas[i];
	}
	pymalloc->damaged = (int64_t)(pymalloc->n_arenas - kept);
	pymalloc->n_arenas = kept;
}

static void merge_ranges(struct pymalloc *pymalloc)
{
	pymalloc->ranges = g_new(struct arena, pymalloc->n_arenas + 1);
	for (size_t i = 0; i < pymalloc->n_arenas; i++) {
		const struct arena *arena = &pymalloc->arenas[i];
		struct arena *last = pymalloc->n_ranges ? &pymalloc->ranges[pymalloc->n_ranges - 1] : NULL;
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): range n_ranges - 1 was written */
		if (last && last->end >= arena->start)
			last->end = arena->end;
		else
			pymalloc->ranges[pymalloc->n_ranges++] = *arena;
	}
}

/* The used pool at `bytes` has blocks of this size; 0: it makes no sense. */
static uint32_t pool_block_bytes(const struct py_shape *shape, const uint8_t *bytes)
{
	uint64_t size = (load_u32(bytes, POOL_SIZE_CLASS) + 1ull) * shape->block_alignment;
	return size < SMALLEST_BLOCK || size > PYMALLOC_LARGEST ? 0 : (uint32_t)size;
}

/* A part of the arenas, the headers of whose pools one thread reads. */
struct headers {
	const heap_t *heap;
	const struct pymalloc *pymalloc;
	size_t from, to;
};

/* The headers of an arena's pools: each lies in a page of its own, so to wait for one after the other is what takes the time. */
static void fetch_headers(const struct headers *headers, const struct arena *arena)
{
	uint64_t pool_bytes = headers->heap->layout->shape.pool_bytes, used = arena->virgin - arena->first_pool;
	const uint8_t *bytes = used ? memory_at(headers->heap->memory, arena->first_pool, used) : NULL;
	if (bytes)
		memory_fetch(bytes, used, pool_bytes);
}

static void *read_headers(void *data)
{
	const struct headers *headers = data;
	const struct pymalloc *pymalloc = headers->pymalloc;
	const struct py_shape *shape = &headers->heap->layout->shape;
	for (size_t i = headers->from; i < headers->to; i++) {
		const struct arena *arena = &pymalloc->arenas[i];
		uint8_t *class = &pymalloc->classes[(arena->first_pool - pymalloc->first_pool) / shape->pool_bytes];
		fetch_headers(headers, arena);
		for (uint64_t pool = arena->first_pool; pool < arena->virgin; pool += shape->pool_bytes, class ++) {
			const uint8_t *bytes = memory_at(headers->heap->memory, pool, POOL_HEADER_BYTES);
			if (bytes && load_u32(bytes, POOL_COUNT))
				*class = (uint8_t)(pool_block_bytes(shape, bytes) / shape->block_alignment);
		}
	}
	return NULL;
}

static void read_all_headers(const heap_t *heap, const struct pymalloc *pymalloc)
{
	size_t n = CLAMP(MIN(g_get_num_processors(), pymalloc->n_arenas / ARENAS_EACH), 1, MAX_THREADS);
	struct headers headers[MAX_THREADS];
	GThread *threads[MAX_THREADS];
	for (size_t i = 0; i < n; i++) {
		headers[i] =
			(struct headers){heap, pymalloc, i * pymalloc->n_arenas / n, (i + 1) * pymalloc->n_arenas / n};
		threads[i] = i ? gentle_thread("headers", read_headers, &headers[i]) : NULL;
	}
	read_headers(&headers[0]);
	for (size_t i = 1; i < n; i++)
		g_thread_join(threads[i]);
}

static void find_classes(const heap_t *heap, struct pymalloc *pymalloc)
{
	const struct py_shape *shape = &heap->layout->shape;
	/* where memory isn't kept every header would have to be read twice */
	if (!pymalloc->n_arenas || !pool_bytes_known(shape) || heap->memory->window)
		return;
	pymalloc->first_pool = pymalloc->arenas[0].first_pool;
	uint64_t end = 0;
	for (size_t i = 0; i < pymalloc->n_arenas; i++)
		end = MAX(end, pymalloc->arenas[i].end);
	if (end - pymalloc->first_pool > MAX_SPAN)
		return;
	pymalloc->pool_bits = (unsigned)__builtin_ctz(shape->pool_bytes);
	pymalloc->n_pools = (end - pymalloc->first_pool) / shape->pool_bytes;
	pymalloc->classes = g_try_new0(uint8_t, pymalloc->n_pools + 1);
	if (pymalloc->classes)
		read_all_headers(heap, pymalloc);
}

bool pymalloc_open(heap_t *heap, struct pymalloc *pymalloc)
{
	memset(pymalloc, 0, sizeof(*pymalloc));
	pymalloc->raw_blocks = pymalloc->all_blocks = -1;
	if (heap->layout->shape.gc == PY_GC_NONE)
		return true;
	g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(struct arena));
	if (!all_arenas(heap, pymalloc, found))
		return false;
	pymalloc->n_arenas = found->len;
	pymalloc->arenas = (struct arena *)g_array_free(g_steal_pointer(&found), FALSE);
	if (pymalloc->n_arenas)
		qsort(pymalloc->arenas, pymalloc->n_arenas, sizeof(*pymalloc->arenas), arena_compare);
	drop_overlapping(pymalloc);
	merge_ranges(pymalloc);
	find_classes(heap, pymalloc);
	struct block_votes votes = {0};
	struct block_stats stats = {0};
	for (size_t i = 0; i < pymalloc->n_arenas && votes.hooked + votes.plain < BLOCK_VOTES; i++)
		pymalloc_walk_arena(heap, pymalloc, &pymalloc->arenas[i], block_vote, &votes, &stats);
	pymalloc->debug_hooks = votes.hooked > votes.plain;
	return true;
}

void pymalloc_clear(struct pymalloc *pymalloc)
{
	g_free(pymalloc->arenas);
	g_free(pymalloc->ranges);
	g_free(pymalloc->classes);
	memset(pymalloc, 0, sizeof(*pymalloc));
}

const struct arena *pymalloc_range(const struct pymalloc *pymalloc, uint64_t address)
{
	size_t low = 0, high = pymalloc->n_ranges;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (pymalloc->ranges[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < pymalloc->ranges[low - 1].end ? &pymalloc->ranges[low - 1] : NULL;
}

/* Mark the free blocks of a pool; returns their number. */
static uint32_t mark_free(const uint8_t *pool, uint64_t pool_address, uint32_t pool_bytes, uint32_t size,
			  uint32_t carved, uint8_t *is_used)
{
	uint64_t at = load_u64(pool, POOL_FREE_BLOCK);
	/* x * inverse >> 32 is x / size for every offset in a pool: it is wrong by less than x / 2^32, which is less than 1 / size */
	uint64_t inverse = ((1ull << 32) + size - 1) / size;
	uint32_t n = 0;
	while (at) {
		uint64_t offset = at - pool_address;
		if (offset < POOL_HEADER_BYTES || offset + 8 > pool_bytes)
			break;
		uint32_t index = (uint32_t)((offset - POOL_HEADER_BYTES) * inverse >> 32);
		if (index >= carved || POOL_HEADER_BYTES + (uint64_t)index * size != offset || !is_used[index])
			break;
		is_used[index] = 0;
		n++;
		at = load_u64(pool, offset);
	}
	return n;
}

/* The offsets of the used ones of `n` blocks. Which those are can't be foretold, so it isn't branched upon. */
static size_t list_used(uint32_t size, uint32_t n, const uint8_t *is_used, uint32_t *offsets)
{
	size_t used = 0;
	uint32_t offset = 0;
#pragma GCC unroll 8
	for (uint32_t i = 0; i < n; i++) {
		offsets[used] = offset;
		offset += size;
		used += is_used[i];
	}
	return used;
}

static void list_all(uint32_t size, uint32_t n, uint32_t *offsets)
{
	for (uint32_t i = 0; i < n; i++)
		offsets[i] = i * size;
}

static void visit_used(const struct block *first, const uint32_t *offsets, size_t n, block_visit *visit, void *context)
{
	block_visit_many(visit, context, first, offsets, n);
}

/* A block without the hook's marks was allocated before they were put in place, or is being allocated now. */
static void visit_hooked(const struct block *first, const uint32_t *offsets, size_t n, block_visit *visit,
			 void *context)
{
	for (size_t i = 0; i < n; i++) {
		struct block block = *first;
		block.address += offsets[i];
		block.bytes += offsets[i];
		if (block_unhook(&block))
			block_visit_one(visit, context, &block);
	}
}

static void walk_pool(heap_t *heap, const struct pymalloc *pymalloc, uint64_t pool_address, block_visit *visit,
		      void *context, struct block_stats *stats)
{
	const struct py_shape *shape = &heap->layout->shape;
	uint32_t pool_bytes = shape->pool_bytes;
	const uint8_t *pool = memory_at(heap->memory, pool_address, pool_bytes);
	if (!pool) {
		stats->damaged++;
		return;
	}
	uint32_t count = load_u32(pool, POOL_COUNT);
	if (!count) {
		stats->free_pool_bytes += pool_bytes;
		return;
	}
	uint32_t size = pool_block_bytes(shape, pool);
	uint32_t next = load_u32(pool, POOL_NEXT_OFFSET);
	if (!size || next > pool_bytes + size || next < POOL_HEADER_BYTES) {
		stats->damaged++;
		return;
	}
	uint32_t carved = (MIN(next, pool_bytes) - POOL_HEADER_BYTES) / size;
	uint8_t is_used[MAX_BLOCKS];
	uint32_t offsets[MAX_BLOCKS], n_free = 0;
	if (count < carved) {
		memset(is_used, 1, carved);
		n_free = mark_free(pool, pool_address, pool_bytes, size, carved, is_used);
		list_used(size, carved, is_used, offsets);
	} else {
		list_all(size, carved, offsets);
	}
	if (carved - n_free != count)
		stats->damaged++;
	stats->used_blocks += carved - n_free;
	stats->used_bytes += (int64_t)(carved - n_free) * size;
	stats->free_bytes += pool_bytes - (int64_t)(carved - n_free) * size;
	struct block first = {pool_address + POOL_HEADER_BYTES, pool + POOL_HEADER_BYTES, size, BLOCK_ANY};
	(pymalloc->debug_hooks ? visit_hooked : visit_used)(&first, offsets, carved - n_free, visit, context);
}

void pymalloc_walk_arena(heap_t *heap, const struct pymalloc *pymalloc, const struct arena *arena, block_visit *visit,
			 void *context, struct block_stats *stats)
{
	uint32_t pool_bytes = heap->layout->shape.pool_bytes;
	if (!pool_bytes_known(&heap->layout->shape))
		return;
	for (uint64_t pool = arena->first_pool; pool < arena->virgin; pool += pool_bytes)
		walk_pool(heap, pymalloc, pool, visit, context, stats);
	stats->free_pool_bytes += (int64_t)(arena->end - arena->virgin);
}
