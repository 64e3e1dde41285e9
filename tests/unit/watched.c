/* What is watched: single objects, references nobody holds, births and deaths; and any key on the screens of objects. */
#include "tests/unit/fake.h"
#include "tui/screens/watches.h"

static const struct {
	int width, height;
} sizes[] = {{80, 24}, {200, 50}, {40, 10}};

/* ---- watching ---- */

static void put_watched(sample_t *sample, struct sample_watched row)
{
	sample->watched = g_renew(struct sample_watched, sample->watched, sample->n_watched + 1);
	row.module = row.module ? row.module : "app";
	row.qualname = row.qualname ? row.qualname : "Leaky";
	row.value = row.value ? row.value : "<Leaky sku='A-1009'>";
	row.now = row.now ? row.now : "";
	sample->watched[sample->n_watched++] = row;
}

/* Three objects: one gains references, one dies, the place of one is used again. */
static void watch_samples(struct view *view, int from, int to)
{
	for (int i = from; i < to; i++) {
		g_autoptr(sample_t) sample = script_sample(i, TRUE);
		put_watched(sample, (struct sample_watched){.address = OBJECT,
							    .type = LEAKY,
							    .refcount = 5 + 2 * i,
							    .exact = i % 10 ? SAMPLE_UNKNOWN : 4,
							    .probable = i % 10 ? SAMPLE_UNKNOWN : 1});
		if (i <= 40)
			put_watched(sample, (struct sample_watched){.address = OBJECT + 0xc0,
								    .type = LEAKY,
								    .refcount = i == 40 ? SAMPLE_UNKNOWN : 2,
								    .exact = SAMPLE_UNKNOWN,
								    .probable = SAMPLE_UNKNOWN,
								    .state = i == 40 ? WATCHED_DEAD : WATCHED_ALIVE});
		if (i <= 50)
			put_watched(sample,
				    (struct sample_watched){.address = OBJECT + 0x180,
							    .type = LEAKY,
							    .refcount = i == 50 ? SAMPLE_UNKNOWN : 3 + i % 2,
							    .exact = SAMPLE_UNKNOWN,
							    .probable = SAMPLE_UNKNOWN,
							    .state = i == 50 ? WATCHED_REUSED : WATCHED_ALIVE,
							    .now = i == 50 ? "app.Cart <Cart owner='bob'>" : ""});
		view_add(view, sample);
		fixed_now = sample->time_us;
	}
}

static void test_watched(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	watch_samples(fake.view, 20, 41);
	g_assert_cmpstr(fake.view->message, ==, "app.Leaky 0x7f3a1c0d4f40: it died after 20 s");
	watch_samples(fake.view, 41, 60);
	view_key(fake.view, '\t');
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(fake.view, sizes[i].width, sizes[i].height, "watched");
	const struct watch *watch = fake.view->watches->pdata[0];
	g_assert_cmpint(watch->last, ==, 5 + 2 * 59);
	/* explained at sample 50: 105 references, 5 of them seen */
	g_assert_cmpint(watch_unexplained(watch), ==, 100);
	const struct watch *reused = fake.view->watches->pdata[2];
	g_assert_cmpstr(reused->ended, ==, "its address was used again after 30 s, by app.Cart <Cart owner='bob'>");
	/* what has ended can be taken off the list */
	keys(fake.view, "Gw");
	g_assert_cmpuint(fake.view->watches->len, ==, 2);
	fake_clear(&fake);
}

