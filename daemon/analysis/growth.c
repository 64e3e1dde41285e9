#include "daemon/analysis/growth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* a window is condensed to so many points: 2016 pairs, and noise shorter than a point is gone */
#define MAX_POINTS 64
#define MAX_PAIRS  (MAX_POINTS * (MAX_POINTS - 1) / 2)

/* what "steady" means in numbers; tests/unit/growth.c plants histories on both sides of each */
#define SEGMENTS        8    /* equal parts of a window, each with its median, its level */
#define MIN_RISE        0.25 /* a step goes up when it is so much of an even step */
#define MIN_RISES       5    /* of the 7 steps between levels, so many must go up */
#define MAX_STEP        0.5  /* the largest share of the growth one step may hold; a level shift is one step */
#define MIN_LATE        0.5  /* growth of the second half over that of the first: less is a warm-up that settles */
#define MIN_Z           3.0  /* Mann-Kendall, all of the history */
#define MIN_Z_PART      3.5  /* and a later part of it, of which many are tried */
#define MAX_DROP        0.4  /* the largest drop on the way, as a share of the growth */
#define MIN_TAIL        0.25 /* the growth of the last eighth, as a share of what the slope promises */
#define MIN_AMOUNT      4.0  /* units: a smaller growth is nobody's leak yet */
#define NEW_GROUND      0.5  /* share of a later window's growth that lies above everything before it */
#define MOST_OF_HISTORY 0.6  /* share of the time from which a window needs no new ground */
#define MAX_SLOWDOWN    1.5  /* rate of the 4 window lengths before a later window, over that of the window */
#define UNEVEN          0.65 /* the older half of the values spans so much of the time */
#define MIN_PART        8    /* a later window is at least 1/8 of the samples */
#define NEXT_WINDOW     0.8  /* the next window to try is so much of the last */

struct points {
	size_t n;
	double time[MAX_POINTS]; /* seconds from the window's start */
	double value[MAX_POINTS];
};

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Hoare's selection: the k-th smallest goes to values[k], smaller ones before it, larger ones behind. */
static void select_nth(double *values, size_t n, size_t k)
{
	size_t low = 0, high = n - 1;
	while (low < high) {
		double pivot = values[low + (high - low) / 2];
		size_t i = low, j = high;
		for (;;) {
			while (i < high && values[i] < pivot)
				i++;
			while (j > low && values[j] > pivot)
				j--;
			if (i >= j)
				break;
			double swap = values[i];
			values[i++] = values[j];
			values[j--] = swap;
		}
		/* everything up to j is at most the pivot, everything behind it at least */
		if (k <= j)
			high = j;
		else
			low = j + 1;
	}
}

/* reorders `values` */
static double median(double *values, size_t n)
{
	if (!n)
		return 0;
	select_nth(values, n, n / 2);
	if (n % 2)
		return values[n / 2];
	double below = values[0];
	for (size_t i = 1; i < n / 2; i++)
		below = fmax(below, values[i]);
	return (below + values[n / 2]) / 2;
}

/* Each point is the median of the time and of the value of a run of neighbours, all runs about equally long. */
static void points_condense(struct points *points, const int64_t *times_us, const int64_t *values, size_t n)
{
	points->n = n < MAX_POINTS ? n : MAX_POINTS;
	for (size_t i = 0; i < points->n; i++) {
		size_t from = i * n / points->n, to = (i + 1) * n / points->n;
		size_t middle = from + (to - from) / 2;
		points->time[i] = (double)(times_us[middle] - times_us[0]) / 1e6;
		double run[16];
		size_t n_run = 0, stride = (to - from + 15) / 16;
		for (size_t j = from; j < to; j += stride)
			run[n_run++] = (double)values[j];
		points->value[i] = median(run, n_run);
	}
}

static double points_slope(const struct points *points)
{
	double slopes[MAX_PAIRS];
	size_t n = 0;
	for (size_t i = 0; i < points->n; i++)
		for (size_t j = i + 1; j < points->n; j++)
			if (points->time[j] > points->time[i])
				slopes[n++] =
					(points->value[j] - points->value[i]) / (points->time[j] - points->time[i]);
	return median(slopes, n);
}

