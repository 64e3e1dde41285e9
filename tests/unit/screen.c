/*
 * The screens, compared with tests/golden/: scripted samples and keys go in, the text of the frame comes out. The same code draws
 * the real screen. GOLDEN_UPDATE=1 writes the files anew; look at them before you commit them.
 */
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "tests/unit/script.h"
#include "tui/screens/verdict.h"

/* ---- the screens ---- */

static const struct {
	int width, height;
} sizes[] = {{80, 24}, {200, 50}, {40, 10}};

static void test_types(void)
{
	struct view *view = view_after(60, TRUE);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "types");
	g_autofree char *ascii = draw(view, 80, 24, TRUE);
	for (const char *c = ascii; *c; c++)
		g_assert_cmpint((guchar)*c, <, 0x7f);
	compare("types-ascii-80x24", ascii);
	view_free(view);
}

static void test_calm(void)
{
	struct view *view = view_after(60, FALSE);
	compare_view(view, 80, 24, "calm");
	view_free(view);
}

static void test_start(void)
{
	struct view *view = view_after(0, TRUE);
	compare_view(view, 80, 24, "start");
	view_free(view);
	view = view_after(1, TRUE);
	compare_view(view, 80, 24, "first");
	view_free(view);
	view = view_after(4, TRUE);
	compare_view(view, 80, 24, "fourth");
	view_free(view);
}

static void test_detail(void)
{
	struct view *view = view_after(60, TRUE);
	view_key(view, KEY_OF_ENTER);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "detail");
	view_key(view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(view)->ops == &screen_types);
	view_free(view);
}

static void test_help(void)
{
	struct view *view = view_after(20, TRUE);
	view_key(view, '?');
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "help");
	view_free(view);
}

static void test_menu(void)
{
	struct view *view = view_after(20, TRUE);
	view_key(view, '>');
	view_key(view, KEY_OF_DOWN);
	compare_view(view, 80, 24, "menu");
	/* whatever the size, choosing works */
	view_key(view, KEY_OF_DOWN);
	view_key(view, KEY_OF_ENTER);
	g_assert_cmpstr(view->sort->id, ==, "count");
	compare_view(view, 80, 24, "sorted");
	view_free(view);
}

static void test_prompts(void)
{
	struct view *view = view_after(20, TRUE);
	keys(view, "/node1");
	compare_view(view, 80, 24, "search");
	view_key(view, KEY_OF_ENTER);
	g_assert_cmpstr(view_selected(view)->name, ==, "ast.Node10");
	view_key(view, 'n');
	g_assert_cmpstr(view_selected(view)->name, ==, "ast.Node11");
	keys(view, "NN");
	g_assert_cmpstr(view_selected(view)->name, ==, "ast.Node19");
	view_key(view, KEY_OF_ESCAPE);
	keys(view, "\\APP");
	view_key(view, KEY_OF_ENTER);
	g_assert_cmpuint(view->rows->len, ==, 4);
	compare_view(view, 80, 24, "filter");
	keys(view, "\\zzz");
	compare_view(view, 80, 24, "filter-nothing");
	view_key(view, KEY_OF_ESCAPE); /* the filter before comes back */
	g_assert_cmpuint(view->rows->len, ==, 4);
	view_key(view, KEY_OF_ESCAPE);
	g_assert_cmpuint(view->rows->len, ==, 43);
	view_free(view);
}

static void test_ended(void)
{
	struct view *view = view_after(60, TRUE);
	fixed_now = START + 60 * G_USEC_PER_SEC;
	view_end(view, g_strdup("exit status 3"), NULL);
	fixed_now += 10 * G_USEC_PER_SEC;
	compare_view(view, 80, 24, "ended");
	view_key(view, 'j'); /* keys still work */
	g_assert_cmpint(view->selection, ==, 1);
	view_key(view, 'q');
	g_assert_true(view->quit);
	view_free(view);
}

static void test_exec(void)
{
	struct view *view = view_after(3, TRUE);
	g_autoptr(GError) error = NULL;
	error_set(&error, TARGET_ERROR, REFTOP_ERROR_GONE, "it called exec: another program runs in its place",
		  "start anew", "process 4711 is gone");
	view_end(view, NULL, error);
	fixed_now += 5 * G_USEC_PER_SEC;
	g_autofree char *text = draw(view, 100, 24, FALSE);
	g_assert_nonnull(strstr(text, "process 4711, 5 s ago: it called exec: another program runs in its place\n"));
	view_free(view);
}

