/*
 * Six planted histories, as the daemon keeps them: a trend of 240 moments, and the same from a store that was thinned out. The verdict must be
 * right on each, and there must be no alarm in the three honest ones.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "daemon/analysis/shape.h"
#include "daemon/analysis/trend.h"
#include "daemon/store/history.h"

#define START    G_GINT64_CONSTANT(1700000000000000)
#define INTERVAL 10 /* seconds, the daemon's */
#define MOMENTS  240

struct plant {
	const char *name;
	int seconds;
	double (*value)(int second, GRand *rand);
	enum shape shape;
	double rate; /* a second, of the steady ones */
};

static double steady(int second, GRand *rand)
{
	return 20000 + 5.0 * second + g_rand_double_range(rand, -200, 200);
}

static double warm_up(int second, GRand *rand)
{
	return 80000 - 60000 * exp(-second / 240.0) + g_rand_double_range(rand, -300, 300);
}

static double saw_tooth(int second, GRand *rand)
{
	return 10000 + (second % 600) * 40.0 + g_rand_double_range(rand, -200, 200);
}

static double level_shift(int second, GRand *rand)
{
	return (second < 1500 ? 20000 : 45000) + g_rand_double_range(rand, -300, 300);
}

static double slow(int second, GRand *rand)
{
	return 200000 + 1.0 * second + g_rand_double_range(rand, -5000, 5000);
}

static double honest(int second, GRand *rand)
{
	return 30000 + g_rand_double_range(rand, -500, 500);
}

static const struct plant plants[] = {
	{"steady leak", 1800, steady, SHAPE_STEADY, 5},
	{"warm-up", 3600, warm_up, SHAPE_WARM_UP, 0},
	{"saw-tooth", 3600, saw_tooth, SHAPE_SAW_TOOTH, 0},
	{"level shift", 3600, level_shift, SHAPE_LEVEL_SHIFT, 0},
	{"slow leak under noise", 12 * 3600, slow, SHAPE_STEADY, 1},
	{"nothing", 3600, honest, SHAPE_FLAT, 0},
};

static sample_t *make_sample(int second, int64_t pid, int64_t count)
{
	sample_t *sample = sample_new();
	sample->time_us = START + (gint64)second * G_USEC_PER_SEC;
	sample->target.pid = pid;
	sample->target.start_time_us = START - 60 * G_USEC_PER_SEC;
	sample->target.exe = sample_text(sample, "/usr/bin/python3");
	sample->target.python = "3.12.1";
	sample->snapshot.mode = "stop";
	sample->snapshot.consistent = true;
	sample->types = g_new0(struct sample_type, 2);
	sample->n_types = 2;
	sample->types[0] = (struct sample_type){.address = 0x1000,
						.module = "app",
						.qualname = "Thing",
						.count = count,
						.gc_count = count,
						.bytes = count * 48,
						.refs = count * 2,
						.owned = -1};
	sample->types[1] = (struct sample_type){.address = 0x2000,
						.module = "builtins",
						.qualname = "dict",
						.count = 5000,
						.gc_count = 5000,
						.bytes = 5000 * 64,
						.refs = 10000,
						.owned = -1};
	sample->totals.objects = count + 5000;
	sample_seal(sample);
	return sample;
}

static const struct trend_row *thing(const trend_t *trend)
{
	const GPtrArray *rows = trend_rows(trend);
	for (guint i = 0; i < rows->len; i++)
		if (!strcmp(((struct trend_row *)rows->pdata[i])->name, "app.Thing"))
			return rows->pdata[i];
	g_assert_not_reached();
}

static enum shape shape_of(const trend_t *trend)
{
	int64_t times[MOMENTS + 1], values[MOMENTS + 1];
	size_t n = trend_series(trend, thing(trend), TREND_COUNT, times, values);
	return shape_judge(times, values, n);
}

static void check(const trend_t *trend, const struct plant *plant, const char *how)
{
	const struct growth *growth = &thing(trend)->growth[TREND_COUNT];
	g_test_message("%s, %s: %s, %.2f a second", plant->name, how, shape_names[shape_of(trend)], growth->rate);
	g_assert_cmpstr(shape_names[shape_of(trend)], ==, shape_names[plant->shape]);
	g_assert_cmpint(growth->verdict == GROWTH_STEADY, ==, plant->shape == SHAPE_STEADY);
	/* no alarm in the honest ones, of any kind */
	g_assert_cmpint(thing(trend)->leaks != TREND_METRICS, ==, plant->shape == SHAPE_STEADY);
	if (plant->shape != SHAPE_STEADY)
		return;
	g_assert_cmpfloat(fabs(growth->rate / plant->rate - 1), <, 0.15);
	/* since when: in the first third of the history, which all of it belongs to */
	g_assert_cmpint(growth->since_us - START, <, (gint64)plant->seconds * G_USEC_PER_SEC / 3);
}

static void plant_trend(trend_t *trend, const struct plant *plant, guint32 seed, int64_t pid, recording_t *store)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	trend_defer(trend, true);
	g_autoptr(sample_t) other = make_sample(0, pid + 1000, 1);
	if (store)
		g_assert_true(recording_append(store, other, NULL, NULL));
	for (int second = 0; second < plant->seconds; second += INTERVAL) {
		g_autoptr(sample_t) sample = make_sample(second, pid, (int64_t)plant->value(second, rand));
		trend_add(trend, sample);
		if (store)
			g_assert_true(history_append(store, sample, 0, NULL, NULL));
	}
	trend_defer(trend, false);
}