/* The Mann-Kendall statistic: how many standard deviations the number of rising pairs lies above chance. */
static double points_significance(const struct points *points)
{
	double n = (double)points->n, s = 0;
	for (size_t i = 0; i < points->n; i++)
		for (size_t j = i + 1; j < points->n; j++)
			s += (points->value[j] > points->value[i]) - (points->value[j] < points->value[i]);
	double sorted[MAX_POINTS], variance = n * (n - 1) * (2 * n + 5);
	memcpy(sorted, points->value, points->n * sizeof(*sorted));
	qsort(sorted, points->n, sizeof(*sorted), double_compare);
	for (size_t i = 0, run; i < points->n; i += run) {
		for (run = 1; i + run < points->n && sorted[i + run] <= sorted[i]; run++)
			;
		double ties = (double)run;
		variance -= ties * (ties - 1) * (2 * ties + 5);
	}
	if (variance <= 0)
		return 0;
	return (s - (s > 0) + (s < 0)) / sqrt(variance / 18);
}

static double range_median(const struct points *points, size_t from, size_t to)
{
	double values[MAX_POINTS];
	memcpy(values, points->value + from, (to - from) * sizeof(*values));
	return median(values, to - from);
}

/* how much neighbours differ by chance: even growth has none */
static double points_noise(const struct points *points)
{
	double steps[MAX_POINTS], sorted[MAX_POINTS] = {0};
	size_t n = points->n - 1;
	for (size_t i = 0; i < n; i++)
		steps[i] = sorted[i] = points->value[i + 1] - points->value[i];
	double middle = median(sorted, n);
	for (size_t i = 0; i < n; i++)
		steps[i] = fabs(steps[i] - middle);
	return 1.4826 * median(steps, n);
}

static bool levels_rise_evenly(const struct points *points, double noise)
{
	double level[SEGMENTS], largest = 0;
	for (size_t i = 0; i < SEGMENTS; i++)
		level[i] = range_median(points, i * points->n / SEGMENTS, (i + 1) * points->n / SEGMENTS);
	double amount = level[SEGMENTS - 1] - level[0];
	int rises = 0;
	for (size_t i = 1; i < SEGMENTS; i++) {
		rises += level[i] - level[i - 1] > MIN_RISE * amount / (SEGMENTS - 1);
		largest = fmax(largest, level[i] - level[i - 1]);
	}
	double early = level[SEGMENTS / 2 - 1] - level[0], late = level[SEGMENTS - 1] - level[SEGMENTS / 2];
	return amount >= MIN_AMOUNT * (SEGMENTS - 1) / SEGMENTS && rises >= MIN_RISES && largest <= MAX_STEP * amount &&
	       late + noise >= MIN_LATE * early;
}

static double largest_drop(const struct points *points)
{
	double high = points->value[0], drop = 0;
	for (size_t i = 1; i < points->n; i++) {
		high = fmax(high, points->value[i]);
		drop = fmax(drop, high - points->value[i]);
	}
	return drop;
}

static bool tail_grows(const struct points *points, double slope, double noise)
{
	size_t n = points->n, tail = n / 8 > 4 ? n / 8 : 4;
	double promised = slope * (points->time[n - 1] - points->time[n - 1 - tail]);
	if (promised < MIN_AMOUNT || promised < 3 * noise)
		return true; /* can't be told from noise yet */
	return points->value[n - 1] - points->value[n - 1 - tail] >= MIN_TAIL * promised;
}

/* One window of the test; *slope is set when it passes. */
static bool window_steady(const int64_t *times_us, const int64_t *values, size_t n, double min_z, double *slope)
{
	struct points points;
	points_condense(&points, times_us, values, n);
	double noise = points_noise(&points);
	if (!levels_rise_evenly(&points, noise))
		return false;
	double amount = points.value[points.n - 1] - points.value[0];
	if (largest_drop(&points) - 3 * noise > MAX_DROP * amount || points_significance(&points) < min_z)
		return false;
	*slope = points_slope(&points);
	return *slope > 0 && tail_grows(&points, *slope, noise);
}

/* Whether a window that begins at `start`, after other samples, may speak for the series. */
static bool window_counts(const int64_t *times_us, const int64_t *values, size_t n, size_t start, double slope)
{
	double all = (double)(times_us[n - 1] - times_us[0]), part = (double)(times_us[n - 1] - times_us[start]);
	size_t length = n - start, before = start > 4 * length ? start - 4 * length : 0;
	double earlier = (double)(values[start] - values[before]);
	double promised = slope * (double)(times_us[start] - times_us[before]) / 1e6;
	if (earlier > MAX_SLOWDOWN * promised + MIN_AMOUNT)
		return false; /* the late part of a rise that slows down */
	if (part >= MOST_OF_HISTORY * all)
		return true;
	int64_t high = values[0];
	for (size_t i = 1; i < start; i++)
		if (values[i] > high)
			high = values[i];
	double grown = (double)(values[n - 1] - values[start]);
	return (double)(values[n - 1] - high) >= NEW_GROUND * grown;
}

