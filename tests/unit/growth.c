/* Planted histories: what must be called a leak, and what must not. Random numbers come from a fixed seed. */
#include <glib.h>
#include <math.h>

#include "daemon/analysis/growth.h"

#define LENGTH 600

struct history {
	size_t n;
	int64_t time[LENGTH];
	int64_t value[LENGTH];
};

static void history_add(struct history *history, double value)
{
	g_assert_cmpuint(history->n, <, LENGTH);
	history->time[history->n] = (int64_t)history->n * 1000000 + 1700000000000000;
	history->value[history->n++] = (int64_t)llround(value);
}

static struct growth judge(const struct history *history)
{
	return growth_judge(history->time, history->value, history->n);
}

static void assert_never(const struct history *history, size_t from)
{
	for (size_t n = from; n <= history->n; n++) {
		struct growth growth = growth_judge(history->time, history->value, n);
		if (growth.verdict == GROWTH_STEADY)
			g_error("steady at sample %zu: %g/s since %g s", n, growth.rate,
				(double)(growth.since_us - history->time[0]) / 1e6);
	}
}

static void test_too_few(void)
{
	struct history history = {0};
	for (int i = 0; i < GROWTH_MIN_SAMPLES - 1; i++)
		history_add(&history, i * 1000);
	g_assert_cmpint(judge(&history).verdict, ==, GROWTH_WAITING);
	history_add(&history, 9000);
	g_assert_cmpint(judge(&history).verdict, ==, GROWTH_STEADY);
	g_assert_cmpint(growth_judge(NULL, NULL, 0).verdict, ==, GROWTH_WAITING);
}

static void test_leak_with_noise(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	struct history history = {0};
	for (int i = 0; i < 130; i++)
		history_add(&history, 5000 + 1000 * i + g_rand_double_range(rand, -800, 800));
	for (size_t n = 12; n <= history.n; n++)
		g_assert_cmpint(growth_judge(history.time, history.value, n).verdict, ==, GROWTH_STEADY);
	struct growth growth = judge(&history);
	g_assert_cmpfloat_with_epsilon(growth.rate, 1000, 10);
	g_assert_cmpint(growth.since_us, ==, history.time[0]);
	g_assert_cmpint(growth.until_us, ==, history.time[129]);
	g_assert_cmpint(growth.amount, ==, history.value[129] - history.value[0]);
}

static void test_flat(void)
{
	struct history history = {0};
	for (int i = 0; i < 300; i++)
		history_add(&history, 4711);
	assert_never(&history, 1);
}

/* noise around a level: of 200 seeds no more than a few may look like a trend at the end (the test has z >= 3) */
static void test_noise(void)
{
	int wrong = 0;
	for (guint32 seed = 0; seed < 200; seed++) {
		g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
		struct history history = {0};
		for (int i = 0; i < 120; i++)
			history_add(&history, 10000 + g_rand_double_range(rand, -50, 50));
		wrong += judge(&history).verdict == GROWTH_STEADY;
	}
	g_assert_cmpint(wrong, <=, 2);
}

static void test_warm_up(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);
	struct history history = {0};
	for (int i = 0; i < 40; i++)
		history_add(&history, 2500 * i);
	g_assert_cmpint(judge(&history).verdict, ==, GROWTH_STEADY); /* so far it can't be told from a leak */
	for (int i = 0; i < 400; i++)
		history_add(&history, 100000 + g_rand_double_range(rand, -20, 20));
	assert_never(&history, 48); /* known within a few samples, and for good */
}

/* a cache that approaches its limit: 1 - exp(-t/30 s) */
static void test_saturation(void)
{
	struct history history = {0};
	for (int i = 0; i < 500; i++)
		history_add(&history, 100000 * (1 - exp(-i / 30.0)));
	assert_never(&history, 150);
}

static void test_saw_tooth(void)
{
	static const int periods[] = {5, 13, 30, 60, 100};
	for (size_t p = 0; p < G_N_ELEMENTS(periods); p++) {
		struct history history = {0};
		for (int i = 0; i < 500; i++)
			history_add(&history, 1000 + 100 * (i % periods[p]));
		/* until the second tooth is as high as the first was, nothing is known about it */
		assert_never(&history, (size_t)periods[p] + 1);
	}
}

/* teeth of different heights, emptied at random */
static void test_random_saw_tooth(void)
{
	int wrong = 0, judged = 0;
	for (guint32 seed = 0; seed < 30; seed++) {
		g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
		struct history history = {0};
		double value = 0;
		for (int i = 0; i < 600; i++) {
			value = g_rand_double(rand) < 0.04 ? 0 : value + g_rand_double_range(rand, 50, 150);
			history_add(&history, value);
		}
		for (size_t n = 200; n <= 600; n += 10, judged++)
			wrong += growth_judge(history.time, history.value, n).verdict == GROWTH_STEADY;
	}
	/* a tooth that rises far above any before it is mistaken while it lasts: the lengths are exponential, so some
	 * do */
	g_assert_cmpint(wrong * 25, <=, judged);
}

static void test_saw_tooth_on_a_leak(void)
{
	struct history history = {0};
	for (int i = 0; i < 600; i++)
		history_add(&history, 100 * i + 200 * (i % 20));
	struct growth growth = judge(&history);
	g_assert_cmpint(growth.verdict, ==, GROWTH_STEADY);
	g_assert_cmpfloat_with_epsilon(growth.rate, 100, 5);
}

