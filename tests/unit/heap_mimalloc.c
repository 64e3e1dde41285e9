#include "daemon/heap/mimalloc.h"
#include "tests/unit/world.h"

/*
 * A free-threaded 3.13 with one segment of mimalloc: 32 MiB aligned, in slices of 64 KiB, of which the first holds the descriptions of the
 * others. Only the first slices are there; nobody ever touched the rest.
 */
/* 2.1.2, and 2.5.2 as 3.14.8 carries it; no free-threaded 3.14 was ever at hand, only its headers */
static const uint32_t versions[] = {0x030d00f0u, 0x030e0af0u};
#define SEGMENT       (32ull << 20)
#define SLICE         65536ull
#define SLICES        8
#define TAG_OBJECT    1
#define TAG_GC        2
#define TAG_GC_PREFIX 3

static world_t *world_mimalloc(uint32_t version)
{
	world_t *world = g_new0(world_t, 1);
	world_init(world, version, true);
	const struct py_layout *layout = &world->python.layout;
	/* in place of the arena */
	g_free(world->bytes[1]);
	world->bytes[1] = g_malloc0(SLICES * SLICE);
	world->regions[1].start = SEGMENT;
	world->regions[1].size = SLICES * SLICE;
	world->regions[1].bytes = world->bytes[1];
	put64(world, SEGMENT + layout->mi_segment_slice_entries, 512);
	put64(world, SEGMENT + layout->mi_segment_info_slices, 1);
	put64(world, SEGMENT + layout->mi_segment_used, 1);
	put32(world, SEGMENT + layout->mi_segment_kind, 0);
	return world;
}

static uint64_t page_of(struct world *world, uint32_t slice)
{
	return SEGMENT + world->python.layout.mi_segment_slices + slice * (uint64_t)world->python.layout.mi_page_size;
}

static uint64_t block_of(struct world *world, uint32_t slice, uint32_t i)
{
	const struct py_layout *layout = &world->python.layout;
	if (heap_has(layout->mi_page_start)) {
		uint64_t at_page = page_of(world, slice);
		return get64(world, at_page + layout->mi_page_start) +
		       i * get64(world, at_page + layout->mi_page_block_size);
	}
	uint64_t page = page_of(world, slice),
		 size = load_u32(at(world, page + world->python.layout.mi_page_xblock_size), 0);
	/* small blocks begin a little behind the slice (2.1.2, _mi_segment_page_start_from_slice()) */
	return SEGMENT + slice * SLICE + (size >= 8 && size <= 64 ? 3 * size : size <= 512 ? size : 0) + i * size;
}

static void put16(struct world *world, uint64_t address, uint32_t value)
{
	memcpy(at(world, address), &value, 2);
}

static void page_new(struct world *world, uint32_t slice, uint32_t size, uint32_t capacity, uint32_t tag)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t page = page_of(world, slice);
	put32(world, page + layout->mi_page_slice_count, 1);
	put16(world, page + layout->mi_page_used, capacity);
	put16(world, page + layout->mi_page_capacity, capacity);
	if (heap_has(layout->mi_page_start)) {
		put64(world, page + layout->mi_page_block_size, size);
		put64(world, page + layout->mi_page_start, SEGMENT + slice * SLICE);
		*at(world, page + layout->mi_page_tag) = (uint8_t)tag;
	} else {
		put32(world, page + layout->mi_page_xblock_size, size);
		*at(world, page + 8) = (uint8_t)(tag << 3);
	}
}

static void floats_new(struct world *world, uint32_t slice, uint32_t n, uint32_t tag)
{
	page_new(world, slice, 48, n, tag);
	for (uint32_t i = 0; i < n; i++)
		object_init(world, block_of(world, slice, i), world->float_type, 1);
}

