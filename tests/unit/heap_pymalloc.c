#include "daemon/heap/pymalloc.h"
#include "tests/unit/world.h"

static void test_used_and_free(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t floats[100];
	for (int i = 0; i < 100; i++)
		floats[i] = object_new(world, world->float_type, 24);
	for (int i = 0; i < 100; i += 3)
		block_free(world, floats[i]); /* 34 of them, still with a type and a count */
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 66);
	for (int i = 0; i < 100; i++)
		g_assert_true(!find(&found, floats[i]) == (i % 3 == 0));
	g_assert_cmpint(found.census.used_blocks, ==, 66);
	g_assert_cmpint(found.census.used_bytes, ==, 66 * 32);
	g_assert_cmpint(found.census.object_bytes, ==, 66 * 32);
	g_assert_cmpint(found.census.damaged, ==, 0);
	g_assert_cmpint(found.census.used_bytes + found.census.free_bytes + found.census.free_pool_bytes, ==,
			ARENA_BYTES);
	found_clear(&found);
}

static void test_blocks_that_are_no_objects(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t alive = object_new(world, world->float_type, 24), dead = object_new(world, world->float_type, 24);
	put64(world, dead, 0); /* kept in a free list */
	uint64_t words = block_new(world, 64);
	for (uint64_t i = 0; i < 8; i++)
		put64(world, words + 8 * i, world->float_type); /* a table of types; its first word is no count */
	uint64_t other = block_new(world, 48);
	put64(world, other, 1);
	put64(world, other + 8, STATICS + 8); /* not where a type is */
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_nonnull(find(&found, alive));
	g_assert_null(find(&found, dead));
	g_assert_null(find(&found, words));
	g_assert_null(find(&found, other));
	g_assert_cmpint(found.census.used_blocks, ==, 4);
	g_assert_cmpint(found.census.object_bytes, ==, 32);
	found_clear(&found);
}

/* chains of free blocks as no allocator makes them: bounded, told, and no block is handed out twice */
static void test_corrupt_chains(void)
{
	static const struct {
		int64_t link; /* from the start of the pool; -1: to itself, -2: an address of nothing */
		int64_t used;
	} cases[] = {{-1, 9}, {-2, 9}, {POOL_HEADER + 8, 9}, {0, 9}, {16384, 9}, {POOL_HEADER + 50 * 32, 9}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(world_t) world = world_new();
		uint64_t floats[10];
		for (int k = 0; k < 10; k++)
			floats[k] = object_new(world, world->float_type, 24);
		block_free(world, floats[4]);
		uint64_t pool = pool_of(world, floats[4]);
		put32(world, pool, 5); /* more are free than the chain says */
		put64(world, floats[4],
		      cases[i].link == -1   ? floats[4]
		      : cases[i].link == -2 ? 0x7777777777777777ull
					    : pool + (uint64_t)cases[i].link);
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_cmpint(found.census.damaged, ==, 1);
		g_assert_cmpint(found.census.used_blocks, ==, cases[i].used);
		g_assert_cmpint(count(&found, world->float_type, false), ==, 9);
		found_clear(&found);
	}
}

static void test_corrupt_pools(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t good = object_new(world, world->float_type, 24);
	uint64_t wide = pool_of(world, block_new(world, 48)), far = pool_of(world, block_new(world, 64));
	uint64_t empty = pool_of(world, block_new(world, 80));
	put32(world, wide + 36, 0xfffffff0u); /* size class */
	put32(world, far + 40, 0x7fffffff);   /* next offset */
	put32(world, empty, 0);               /* count */
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(found.census.damaged, ==, 2);
	g_assert_cmpint(found.census.used_blocks, ==, 1);
	g_assert_nonnull(find(&found, good));
	found_clear(&found);
}

struct visited {
	GArray *addresses;       /* uint64_t: blocks */
	uint64_t bytes;          /* of a block, the last time */
	const uint8_t *promised; /* where the next ones were said to be */
	int kinds;               /* how often the size was another one */
};

static void note_blocks(void *context, const struct blocks *blocks)
{
	struct visited *visited = context;
	visited->kinds += blocks->first.size != visited->bytes;
	visited->bytes = blocks->first.size;
	if (visited->promised)
		g_assert_true(blocks->first.bytes == visited->promised);
	visited->promised = blocks->ahead ? blocks->first.bytes + blocks->ahead : NULL;
	for (size_t i = 0; i < blocks->n; i++) {
		uint64_t address = blocks->first.address + blocks->offsets[i];
		g_array_append_val(visited->addresses, address);
	}
}

