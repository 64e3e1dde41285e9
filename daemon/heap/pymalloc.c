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
#define GROUP_POOLS    64 /* as many as an arena has, by default */
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
		struct arena arena = {.start = load_u64(entry, ARENA_ADDRESS),
				      .virgin = load_u64(entry, ARENA_POOL_ADDRESS)};
		uint32_t pools = load_u32(entry, ARENA_TOTAL_POOLS);
		if (!arena.start)
			continue;
		arena.first_pool = (arena.start + shape->pool_bytes - 1) / shape->pool_bytes * shape->pool_bytes;
		/*
		 * A build with huge pages has larger arenas: go by the number of pools. One is lost where the arena doesn't begin with one: what
		 * is before the first pool and behind the last one are the arena's all the same (Objects/obmalloc.c, new_arena()).
		 */
		arena.pools_end = arena.first_pool + (uint64_t)pools * shape->pool_bytes;
		uint64_t lost = arena.first_pool > arena.start ? shape->pool_bytes : 0;
		arena.end = arena.start + (uint64_t)pools * shape->pool_bytes + lost;
		if (!pools || pools > (1u << 16) || arena.first_pool < arena.start || arena.end < arena.first_pool ||
		    arena.virgin < arena.first_pool || arena.virgin > arena.pools_end)
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
		end = MAX(end, pymalloc->arenas[i].pools_end);
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

/* A pool with used blocks. */
struct pool {
	uint64_t address;
	const uint8_t *bytes;
	uint32_t block_bytes;
	uint32_t used;   /* blocks, as its header says */
	uint32_t carved; /* blocks that have been in use, or are */
};

/* Offsets of a pool's blocks. */
struct lists {
	uint32_t block_bytes;       /* of those in `whole`; 0: nothing is there yet */
	uint32_t whole[MAX_BLOCKS]; /* all that a pool has room for, the same in each */
	uint32_t part[MAX_BLOCKS];  /* those in use */
	uint8_t is_used[MAX_BLOCKS];
};

/* Who visits the blocks of an arena. */
struct walk {
	heap_t *heap;
	const struct pymalloc *pymalloc;
	block_visit *visit;
	void *context;
	struct block_stats *stats;
	struct lists *lists;
};

/* False: it has no used blocks, or makes no sense. */
static bool pool_read(const struct walk *walk, uint64_t address, struct pool *pool)
{
	const struct py_shape *shape = &walk->heap->layout->shape;
	uint32_t pool_bytes = shape->pool_bytes;
	const uint8_t *bytes = memory_at(walk->heap->memory, address, pool_bytes);
	if (!bytes) {
		walk->stats->damaged++;
		return false;
	}
	uint32_t used = load_u32(bytes, POOL_COUNT), next = load_u32(bytes, POOL_NEXT_OFFSET);
	if (!used) {
		walk->stats->free_pool_bytes += pool_bytes;
		return false;
	}
	uint32_t block_bytes = pool_block_bytes(shape, bytes);
	if (!block_bytes || next > pool_bytes + block_bytes || next < POOL_HEADER_BYTES) {
		walk->stats->damaged++;
		return false;
	}
	*pool = (struct pool){.address = address,
			      .bytes = bytes,
			      .block_bytes = block_bytes,
			      .used = used,
			      .carved = (MIN(next, pool_bytes) - POOL_HEADER_BYTES) / block_bytes};
	return true;
}

/* The offsets of its used blocks; returns their number. */
static uint32_t pool_list(const struct walk *walk, const struct pool *pool, const uint32_t **offsets)
{
	struct lists *lists = walk->lists;
	uint32_t pool_bytes = walk->heap->layout->shape.pool_bytes, size = pool->block_bytes;
	if (pool->used >= pool->carved) {
		if (lists->block_bytes != size)
			list_all(size, (pool_bytes - POOL_HEADER_BYTES) / size, lists->whole);
		lists->block_bytes = size;
		*offsets = lists->whole;
		return pool->carved;
	}
	memset(lists->is_used, 1, pool->carved);
	uint32_t n_free = mark_free(pool->bytes, pool->address, pool_bytes, size, pool->carved, lists->is_used);
	list_used(size, pool->carved, lists->is_used, lists->part);
	*offsets = lists->part;
	return pool->carved - n_free;
}

