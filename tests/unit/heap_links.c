/* What a census of many objects goes by in place of looking at each one's neighbours and tables: daemon/heap/links.h, dict_blocks, and the shelves. */
#include "daemon/heap/allocator.h"
#include "daemon/heap/coarse.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/links.h"
#include "daemon/heap/size.h"
#include "tests/unit/world.h"

#define LOW  0x7f0000000000ull
#define HIGH (LOW + (64ull << 20))

/* a circular list of `n` heads, and of its own head elsewhere */
static void list_up(struct links *links, const uint64_t *heads, size_t n)
{
	struct links_run run = links_run_begin();
	for (size_t i = 0; i < n; i++) {
		links_run_meet(links, &run, heads[i]);
		if (i + 1 < n)
			links_lead(links, heads[i + 1]);
	}
	links_run_end(links, &run);
	links_lead(links, heads[0]);
}

static uint64_t random_head(GRand *random)
{
	return LOW + (uint64_t)g_rand_int_range(random, 0, (int)((HIGH - LOW) / 16)) * 16;
}

static void test_sums(void)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(7);
	uint64_t heads[1000], stranger = LOW + (17ull << 20) + 48;
	struct links links, other;
	links_init(&links, LOW, HIGH);
	links_init(&other, LOW, HIGH);
	for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
		heads[i] = i % 4 ? heads[i - 1] + 32 : random_head(random) & ~127ull; /* with neighbours */
	list_up(&links, heads, 500);
	list_up(&other, heads + 500, 500);
	links_merge(&links, &other);
	g_assert_false(links_open(&links, LOW, HIGH));
	/* to where nothing is met, and from outside to outside: nobody's business */
	links_lead(&links, LOW - 16);
	links_meet(&links, HIGH);
	for (int i = 0; i < 2; i++) {
		struct links_run run = links_run_begin();
		links_run_meet(&links, &run, i ? HIGH : LOW - 16);
		links_run_end(&links, &run);
	}
	g_assert_false(links_open(&links, 0, UINT64_MAX));
	/* it leads to one of the others, but none leads to it */
	links_meet(&links, stranger);
	links_lead(&links, heads[3]);
	g_assert_true(links_open(&links, LOW, HIGH));
	g_assert_true(links_open(&links, stranger, stranger + 1));
	g_assert_false(links_open(&links, stranger + (2 << 20), stranger + (2 << 20)));
	size_t open = 0;
	for (uint64_t at = LOW; at < HIGH; at += 1 << 20)
		open += links_open(&links, at, at + (1 << 20));
	g_assert_cmpuint(open, <=, 2);
	links_clear(&links);
	links_clear(&other);
}

/* sums that would be equal if addresses were added up, not hashes of them */
static void test_sums_of_addresses(void)
{
	struct links links;
	links_init(&links, LOW, HIGH);
	links_meet(&links, LOW + 16);
	links_meet(&links, LOW + 80);
	links_lead(&links, LOW + 32);
	links_lead(&links, LOW + 64);
	g_assert_true(links_open(&links, LOW, HIGH));
	links_clear(&links);
}

static void test_wide(void)
{
	struct links links;
	links_init(&links, 0, 1ull << 47);
	g_assert_cmpuint(links.n, <=, 65537);
	links_meet(&links, (1ull << 47) - 16);
	g_assert_true(links_open(&links, (1ull << 47) - 16, 1ull << 47));
	g_assert_false(links_open(&links, 0, 1ull << 46));
	links_clear(&links);
}

/* a block in use, no object, that still looks like one the collector has: its neighbours don't know it */
static void test_stale_object(void)
{
	for (int stale = 0; stale < 2; stale++) {
		g_autoptr(world_t) world = world_new();
		uint64_t lists[300];
		for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
			lists[i] = object_new(world, world->list_type, 40);
		uint64_t block = block_new(world, 56);
		memset(at(world, block), 0, 56);
		if (stale) {
			object_init(world, block + 16, world->list_type, 1);
			put64(world, block, lists[1] - 16);
			put64(world, block + 8, lists[0] - 16);
		}
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_true(found.taken);
		g_assert_cmpint(count(&found, world->list_type, true), ==, G_N_ELEMENTS(lists));
		g_assert_null(find(&found, block + 16));
		g_assert_cmpint(found.forgot, ==, stale);
		g_assert_cmpint(found.census.lists[0], ==, G_N_ELEMENTS(lists));
		found_clear(&found);
	}
}

/*
 * Objects of one pool: all tracked, all untracked, or one as the other; and among each of them dead ones, ones with very many references, and
 * heads that are none. All that are alive are found, each as what it is, and the common ones with the sum of their references.
 */
