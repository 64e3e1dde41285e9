#include "base/text.h"

#include <string.h>

static void check_escape(const char *bytes, gsize size, const char *expected)
{
	g_autofree char *text = text_escape(bytes, size);
	g_assert_cmpstr(text, ==, expected);
	g_assert_true(g_utf8_validate(text, -1, NULL));
}

static void test_escape(void)
{
	check_escape("", 0, "");
	check_escape("plain", 5, "plain");
	check_escape("plain", 3, "pla");
	check_escape("a\0b", 3, "a");
	check_escape("\x1b[2J\n\t\x7f", 7, "\\x1b[2J\\x0a\\x09\\x7f");
	check_escape("K\xc3\xa4se", 5, "K\xc3\xa4se");
	check_escape("K\xc3\xa4se", 2, "K\\xc3");                    /* cut within a character */
	check_escape("\xff\xfe", 2, "\\xff\\xfe");                   /* never UTF-8 */
	check_escape("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
	check_escape("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* surrogate */
	check_escape("\xc2\x85", 2, "\\u{0085}");                    /* C1 control */
	check_escape("\xe2\x80\xae", 3, "\\u{202E}");                /* right-to-left override */
	check_escape("\xe2\x80\xa8", 3, "\\u{2028}");                /* line separator */
	check_escape("\xf0\x9f\x90\x8d", 4, "\xf0\x9f\x90\x8d");     /* snake */
	check_escape("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
}

static void test_escape_any_bytes(void)
{
	char bytes[64];
	for (int round = 0; round < 20000; round++) {
		gsize size = (gsize)g_test_rand_int_range(0, sizeof(bytes));
		for (gsize i = 0; i < size; i++)
			bytes[i] = (char)g_test_rand_int_range(0, 256);
		/* an exact allocation, so that the sanitizer sees a byte read too far */
		g_autofree char *exact = g_memdup2(bytes, size);
		g_autofree char *text = text_escape(exact, size);
		g_assert_true(g_utf8_validate(text, -1, NULL));
		for (const char *p = text; *p; p++)
			g_assert_true((guchar)*p >= 0x20 && *p != 0x7f);
		g_autofree char *again = text_escape(text, strlen(text));
		g_assert_cmpstr(again, ==, text);
	}
}

static void check_bytes(gint64 bytes, const char *expected)
{
	char buffer[16];
	g_assert_cmpstr(text_bytes(buffer, bytes), ==, expected);
}

static void test_bytes(void)
{
	check_bytes(0, "0B");
	check_bytes(1, "1B");
	check_bytes(999, "999B");
	check_bytes(1000, "1.0K");
	check_bytes(1024, "1.0K");
	check_bytes(1536, "1.5K");
	check_bytes(10240, "10.0K");
	check_bytes(102297, "99.9K");
	check_bytes(102399, "100K");
	check_bytes(1023 * 1024, "1.0M");
	check_bytes(-864, "-864B");
	check_bytes(-1536, "-1.5K");
	check_bytes(-16 * 1024 * 1024, "-16M");
	check_bytes(G_MAXINT64, "8.0E");
	check_bytes(G_MININT64, "-8.0E");
	for (gint64 magnitude = 1; magnitude > 0 && magnitude < G_MAXINT64 / 3; magnitude += magnitude / 7 + 1) {
		char buffer[16];
		g_assert_cmpuint(strlen(text_bytes(buffer, magnitude)), <=, 5);
		g_assert_cmpuint(strlen(text_bytes(buffer, -magnitude)), <=, 5);
	}
}

static void check_count(gint64 count, const char *expected)
{
	char buffer[32];
	g_assert_cmpstr(text_count(buffer, count), ==, expected);
}

static void test_count(void)
{
	check_count(0, "0");
	check_count(999, "999");
	check_count(1000, "1,000");
	check_count(1234567, "1,234,567");
	check_count(-1, "-1");
	check_count(-123, "-123");
	check_count(-1234, "-1,234");
	check_count(-123456, "-123,456");
	check_count(G_MININT64, "-9,223,372,036,854,775,808");
	check_count(G_MAXINT64, "9,223,372,036,854,775,807");
}

static void test_time(void)
{
	g_autofree char *epoch = text_time(0);
	g_assert_cmpstr(epoch, ==, "1970-01-01T00:00:00.000000Z");
	g_autofree char *some = text_time(G_GINT64_CONSTANT(1795162502123456));
	g_assert_cmpstr(some, ==, "2026-11-20T08:15:02.123456Z");
	g_autofree char *before = text_time(-1);
	g_assert_cmpstr(before, ==, "1969-12-31T23:59:59.999999Z");
}

static void test_duration(void)
{
	static const struct {
		const char *text;
		gint64 us;
	} good[] = {{"500ms", 500000}, {"10s", 10000000}, {"5m", 300000000}, {"1.5", 1500000}, {"2h", 7200000000},
		    {"1", 1000000},    {"0.2", 200000},   {"20us", 20},      {".5s", 500000}};
	for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
		gint64 us = -1;
		g_assert_true(text_duration(good[i].text, &us));
		g_assert_cmpint(us, ==, good[i].us);
	}
	static const char *const bad[] = {"",
					  "0",
					  "-1",
					  "+1",
					  "s",
					  "1x",
					  "1 s",
					  " 1",
					  "1.2.3",
					  "nan",
					  "inf",
					  "1e3",
					  "0x10",
					  "0ms",
					  "1s2m",
					  "1mss",
					  "0.1us",
					  ".",
					  "99999999999999999999h",
					  "9999999999999999999999999999999999"};
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
		gint64 us = -1;
		g_assert_false(text_duration(bad[i], &us));
		g_assert_cmpint(us, ==, -1);
	}
}

static void test_size(void)
{
	static const struct {
		const char *text;
		gint64 bytes;
	} good[] = {{"1", 1},        {"256MB", 256 << 20}, {"256M", 256 << 20}, {"1.5G", 3ll << 29},
		    {"64KB", 65536}, {"2T", 2ll << 40}};
	for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
		gint64 bytes = -1;
		g_assert_true(text_size(good[i].text, &bytes));
		g_assert_cmpint(bytes, ==, good[i].bytes);
	}
	static const char *const bad[] = {
		"", "0", "0M", "-1M", "M", "1 M", "1X", "1MBB", "inf", "1e9", "99999999999999T"};
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
		gint64 bytes = -1;
		g_assert_false(text_size(bad[i], &bytes));
		g_assert_cmpint(bytes, ==, -1);
	}
	double share = -1;
	g_assert_true(text_percent("1%", &share));
	g_assert_cmpfloat_with_epsilon(share, 0.01, 1e-12);
	g_assert_true(text_percent("0.5", &share));
	g_assert_cmpfloat_with_epsilon(share, 0.005, 1e-12);
	g_assert_true(text_percent("100%", &share));
	static const char *const no_share[] = {"", "0", "0%", "-1%", "101%", "1%%", "%", "1 %", "nan"};
	for (gsize i = 0; i < G_N_ELEMENTS(no_share); i++)
		g_assert_false(text_percent(no_share[i], &share));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/text/escape", test_escape);
	g_test_add_func("/text/escape-any-bytes", test_escape_any_bytes);
	g_test_add_func("/text/bytes", test_bytes);
	g_test_add_func("/text/count", test_count);
	g_test_add_func("/text/time", test_time);
	g_test_add_func("/text/duration", test_duration);
	g_test_add_func("/text/size", test_size);
	return g_test_run();
}
