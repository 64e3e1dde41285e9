/*
 * The default order: what grew since the baseline comes first, so a leak rises to the top by itself, and rows move only for a reason.
 * The order of the last sample is kept, and a row passes the one above it only when it clearly belongs there.
 */
#include <stdlib.h>
#include <string.h>

#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

#define CLEARLY       1.1 /* so much more makes a row pass another */
#define STEADY_WEIGHT 10  /* steady growth counts as so much more than growth that may be a warm-up or a tooth */

static double weight(const struct trend_row *row, enum trend_metric metric)
{
	/* what leaks is the program's own class; dicts, lists and strings come along with it */
	double growth =
		(double)row->settled[metric] * (row->builtin || row->settled[metric] < 0 ? 1 : VERDICT_OWN_WEIGHT);
	return growth > 0 && row->growth[metric].verdict == GROWTH_STEADY ? growth * STEADY_WEIGHT : growth;
}

/* 1: x clearly above y, -1: clearly below, 0: alike. `margin` 1 compares exactly. */
static int clearly(double x, double y, double margin)
{
	if (x > 0 && x > y * margin && x > y)
		return 1;
	if (y > 0 && y > x * margin && y > x)
		return -1;
	if (x > 0 || y > 0)
		return 0;
	/* both shrink or stand still: what shrinks goes below what stands */
	if (x * margin < y && x < y)
		return -1;
	return y * margin < x && y < x ? 1 : 0;
}

static int growth_order(const struct trend_row *x, const struct trend_row *y, double margin)
{
	double count_x = weight(x, TREND_COUNT), count_y = weight(y, TREND_COUNT);
	int order = clearly(count_x, count_y, margin);
	if (order)
		return order;
	for (enum trend_metric metric = TREND_BYTES; metric <= TREND_REFS; metric++) {
		order = clearly(weight(x, metric), weight(y, metric), margin);
		if (order)
			return order;
	}
	if (count_x > 0 || count_y > 0)
		return 0;
	return clearly((double)x->last[TREND_BYTES], (double)y->last[TREND_BYTES], margin > 1 ? margin * CLEARLY : 1);
}

static int growth_compare(gconstpointer a, gconstpointer b)
{
	const struct trend_row *x = *(struct trend_row *const *)a, *y = *(struct trend_row *const *)b;
	int order = growth_order(x, y, 1);
	if (order)
		return -order;
	order = strcmp(x->name, y->name);
	return order ? order : (x->address > y->address) - (x->address < y->address);
}

void order_by_growth(GPtrArray *rows, gboolean fresh)
{
	if (fresh)
		g_ptr_array_sort(rows, growth_compare);
	for (guint i = 1; i < rows->len; i++) {
		struct trend_row *row = rows->pdata[i];
		guint at = i;
		while (at > 0 && growth_order(row, rows->pdata[at - 1], CLEARLY) > 0) {
			rows->pdata[at] = rows->pdata[at - 1];
			at--;
		}
		rows->pdata[at] = row;
	}
}
