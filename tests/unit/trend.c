/* The history: thinning, bounds, baseline, types that come and go. */
#include <glib.h>
#include <math.h>
#include <string.h>

#include "daemon/analysis/trend.h"

#define START G_GINT64_CONSTANT(1700000000000000)

static sample_t *sample_at(int second, size_t n_types)
{
	sample_t *sample = sample_new();
	sample->time_us = START + (gint64)second * G_USEC_PER_SEC;
	sample->types = g_new0(struct sample_type, n_types ? n_types : 1);
	return sample;
}

static void sample_add(sample_t *sample, uint64_t address, const char *module, const char *name, int64_t count)
{
	struct sample_type *type = &sample->types[sample->n_types++];
	type->address = address;
	type->module = sample_text(sample, module);
	type->qualname = sample_text(sample, name);
	type->count = type->gc_count = count;
	type->bytes = count * 48;
	type->refs = count * 2;
	type->refs_max = 3;
	type->owned = SAMPLE_UNKNOWN;
	sample->totals.objects += count;
	sample->totals.bytes += count * 48;
	sample->totals.refs += count * 2;
}

static struct trend_row *find(trend_t *trend, const char *name)
{
	const GPtrArray *rows = trend_rows(trend);
	for (guint i = 0; i < rows->len; i++) {
		struct trend_row *row = rows->pdata[i];
		if (!strcmp(row->name, name))
			return row;
	}
	return NULL;
}

static void add(trend_t *trend, int second, int64_t leaky)
{
	g_autoptr(sample_t) sample = sample_at(second, 3);
	sample_add(sample, 0x1000, "builtins", "dict", 5000);
	sample_add(sample, 0x2000, "app", "Leaky", leaky);
	sample_seal(sample);
	trend_add(trend, sample);
}

static void test_baseline(void)
{
	g_autoptr(trend_t) trend = trend_new();
	g_assert_null(trend_last(trend));
	trend_set_baseline(trend); /* before the first sample: nothing happens */
	for (int i = 0; i < 20; i++)
		add(trend, i, 100 + 1000 * i);
	struct trend_row *leaky = find(trend, "app.Leaky"), *dict = find(trend, "dict");
	g_assert_true(dict->builtin && !leaky->builtin);
	g_assert_cmpint(leaky->last[TREND_COUNT], ==, 19100);
	g_assert_cmpint(leaky->baseline[TREND_COUNT], ==, 100);
	g_assert_cmpint(leaky->growth[TREND_COUNT].verdict, ==, GROWTH_STEADY);
	g_assert_cmpfloat_with_epsilon(leaky->rate, 60000, 1);
	g_assert_cmpint(leaky->settled[TREND_COUNT], ==, 18000); /* the middle of the last three */
	g_assert_cmpint(dict->settled[TREND_COUNT], ==, 0);
	g_assert_cmpint(dict->growth[TREND_COUNT].verdict, ==, GROWTH_NONE);
	g_assert_cmpfloat(dict->rate, ==, 0);

	trend_set_baseline(trend);
	g_assert_cmpint(leaky->baseline[TREND_COUNT], ==, 19100);
	g_assert_cmpuint(trend_baseline_number(trend), ==, 20);
	g_assert_cmpint(trend_baseline_totals(trend)->objects, ==, 24100);
	g_assert_cmpint(leaky->growth[TREND_COUNT].verdict, ==, GROWTH_STEADY); /* the history isn't forgotten */
}

static void test_come_and_go(void)
{
	g_autoptr(trend_t) trend = trend_new();
	add(trend, 0, 7);
	g_autoptr(sample_t) second = sample_at(1, 3);
	sample_add(second, 0x1000, "builtins", "dict", 5000);
	sample_add(second, 0x3000, "app", "Late", 4);
	trend_add(trend, second);
	g_assert_cmpint(find(trend, "app.Leaky")->last[TREND_COUNT], ==, 0);
	g_assert_cmpint(find(trend, "app.Late")->baseline[TREND_COUNT], ==, 0);
	g_assert_cmpint(find(trend, "app.Late")->last[TREND_COUNT], ==, 4);
	int64_t times[8], values[8];
	g_assert_cmpuint(trend_series(trend, find(trend, "app.Late"), TREND_COUNT, times, values), ==, 2);
	g_assert_cmpint(values[0], ==, 0);
	g_assert_cmpint(values[1], ==, 4);
	g_assert_cmpint(times[1], ==, START + G_USEC_PER_SEC);

	/* another class at the address of a dead one is another row */
	g_autoptr(sample_t) third = sample_at(2, 3);
	sample_add(third, 0x3000, "app", "Later", 9);
	trend_add(trend, third);
	g_assert_cmpint(find(trend, "app.Later")->last[TREND_COUNT], ==, 9);
	g_assert_cmpint(find(trend, "app.Late")->last[TREND_COUNT], ==, 0);
	/* one type listed twice counts once, with the sum */
	g_autoptr(sample_t) fourth = sample_at(3, 3);
	sample_add(fourth, 0x3000, "app", "Later", 9);
	sample_add(fourth, 0x3000, "app", "Later", 1);
	trend_add(trend, fourth);
	g_assert_cmpint(find(trend, "app.Later")->last[TREND_COUNT], ==, 10);
}