static void test_watch_keys(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	keys(fake.view, "w"); /* a type can't be watched: it says what can */
	g_assert_nonnull(strstr(fake.view->message, "one object"));
	view_key(fake.view, KEY_OF_ENTER);
	const struct instance *row = list_selected(screen_top(fake.view)->ops->list(screen_top(fake.view)));
	guint64 address = row->object.address;
	keys(fake.view, "w");
	g_assert_cmpuint(fake.watched->len, ==, 1);
	g_assert_cmphex(g_array_index(fake.watched, guint64, 0), ==, address);
	g_assert_nonnull(watch_find(fake.view, address));
	keys(fake.view, "w");
	g_assert_cmpuint(fake.watched->len, ==, 0);
	g_assert_null(watch_find(fake.view, address));
	view_key(fake.view, KEY_OF_ENTER);
	keys(fake.view, "w");
	g_assert_true(shows(fake.view, "watched · "));
	view_key(fake.view, KEY_OF_ESCAPE);
	view_key(fake.view, KEY_OF_ESCAPE);
	view_key(fake.view, '\t');
	g_assert_true(shows(fake.view, "0x7f3a1c0d"));
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(screen_top(fake.view)->ops == &screen_object);
	view_key(fake.view, KEY_OF_ESCAPE);
	keys(fake.view, "w");
	g_assert_cmpuint(fake.watched->len, ==, 0);
	g_assert_true(shows(fake.view, "no object is watched"));
	fake_clear(&fake);
}

/* A day of samples takes no more memory than a minute. */
static void test_watch_bounded(void)
{
	struct view *view = view_after(0, TRUE);
	for (int i = 0; i < 5 * WATCH_POINTS; i++) {
		g_autoptr(sample_t) sample = script_head(i);
		put_watched(sample, (struct sample_watched){.address = OBJECT,
							    .type = LEAKY,
							    .refcount = i,
							    .exact = SAMPLE_UNKNOWN,
							    .probable = SAMPLE_UNKNOWN});
		view_add(view, sample);
	}
	const struct watch *watch = view->watches->pdata[0];
	g_assert_cmpuint(watch->n, <=, WATCH_POINTS);
	g_assert_cmpuint(watch->n, >=, WATCH_POINTS / 2);
	g_assert_cmpint(watch->values[0], ==, 0);
	g_assert_cmpint(watch->values[watch->n - 1], ==, 5 * WATCH_POINTS - 1);
	for (size_t i = 1; i < watch->n; i++)
		g_assert_true(watch->times_us[i] > watch->times_us[i - 1] && watch->values[i] > watch->values[i - 1]);
	view_free(view);
}

/* ---- references nobody holds ---- */

static leaks_t *leaks_of(enum leak_kind kind, int64_t unexplained, int64_t growth)
{
	leaks_t *leaks = g_new0(leaks_t, 1);
	leaks->origin = origin_new();
	leaks->totals.unexplained = unexplained + 1;
	leaks->n_types = 2;
	leaks->types = g_new0(struct leak_type, 2);
	leaks->types[0] = (struct leak_type){.address = 0x55d0c0a05000,
					     .module = "sqlalchemy.orm.state",
					     .qualname = "InstanceState",
					     .unexplained = unexplained,
					     .growth = growth,
					     .kind = kind};
	leaks->types[1] = (struct leak_type){.address = 0x955aa0,
					     .module = "builtins",
					     .qualname = "dict",
					     .unexplained = 1,
					     .growth = 0,
					     .kind = LEAK_ONE_OFF};
	return leaks;
}

static void test_unexplained(void)
{
	struct fake fake;
	fake_init(&fake, 60);
	keys(fake.view, "u");
	g_assert_true(fake.view->assess);
	g_assert_true(shows(fake.view, "Unexpl looking…"));
	const struct trend_row *row = view_selected(fake.view);
	g_assert_cmpint(view_unexplained(fake.view, row), ==, SAMPLE_UNKNOWN);
	view_assessed(fake.view, leaks_of(LEAK_GROWING, 38402, 120));
	g_assert_cmpint(view_unexplained(fake.view, row), ==, 0);
	g_clear_pointer(&fake.view->message, g_free);
	compare_view(fake.view, 80, 24, "unexplained");
	compare_view(fake.view, 200, 50, "unexplained");
	/* a newer look replaces the older one; off keeps what was found, and says so */
	view_assessed(fake.view, leaks_of(LEAK_ONE_OFF, 1, 0));
	keys(fake.view, "u");
	g_assert_true(shows(fake.view, "Unexpl 2, 0s ago, off"));
	fake_clear(&fake);
}