/*
 * The windows tried have coarse starts. Move the start to where the line of the window begins to hold: back while earlier values
 * lie on it, forward while the first ones lie off it.
 */
static size_t window_refine(const int64_t *times_us, const int64_t *values, size_t n, size_t start, double slope)
{
	double end = (double)values[n - 1], grown = end - (double)values[start];
	double slack = fmax(0.05 * grown, 2);
	size_t latest = n - GROWTH_MIN_SAMPLES;
#define OFF_LINE(i) fabs((double)values[i] - (end - slope * (double)(times_us[n - 1] - times_us[i]) / 1e6))
	while (start > 0 && OFF_LINE(start - 1) <= slack)
		start--;
	while (start < latest && OFF_LINE(start) > slack && OFF_LINE(start + 1) < OFF_LINE(start))
		start++;
#undef OFF_LINE
	return start;
}

static struct growth judge(const int64_t *times_us, const int64_t *values, size_t n)
{
	struct growth growth = {.verdict = n < GROWTH_MIN_SAMPLES ? GROWTH_WAITING : GROWTH_NONE};
	size_t shortest = n / MIN_PART > GROWTH_MIN_SAMPLES ? n / MIN_PART : GROWTH_MIN_SAMPLES;
	for (size_t window = n; window >= shortest; window = (size_t)((double)window * NEXT_WINDOW)) {
		size_t start = n - window;
		double slope;
		if (!window_steady(times_us + start, values + start, window, start ? MIN_Z_PART : MIN_Z, &slope))
			continue;
		if (start && !window_counts(times_us, values, n, start, slope))
			continue;
		for (int i = 0; i < 3; i++) {
			start = window_refine(times_us, values, n, start, slope);
			slope = growth_slope(times_us + start, values + start, n - start);
		}
		growth.verdict = GROWTH_STEADY;
		growth.rate = slope;
		growth.since_us = times_us[start];
		growth.until_us = times_us[n - 1];
		growth.amount = values[n - 1] - values[start];
		break;
	}
	return growth;
}

/* Medians of equal stretches of time, at the median time of each; stretches without a value are left out. Returns how many. */
static size_t even_out(const int64_t *times_us, const int64_t *values, size_t n, int64_t *even_times,
		       int64_t *even_values)
{
	size_t m = 0;
	int64_t span = times_us[n - 1] - times_us[0];
	for (size_t from = 0, to; from < n; from = to) {
		int64_t stretch = (int64_t)((double)(times_us[from] - times_us[0]) / (double)(span + 1) * MAX_POINTS);
		double part[MAX_POINTS];
		size_t k = 0;
		for (to = from; to < n; to++)
			if ((int64_t)((double)(times_us[to] - times_us[0]) / (double)(span + 1) * MAX_POINTS) !=
			    stretch)
				break;
		for (size_t i = from, stride = (to - from) / MAX_POINTS + 1; i < to; i += stride)
			part[k++] = (double)values[i];
		even_times[m] = times_us[from + (to - from) / 2];
		even_values[m++] = (int64_t)median(part, k);
	}
	return m;
}

struct growth growth_judge(const int64_t *times_us, const int64_t *values, size_t n)
{
	struct growth growth = judge(times_us, values, n);
	int64_t even_times[MAX_POINTS + 1], even_values[MAX_POINTS + 1];
	/*
	 * A history that was thinned out where it is old has most of its values in the recent past. Growth that is slow against the
	 * noise shows only where all stretches of time count the same.
	 */
	if (growth.verdict == GROWTH_WAITING || n <= MAX_POINTS / 2 ||
	    (double)(times_us[n / 2] - times_us[0]) < UNEVEN * (double)(times_us[n - 1] - times_us[0]))
		return growth;
	size_t m = even_out(times_us, values, n, even_times, even_values);
	struct growth even = judge(even_times, even_values, m);
	bool longer = growth.verdict != GROWTH_STEADY || even.since_us < growth.since_us;
	return even.verdict == GROWTH_STEADY && longer ? even : growth;
}

double growth_slope(const int64_t *times_us, const int64_t *values, size_t n)
{
	struct points points;
	if (n < 2)
		return 0;
	points_condense(&points, times_us, values, n);
	return points_slope(&points);
}

double growth_noise(const int64_t *values, size_t n)
{
	struct points points;
	if (n < 3)
		return 0;
	points.n = n < MAX_POINTS ? n : MAX_POINTS;
	for (size_t i = 0; i < points.n; i++)
		points.value[i] = (double)values[n - points.n + i];
	return points_noise(&points);
}