static void free_block(struct world *world, uint32_t slice, uint32_t i, uint32_t chain, bool counted)
{
	uint64_t page = page_of(world, slice), block = block_of(world, slice, i);
	put64(world, block, get64(world, page + chain));
	put64(world, page + chain, block);
	uint64_t used = page + world->python.layout.mi_page_used;
	if (counted)
		put16(world, used, load_u32(at(world, used), 0) - 1);
}

static void test_used_and_free(gconstpointer version)
{
	g_autoptr(world_t) world = world_mimalloc(*(const uint32_t *)version);
	const struct py_layout *layout = &world->python.layout;
	floats_new(world, 1, 60, TAG_OBJECT);
	for (uint32_t i = 0; i < 10; i++)
		free_block(world, 1, i, layout->mi_page_free, true);
	for (uint32_t i = 10; i < 15; i++)
		free_block(world, 1, i, layout->mi_page_local_free, true);
	/* freed by another thread: the page doesn't know yet */
	for (uint32_t i = 15; i < 18; i++)
		free_block(world, 1, i, layout->mi_page_xthread_free, false);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 42);
	for (uint32_t i = 0; i < 60; i++)
		g_assert_true(!find(&found, block_of(world, 1, i)) == (i < 18));
	g_assert_cmpint(found.census.used_blocks, ==, 42);
	g_assert_cmpint(found.census.damaged, ==, 0);
	found_clear(&found);
}

static bool load_all(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size)
{
	return true;
}

/* in a core or an image memory comes when somebody looks */
static void test_lazy(gconstpointer version)
{
	g_autoptr(world_t) world = world_mimalloc(*(const uint32_t *)version);
	floats_new(world, 1, 60, TAG_OBJECT);
	world->memory.load = load_all;
	world->regions[1].lazy = true;
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->float_type, false), ==, 60);
	found_clear(&found);
}

/* what a page is for decides whether there are objects in it */
static void test_tags(gconstpointer version)
{
	g_autoptr(world_t) world = world_mimalloc(*(const uint32_t *)version);
	for (uint32_t tag = 0; tag < 8; tag++)
		if (tag + 1 < SLICES)
			floats_new(world, tag + 1, 10, tag);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(found.census.used_blocks, ==, 70);
	g_assert_null(find(&found, block_of(world, 1, 0))); /* raw memory */
	g_assert_nonnull(find(&found, block_of(world, 1 + TAG_OBJECT, 0)));
	g_assert_null(find(&found, block_of(world, 6, 0))); /* no such tag */
	found_clear(&found);
}

/* a bit of the object says that the collector has it, another that it leaves it alone */
static void test_tracked_by_a_bit(gconstpointer version)
{
	g_autoptr(world_t) world = world_mimalloc(*(const uint32_t *)version);
	const struct py_layout *layout = &world->python.layout;
	page_new(world, 1, 64, 35, TAG_GC);
	for (uint32_t i = 0; i < 30; i++) {
		object_init(world, block_of(world, 1, i), world->tuple_type, 1);
		*at(world, block_of(world, 1, i) + layout->ob_gc_bits) = i < 10 ? 0 : i < 25 ? 1 : 1 | 8;
	}
	/* a list that it doesn't have is being made */
	for (uint32_t i = 30; i < 35; i++) {
		object_init(world, block_of(world, 1, i), world->list_type, 1);
		*at(world, block_of(world, 1, i) + layout->ob_gc_bits) = i < 32 ? 0 : i < 34 ? 1 : 1 | 8;
	}
	struct found found;
	look(world, CENSUS_ALL, &found);
	for (uint32_t i = 0; i < 35; i++)
		g_assert_true(!find(&found, block_of(world, 1, i)) == (i == 30 || i == 31));
	g_assert_cmpint(count(&found, world->tuple_type, true), ==, 15);
	g_assert_cmpint(count(&found, world->list_type, false), ==, 3);
	g_assert_cmpint(count(&found, world->list_type, true), ==, 2);
	g_assert_cmpint(found.census.permanent[0], ==, 6);
	found_clear(&found);
	look(world, CENSUS_GC, &found);
	g_assert_cmpint(count(&found, world->tuple_type, false), ==, 20);
	g_assert_cmpint(count(&found, world->tuple_type, true), ==, 15);
	found_clear(&found);
}