static void test_level_shift(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(5);
	for (int at = 0; at < 300; at += 7) {
		struct history history = {0};
		for (int i = 0; i < 300; i++)
			history_add(&history, (i < at ? 1000 : 60000) + g_rand_double_range(rand, -3, 3));
		g_assert_cmpint(judge(&history).verdict, ==, GROWTH_NONE);
	}
}

static void test_two_shifts(void)
{
	struct history history = {0};
	for (int i = 0; i < 300; i++)
		history_add(&history, i < 100 ? 10 : i < 200 ? 500 : 1000);
	assert_never(&history, 101);
}

/* 2 objects a minute under a noise of ±10: seen in ten minutes */
static void test_slow_leak_under_noise(void)
{
	int found = 0;
	for (guint32 seed = 0; seed < 50; seed++) {
		g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
		struct history history = {0};
		for (int i = 0; i < 600; i++)
			history_add(&history, 300 + i * 2 / 60.0 + g_rand_double_range(rand, -10, 10));
		struct growth growth = judge(&history);
		if (growth.verdict != GROWTH_STEADY)
			continue;
		found++;
		g_assert_cmpfloat(growth.rate * 60, >, 1);
		g_assert_cmpfloat(growth.rate * 60, <, 4);
	}
	g_assert_cmpint(found, >=, 45);
}

/* one object every 20 s, nothing else */
static void test_slow_quantised_leak(void)
{
	struct history history = {0};
	for (int i = 0; i < 400; i++)
		history_add(&history, 7 + i / 20);
	struct growth growth = judge(&history);
	g_assert_cmpint(growth.verdict, ==, GROWTH_STEADY);
	g_assert_cmpfloat_with_epsilon(growth.rate * 60, 3, 0.3);
}

static void test_late_leak(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(8);
	struct history history = {0};
	for (int i = 0; i < 400; i++)
		history_add(&history, 90000 + (i > 300 ? 40 * (i - 300) : 0) + g_rand_double_range(rand, -5, 5));
	struct growth growth = judge(&history);
	g_assert_cmpint(growth.verdict, ==, GROWTH_STEADY);
	g_assert_cmpfloat_with_epsilon(growth.rate, 40, 1);
	g_assert_cmpfloat_with_epsilon((double)(growth.since_us - history.time[0]) / 1e6, 300, 8);
}

static void test_leak_after_a_purge(void)
{
	struct history history = {0};
	for (int i = 0; i < 40; i++)
		history_add(&history, 500000);
	for (int i = 0; i < 200; i++)
		history_add(&history, 50 * i);
	struct growth growth = judge(&history);
	g_assert_cmpint(growth.verdict, ==, GROWTH_STEADY);
	g_assert_cmpfloat_with_epsilon(growth.rate, 50, 1);
}

static void test_leak_that_stopped(void)
{
	struct history history = {0};
	for (int i = 0; i < 300; i++)
		history_add(&history, 1000 * i);
	for (int i = 0; i < 100; i++)
		history_add(&history, 300000);
	assert_never(&history, 350);
}

static void test_shrinking(void)
{
	struct history history = {0};
	for (int i = 0; i < 100; i++)
		history_add(&history, 100000 - 900 * i);
	assert_never(&history, 1);
}

static void test_bursts(void)
{
	struct history history = {0};
	for (int i = 0; i < 600; i++)
		history_add(&history, 1000 * (i / 30));
	for (size_t n = 300; n <= 600; n++)
		g_assert_cmpint(growth_judge(history.time, history.value, n).verdict, ==, GROWTH_STEADY);
}

static void test_extremes(void)
{
	struct history history = {0};
	for (int i = 0; i < 50; i++) {
		history.time[i] = i + 1;
		history.value[i] = i % 2 ? INT64_MAX / 2 : INT64_MIN / 2;
		history.n++;
	}
	g_assert_cmpint(judge(&history).verdict, ==, GROWTH_NONE);
	g_assert_cmpfloat(growth_slope(history.time, history.value, 1), ==, 0);
}

static void test_noise_measure(void)
{
	struct history history = {0};
	for (int i = 0; i < 100; i++)
		history_add(&history, 1000 * i);
	g_assert_cmpfloat(growth_noise(history.value, 100), ==, 0); /* even growth is no noise */
	g_autoptr(GRand) rand = g_rand_new_with_seed(9);
	for (int i = 0; i < 100; i++)
		history.value[i] += g_rand_int_range(rand, -30, 31);
	g_assert_cmpfloat(growth_noise(history.value, 100), >, 15);
	g_assert_cmpfloat(growth_noise(history.value, 100), <, 45);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/growth/" #name, test_##name)
	TEST(too_few);
	TEST(leak_with_noise);
	TEST(flat);
	TEST(noise);
	TEST(warm_up);
	TEST(saturation);
	TEST(saw_tooth);
	TEST(random_saw_tooth);
	TEST(saw_tooth_on_a_leak);
	TEST(level_shift);
	TEST(two_shifts);
	TEST(slow_leak_under_noise);
	TEST(slow_quantised_leak);
	TEST(late_leak);
	TEST(leak_after_a_purge);
	TEST(leak_that_stopped);
	TEST(shrinking);
	TEST(bursts);
	TEST(extremes);
	TEST(noise_measure);
	return g_test_run();
}
