#include "tui/graph.h"

#include <math.h>

#define MAX_DOTS 2000
#define BRAILLE  0x2800

/*
 * Values of dot columns; NAN: nothing to show there. With `stretch` few samples are drawn over all of the width; else each has one
 * dot, at the right.
 */
static void dots_collect(double *dots, size_t n_dots, const struct series *series, gboolean stretch)
{
	for (size_t i = 0; i < n_dots; i++)
		dots[i] = NAN;
	if (!stretch && series->n <= n_dots) {
		for (size_t i = 0; i < series->n; i++)
			dots[n_dots - series->n + i] = (double)series->values[i];
		return;
	}
	/* a dot is the mean of its samples; one without any shows the last value before it */
	double sum = 0, span = (double)(series->to_us - series->from_us);
	size_t dot = 0, count = 0;
	for (size_t i = 0; i < series->n; i++) {
		double place = span > 0 ? (double)(series->times_us[i] - series->from_us) / span : 1;
		size_t at = place <= 0 ? 0 : (size_t)(place * (double)(n_dots - 1) + 0.5);
		at = MIN(at, n_dots - 1);
		if (at != dot) {
			sum = 0;
			count = 0;
			dot = at;
		}
		sum += (double)series->values[i];
		dots[dot] = sum / (double)++count;
	}
	for (size_t i = 1; i < n_dots; i++)
		if (isnan(dots[i]))
			dots[i] = dots[i - 1];
}

static gboolean dots_range(const double *dots, size_t n, double *low, double *high)
{
	gboolean any = FALSE;
	for (size_t i = 0; i < n; i++) {
		if (isnan(dots[i]))
			continue;
		*low = any ? fmin(*low, dots[i]) : dots[i];
		*high = any ? fmax(*high, dots[i]) : dots[i];
		any = TRUE;
	}
	return any;
}

/* dots of a column from the bottom: 0 none, at least 1 for any value, at most `levels` */
static int dot_height(double value, double low, double high, int levels)
{
	if (isnan(value))
		return 0;
	if (high <= low)
		return 1;
	int height = 1 + (int)floor((value - low) / (high - low) * (levels - 1) + 0.5);
	return CLAMP(height, 1, levels);
}

/* the character of one cell whose left and right column reach `left` and `right` dots (0 to 4) up from its bottom */
static gunichar cell_glyph(int left, int right, gboolean ascii)
{
	static const guint8 left_bits[] = {0, 0x40, 0x44, 0x46, 0x47};
	static const guint8 right_bits[] = {0, 0x80, 0xa0, 0xb0, 0xb8};
	static const char levels[] = " .:|#";
	if (ascii)
		return (gunichar)levels[MAX(left, right)];
	if (!left && !right)
		return ' ';
	return BRAILLE | left_bits[left] | right_bits[right];
}

static void dots_draw(struct frame *frame, int y, int x, int height, int width, enum role role, const double *dots,
		      double low, double high)
{
	for (int column = 0; column < width; column++) {
		double first = frame->ascii ? dots[column] : dots[2 * column];
		double second = frame->ascii ? dots[column] : dots[2 * column + 1];
		int left = dot_height(first, low, high, 4 * height);
		int right = dot_height(second, low, high, 4 * height);
		for (int row = 0; row < height; row++) {
			int base = 4 * (height - 1 - row);
			gunichar c = cell_glyph(CLAMP(left - base, 0, 4), CLAMP(right - base, 0, 4), frame->ascii);
			frame_put(frame, y + row, x + column, role, c);
		}
	}
}

void graph_row(struct frame *frame, int y, int x, int width, enum role role, const struct series *series)
{
	double dots[MAX_DOTS] = {0}, low = 0, high = 0;
	width = CLAMP(width, 0, MAX_DOTS / 2);
	size_t n = frame->ascii ? (size_t)width : 2 * (size_t)width;
	if (!n)
		return;
	dots_collect(dots, n, series, FALSE);
	if (!dots_range(dots, n, &low, &high))
		return;
	double span = fmax(fmax(high - low, fabs(high) / 100), 3);
	dots_draw(frame, y, x, 1, width, role, dots, low, low + span);
}

void graph_box(struct frame *frame, int y, int x, int height, int width, enum role role, const struct series *series,
	       int64_t *low, int64_t *high)
{
	double dots[MAX_DOTS] = {0}, bottom = 0, top = 0;
	width = CLAMP(width, 0, MAX_DOTS / 2);
	size_t n = frame->ascii ? (size_t)width : 2 * (size_t)width;
	*low = *high = 0;
	if (!n || height < 1)
		return;
	dots_collect(dots, n, series, series->n > 1);
	if (!dots_range(dots, n, &bottom, &top))
		return;
	if (top - bottom < 4)
		top = bottom + 4;
	*low = (int64_t)llround(bottom);
	*high = (int64_t)llround(top);
	dots_draw(frame, y, x, height, width, role, dots, bottom, top);
}