static void test_mixed_heads(void)
{
	enum { TRACKED, UNTRACKED, MIXED, ODD, MANY, WAYS };
	for (int way = 0; way < WAYS; way++) {
		g_autoptr(world_t) world = world_new();
		const struct py_layout *layout = &world->python.layout;
		uint64_t pair_type = type_new(world, "pair", PY_FLAG_HAVE_GC, 32, 0, world->object_type);
		size_t alive = 0, tracked = 0, odd = 0;
		for (int i = 0; i < 90; i++) {
			uint64_t block = block_new(world, 48), pair = block + 16;
			memset(at(world, block), 0, 48);
			object_init(world, pair, pair_type, 1);
			put64(world, pair + layout->ob_refcnt, 1 + (uint64_t)(i * i) % 500);
			bool dead = way == ODD && i % 7 == 3, many = way >= ODD && i % 11 == 5,
			     broken = way == ODD && i % 13 == 8;
			bool linked =
				!dead && !broken && (way == TRACKED || way == MANY || (way != UNTRACKED && i % 3 == 0));
			if (dead)
				put64(world, pair + layout->ob_refcnt, 0);
			else if (many)
				put64(world, pair + layout->ob_refcnt, 65537 + (uint64_t)i);
			if (broken)
				put64(world, block + 8, 8);
			if (linked)
				link_head(world, 0, block);
			alive += !dead && !broken;
			odd += !dead && !broken && many;
			tracked += linked;
		}
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_cmpint(count(&found, pair_type, false), ==, alive);
		g_assert_cmpint(count(&found, pair_type, true), ==, tracked);
		g_assert_cmpint(found.forgot, ==, 0);
		size_t common = 0;
		for (guint i = 0; i < found.objects->len; i++) {
			const struct object *object = &g_array_index(found.objects, struct object, i);
			common += object->common && object->type->address == pair_type;
		}
		g_assert_cmpuint(common, ==, alive - odd);
		found_clear(&found);
	}
}

/* stopped while a list was being linked: the one before it knows it, the one behind doesn't yet; nothing is told twice for that */
static void test_half_linked(void)
{
	g_autoptr(world_t) world = world_new();
	for (int i = 0; i < 100; i++)
		object_new(world, world->list_type, 40);
	uint64_t last = object_new(world, world->list_type, 40) - 16, before = get64(world, last + 8);
	put64(world, list_head(world, 0) + 8, before);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(count(&found, world->list_type, true), ==, 101);
	g_assert_cmpint(found.forgot, ==, 0);
	found_clear(&found);
	/* and the other way round: the sums don't agree, its neighbour does */
	put64(world, list_head(world, 0) + 8, last);
	put64(world, before, list_head(world, 0));
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(count(&found, world->list_type, true), ==, 101);
	g_assert_cmpint(found.forgot, ==, 0);
	found_clear(&found);
}

/* an object of malloc's that only a table in a block leads to; what kind of table */
static void test_tables_in_blocks(void)
{
	enum { ITEMS, KEYS, UNKNOWN, TABLES };
	for (int table = 0; table < TABLES; table++) {
		g_autoptr(world_t) world = world_new();
		const struct py_layout *layout = &world->python.layout;
		uint64_t large = tuple_new(world, 2, NULL, 0), block;
		if (table == ITEMS) {
			uint64_t list = object_new(world, world->list_type, 40);
			put64(world, list + layout->ob_size, 3);
			put64(world, list + layout->list_allocated, 4);
			put64(world, list + layout->list_ob_item, block = block_new(world, 32));
			memset(at(world, block), 0, 32);
			put64(world, block + 16, large);
		} else if (table == KEYS) {
			uint64_t dict = object_new(world, world->dict_type, 48);
			put64(world, dict + layout->ma_keys,
			      keys_new(world, 1, (const uint64_t[]){str_new(world, 1, "key"), large}, 1));
		} else {
			block = block_new(world, 32);
			memset(at(world, block), 0, 32);
			put64(world, block + 24, large);
		}
		struct found found;
		look(world, CENSUS_ALL, &found);
		const struct object *object = find(&found, large);
		g_assert_nonnull(object);
		g_assert_true(object->outside);
		found_clear(&found);
	}
}