static void test_trouble(void)
{
	struct view *view = view_after(12, TRUE);
	view_fail(view, g_strdup("cannot stop process 4711: Device or resource busy\n  cause: gdb traces it"));
	compare_view(view, 80, 24, "trouble");
	g_autoptr(sample_t) sample = script_sample(12, TRUE);
	view_add(view, sample);
	g_assert_null(view->trouble);
	view_free(view);
}

/* ---- behaviour ---- */

static void test_leak_rises(void)
{
	struct view *view = view_after(12, TRUE);
	g_assert_cmpstr(((struct trend_row *)view->rows->pdata[0])->name, ==, "app.Leaky");
	view_free(view);
	/* dict grows at the same rate: the program's own class is on top, and nobody had to press a key */
	view = view_after(60, TRUE);
	g_assert_cmpstr(((struct trend_row *)view->rows->pdata[0])->name, ==, "app.Leaky");
	g_assert_cmpstr(((struct trend_row *)view->rows->pdata[1])->name, ==, "dict");
	view_free(view);
}

/* Rows whose growth is noise stay where they are. */
static void test_rows_stand_still(void)
{
	struct view *view = view_after(30, TRUE);
	g_autoptr(GPtrArray) before = g_ptr_array_new();
	int moves = 0;
	for (int i = 30; i < 90; i++) {
		g_ptr_array_set_size(before, 0);
		g_ptr_array_extend(before, view->rows, NULL, NULL);
		g_autoptr(sample_t) sample = script_sample(i, TRUE);
		view_add(view, sample);
		for (guint r = 0; r < before->len; r++) {
			const struct trend_row *row = before->pdata[r];
			gboolean moving =
				!strcmp(row->name, "app.cache.Entry") || !strcmp(row->name, "app.orders.Pending");
			/* these two move for a reason: one is emptied now and then, one shrinks */
			if (!moving && (view->rows->pdata[r] != before->pdata[r]))
				moves++;
		}
	}
	g_assert_cmpint(moves, ==, 0);
	view_free(view);
}

static void test_selection_follows_type(void)
{
	struct view *view = view_after(20, TRUE);
	keys(view, "/Node07");
	view_key(view, KEY_OF_ENTER);
	keys(view, "I");
	g_assert_cmpstr(view_selected(view)->name, ==, "ast.Node07");
	view_key(view, KEY_OF_F1 + 5);
	view_key(view, KEY_OF_ENTER);
	g_assert_cmpstr(view_selected(view)->name, ==, "ast.Node07");
	g_autoptr(sample_t) sample = script_sample(20, TRUE);
	view_add(view, sample);
	g_assert_cmpstr(view_selected(view)->name, ==, "ast.Node07");
	view_free(view);
}

static void test_movement(void)
{
	struct view *view = view_after(5, TRUE);
	g_autofree char *text = draw(view, 80, 24, FALSE);
	int last = (int)view->rows->len - 1;
	view_key(view, 'k');
	g_assert_cmpint(view->selection, ==, 0);
	view_key(view, KEY_OF_PAGE_DOWN);
	g_assert_cmpint(view->selection, ==, view->page);
	keys(view, "G");
	g_assert_cmpint(view->selection, ==, last);
	view_key(view, KEY_OF_DOWN);
	g_assert_cmpint(view->selection, ==, last);
	keys(view, "g");
	g_assert_cmpint(view->selection, ==, 0);
	view_wheel(view, 3);
	g_assert_cmpint(view->selection, ==, 3);
	view_free(view);
}

