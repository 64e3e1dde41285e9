#include "daemon/heap/glibc.h"

#include <string.h>

#define HEAP       0x555555560000ull
#define HEAP_BYTES 0x4000
#define KEY        0x9cb570ff1dd55126ull

/* a main heap, laid out chunk by chunk as malloc does */
struct fixture {
	uint64_t words[HEAP_BYTES / 8];
	uint64_t at; /* where the next chunk goes, from the start */
	struct memory_region region;
	struct memory memory;
	struct maps *maps;
	struct glibc glibc;
};

static void fixture_init(struct fixture *fixture)
{
	memset(fixture, 0, sizeof(*fixture));
	static const char text[] = "555555560000-555555564000 rw-p 00000000 00:00 0                          [heap]\n";
	fixture->maps = maps_parse(text, strlen(text), NULL);
	g_assert_nonnull(fixture->maps);
	fixture->region =
		(struct memory_region){.start = HEAP, .size = HEAP_BYTES, .bytes = (const uint8_t *)fixture->words};
	memory_init(&fixture->memory, &fixture->region, 1);
}

static void fixture_clear(struct fixture *fixture)
{
	glibc_clear(&fixture->glibc);
	maps_free(fixture->maps);
}

/* A chunk of `bytes` with its header; `previous_used` is the flag that tells of the one before. Returns its user data. */
static uint64_t chunk(struct fixture *fixture, uint64_t bytes, bool previous_used, uint64_t first, uint64_t second)
{
	uint64_t start = fixture->at;
	fixture->words[start / 8 + 1] = bytes | previous_used;
	fixture->words[start / 8 + 2] = first;
	fixture->words[start / 8 + 3] = second;
	fixture->at += bytes;
	return HEAP + start + 16;
}

static enum glibc_state state(const struct fixture *fixture, uint64_t start)
{
	const struct glibc_chunk *found = glibc_chunk_at(&fixture->glibc, start);
	g_assert_nonnull(found);
	g_assert_cmphex(found->start, ==, start);
	return found->state;
}

static void test_states(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	uint64_t used = chunk(&fixture, 0x40, true, 1, 2);
	uint64_t released = chunk(&fixture, 0x500, true, 3, 4);
	uint64_t behind = chunk(&fixture, 0x30, false, 5, 6);
	uint64_t cached = chunk(&fixture, 0x30, true, 7, KEY);
	uint64_t cached_too = chunk(&fixture, 0x50, true, 8, KEY);
	uint64_t top = chunk(&fixture, HEAP_BYTES - fixture.at, true, 9, 10);
	g_assert_true(glibc_find(&fixture.memory, fixture.maps, NULL, &fixture.glibc));
	g_assert_cmpuint(fixture.glibc.n, ==, 6);
	g_assert_cmphex(fixture.glibc.tcache_key, ==, KEY);
	g_assert_cmpint(state(&fixture, used), ==, GLIBC_IN_USE);
	g_assert_cmpint(state(&fixture, released), ==, GLIBC_FREE);
	g_assert_cmpint(state(&fixture, behind), ==, GLIBC_IN_USE);
	g_assert_cmpint(state(&fixture, cached), ==, GLIBC_TCACHE);
	g_assert_cmpint(state(&fixture, cached_too), ==, GLIBC_TCACHE);
	g_assert_cmpint(state(&fixture, top), ==, GLIBC_TOP);
	fixture_clear(&fixture);
}

/* user data goes on over the first word of the next chunk */
static void test_bounds(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	uint64_t first = chunk(&fixture, 0x20, true, 1, 2), second = chunk(&fixture, 0x40, true, 3, 4);
	chunk(&fixture, HEAP_BYTES - fixture.at, true, 0, 0);
	g_assert_true(glibc_find(&fixture.memory, fixture.maps, NULL, &fixture.glibc));
	g_assert_cmphex(glibc_chunk_at(&fixture.glibc, first + 0x17)->start, ==, first);
	g_assert_null(glibc_chunk_at(&fixture.glibc, first + 0x18)); /* the next one's size */
	g_assert_cmphex(glibc_chunk_at(&fixture.glibc, second)->start, ==, second);
	g_assert_null(glibc_chunk_at(&fixture.glibc, HEAP));
	g_assert_null(glibc_chunk_at(&fixture.glibc, HEAP + HEAP_BYTES));
	fixture_clear(&fixture);
}

/* sizes that lead out of the heap, to nowhere, or are none: no chunk, and no end of the world */
/* The chunk an address lies in, found one by one. */
static const struct glibc_chunk *chunk_slowly(const struct glibc *glibc, uint64_t address)
{
	for (size_t i = 0; i < glibc->n; i++) {
		if (address >= glibc->chunks[i].start && address < glibc->chunks[i].end)
			return &glibc->chunks[i];
	}
	return NULL;
}

/* Pages full of the smallest chunks, pages in which one ends and others start, and pages in the midst of a large one. */
static void test_every_address(void)
{
	static const uint64_t sizes[] = {0x20, 0x20, 0x30, 0x1010, 0x20, 0x900, 0x40, 0x2020};
	struct fixture fixture;
	fixture_init(&fixture);
	for (size_t i = 0; fixture.at < 3 * 4096; i++)
		chunk(&fixture, i < 150 ? 0x20 : sizes[i % G_N_ELEMENTS(sizes)], true, 1, 2);
	chunk(&fixture, HEAP_BYTES - fixture.at, true, 3, 4);
	g_assert_true(glibc_find(&fixture.memory, fixture.maps, NULL, &fixture.glibc));
	g_assert_cmpuint(fixture.glibc.n, >, 150);
	for (uint64_t address = HEAP - 8; address <= HEAP + HEAP_BYTES; address++)
		g_assert_true(glibc_chunk_at(&fixture.glibc, address) == chunk_slowly(&fixture.glibc, address));
	fixture_clear(&fixture);
}

static void test_nonsense(void)
{
	static const uint64_t sizes[] = {0, 1, 0x10, 0x18, 0x21, HEAP_BYTES, HEAP_BYTES + 0x10, UINT64_MAX, 1ull << 63};
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		struct fixture fixture;
		fixture_init(&fixture);
		fixture.words[1] = sizes[i];
		g_assert_true(glibc_find(&fixture.memory, fixture.maps, NULL, &fixture.glibc));
		for (size_t k = 0; k < fixture.glibc.n; k++) {
			g_assert_cmphex(fixture.glibc.chunks[k].start, >, HEAP);
			g_assert_cmphex(fixture.glibc.chunks[k].end, <=, HEAP + HEAP_BYTES);
		}
		fixture_clear(&fixture);
	}
}

static void test_random(void)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(42);
	for (int round = 0; round < 200; round++) {
		struct fixture fixture;
		fixture_init(&fixture);
		for (size_t i = 0; i < G_N_ELEMENTS(fixture.words); i++) {
			uint64_t word = (uint64_t)g_rand_int(random) << 32 | g_rand_int(random);
			/* sizes and addresses of the heap among noise */
			fixture.words[i] = word % 3 == 0   ? word % 0x400
					   : word % 3 == 1 ? HEAP + word % HEAP_BYTES
							   : word;
		}
		g_assert_true(glibc_find(&fixture.memory, fixture.maps, NULL, &fixture.glibc));
		fixture_clear(&fixture);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/glibc/states", test_states);
	g_test_add_func("/glibc/bounds", test_bounds);
	g_test_add_func("/glibc/every-address", test_every_address);
	g_test_add_func("/glibc/nonsense", test_nonsense);
	g_test_add_func("/glibc/random", test_random);
	return g_test_run();
}
