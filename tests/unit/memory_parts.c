#include "daemon/analysis/memory_parts.h"

#include <glib.h>

/* sizes are whole pages */
#define PAGE 4096

static int64_t half(void *context, uint64_t start, uint64_t end)
{
	return (int64_t)(end - start) / 2;
}

static int64_t all(void *context, uint64_t start, uint64_t end)
{
	return (int64_t)(end - start);
}

static int64_t sum(const struct sample_memory *parts)
{
	return parts->objects + parts->blocks + parts->free_blocks + parts->free_pools + parts->malloc_heap +
	       parts->anonymous + parts->file + parts->other;
}

/* an allocator of 100 pages in a mapping of 200 */
static struct sample_memory parts_of(const struct census *census, int64_t rss, memory_resident *resident)
{
	const struct memory_span spans[] = {
		{0, 20 * PAGE, MEMORY_FILE, 0},
		{100 * PAGE, 300 * PAGE, MEMORY_ANONYMOUS, 5 * PAGE},
		{400 * PAGE, 410 * PAGE, MEMORY_HEAP, PAGE},
	};
	struct sample_memory parts = memory_parts(census, spans, G_N_ELEMENTS(spans), rss, resident, NULL);
	g_assert_cmpint(sum(&parts), ==, rss);
	return parts;
}

static struct address_range ranges[] = {{150 * PAGE, 250 * PAGE}};

static void test_all_there(void)
{
	const struct census census = {.used_bytes = 60 * PAGE,
				      .object_bytes = 40 * PAGE,
				      .free_bytes = 10 * PAGE,
				      .ranges = ranges,
				      .n_ranges = 1};
	struct sample_memory parts = parts_of(&census, 230 * PAGE, all);
	g_assert_cmpint(parts.objects, ==, (40 + 5 + 1) * PAGE);
	g_assert_cmpint(parts.blocks, ==, 20 * PAGE);
	g_assert_cmpint(parts.free_blocks, ==, 10 * PAGE);
	g_assert_cmpint(parts.free_pools, ==, 30 * PAGE);
	g_assert_cmpint(parts.anonymous, ==, 95 * PAGE);
	g_assert_cmpint(parts.malloc_heap, ==, 9 * PAGE);
	g_assert_cmpint(parts.file, ==, 20 * PAGE);
	g_assert_cmpint(parts.other, ==, 0);
}

/* 50 of the allocator's 100 pages are there, where 60 and 10 more are said to be in use: none is negative, none is left over */
static void test_never_touched(void)
{
	const struct census census = {.used_bytes = 60 * PAGE,
				      .object_bytes = 40 * PAGE,
				      .free_bytes = 10 * PAGE,
				      .ranges = ranges,
				      .n_ranges = 1};
	struct sample_memory parts = parts_of(&census, 115 * PAGE, half);
	g_assert_cmpint(parts.free_pools, ==, 0);
	g_assert_cmpint(parts.free_blocks, ==, 0);
	g_assert_cmpint(parts.blocks, ==, 10 * PAGE);
	g_assert_cmpint(parts.objects, ==, (40 + 5 + 1) * PAGE);
	g_assert_cmpint(parts.other, ==, 0);
}

/* an object can't be larger than what is resident of the mapping it lies in */
static void test_larger_than_its_mapping(void)
{
	const struct census census = {0};
	const struct memory_span span = {0, 10 * PAGE, MEMORY_ANONYMOUS, 1000 * PAGE};
	struct sample_memory parts = memory_parts(&census, &span, 1, 10 * PAGE, all, NULL);
	g_assert_cmpint(parts.objects, ==, 10 * PAGE);
	g_assert_cmpint(parts.anonymous, ==, 0);
	g_assert_cmpint(sum(&parts), ==, 10 * PAGE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/memory_parts/all-there", test_all_there);
	g_test_add_func("/memory_parts/never-touched", test_never_touched);
	g_test_add_func("/memory_parts/larger-than-its-mapping", test_larger_than_its_mapping);
	return g_test_run();
}