static void test_corrupt_pages(gconstpointer version)
{
	g_autoptr(world_t) world = world_mimalloc(*(const uint32_t *)version);
	const struct py_layout *layout = &world->python.layout;
	floats_new(world, 1, 10, TAG_OBJECT);
	floats_new(world, 2, 10, TAG_OBJECT);
	free_block(world, 2, 5, layout->mi_page_free, true);
	put64(world, block_of(world, 2, 5), block_of(world, 2, 5)); /* a chain into itself */
	floats_new(world, 3, 10, TAG_OBJECT);
	put64(world, page_of(world, 3) + layout->mi_page_free, 0x7777777777777777ull);
	put16(world, page_of(world, 3) + layout->mi_page_used, 3); /* says fewer than there are */
	floats_new(world, 4, 10, TAG_OBJECT);
	bool legacy = !heap_has(layout->mi_page_start);
	/* no size a block has */
	put32(world, page_of(world, 4) + (legacy ? layout->mi_page_xblock_size : layout->mi_page_block_size), 7);
	floats_new(world, 5, 10, TAG_OBJECT);
	memset(at(world, page_of(world, 5) + layout->mi_page_capacity), 0xff, 2); /* reaches beyond what is there */
	floats_new(world, 6, 10, TAG_OBJECT);
	put32(world, page_of(world, 6) + layout->mi_page_slice_count, UINT32_MAX); /* longer than the segment */
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	for (uint32_t i = 0; i < 10; i++) {
		g_assert_nonnull(find(&found, block_of(world, 1, i)));
		g_assert_true(!find(&found, block_of(world, 2, i)) == (i == 5));
		g_assert_nonnull(find(&found, block_of(world, 3, i)));
		g_assert_nonnull(find(&found, block_of(world, 5, i)));
	}
	g_assert_null(find(&found, block_of(world, 6, 0)));
	g_assert_cmpint(found.census.damaged, >=, 2);
	found_clear(&found);
}

static void test_no_segment(gconstpointer version)
{
	const struct py_layout *layout = py_builtin_find(*(const uint32_t *)version, false, true, false)->layout;
	const struct {
		uint64_t offset, value;
	} cases[] = {{layout->mi_segment_slice_entries, 0}, {layout->mi_segment_slice_entries, 513},
		     {layout->mi_segment_info_slices, 0},   {layout->mi_segment_info_slices, 600},
		     {layout->mi_segment_used, 1000},       {layout->mi_segment_kind, 0x7fffffff}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(world_t) world = world_mimalloc(*(const uint32_t *)version);
		floats_new(world, 1, 10, TAG_OBJECT);
		put64(world, SEGMENT + cases[i].offset, cases[i].value);
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_true(found.taken);
		g_assert_false(found.census.allocator);
		g_assert_cmpint(count(&found, world->float_type, false), ==, 0);
		found_clear(&found);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		GTestDataFunc function;
	} tests[] = {
		{"used-and-free", test_used_and_free},
		{"lazy", test_lazy},
		{"tags", test_tags},
		{"tracked-by-a-bit", test_tracked_by_a_bit},
		{"corrupt-pages", test_corrupt_pages},
		{"no-segment", test_no_segment},
	};
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(versions); i++) {
		for (size_t k = 0; k < G_N_ELEMENTS(tests); k++) {
			g_autofree char *path =
				g_strdup_printf("/heap/mimalloc/3.%u/%s", versions[i] >> 16 & 0xff, tests[k].name);
			g_test_add_data_func(path, &versions[i], tests[k].function);
		}
	}
	return g_test_run();
}
