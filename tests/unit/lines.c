/* Line tables, on bytes written by hand after the descriptions in CPython's Objects/lnotab_notes.txt and Objects/locations.md. */
#include <glib.h>

#include "daemon/heap/lines.h"

struct expectation {
	int64_t at;
	int line;
};

static void check(enum py_lines kind, const uint8_t *table, size_t size, int first, const struct expectation *expected,
		  size_t n)
{
	for (size_t i = 0; i < n; i++)
		g_assert_cmpint(line_of(kind, table, size, first, expected[i].at), ==, expected[i].line);
}

#define CHECK(kind, table, first, expected) check(kind, table, sizeof(table), first, expected, G_N_ELEMENTS(expected))

static void test_lnotab(void)
{
	/* the example of lnotab_notes.txt: code at 0, 6, 50, 350, 361 is line 1, 2, 7, 307, 308; then back to 305 */
	static const uint8_t table[] = {0, 0, 6, 1, 44, 5, 255, 0, 45, 127, 0, 127, 0, 46, 11, 1, 4, (uint8_t)-3};
	static const struct expectation expected[] = {{-1, 1},    {0, 1},     {5, 1},     {6, 2},     {49, 2},
						      {50, 7},    {349, 7},   {350, 307}, {360, 307}, {361, 308},
						      {364, 308}, {365, 305}, {9999, 305}};
	CHECK(PY_LINES_LNOTAB, table, 1, expected);
}

static void test_linetable(void)
{
	/* [0,6) line 10, [6,8) none, [8,12) line 9, an empty range that only moves the line, [12,16) line 160 */
	static const uint8_t table[] = {6, 0, 2, 0x80, 4, (uint8_t)-1, 0, 127, 4, 24};
	static const struct expectation expected[] = {{-1, 10}, {0, 10},   {4, 10},   {6, LINE_NONE}, {8, 9},
						      {10, 9},  {12, 160}, {15, 160}, {16, LINE_NONE}};
	CHECK(PY_LINES_LINETABLE, table, 10, expected);
}

static void test_locations(void)
{
	static const uint8_t table[] = {
		0x80 | 0 << 3 | 1,
		0x12, /* short form: 2 units, same line */
		0x80 | 11 << 3 | 0,
		3,
		4,                  /* one line form: line + 1, 1 unit */
		0x80 | 15 << 3 | 7, /* none: 8 units */
		0x80 | 13 << 3 | 0,
		0x40 | 8,
		6, /* no columns: varint 8 | 6 << 6 = 392 -> +196 */
		0x80 | 14 << 3 | 2,
		0x0b,
		1,
		2,
		0x41,
		1, /* long: signed 11 -> -5, 3 units; the last varint has two bytes */
		0x80 | 10 << 3 | 0,
		0,
		0, /* one line form, same line */
	};
	static const struct expectation expected[] = {{-1, 100},      {0, 100},        {2, 100},       {4, 101},
						      {6, LINE_NONE}, {21, LINE_NONE}, {22, 297},      {24, 292},
						      {28, 292},      {30, 292},       {32, LINE_NONE}};
	CHECK(PY_LINES_LOCATIONS, table, 100, expected);
}

/* Whatever the bytes are and wherever they end, nothing is read behind them (the sanitizers watch) and it ends. */
static void test_foreign(void)
{
	for (int round = 0; round < 20000; round++) {
		gsize size = (gsize)g_test_rand_int_range(0, 12);
		g_autofree uint8_t *table = g_malloc(size);
		for (gsize i = 0; i < size; i++)
			table[i] = (uint8_t)g_test_rand_int();
		for (enum py_lines kind = PY_LINES_LNOTAB; kind <= PY_LINES_LOCATIONS; kind++)
			line_of(kind, table, size, 1, g_test_rand_int_range(-1, 64));
	}
	g_assert_cmpint(line_of(PY_LINES_LOCATIONS, NULL, 0, 5, 0), ==, LINE_NONE);
	g_assert_cmpint(line_of(PY_LINES_LNOTAB, NULL, 0, 5, 0), ==, 5);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lines/lnotab", test_lnotab);
	g_test_add_func("/lines/linetable", test_linetable);
	g_test_add_func("/lines/locations", test_locations);
	g_test_add_func("/lines/foreign", test_foreign);
	return g_test_run();
}