static void test_unknown(void)
{
	g_autoptr(trend_t) trend = trend_new();
	for (int i = 0; i < 12; i++) {
		g_autoptr(sample_t) sample = sample_at(i, 1);
		sample_add(sample, 0x10, "app", "Odd", i);
		sample->types[0].bytes = SAMPLE_UNKNOWN;
		if (i == 5)
			sample->types[0].count = SAMPLE_UNKNOWN;
		trend_add(trend, sample);
	}
	int64_t times[12], values[12];
	struct trend_row *odd = find(trend, "app.Odd");
	g_assert_cmpuint(trend_series(trend, odd, TREND_BYTES, times, values), ==, 0);
	g_assert_cmpuint(trend_series(trend, odd, TREND_COUNT, times, values), ==, 11);
	g_assert_cmpint(values[5], ==, 6);
	g_assert_cmpint(odd->growth[TREND_BYTES].verdict, ==, GROWTH_WAITING);
	g_assert_cmpint(odd->growth[TREND_COUNT].verdict, ==, GROWTH_STEADY);
	g_assert_cmpint(odd->settled[TREND_BYTES], ==, 0);
}

/* Whatever is thinned out: the kept moments show the values they had. */
static void test_thinning(void)
{
	for (size_t bound = 8; bound < 40; bound += 5) {
		g_autoptr(trend_t) trend = trend_new_bounded(bound, 100000);
		g_autoptr(GRand) rand = g_rand_new_with_seed((guint32)bound);
		int64_t truth[300], times[40], values[40], value = 100;
		for (int i = 0; i < 300; i++) {
			if (g_rand_boolean(rand))
				value = g_rand_int_range(rand, 1, 1000);
			truth[i] = value;
			add(trend, i, value);
			g_assert_cmpuint(trend_ticks(trend), <=, bound);
			size_t n = trend_series(trend, find(trend, "app.Leaky"), TREND_COUNT, times, values);
			g_assert_cmpuint(n, ==, trend_ticks(trend));
			for (size_t j = 0; j < n; j++)
				g_assert_cmpint(values[j], ==, truth[(times[j] - START) / G_USEC_PER_SEC]);
			g_assert_cmpint(times[0], ==, START); /* the first sample is never lost */
			g_assert_cmpint(values[n - 1], ==, value);
		}
	}
}

static void test_points_are_bounded(void)
{
	g_autoptr(trend_t) trend = trend_new_bounded(600, 2000);
	for (int i = 0; i < 200; i++) {
		g_autoptr(sample_t) sample = sample_at(i, 100);
		for (uint64_t t = 0; t < 100; t++) {
			g_autofree char *name = g_strdup_printf("T%" G_GUINT64_FORMAT, t);
			sample_add(sample, t + 1, "app", name, i + (int64_t)t);
		}
		trend_add(trend, sample);
		g_assert_cmpuint(trend_points(trend), <=, 2100);
	}
}

static void test_dead_types_are_forgotten(void)
{
	g_autoptr(trend_t) trend = trend_new_bounded(16, 100000);
	for (int i = 0; i < 500; i++) {
		g_autoptr(sample_t) sample = sample_at(i, 1);
		g_autofree char *name = g_strdup_printf("T%d", i);
		sample_add(sample, (uint64_t)i + 1, "app", name, 1);
		trend_add(trend, sample);
	}
	g_assert_cmpuint(trend_rows(trend)->len, <, 40);
}

static void test_clock_set_back(void)
{
	g_autoptr(trend_t) trend = trend_new();
	int64_t times[4], values[4];
	add(trend, 100, 1);
	add(trend, 50, 2);
	add(trend, 50, 3);
	g_assert_cmpuint(trend_series(trend, NULL, TREND_COUNT, times, values), ==, 3);
	g_assert_cmpint(times[0], <, times[1]);
	g_assert_cmpint(times[1], <, times[2]);
	g_assert_true(isfinite(find(trend, "app.Leaky")->rate));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/trend/" #name, test_##name)
	TEST(baseline);
	TEST(come_and_go);
	TEST(unknown);
	TEST(thinning);
	TEST(points_are_bounded);
	TEST(dead_types_are_forgotten);
	TEST(clock_set_back);
	return g_test_run();
}