static void test_mouse(void)
{
	struct view *view = view_after(20, TRUE);
	g_autofree char *text = draw(view, 80, 24, FALSE);
	view_click(view, view->table_y + 2, 10, FALSE);
	g_assert_cmpint(view->selection, ==, 2);
	view_click(view, view->title_y, 3, FALSE);
	g_assert_cmpstr(view->sort->id, ==, "name");
	g_assert_false(view->descending);
	view_click(view, view->title_y, 3, FALSE);
	g_assert_true(view->descending);
	view_click(view, view->table_y, 10, TRUE);
	g_assert_true(screen_top(view)->ops == &screen_detail);
	view_click(view, 500, 500, FALSE);
	view_key(view, KEY_OF_ESCAPE);
	view_key(view, '>');
	g_autofree char *menu = draw(view, 80, 24, FALSE);
	view_click(view, view->menu_y + 2, view->menu_x + 3, FALSE);
	g_assert_cmpint(view->mode, ==, VIEW_NORMAL);
	g_assert_cmpstr(view->sort->id, ==, "name");
	view_free(view);
}

static void test_baseline(void)
{
	struct view *view = view_after(20, TRUE);
	keys(view, "b");
	const struct trend_row *leaky = view->rows->pdata[0];
	g_assert_cmpint(leaky->last[TREND_COUNT], ==, leaky->baseline[TREND_COUNT]);
	g_assert_nonnull(strstr(view->message, "#20"));
	view_free(view);
}

static void test_settings(void)
{
	struct view *view = view_after(3, TRUE);
	keys(view, "+");
	g_assert_cmpint(view->options.interval_us, ==, 2 * G_USEC_PER_SEC);
	keys(view, "---");
	g_assert_cmpint(view->options.interval_us, ==, 200000);
	keys(view, "----");
	g_assert_cmpint(view->options.interval_us, ==, 100000);
	view->options.interval_us = 3 * G_USEC_PER_SEC;
	keys(view, "+");
	g_assert_cmpint(view->options.interval_us, ==, 5 * G_USEC_PER_SEC);
	keys(view, "z");
	g_assert_true(view->paused);
	keys(view, "Z");
	g_assert_false(view->paused);
	keys(view, "  ");
	g_assert_cmpuint(g_hash_table_size(view->tagged), ==, 2);
	keys(view, "U");
	g_assert_cmpuint(g_hash_table_size(view->tagged), ==, 0);
	view_free(view);
}

static void test_save(void)
{
	g_autofree char *directory = g_dir_make_tmp("reftop-XXXXXX", NULL);
	struct view *view = view_after(3, TRUE);
	view->options.save_directory = directory;
	keys(view, "s");
	g_assert_nonnull(strstr(view->message, "saved sample #3 to "));
	const char *path = strstr(view->message, directory);
	g_autofree char *json = NULL;
	g_assert_true(g_file_get_contents(path, &json, NULL, NULL));
	g_assert_nonnull(strstr(json, "\"schema\":\"reftop.sample/1\""));
	g_assert_nonnull(strstr(json, "\"qualname\":\"Leaky\""));
	g_assert_cmpint(unlink(path), ==, 0);
	g_assert_cmpint(rmdir(directory), ==, 0);
	keys(view, "s");
	g_assert_nonnull(strstr(view->message, "not saved"));
	view_free(view);
}

/* Any key in any state at any size: nothing is written outside (ASan sees it) and nothing hangs. */
static void test_random_keys(void)
{
	for (guint32 seed = 0; seed < 10; seed++) {
		g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
		struct view *view = view_after(g_rand_int_range(rand, 0, 15), TRUE);
		view->options.save_directory = "/nonexistent";
		for (int i = 0; i < 150; i++) {
			const struct key_entry *entry = &key_table[g_rand_int_range(rand, 0, (gint32)key_table_size)];
			view_key(view, g_rand_boolean(rand) ? entry->codes[0] : g_rand_int_range(rand, 1, 0x110020));
			if (g_rand_int_range(rand, 0, 4) == 0)
				view_click(view, g_rand_int_range(rand, -2, 60), g_rand_int_range(rand, -2, 220),
					   i % 3 == 0);
			g_autofree char *text =
				draw(view, g_rand_int_range(rand, 1, 210), g_rand_int_range(rand, 1, 55), i % 2);
			g_assert_true(g_utf8_validate(text, -1, NULL));
			view->quit = FALSE;
		}
		view_free(view);
	}
}

/* ---- words ---- */

