#include "daemon/analysis/cover.h"

#include <string.h>

#define BASE  0x10000
#define WORDS 200

/* two regions of one process: WORDS words at BASE, 8 words right behind a gap */
struct fixture {
	uint64_t words[WORDS], more[8];
	struct memory_region regions[2];
	struct memory memory;
	struct cover cover;
};

static void fixture_init(struct fixture *fixture)
{
	for (uint64_t i = 0; i < WORDS; i++)
		fixture->words[i] = i + 1;
	memset(fixture->more, 0, sizeof(fixture->more));
	fixture->regions[0] = (struct memory_region){.start = BASE,
						     .size = sizeof(fixture->words),
						     .bytes = (const uint8_t *)fixture->words,
						     .mapping = MEMORY_NO_MAPPING};
	fixture->regions[1] = (struct memory_region){.start = BASE + 0x10000,
						     .size = sizeof(fixture->more),
						     .bytes = (const uint8_t *)fixture->more,
						     .mapping = MEMORY_NO_MAPPING};
	memory_init(&fixture->memory, fixture->regions, 2);
	g_assert_true(cover_init(&fixture->cover, &fixture->memory, NULL));
}

struct seen {
	uint64_t n, sum, first, last;
};

static void visit(void *context, uint64_t address, uint64_t word)
{
	struct seen *seen = context;
	if (!seen->n)
		seen->first = address;
	seen->last = address;
	seen->n++;
	seen->sum += word;
}

static struct seen walk(struct fixture *fixture)
{
	struct seen seen = {0};
	for (size_t i = 0; i < fixture->cover.n; i++)
		cover_walk(&fixture->cover, &fixture->cover.regions[i], visit, &seen);
	return seen;
}

static void test_all_open(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	struct seen seen = walk(&fixture);
	/* words of 0 are never visited */
	g_assert_cmpuint(seen.n, ==, WORDS);
	g_assert_cmpuint(seen.sum, ==, WORDS * (WORDS + 1) / 2);
	g_assert_cmpuint(seen.first, ==, BASE);
	g_assert_cmpuint(seen.last, ==, BASE + 8 * (WORDS - 1));
	cover_clear(&fixture.cover);
}

/* every range of words, set and unset again */
static void test_ranges(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	for (uint64_t from = 0; from < WORDS; from += 7) {
		for (uint64_t to = from; to <= WORDS; to += 5) {
			cover_set(&fixture.cover, BASE + 8 * from, BASE + 8 * to);
			g_assert_cmpuint(walk(&fixture).n, ==, WORDS - (to - from));
			g_assert_cmpint(cover_has(&fixture.cover, BASE + 8 * from), ==, to > from);
			g_assert_false(to < WORDS && cover_has(&fixture.cover, BASE + 8 * to));
			cover_unset(&fixture.cover, BASE + 8 * from, BASE + 8 * to);
			g_assert_cmpuint(walk(&fixture).n, ==, WORDS);
		}
	}
	cover_clear(&fixture.cover);
}

/* a word that a range begins or ends in is part of it; what lies outside all regions is ignored */
static void test_edges(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	cover_set(&fixture.cover, BASE + 12, BASE + 17);
	g_assert_false(cover_has(&fixture.cover, BASE));
	g_assert_true(cover_has(&fixture.cover, BASE + 8));
	g_assert_true(cover_has(&fixture.cover, BASE + 16));
	g_assert_false(cover_has(&fixture.cover, BASE + 24));
	cover_set(&fixture.cover, 0, BASE + 8);
	g_assert_true(cover_has(&fixture.cover, BASE));
	cover_set(&fixture.cover, BASE + 100, BASE + 0x10000 + 8);
	g_assert_true(cover_has(&fixture.cover, BASE + 8 * (WORDS - 1)));
	g_assert_true(cover_has(&fixture.cover, BASE + 0x10000));
	g_assert_false(cover_has(&fixture.cover, BASE + 0x10008));
	g_assert_false(cover_has(&fixture.cover, 8));
	g_assert_null(cover_find(&fixture.cover, BASE + 0x8000));
	cover_set(&fixture.cover, BASE + 50, BASE + 10); /* backwards: nothing */
	cover_set(&fixture.cover, 1ull << 60, 1ull << 61);
	cover_clear(&fixture.cover);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cover/open", test_all_open);
	g_test_add_func("/cover/ranges", test_ranges);
	g_test_add_func("/cover/edges", test_edges);
	return g_test_run();
}
