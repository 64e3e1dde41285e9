#include "daemon/store/json.h"

#include <string.h>

/* a sample in which every field differs from every other */
static sample_t *make_sample(size_t n_types)
{
	sample_t *sample = sample_new();
	sample->time_us = G_GINT64_CONSTANT(1795162502123456);
	sample->target = (struct sample_target){
		.pid = 48213,
		.start_time_us = G_GINT64_CONSTANT(1795162000000001),
		.exe = sample_text(sample, "/usr/bin/python3.12"),
		.cmdline = sample->target.cmdline,
		.python = sample_text(sample, "3.12.1"),
		.debug = true,
		.layout = sample_text(sample, "dwarf"),
		.rss = 1234567,
	};
	sample_cmdline(sample, (const char *const[]){"python3", "a \"b\" \\ c", "K\xc3\xa4se", "", NULL});
	sample->snapshot = (struct sample_snapshot){.mode = "stop",
						    .consistent = true,
						    .coverage = "gc",
						    .pause_us = 11,
						    .elapsed_us = 12,
						    .walk_us = 14,
						    .torn = 15,
						    .bytes_copied = 13};
	sample->n_gc = 1;
	sample->gc = g_new0(struct sample_gc, 1);
	sample->gc[0] = (struct sample_gc){.interpreter = 0, .enabled = true, .n_generations = 3, .permanent = 9};
	for (int g = 0; g < 3; g++)
		sample->gc[0].generations[g] =
			(struct sample_generation){.count = g,
						   .threshold = 700 + g,
						   .objects = 20 + g,
						   .collections = g == 2 ? SAMPLE_UNKNOWN : 5 + g};
	sample->totals = (struct sample_totals){101, 102, 103, 104, 105, 0, 107, true, {1, 2, 3, 4, 5, 6, 7, -8}};
	sample->n_types = n_types;
	sample->types = g_new0(struct sample_type, n_types);
	for (size_t i = 0; i < n_types; i++) {
		char name[32];
		g_snprintf(name, sizeof(name), "Class%zu", i);
		sample->types[i] = (struct sample_type){.address = 0x7f0000000000 + i * 64,
							.module = sample_text(sample, "app"),
							.qualname = sample_text(sample, name),
							.count = 3,
							.gc_count = 2,
							.bytes = (int64_t)(1000000 - i),
							.refs = 7,
							.refs_max = 4,
							.immortal = 1,
							.owned = SAMPLE_UNKNOWN};
	}
	sample_seal(sample);
	return sample;
}

static void test_exact(void)
{
	g_autoptr(sample_t) sample = make_sample(1);
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	g_assert_cmpstr(
		line->str, ==,
		"{\"schema\":\"reftop.sample/1\",\"time\":\"2026-11-20T08:15:02.123456Z\","
		"\"target\":{\"pid\":48213,\"start_time\":\"2026-11-20T08:06:40.000001Z\",\"exe\":\"/usr/bin/"
		"python3.12\","
		"\"cmdline\":[\"python3\",\"a \\\"b\\\" \\\\ "
		"c\",\"K\xc3\xa4se\",\"\"],\"python\":\"3.12.1\",\"debug\":true,"
		"\"free_threaded\":false,\"layout\":\"dwarf\",\"rss\":1234567},"
		"\"snapshot\":{\"mode\":\"stop\",\"consistent\":true,\"coverage\":\"gc\",\"pause_us\":11,\"elapsed_"
		"us\":12,"
		"\"bytes_copied\":13,\"walk_us\":14,\"torn\":15,\"streamed\":false,\"skipped\":null},"
		"\"gc\":[{\"interpreter\":0,\"enabled\":true,\"collecting\":false,"
		"\"generations\":[{\"count\":0,\"threshold\":700,\"objects\":20},{\"count\":1,\"threshold\":701,"
		"\"objects\":21},"
		"{\"count\":2,\"threshold\":702,\"objects\":22}],\"permanent\":9,\"collections\":[5,6,null]}],"
		"\"totals\":{\"objects\":101,\"gc_objects\":102,\"bytes\":103,\"refs\":104,\"immortal\":105,"
		"\"unreadable\":0,\"allocated_blocks\":107,\"memory\":{\"objects\":1,\"blocks\":2,\"free_blocks\":3,\"free_pools\":4,"
		"\"malloc_heap\":5,\"anonymous\":6,\"file\":7,\"other\":-8}},"
		"\"types\":[{\"address\":\"0x7f0000000000\",\"module\":\"app\",\"qualname\":\"Class0\",\"count\":3,"
		"\"gc_count\":2,\"bytes\":1000000,\"refs\":7,\"refs_max\":4,\"immortal\":1,\"owned\":null}]}\n");
}

static void test_unknown_is_null(void)
{
	g_autoptr(sample_t) sample = sample_new();
	sample->totals.bytes = SAMPLE_UNKNOWN;
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	g_assert_nonnull(
		strstr(line->str, "\"pid\":null,\"start_time\":null,\"exe\":null,\"cmdline\":[],\"python\":null"));
	g_assert_nonnull(strstr(line->str, "\"bytes\":null,\"refs\":0"));
	g_assert_null(strstr(line->str, "-1"));
}