static void test_words(void)
{
#define SAYS(call, wanted)                                                                                             \
	do {                                                                                                           \
		g_autofree char *said = call;                                                                          \
		g_assert_cmpstr(said, ==, wanted);                                                                     \
	} while (0)
	SAYS(words_duration(0, FALSE), "0 s");
	SAYS(words_duration(59 * G_USEC_PER_SEC, FALSE), "59 s");
	SAYS(words_duration(130 * G_USEC_PER_SEC, FALSE), "2 min 10 s");
	SAYS(words_duration(130 * G_USEC_PER_SEC, TRUE), "2m10s");
	SAYS(words_duration(120 * G_USEC_PER_SEC, TRUE), "2m");
	SAYS(words_duration(3605 * (gint64)G_USEC_PER_SEC, FALSE), "1 h");
	SAYS(words_duration(90061 * (gint64)G_USEC_PER_SEC, FALSE), "1 d 1 h");
	SAYS(words_rate(1000.2, FALSE), "+1,000/s");
	SAYS(words_rate(998.7, FALSE), "+999/s");
	SAYS(words_rate(12345, FALSE), "+12,300/s");
	SAYS(words_rate(1.5, FALSE), "+1.5/s");
	SAYS(words_rate(0.5, FALSE), "+30/min");
	SAYS(words_rate(3 / 3600.0, FALSE), "+3/h");
	SAYS(words_rate(2048, TRUE), "+2.0K/s");
	SAYS(words_pause(-1), "-");
	SAYS(words_pause(0), "0µs");
	SAYS(words_pause(3800), "3.8ms");
	SAYS(words_pause(38000), "38ms");
	SAYS(words_pause(1200000), "1.2s");
	SAYS(words_interval(500000), "500ms");
	SAYS(words_interval(1500000), "1.5s");
	SAYS(words_interval(2000000), "2s");
#undef SAYS
}

static char *verdict_after(int samples, gboolean leaking, int width)
{
	struct view *view = view_after(samples, leaking);
	enum role role;
	char *words = verdict_words(view->trend, width, &role);
	view_free(view);
	return words;
}

static void test_verdict(void)
{
	g_autofree char *few = verdict_after(4, TRUE, 100);
	g_assert_cmpstr(few, ==, "watching: a verdict needs 6 more samples");
	g_autofree char *one = verdict_after(9, TRUE, 100);
	g_assert_cmpstr(one, ==, "watching: a verdict needs 1 more sample");
	g_autofree char *leak = verdict_after(131, TRUE, 120);
	g_assert_cmpstr(leak, ==,
			"app.Leaky: +1,000/s steadily for 2 min 10 s (+130,000 objects, 6.0M); dict +1,000/s");
	g_autofree char *calm = verdict_after(131, FALSE, 120);
	g_assert_cmpstr(calm, ==, "nothing grows steadily (131 samples, 2 min 10 s)");
	struct view *view = view_after(60, TRUE);
	for (int width = 20; width < 120; width++) {
		enum role role;
		g_autofree char *words = verdict_words(view->trend, width, &role);
		g_assert_cmpint(text_columns(words), <=, width);
	}
	view_free(view);
}

/* A lost Py_DECREF: references to objects grow, their number doesn't. */
static void test_verdict_references(void)
{
	g_autoptr(trend_t) trend = trend_new();
	for (int i = 0; i < 61; i++) {
		g_autoptr(sample_t) sample = script_head(i);
		add_type(sample, 0x1000, "app", "Config", 1, 48, 1000 + 50 * i, 1000 + 50 * i);
		trend_add(trend, sample);
	}
	enum role role;
	g_autofree char *words = verdict_words(trend, 100, &role);
	g_assert_cmpstr(
		words, ==,
		"app.Config: references +50/s steadily for 1 min (+3,000, no more objects); nothing else grows");
	g_assert_cmpint(role, ==, ROLE_ALARM);
}

/* ---- frames ---- */

static void test_frame(void)
{
	struct frame frame;
	frame_init(&frame, 6, 2, FALSE);
	g_assert_cmpint(frame_text(&frame, 0, 0, 5, ROLE_TEXT, "商店商"), ==, 4);
	frame_text(&frame, 0, 1, 1, ROLE_TEXT, "x"); /* over the right half of a wide one */
	frame_text(&frame, 1, 4, 9, ROLE_TEXT,
		   "e\xcc\x81"
		   "abc");
	frame_text(&frame, 7, 0, 9, ROLE_TEXT, "outside");
	frame_text(&frame, 0, -3, 9, ROLE_TEXT, "abcd");
	g_autofree char *text = frame_dump(&frame);
	g_assert_cmpstr(text, ==,
			"dx店\n    e\xcc\x81"
			"a\n");
	frame_clear(&frame);
	g_autofree char *elided = text_elide("sqlalchemy.orm.state.InstanceState", 20);
	g_assert_cmpstr(elided, ==, "sqlalchem…tanceState");
	for (int width = 0; width < 30; width++) {
		g_autofree char *wide = text_elide("商店.模型.商品e\xcc\x81列表", width);
		g_assert_cmpint(text_columns(wide), <=, width);
	}
}