static void test_unexplained_words(void)
{
	static const enum leak_kind kinds[] = {LEAK_GROWING, LEAK_STEADY, LEAK_ONE_OFF};
	struct fake fake;
	enum role role;
	fake_init(&fake, 0);
	for (int leaking = 0; leaking < 2; leaking++) {
		view_free(fake.view);
		fake.view = view_after(60, leaking);
		for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
			view_assessed(fake.view, leaks_of(kinds[k], 38402, kinds[k] == LEAK_GROWING ? 120 : 0));
			for (int width = 24; width < 200; width++) {
				g_autofree char *words = lost_words(fake.view, width, &role);
				g_assert_cmpint(text_columns(words), <=, width);
			}
			g_autofree char *words = lost_words(fake.view, 190, &role);
			g_assert_cmpint(strstr(words, "InstanceState: 38,402 references unexplained") != NULL, ==,
					kinds[k] != LEAK_ONE_OFF);
			g_assert_cmpint(strstr(words, "(+120 since the look before)") != NULL, ==,
					kinds[k] == LEAK_GROWING);
			g_assert_cmpint(role, ==,
					leaking || kinds[k] == LEAK_GROWING ? ROLE_ALARM
					: kinds[k] == LEAK_STEADY           ? ROLE_WARNING
									    : ROLE_CALM);
		}
	}
	fake_clear(&fake);
}

/* ---- births and deaths ---- */

static void test_turnover(void)
{
	struct view *view = view_after(20, TRUE);
	g_autofree char *before = draw(view, 200, 50, FALSE);
	g_assert_nonnull(strstr(before, "BORN/DIED"));
	g_autoptr(sample_t) sample = script_sample(20, TRUE);
	sample->has_turnover = TRUE;
	for (size_t i = 0; i < sample->n_types; i++)
		if (!strcmp(sample->types[i].qualname, "Leaky")) {
			sample->types[i].born = 44100;
			sample->types[i].died = 2900;
		}
	view_add(view, sample);
	g_autofree char *text = draw(view, 200, 50, FALSE);
	g_assert_nonnull(strstr(text, " 44.1k/2,900 "));
	g_assert_nonnull(strstr(text, " 0/0 "));
	/* a type that vanished: all its objects died */
	g_autoptr(sample_t) without = script_head(21);
	without->has_turnover = TRUE;
	view_add(view, without);
	const struct trend_row *row = view_selected(view);
	g_assert_cmpint(row->died, ==, 120 + 20 * 1000);
	view_free(view);
}

/* Any key on any of these screens at any size: nothing is written outside (ASan sees it) and nothing hangs. */
static void test_random_keys(void)
{
	for (guint32 seed = 0; seed < 10; seed++) {
		g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
		struct fake fake;
		fake_init(&fake, 12);
		fake.view->options.save_directory = "/nonexistent";
		watch_samples(fake.view, 12, 30);
		for (int i = 0; i < 200; i++) {
			const struct key_entry *entry = &key_table[g_rand_int_range(rand, 0, (gint32)key_table_size)];
			fake.slow = g_rand_boolean(rand);
			view_key(fake.view, g_rand_int_range(rand, 0, 3) ? entry->codes[0] : KEY_OF_ENTER);
			if (g_rand_int_range(rand, 0, 3) == 0)
				view_click(fake.view, g_rand_int_range(rand, -2, 60), g_rand_int_range(rand, -2, 220),
					   i % 3 == 0);
			if (fake.waiting.length && g_rand_boolean(rand))
				fake_answer(&fake);
			if (i % 50 == 49)
				watch_samples(fake.view, 30 + i / 10, 31 + i / 10);
			g_autofree char *text =
				draw(fake.view, g_rand_int_range(rand, 1, 210), g_rand_int_range(rand, 1, 55), i % 2);
			g_assert_true(g_utf8_validate(text, -1, NULL));
			fake.view->quit = FALSE;
		}
		fake_clear(&fake);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/watched/" #name, test_##name)
	TEST(watched);
	TEST(watch_keys);
	TEST(watch_bounded);
	TEST(unexplained);
	TEST(unexplained_words);
	TEST(turnover);
	TEST(random_keys);
	return g_test_run();
}
