#include "daemon/analysis/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/analysis/growth.h"

#define POINTS 48 /* the series is seen as so many at most, evenly in time */
#define RESTLESS                                                                                                       \
	0.7 /* neighbours that differ by so many standard deviations have nothing to do with each other: 0.95 in noise */
#define FALL       0.4 /* a fall by such a part of the range is a tooth's */
#define STEP       0.6 /* the levels of a shift are such a part of the range apart */
#define LEVEL      0.2 /* and a level keeps within such a part of it */
#define ENDED      0.2 /* a warm-up does no more of its growth in its second half */
#define MIN_POINTS 8

const char *const shape_names[] = {"waiting", "flat", "steady", "warm-up", "saw-tooth", "level shift", "unclear"};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(const double *values, size_t n)
{
	double sorted[64];
	n = n < 64 ? n : 64;
	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* Medians of equal stretches of time; stretches without a sample are left out. Returns how many. */
static size_t condense(const int64_t *times_us, const int64_t *values, size_t n, double *points)
{
	size_t m = 0, from = 0;
	int64_t span = times_us[n - 1] - times_us[0];
	for (size_t i = 0; i < POINTS && from < n; i++) {
		int64_t until = times_us[0] + (int64_t)((double)span * (double)(i + 1) / POINTS);
		double part[64];
		size_t k = 0, to = from;
		while (to < n && (times_us[to] <= until || i + 1 == POINTS))
			to++;
		/* at most 64 of them, evenly */
		for (size_t j = from, stride = (to - from) / 64 + 1; j < to; j += stride)
			part[k++] = (double)values[j];
		if (k)
			points[m++] = median(part, k);
		from = to;
	}
	return m;
}

struct range {
	double low, high;
};

static struct range range_of(const double *points, size_t n)
{
	struct range range = {points[0], points[0]};
	for (size_t i = 1; i < n; i++) {
		range.low = fmin(range.low, points[i]);
		range.high = fmax(range.high, points[i]);
	}
	return range;
}

static double deviation(const double *points, size_t n)
{
	double sum = 0, squares = 0;
	for (size_t i = 0; i < n; i++)
		sum += points[i];
	for (size_t i = 0; i < n; i++)
		squares += (points[i] - sum / (double)n) * (points[i] - sum / (double)n);
	return sqrt(squares / (double)n);
}

/* How often it falls by a tooth's height, counted from peak to trough. */
static int falls(const double *points, size_t n, double height)
{
	int count = 0;
	double extreme = points[0];
	int falling = 0;
	for (size_t i = 1; i < n; i++) {
		if (falling ? points[i] < extreme : points[i] > extreme)
			extreme = points[i];
		if (!falling && extreme - points[i] >= height) {
			count++;
			falling = 1;
			extreme = points[i];
		} else if (falling && points[i] - extreme >= height) {
			falling = 0;
			extreme = points[i];
		}
	}
	return count;
}

/* Whether some moment parts it into two levels; one point may be on its way between them. */
static int is_shift(const double *points, size_t n, double whole)
{
	for (size_t k = 3; k + 3 <= n; k++) {
		for (size_t gap = 0; gap < 2 && k + gap + 3 <= n; gap++) {
			struct range before = range_of(points, k), after = range_of(points + k + gap, n - k - gap);
			double apart = median(points + k + gap, n - k - gap) - median(points, k);
			if (fabs(apart) >= STEP * whole && before.high - before.low <= LEVEL * whole &&
			    after.high - after.low <= LEVEL * whole)
				return 1;
		}
	}
	return 0;
}

enum shape shape_judge(const int64_t *times_us, const int64_t *values, size_t n)
{
	double points[POINTS];
	if (n < GROWTH_MIN_SAMPLES)
		return SHAPE_WAITING;
	if (growth_judge(times_us, values, n).verdict == GROWTH_STEADY)
		return SHAPE_STEADY;
	size_t m = condense(times_us, values, n, points);
	if (m < MIN_POINTS)
		return SHAPE_UNCLEAR;
	struct range range = range_of(points, m);
	double whole = range.high - range.low, steps[POINTS];
	for (size_t i = 1; i < m; i++)
		steps[i - 1] = fabs(points[i] - points[i - 1]);
	if (whole <= 0 || is_shift(points, m, whole))
		return whole <= 0 ? SHAPE_FLAT : SHAPE_LEVEL_SHIFT;
	if (median(steps, m - 1) > RESTLESS * deviation(points, m))
		return SHAPE_FLAT;
	if (falls(points, m, FALL * whole) >= 2)
		return SHAPE_SAW_TOOTH;
	double grown = points[m - 1] - points[0], late = points[m - 1] - points[m / 2];
	if (grown >= STEP * whole && late <= ENDED * grown)
		return SHAPE_WARM_UP;
	return SHAPE_UNCLEAR;
}