/* ---- the whole way, from a source to standard output ---- */

struct script {
	source_t source;
	int at, end;
	gboolean *freed;
};

static sample_t *script_next(source_t *source, GError **error)
{
	struct script *script = (struct script *)source;
	if (script->at < script->end)
		return script_sample(script->at++, TRUE);
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, NULL, NULL, "process 4711 ended");
	return NULL;
}

static gboolean script_alive(source_t *source)
{
	return ((struct script *)source)->at < ((struct script *)source)->end;
}

static void script_free(source_t *source)
{
	*((struct script *)source)->freed = TRUE;
	g_free(source);
}

static source_t *script_new(int end, gboolean *freed)
{
	static const struct source_ops ops = {
		.name = "live", .next = script_next, .alive = script_alive, .free = script_free};
	struct script *script = g_new0(struct script, 1);
	script->source.ops = &ops;
	script->end = end;
	script->freed = freed;
	*freed = FALSE;
	return &script->source;
}

static char *run_dumped(int end, int iterations, int *status, GError **error)
{
	gboolean freed;
	struct top_options options = {.interval_us = 1, .iterations = iterations, .dump_screen = TRUE, .now = now};
	fflush(stdout);
	int saved = dup(STDOUT_FILENO);
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("reftop-XXXXXX", &path, NULL);
	g_assert_cmpint(dup2(fd, STDOUT_FILENO), ==, STDOUT_FILENO);
	*status = top_run(script_new(end, &freed), &options, error);
	g_assert_cmpint(dup2(saved, STDOUT_FILENO), ==, STDOUT_FILENO);
	close(saved);
	close(fd);
	g_assert_true(freed);
	char *text = NULL;
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_assert_cmpint(unlink(path), ==, 0);
	return text;
}

static void test_dump(void)
{
	int status;
	g_setenv("LC_ALL", "C.UTF-8", TRUE);
	g_setenv("COLUMNS", "80", TRUE);
	g_setenv("LINES", "24", TRUE);
	fixed_now = START + 70 * G_USEC_PER_SEC;
	g_autofree char *text = run_dumped(1000, 60, &status, NULL);
	g_assert_cmpint(status, ==, 0);
	/* the same as composed by hand, apart from the interval in the first line */
	struct view *view = view_after(60, TRUE);
	g_autofree char *composed = draw(view, 80, 24, FALSE);
	g_assert_cmpstr(strchr(text, '\n'), ==, strchr(composed, '\n'));
	view_free(view);
	g_autofree char *ended = run_dumped(15, 0, &status, NULL);
	g_assert_cmpint(status, ==, 0);
	g_assert_nonnull(strstr(ended, "process 4711 ended 0 s ago"));
	g_autoptr(GError) error = NULL;
	g_autofree char *nothing = run_dumped(0, 0, &status, &error);
	g_assert_cmpint(status, ==, REFTOP_ERROR_GONE);
	g_assert_error(error, SOURCE_ERROR, REFTOP_ERROR_GONE);
	g_assert_cmpstr(nothing, ==, "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/screen/" #name, test_##name)
	TEST(types);
	TEST(calm);
	TEST(start);
	TEST(detail);
	TEST(help);
	TEST(menu);
	TEST(prompts);
	TEST(ended);
	TEST(exec);
	TEST(trouble);
	TEST(leak_rises);
	TEST(rows_stand_still);
	TEST(selection_follows_type);
	TEST(movement);
	TEST(mouse);
	TEST(baseline);
	TEST(settings);
	TEST(save);
	TEST(random_keys);
	TEST(words);
	TEST(verdict);
	TEST(verdict_references);
	TEST(frame);
	TEST(dump);
	return g_test_run();
}