/* A block without the hook's marks was allocated before they were put in place, or is being allocated now. */
static void visit_hooked(const struct walk *walk, const struct blocks *blocks)
{
	for (size_t i = 0; i < blocks->n; i++) {
		struct block block = blocks_nth(blocks, i);
		if (block_unhook(&block))
			block_visit_one(walk->visit, walk->context, &block);
	}
}

static void walk_pool(const struct walk *walk, const struct pool *pool, int64_t ahead)
{
	const uint32_t *offsets;
	uint32_t n = pool_list(walk, pool, &offsets);
	struct block_stats *stats = walk->stats;
	int64_t used_bytes = (int64_t)n * pool->block_bytes;
	if (n != pool->used)
		stats->damaged++;
	stats->used_blocks += n;
	stats->used_bytes += used_bytes;
	stats->free_bytes += walk->heap->layout->shape.pool_bytes - used_bytes;
	const struct blocks blocks = {.first = {.address = pool->address + POOL_HEADER_BYTES,
						.bytes = pool->bytes + POOL_HEADER_BYTES,
						.size = pool->block_bytes},
				      .offsets = offsets,
				      .n = n,
				      .ahead = ahead};
	if (walk->pymalloc->debug_hooks)
		visit_hooked(walk, &blocks);
	else
		block_visit_many(walk->visit, walk->context, &blocks);
}

/* Pools with blocks of one size one after the other: neighbours mostly have other sizes, and blocks that are alike are settled together. */
static void walk_group(const struct walk *walk, uint64_t first, size_t n)
{
	struct pool pools[GROUP_POOLS], in_order[GROUP_POOLS];
	size_t n_pools = 0, places[PYMALLOC_LARGEST / SMALLEST_BLOCK + 2] = {0};
	for (size_t i = 0; i < n; i++) {
		struct pool *pool = &pools[n_pools];
		if (pool_read(walk, first + i * walk->heap->layout->shape.pool_bytes, pool)) {
			places[pool->block_bytes / SMALLEST_BLOCK + 1]++;
			n_pools++;
		}
	}
	for (size_t i = 1; i < G_N_ELEMENTS(places); i++)
		places[i] += places[i - 1];
	for (size_t i = 0; i < n_pools; i++)
		in_order[places[pools[i].block_bytes / SMALLEST_BLOCK]++] = pools[i];
	for (size_t i = 0; i < n_pools; i++) {
		const struct pool *pool = &in_order[i], *next = &in_order[MIN(i + 1, n_pools - 1)];
		walk_pool(walk, pool, (int64_t)((uintptr_t)next->bytes - (uintptr_t)pool->bytes));
	}
}

void pymalloc_walk_arena(heap_t *heap, const struct pymalloc *pymalloc, const struct arena *arena, block_visit *visit,
			 void *context, struct block_stats *stats)
{
	struct lists lists;
	const struct walk walk = {heap, pymalloc, visit, context, stats, &lists};
	if (!pool_bytes_known(&heap->layout->shape))
		return;
	lists.block_bytes = 0;
	uint64_t pool_bytes = heap->layout->shape.pool_bytes, group_bytes = pool_bytes * GROUP_POOLS;
	for (uint64_t group = arena->first_pool; group < arena->virgin; group += group_bytes)
		walk_group(&walk, group, MIN((arena->virgin - group) / pool_bytes, GROUP_POOLS));
	stats->free_pool_bytes += (int64_t)(arena->first_pool - arena->start + arena->end - arena->virgin);
}