/* what a table's block says of its size is what the table says */
static void test_dict_blocks(void)
{
	for (int pretend = 0; pretend < 2; pretend++) {
		g_autoptr(world_t) world = world_new();
		const struct py_layout *layout = &world->python.layout;
		uint64_t dict = object_new(world, world->dict_type, 48);
		uint64_t keys = keys_new(world, 1, NULL, 0);
		put64(world, dict + layout->ma_keys, keys);
		/* a table that says it has 16 slots where there is no room for them: who believes the block doesn't see it */
		if (pretend)
			*at(world, keys + layout->dk_log2_size) = *at(world, keys + layout->dk_log2_index_bytes) = 4;
		struct found found;
		look(world, CENSUS_ALL, &found);
		const struct object *object = find(&found, dict);
		struct allocator allocator;
		struct dict_blocks blocks;
		int64_t looked = 0, told = 0;
		g_assert_true(allocator_open(world->heap, &allocator));
		dict_blocks_init(&blocks, layout, &allocator.pymalloc);
		g_assert_true(object_getsizeof(world->heap, object, &looked));
		world->heap->dict_blocks = &blocks;
		g_assert_true(object_getsizeof(world->heap, object, &told));
		world->heap->dict_blocks = NULL;
		g_assert_cmpint(told, ==, 16 + layout->dict_size + layout->dict_keys_size + 8 + 5 * 24);
		if (pretend)
			g_assert_cmpint(looked, !=, told);
		else
			g_assert_cmpint(looked, ==, told);
		allocator_clear(&allocator);
		found_clear(&found);
	}
}

/* blocks that don't say: debug hooks make them larger, values are split off, or it is no table's size */
static void test_dict_blocks_that_do_not_say(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t keys = keys_new(world, 1, NULL, 0), other = block_new(world, 64);
	struct found found;
	look(world, CENSUS_ALL, &found);
	struct allocator allocator;
	struct dict_blocks blocks;
	g_assert_true(allocator_open(world->heap, &allocator));
	dict_blocks_init(&blocks, layout, &allocator.pymalloc);
	g_assert_cmpuint(dict_block_bytes(&blocks, &layout->shape, keys), >, 0);
	g_assert_cmpuint(dict_block_bytes(&blocks, &layout->shape, other), ==, 0);
	g_assert_cmpuint(dict_block_bytes(&blocks, &layout->shape, HEAP), ==, 0);
	g_assert_cmpuint(dict_block_bytes(&blocks, &layout->shape, 0), ==, 0);
	g_assert_cmpuint(dict_block_bytes(&blocks, &layout->shape, UINT64_MAX), ==, 0);
	g_assert_cmpuint(dict_block_bytes(NULL, &layout->shape, keys), ==, 0);
	allocator.pymalloc.debug_hooks = true;
	dict_blocks_init(&blocks, layout, &allocator.pymalloc);
	g_assert_cmpuint(dict_block_bytes(&blocks, &layout->shape, keys), ==, 0);
	allocator_clear(&allocator);
	found_clear(&found);
}

/* whatever is in it is found; what is told apart are other units of 64 KB */
static void test_coarse(void)
{
	const uint64_t unit = 1ull << COARSE_UNIT_BITS, around = unit * COARSE_UNITS, at = LOW + 5 * unit + 4096;
	g_autofree struct coarse *coarse = g_new0(struct coarse, 1);
	coarse_add(coarse, at, at);
	g_assert_false(coarse_has(coarse, at));
	/* from the end of one unit to the beginning of the next but one */
	coarse_add(coarse, at, at + 2 * unit);
	g_assert_true(coarse_has(coarse, at) && coarse_has(coarse, at + unit) && coarse_has(coarse, at + 2 * unit - 1));
	g_assert_false(coarse_has(coarse, at - unit) || coarse_has(coarse, at + 3 * unit));
	/* four digits say no more; and none of it is beyond the last */
	g_assert_true(coarse_has(coarse, at + around));
	coarse_add(coarse, around - 1, around + 1);
	g_assert_true(coarse_has(coarse, around - 1) && coarse_has(coarse, around));
	g_assert_false(coarse_has(coarse, around + unit));
	/* more than there are units: all of them, and an end to it */
	coarse_add(coarse, LOW, UINT64_MAX);
	for (uint64_t i = 0; i < COARSE_UNITS; i++)
		g_assert_true(coarse_has(coarse, i * unit));
}

