/*
 * Does a series of numbers grow steadily? The question behind the verdict of the live view.
 *
 * Steady is what a leak looks like: up, evenly, still going on, over noise. What is not steady: a warm-up that has ended, a saw-tooth
 * (a cache that fills and is emptied), one step to a new level, noise. The test, over a window that ends now:
 *
 *  - the slope is the median of the slopes of all pairs (Theil 1950, Sen 1968): a few wild samples don't move it;
 *  - the trend is significant (Mann 1945, Kendall 1975, with the correction for ties): z >= 3;
 *  - of eight equal parts of the window, most have a median above the part's before; no single step of these holds half of the growth
 *    (a level shift does), and the second half grows like the first (a warm-up's doesn't);
 *  - no drop on the way is as large as a good part of the growth (a saw-tooth's is);
 *  - the end of the window still grows, where the growth expected there stands clear of the noise (a warm-up's doesn't).
 *
 * The window is the longest one that passes: all of the history, or a later part of it. A later part counts only if it reaches values
 * never seen before it, or is most of the history: else the rising edge of every tooth of a saw would be a leak. And it doesn't
 * count as the slow end of a faster rise: a warm-up approaches its limit so.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* fewer samples than this allow no verdict */
#define GROWTH_MIN_SAMPLES 10

enum growth_verdict {
	GROWTH_WAITING, /* fewer than GROWTH_MIN_SAMPLES */
	GROWTH_NONE,    /* not steady */
	GROWTH_STEADY,
};

struct growth {
	enum growth_verdict verdict;
	double rate;      /* per second over the window; 0 unless steady */
	int64_t since_us; /* time of the window's first sample; 0 unless steady */
	int64_t until_us; /* and of its last */
	int64_t amount;   /* last value of the window less its first; 0 unless steady */
};

/* Judge `n` values at times in µs, strictly ascending. */
struct growth growth_judge(const int64_t *times_us, const int64_t *values, size_t n);

/* The Theil-Sen slope per second; 0 for fewer than two values. At most 64 points are used (medians of neighbours beyond that). */
double growth_slope(const int64_t *times_us, const int64_t *values, size_t n);

/* How much neighbouring values differ by chance: the median deviation of the differences from their median. 0 below 3 values. */
double growth_noise(const int64_t *values, size_t n);