static void test_round_trip(void)
{
	g_autoptr(sample_t) sample = make_sample(50);
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	g_autoptr(GError) error = NULL;
	g_autoptr(sample_t) back = json_sample_parse(line->str, line->len, &error);
	g_assert_no_error(error);
	g_autoptr(GString) again = json_sample(back, NULL, 0);
	g_assert_cmpstr(again->str, ==, line->str);
}

static void put_watched(sample_t *sample)
{
	const struct sample_watched rows[] = {
		{0x7f0000001000, 0x1000, "app", "Class0", "<Class0>", 5, 3, 1, WATCHED_ALIVE, ""},
		{0x7f0000004000, 0x1010, "app", "Gone", "'x'", SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, SAMPLE_UNKNOWN,
		 WATCHED_REUSED, "str 'y'"},
		{0x7f0000005000, 0, "", "", "", SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, WATCHED_DEAD, ""},
	};
	sample->n_watched = G_N_ELEMENTS(rows);
	sample->watched = g_memdup2(rows, sizeof(rows));
}

static void test_watched(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(sample_t) sample = make_sample(1);
	g_autoptr(GString) without = json_sample(sample, NULL, 0);
	g_assert_null(strstr(without->str, "watched"));
	put_watched(sample);
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	g_assert_nonnull(strstr(line->str,
				"\"watched\":[{\"address\":\"0x7f0000001000\",\"state\":\"alive\",\"module\":\"app\","
				"\"qualname\":\"Class0\",\"type\":\"0x1000\",\"refcount\":5,\"exact\":3,"
				"\"probable\":1,\"value\":\"<Class0>\",\"now\":null},"));
	g_autoptr(sample_t) back = json_sample_parse(line->str, line->len, &error);
	g_assert_no_error(error);
	g_autoptr(GString) again = json_sample(back, NULL, 0);
	g_assert_cmpstr(again->str, ==, line->str);
}

static void test_chosen_rows(void)
{
	g_autoptr(sample_t) sample = make_sample(5);
	const struct sample_type *rows[] = {&sample->types[4], &sample->types[2]};
	g_autoptr(GString) line = json_sample(sample, rows, 2);
	g_autoptr(sample_t) back = json_sample_parse(line->str, line->len, NULL);
	g_assert_cmpuint(back->n_types, ==, 2);
	char *four = strstr(line->str, "Class4"), *two = strstr(line->str, "Class2");
	g_assert_true(four && two && four < two);
	g_autoptr(GString) none = json_sample(sample, rows, 0);
	g_assert_nonnull(strstr(none->str, "\"types\":[]"));
}

static void check_refused(const char *text)
{
	g_autoptr(GError) error = NULL;
	sample_t *sample = json_sample_parse(text, strlen(text), &error);
	g_assert_null(sample);
	g_assert_nonnull(error);
}

static void test_malformed(void)
{
	check_refused("");
	check_refused("null");
	check_refused("[]");
	check_refused("{\"schema\":\"reftop.sample/2\"}");
	check_refused("{\"schema\":\"reftop.sample/1\"}");
	check_refused("{\"schema\":5}");
	g_autofree char *deep = g_strnfill(1000000, '[');
	check_refused(deep);
	/* every prefix and every damaged byte of a good one: refused or read, never a crash */
	g_autoptr(sample_t) sample = make_sample(2);
	put_watched(sample);
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	for (gsize size = 0; size + 1 < line->len; size++) {
		g_autofree char *cut = g_strndup(line->str, size);
		check_refused(cut);
	}
	for (gsize at = 0; at < line->len; at++) {
		static const char damage[] = {'x', '9', '"', '{', ']', '\0', '\xff', '-'};
		g_autofree char *copy = g_memdup2(line->str, line->len);
		copy[at] = damage[at % sizeof(damage)];
		g_autoptr(sample_t) back = json_sample_parse(copy, line->len, NULL);
		if (back)
			g_assert_cmpuint(back->n_types, <=, 2);
	}
}

static void test_foreign_text_is_escaped(void)
{
	g_autoptr(sample_t) sample = make_sample(1);
	sample->types[0].qualname = "\x1b[2J";
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	g_autoptr(sample_t) back = json_sample_parse(line->str, line->len, NULL);
	g_assert_cmpstr(back->types[0].qualname, ==, "\\x1b[2J");
}

static void test_speed(void)
{
	if (!g_test_perf()) {
		g_test_skip("run with -m perf");
		return;
	}
	g_autoptr(sample_t) sample = make_sample(10000);
	g_test_timer_start();
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	g_test_message("10000 types: %.1f ms, %zu bytes", g_test_timer_elapsed() * 1e3, line->len);
	g_test_timer_start();
	g_autoptr(sample_t) back = json_sample_parse(line->str, line->len, NULL);
	g_test_message("parsed: %.1f ms", g_test_timer_elapsed() * 1e3);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/exact", test_exact);
	g_test_add_func("/json/unknown-is-null", test_unknown_is_null);
	g_test_add_func("/json/round-trip", test_round_trip);
	g_test_add_func("/json/watched", test_watched);
	g_test_add_func("/json/chosen-rows", test_chosen_rows);
	g_test_add_func("/json/malformed", test_malformed);
	g_test_add_func("/json/foreign-text-is-escaped", test_foreign_text_is_escaped);
	g_test_add_func("/json/speed", test_speed);
	return g_test_run();
}