static void test_planted(gconstpointer data)
{
	const struct plant *plant = data;
	for (guint32 seed = 1; seed <= 5; seed++) {
		g_autoptr(trend_t) trend = trend_new_bounded(MOMENTS, TREND_POINTS);
		plant_trend(trend, plant, seed, 100, NULL);
		check(trend, plant, "in memory");
	}
}

/* The same, written to a store, thinned out as time goes on, and read again. */
static void test_stored(gconstpointer data)
{
	const struct plant *plant = data;
	const struct history_keep keep = {10 * 60 * G_USEC_PER_SEC, G_GINT64_CONSTANT(86400) * G_USEC_PER_SEC,
					  G_GINT64_CONSTANT(7) * 86400 * G_USEC_PER_SEC};
	g_autofree char *directory = g_dir_make_tmp("reftop-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "history.db", NULL);
	g_autoptr(recording_t) store = history_open(path, NULL);
	g_autoptr(trend_t) live = trend_new_bounded(MOMENTS, TREND_POINTS),
			   again = trend_new_bounded(MOMENTS, TREND_POINTS);
	plant_trend(live, plant, 9, 100, store);
	int64_t done = 0;
	for (int64_t second = 60; second <= plant->seconds; second += 60)
		g_assert_true(history_thin(store, START + second * G_USEC_PER_SEC, &keep, &done, NULL));

	g_autoptr(recording_t) reader = recording_open(path, NULL);
	recording_select(reader, 100, START - 60 * G_USEC_PER_SEC);
	size_t n = 0;
	g_autofree int64_t *ids = recording_samples(reader, &n, NULL);
	/* the last ten minutes whole, of the rest one a minute; the other process's sample isn't among them */
	g_assert_cmpuint(n, <=, (size_t)(600 / INTERVAL + (plant->seconds - 600) / 60 + 3));
	g_assert_cmpuint(n, >=, (size_t)(600 / INTERVAL + (plant->seconds - 600) / 60 - 3));
	trend_defer(again, true);
	for (size_t i = 0; i < n; i++) {
		g_autoptr(sample_t) sample = recording_load(reader, ids[i], NULL);
		g_assert_cmpint(sample->target.pid, ==, 100);
		trend_add(again, sample);
	}
	trend_defer(again, false);
	check(again, plant, "stored");
	g_clear_pointer(&reader, recording_free);
	g_clear_pointer(&store, recording_free);
	g_unlink(path);
	g_rmdir(directory);
}

/* One of eight workers leaks: that one is told, the others are not. */
static void test_one_of_eight(void)
{
	for (int worker = 0; worker < 8; worker++) {
		g_autoptr(trend_t) trend = trend_new_bounded(MOMENTS, TREND_POINTS);
		const struct plant *plant = worker == 5 ? &plants[0] : &plants[G_N_ELEMENTS(plants) - 1];
		plant_trend(trend, plant, (guint32)worker + 20, 100 + worker, NULL);
		check(trend, plant, "one of eight");
	}
}

/* Births are known of samples whose sample before is still there; between others they are not known, not less. */
static void test_births_after_thinning(void)
{
	const struct history_keep keep = {600 * G_USEC_PER_SEC, G_GINT64_CONSTANT(86400) * G_USEC_PER_SEC,
					  G_GINT64_CONSTANT(7) * 86400 * G_USEC_PER_SEC};
	g_autofree char *directory = g_dir_make_tmp("reftop-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "history.db", NULL);
	g_autoptr(recording_t) store = history_open(path, NULL);
	for (int second = 10; second <= 1800; second += INTERVAL)
		for (int64_t pid = 100; pid < 102; pid++) {
			g_autoptr(sample_t) sample = make_sample(second, pid, second);
			sample->has_turnover = true;
			for (size_t i = 0; i < 2; i++) {
				bool dicts = strcmp(sample->types[i].qualname, "Thing") != 0;
				sample->types[i].born = dicts ? 7 : INTERVAL;
				sample->types[i].died = dicts ? 7 : 0;
			}
			g_assert_true(history_append(store, sample, 0, NULL, NULL));
		}
	int64_t done = 0;
	g_assert_true(history_thin(store, START + 1800 * G_USEC_PER_SEC, &keep, &done, NULL));
	g_autoptr(recording_t) reader = recording_open(path, NULL);
	recording_select(reader, 101, START - 60 * G_USEC_PER_SEC);
	size_t n = 0, known = 0, unknown = 0;
	g_autofree int64_t *ids = recording_samples(reader, &n, NULL);
	int64_t before = 0;
	for (size_t i = 0; i < n; i++) {
		g_autoptr(sample_t) sample = recording_load(reader, ids[i], NULL);
		const struct sample_type *type = &sample->types[strcmp(sample->types[0].qualname, "Thing") != 0];
		if (sample->has_turnover && i) {
			g_assert_cmpint(type->count - before, ==, type->born);
			known++;
		}
		unknown += !sample->has_turnover;
		before = type->count;
	}
	g_assert_cmpuint(known, >=, 600 / INTERVAL - 2);
	g_assert_cmpuint(unknown, >=, 18);
	g_clear_pointer(&reader, recording_free);
	g_clear_pointer(&store, recording_free);
	g_unlink(path);
	g_rmdir(directory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(plants); i++) {
		g_autofree char *a = g_strdup_printf("/histories/memory/%s", plants[i].name);
		g_autofree char *b = g_strdup_printf("/histories/stored/%s", plants[i].name);
		g_test_add_data_func(a, &plants[i], test_planted);
		g_test_add_data_func(b, &plants[i], test_stored);
	}
	g_test_add_func("/histories/one of eight", test_one_of_eight);
	g_test_add_func("/histories/births after thinning", test_births_after_thinning);
	return g_test_run();
}
