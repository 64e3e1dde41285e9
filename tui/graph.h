/*
 * Trends as graphs: a row of a table, or a box of a screen. Two values a column in braille (four levels a row), one value a column
 * in ASCII. A graph has a dot even at its lowest value, so that "flat" and "no history" look different.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "tui/frame.h"

struct series {
	const int64_t *times_us; /* ascending */
	const int64_t *values;
	size_t n;
	int64_t from_us, to_us; /* the time axis; samples outside are not shown */
};

/*
 * One row, `width` columns at (y, x). As long as there are no more samples than dots, each has its own, the newest at the right;
 * beyond that the axis is stretched over all of the time. The scale is the row's own, but a change of less than a hundredth of the
 * value stays small.
 */
void graph_row(struct frame *frame, int y, int x, int width, enum role role, const struct series *series);

/* A box of height x width, its axis all of the time; the scale goes from *low to *high, which are set to what was chosen. */
void graph_box(struct frame *frame, int y, int x, int height, int width, enum role role, const struct series *series,
	       int64_t *low, int64_t *high);