/* pools of three sizes in turn, some with free blocks: those of one size are visited together, each of their used blocks once */
static void test_sizes_in_turn(void)
{
	enum { EACH = 4 };
	static const uint64_t sizes[] = {48, 32, 64};
	g_autoptr(world_t) world = world_new();
	uint32_t pool_bytes = world->python.layout.shape.pool_bytes;
	g_autoptr(GHashTable) used = g_hash_table_new(NULL, NULL);
	for (int i = 0; i < EACH * 3; i++) {
		uint64_t size = sizes[i % 3];
		for (uint64_t k = 0; k < (pool_bytes - POOL_HEADER) / size; k++) {
			uint64_t block = block_new(world, size);
			memset(at(world, block), 0, size);
			if (i % 2 && k % 5 == 1)
				block_free(world, block);
			else
				g_hash_table_add(used, (gpointer)block);
		}
		world->pools[size / 16 - 1] = 0; /* the next one from a new pool */
	}
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(found.census.used_blocks, ==, g_hash_table_size(used));
	struct pymalloc pymalloc;
	struct block_stats stats = {0};
	struct visited visited = {.addresses = g_array_new(FALSE, FALSE, sizeof(uint64_t))};
	g_assert_true(pymalloc_open(world->heap, &pymalloc));
	pymalloc_walk_arena(world->heap, &pymalloc, &pymalloc.arenas[0], note_blocks, &visited, &stats);
	g_assert_cmpint(visited.kinds, ==, 3);
	g_assert_cmpuint(visited.addresses->len, ==, g_hash_table_size(used));
	for (guint i = 0; i < visited.addresses->len; i++)
		g_assert_true(g_hash_table_remove(used, (gpointer)g_array_index(visited.addresses, uint64_t, i)));
	g_assert_cmpint(stats.damaged, ==, 0);
	g_array_unref(visited.addresses);
	pymalloc_clear(&pymalloc);
	found_clear(&found);
}

/*
 * Blocks of one size that are all of one kind, as many as are settled at once and more, and then others: what was learned of the first ones
 * hides none of these.
 */
static void test_other_kinds_behind_one(void)
{
	enum { ALIKE = 2 * BLOCKS_MOST + 50, OTHERS = 40 };
	for (int kind = 0; kind < 3; kind++) {
		g_autoptr(world_t) world = world_new();
		uint64_t headed = type_new(world, "Headed", PY_FLAG_HAVE_GC, 32, 0, world->object_type);
		uint64_t bare = type_new(world, "Bare", 0, 48, 0, world->object_type);
		int n[3] = {OTHERS, OTHERS, OTHERS};
		n[kind] = ALIKE;
		for (int turn = 0; turn < 3; turn++) {
			int now = (kind + turn) % 3;
			for (int i = 0; i < n[now]; i++) {
				uint64_t block = now == 0   ? object_new(world, headed, 32)
						 : now == 1 ? object_new(world, bare, 48)
							    : block_new(world, 48);
				if (now == 1)
					put64(world, block + 24, headed); /* an instance would have its type there */
				for (uint64_t k = 0; now == 2 && k < 6; k++)
					put64(world, block + 8 * k, k % 2 && i % 2 ? headed : k);
			}
		}
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_cmpint(count(&found, headed, true), ==, n[0]);
		g_assert_cmpint(count(&found, bare, false), ==, n[1]);
		g_assert_cmpint(found.census.used_blocks, ==, n[0] + n[1] + n[2]);
		g_assert_cmpint(found.census.object_bytes, ==, 48 * (n[0] + n[1]));
		found_clear(&found);
	}
}

/* the pages of two pools could not be copied */
static void test_missing_memory(void)
{
	g_autoptr(world_t) world = world_new();
	for (int i = 0; i < 3000; i++)
		object_new(world, world->float_type, 24);
	uint32_t pool_bytes = world->python.layout.shape.pool_bytes;
	world->regions[1].size = 4 * pool_bytes;
	struct found found;
	look(world, CENSUS_ALL, &found);
	int64_t pools = (int64_t)((world->next[1] - ARENA) / pool_bytes), each = (pool_bytes - POOL_HEADER) / 32;
	g_assert_cmpint(pools, ==, 6);
	g_assert_cmpint(found.census.damaged, ==, 2);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 4 * each);
	found_clear(&found);
}

static void test_corrupt_arenas(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t state = world->interp + world->python.layout.interp_obmalloc;
	uint64_t maxarenas = state + world->python.layout.obmalloc_maxarenas;
	object_new(world, world->float_type, 24);
	const struct {
		uint64_t address, value;
	} cases[] = {
		{maxarenas, 0xffffffff}, {maxarenas, 100000},         {world->arenas + 8, ARENA - 16384},
		{world->arenas + 16, 0}, {world->arenas + 16, ~0ull}, {state + world->python.layout.obmalloc_arenas, 8},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint64_t before = get64(world, cases[i].address);
		put64(world, cases[i].address, cases[i].value);
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_nonnull(world->heap);
		g_assert_false(found.taken);
		found_clear(&found);
		put64(world, cases[i].address, before);
	}
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 1);
	found_clear(&found);
}