/* the short way to a size says what the long one does, or that it can't */
static void test_sizes_of_common_ones(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	g_autoptr(heap_t) heap = heap_open(&world->memory, NULL, &world->python, NULL);
	const uint64_t most = heap->largest / 8; /* no table is longer */
	const uint64_t allocated[] = {0, 1, 7, most - 1, most, most + 1, 1ull << 43, UINT64_MAX};
	uint64_t lists[G_N_ELEMENTS(allocated)];
	for (size_t i = 0; i < G_N_ELEMENTS(allocated); i++) {
		lists[i] = object_new(world, world->list_type, 40);
		put64(world, lists[i] + layout->list_allocated, allocated[i]);
	}
	struct found found;
	look(world, CENSUS_ALL, &found);
	for (size_t i = 0; i < G_N_ELEMENTS(allocated); i++) {
		const struct object *object = find(&found, lists[i]);
		struct size_terms terms = size_terms_of(world->heap, SIZE_LIST, object);
		int64_t short_way = -1, long_way = -1;
		g_assert_cmpint(size_form_of(world->heap, object->type), ==, SIZE_LIST);
		uint64_t units;
		bool told = size_units(&terms, SIZE_LIST, object->bytes, &units);
		short_way = (int64_t)(terms.base + units * terms.unit);
		bool asked = object_getsizeof(world->heap, object, &long_way);
		/* a list that is being sorted is known by its odd number */
		g_assert_true(told == (allocated[i] < most));
		if (told && asked)
			g_assert_cmpint(short_way, ==, long_way);
		g_assert_true(!told || asked);
	}
	found_clear(&found);
}

/* what is only called a list, and is too small for one, has no short way: that would read beyond it */
static void test_size_of_a_small_one(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	put64(world, world->list_type + layout->tp_basicsize, 16);
	put64(world, world->list_type + layout->tp_flags, PY_FLAG_READY);
	uint64_t list = object_new(world, world->list_type, 16);
	struct found found;
	look(world, CENSUS_ALL, &found);
	const struct object *object = find(&found, list);
	g_assert_nonnull(object);
	g_assert_cmpint(size_form_of(world->heap, object->type), ==, SIZE_ASKED);
	found_clear(&found);
}

/* what a tuple refers to outside of the blocks is an object, but not where nobody may write to it: it isn't even read there */
static void test_constant(void)
{
	for (int constant = 0; constant < 2; constant++) {
		g_autoptr(world_t) world = world_new();
		const struct py_layout *layout = &world->python.layout;
		uint64_t str = str_new(world, 2, "a large str, which lies in no block");
		uint64_t tuple = object_new(world, world->tuple_type, layout->tuple_ob_item + 8);
		put64(world, tuple + layout->ob_size, 1);
		put64(world, tuple + layout->tuple_ob_item, str);
		for (size_t i = 0; i < world->memory.n_regions; i++) {
			if (str - world->memory.regions[i].start < world->memory.regions[i].size)
				world->memory.regions[i].constant = constant;
		}
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_true(found.taken);
		g_assert_true((find(&found, str) == NULL) == constant);
		g_assert_true((memory_probe(&world->memory, str, 16) == NULL) == constant);
		g_assert_nonnull(memory_at(&world->memory, str, 16));
		found_clear(&found);
	}
}

/* types whose addresses differ by what the shelves go round after: more than two of one place, in turn */
static void test_types_of_one_shelf(void)
{
	enum { TYPES = 5, EACH = 400 };
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t types[TYPES];
	for (int i = 0; i < TYPES; i++) {
		uint64_t wanted = (world->next[0] + 0xffff) & ~0xffffull;
		take(world, 0, wanted - world->next[0]);
		types[i] = type_new(world, "twin", 0, layout->object_size + 8, 0, world->object_type);
		g_assert_cmpuint(types[i] % 0x10000, ==, 0);
	}
	for (int i = 0; i < TYPES * EACH; i++)
		object_new(world, types[i % TYPES], 24);
	struct found found;
	look(world, CENSUS_ALL, &found);
	for (int i = 0; i < TYPES; i++)
		g_assert_cmpint(count(&found, types[i], false), ==, EACH);
	found_clear(&found);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/heap/links/sums", test_sums);
	g_test_add_func("/heap/links/sums-of-addresses", test_sums_of_addresses);
	g_test_add_func("/heap/links/wide", test_wide);
	g_test_add_func("/heap/links/stale-object", test_stale_object);
	g_test_add_func("/heap/links/mixed-heads", test_mixed_heads);
	g_test_add_func("/heap/links/half-linked", test_half_linked);
	g_test_add_func("/heap/links/tables-in-blocks", test_tables_in_blocks);
	g_test_add_func("/heap/links/dict-blocks", test_dict_blocks);
	g_test_add_func("/heap/links/dict-blocks-that-do-not-say", test_dict_blocks_that_do_not_say);
	g_test_add_func("/heap/links/coarse", test_coarse);
	g_test_add_func("/heap/links/sizes-of-common-ones", test_sizes_of_common_ones);
	g_test_add_func("/heap/links/size-of-a-small-one", test_size_of_a_small_one);
	g_test_add_func("/heap/links/constant", test_constant);
	g_test_add_func("/heap/links/types-of-one-shelf", test_types_of_one_shelf);
	return g_test_run();
}