/* another arena beside the good one */
static void second_arena(struct world *world, uint64_t start, uint64_t virgin, uint32_t pools)
{
	uint64_t state = world->interp + world->python.layout.interp_obmalloc, array = take(world, 0, 96);
	for (uint64_t i = 0; i < 48; i += 8)
		put64(world, array + i, get64(world, world->arenas + i));
	put64(world, array + 48, start);
	put64(world, array + 56, virgin);
	put32(world, array + 68, pools);
	put64(world, state + world->python.layout.obmalloc_arenas, array);
	put32(world, state + world->python.layout.obmalloc_maxarenas, 2);
}

/* its first pool would lie beyond the last address */
static void test_arena_at_the_end(void)
{
	g_autoptr(world_t) world = world_new();
	object_new(world, world->float_type, 24);
	second_arena(world, UINT64_MAX, STATICS + STATICS_BYTES, 65536);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_false(found.taken);
	found_clear(&found);
}

/* one that begins in another can't be there: what lies in both is met once */
static void test_arenas_that_overlap(void)
{
	g_autoptr(world_t) world = world_new();
	uint32_t pool_bytes = world->python.layout.shape.pool_bytes;
	for (int i = 0; i < 3000; i++)
		object_new(world, world->float_type, 24);
	second_arena(world, ARENA + pool_bytes, ARENA + 3 * pool_bytes, 2);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 3000);
	g_assert_cmpint(found.census.damaged, ==, 1);
	found_clear(&found);
}

/* arenas that touch are one range, though neither begins with a pool: what is between the pools of both leads to nothing outside */
static void test_arenas_that_touch(void)
{
	g_autoptr(world_t) world = world_new();
	uint32_t pool_bytes = world->python.layout.shape.pool_bytes, before = pool_bytes - 4096, pools = 7;
	for (int i = 0; i < 100; i++)
		object_new(world, world->float_type, 24);
	uint64_t start = ARENA - before, middle = start + (pools + 1) * pool_bytes, end = middle + 5ull * pool_bytes;
	put64(world, world->arenas, start);
	put32(world, world->arenas + 20, pools);
	second_arena(world, middle, middle + before, 4);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 100);
	g_assert_cmpint(found.census.n_ranges, ==, 1);
	g_assert_cmphex(found.census.ranges[0].start, ==, start);
	g_assert_cmphex(found.census.ranges[0].end, ==, end);
	g_assert_cmpint(found.census.used_bytes + found.census.free_bytes + found.census.free_pool_bytes, ==,
			end - start);
	found_clear(&found);
}

/* a debug hook's 16 bytes before the data and 8 behind it */
static uint64_t hooked_new(struct world *world, uint64_t size, char domain)
{
	uint64_t block = block_new(world, size + 24);
	put64(world, block, GUINT64_TO_BE(size));
	memset(at(world, block + 8), 0xfd, 8);
	*at(world, block + 8) = (uint8_t)domain;
	memset(at(world, block + 16 + size), 0xfd, 8);
	return block + 16;
}

static void test_debug_hooks(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t object = 0, raw = 0;
	for (int i = 0; i < 20; i++) {
		object = hooked_new(world, 24, 'o');
		object_init(world, object, world->float_type, 1);
		raw = hooked_new(world, 24, 'r');
		object_init(world, raw, world->float_type, 1); /* what looks like an object, where there are none */
	}
	uint64_t lying = hooked_new(world, 24, 'o');
	object_init(world, lying, world->float_type, 1);
	put64(world, lying - 16, GUINT64_TO_BE(1ull << 40)); /* larger than its block */
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 20);
	g_assert_nonnull(find(&found, object));
	g_assert_null(find(&found, raw));
	g_assert_null(find(&found, lying));
	g_assert_cmpint(found.census.used_blocks, ==, 41);
	found_clear(&found);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/heap/pymalloc/used-and-free", test_used_and_free);
	g_test_add_func("/heap/pymalloc/blocks-that-are-no-objects", test_blocks_that_are_no_objects);
	g_test_add_func("/heap/pymalloc/corrupt-chains", test_corrupt_chains);
	g_test_add_func("/heap/pymalloc/corrupt-pools", test_corrupt_pools);
	g_test_add_func("/heap/pymalloc/sizes-in-turn", test_sizes_in_turn);
	g_test_add_func("/heap/pymalloc/other-kinds-behind-one", test_other_kinds_behind_one);
	g_test_add_func("/heap/pymalloc/missing-memory", test_missing_memory);
	g_test_add_func("/heap/pymalloc/corrupt-arenas", test_corrupt_arenas);
	g_test_add_func("/heap/pymalloc/arena-at-the-end", test_arena_at_the_end);
	g_test_add_func("/heap/pymalloc/arenas-that-overlap", test_arenas_that_overlap);
	g_test_add_func("/heap/pymalloc/arenas-that-touch", test_arenas_that_touch);
	g_test_add_func("/heap/pymalloc/debug-hooks", test_debug_hooks);
	return g_test_run();
}
