/*
 * The columns of the types table. One table: titles, sort keys and the sort menu, widths, cells and order come from it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tui/graph.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

/* ---- values ---- */

static gboolean change_known(const struct trend_row *row, enum trend_metric metric)
{
	return row->last[metric] != SAMPLE_UNKNOWN && row->baseline[metric] != SAMPLE_UNKNOWN;
}

static gint64 change(const struct trend_row *row, enum trend_metric metric)
{
	return change_known(row, metric) ? row->last[metric] - row->baseline[metric] : 0;
}

static gint64 since(const struct trend_row *row)
{
	if (row->leaks == TREND_METRICS)
		return SAMPLE_UNKNOWN;
	return row->growth[row->leaks].until_us - row->growth[row->leaks].since_us;
}

static double per_object(const struct trend_row *row, enum trend_metric metric)
{
	gint64 mortal = row->last[TREND_COUNT];
	if (metric == TREND_REFS && row->immortal > 0)
		mortal -= row->immortal;
	if (row->last[TREND_COUNT] == SAMPLE_UNKNOWN || row->last[metric] == SAMPLE_UNKNOWN || mortal <= 0)
		return -1;
	return (double)row->last[metric] / (double)mortal;
}

/* ---- cells ---- */

static void name_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct trend_row *row = data;
	g_autofree char *name = text_elide(row->name, width);
	g_strlcpy(out, name, TABLE_CELL);
}

#define CELL_LAST(function, metric)                                                                                    \
	static void function(const void *row, const void *context, int width, char out[TABLE_CELL])                    \
	{                                                                                                              \
		table_count(out, width, ((const struct trend_row *)row)->last[metric]);                                \
	}
CELL_LAST(count_text, TREND_COUNT)
CELL_LAST(refs_text, TREND_REFS)

#define CELL_CHANGE(function, metric)                                                                                  \
	static void function(const void *row, const void *context, int width, char out[TABLE_CELL])                    \
	{                                                                                                              \
		if (change_known(row, metric))                                                                         \
			table_change(out, width, change(row, metric));                                                 \
		else                                                                                                   \
			g_strlcpy(out, "-", TABLE_CELL);                                                               \
	}
CELL_CHANGE(count_change_text, TREND_COUNT)
CELL_CHANGE(refs_change_text, TREND_REFS)

static void rate_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct trend_row *row = data;
	if (isfinite(row->rate))
		table_change(out, width, (gint64)llround(row->rate));
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static void bytes_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	table_bytes(out, ((const struct trend_row *)data)->last[TREND_BYTES]);
}

static void bytes_change_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	if (change_known(data, TREND_BYTES))
		table_bytes_change(out, change(data, TREND_BYTES));
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static void refs_max_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, ((const struct trend_row *)data)->refs_max);
}

static void owned_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	table_bytes(out, ((const struct trend_row *)data)->owned);
}

static void immortal_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, ((const struct trend_row *)data)->immortal);
}

static void refs_each_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	double each = per_object(data, TREND_REFS);
	if (each < 0)
		g_strlcpy(out, "-", TABLE_CELL);
	else if (each < 1000)
		snprintf(out, TABLE_CELL, "%.1f", each);
	else
		table_count(out, width, (gint64)llround(each));
}

static void bytes_each_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	double each = per_object(data, TREND_BYTES);
	table_bytes(out, each < 0 ? SAMPLE_UNKNOWN : (gint64)llround(each));
}

static void since_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	gint64 us = since(data);
	g_autofree char *words = us < 0 ? g_strdup("-") : words_duration(us, TRUE);
	g_strlcpy(out, words, TABLE_CELL);
}

static void unexplained_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, view_unexplained(context, data));
}

/* "44.1k/2.9k" */
static void turnover_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct trend_row *row = data;
	char born[TABLE_CELL], died[TABLE_CELL];
	int half = (width - 1) / 2;
	table_count(born, half, row->born);
	table_count(died, half, row->died);
	if (row->born == SAMPLE_UNKNOWN)
		g_strlcpy(out, "-", TABLE_CELL);
	else
		snprintf(out, TABLE_CELL, "%.20s/%.20s", born, died);
}

static enum role turnover_role(const void *data, const void *context)
{
	const struct trend_row *row = data;
	return row->born > 0 || row->died > 0 ? ROLE_TEXT : ROLE_DIM;
}

static enum role unexplained_role(const void *data, const void *context)
{
	if (view_unexplained_growth(context, data) > 0)
		return ROLE_GROWS;
	return view_unexplained(context, data) > 0 ? ROLE_TEXT : ROLE_DIM;
}

/* "4711 +5,790" */
static void worst_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct view *view = context;
	struct member_type type;
	const struct trend_row *row = data;
	const struct member *member = view->members ? members_worst(view->members, row->name, &type) : NULL;
	if (!member) {
		g_strlcpy(out, "-", TABLE_CELL);
		return;
	}
	int n = snprintf(out, TABLE_CELL, "%" G_GINT64_FORMAT " ", member->pid);
	char rate[TABLE_CELL];
	table_change(rate, MAX(width - n, 4), (gint64)llround(type.rate));
	g_strlcat(out, rate, TABLE_CELL);
}

static enum role worst_role(const void *data, const void *context)
{
	const struct view *view = context;
	struct member_type type;
	const struct trend_row *row = data;
	const struct member *member = view->members ? members_worst(view->members, row->name, &type) : NULL;
	return !member ? ROLE_DIM : type.steady ? ROLE_GROWS : ROLE_TEXT;
}

static void address_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	snprintf(out, TABLE_CELL, "0x%" G_GINT64_MODIFIER "x", ((const struct trend_row *)data)->address);
}

static void trend_draw(struct frame *frame, int y, int x, int width, const void *data, const void *context)
{
	const struct trend_row *row = data;
	const struct view *view = context;
	size_t room = trend_ticks(view->trend);
	g_autofree int64_t *times = g_new(int64_t, room), *values = g_new(int64_t, room);
	enum trend_metric metric = view_metric(view, row);
	struct series series = {times, values, 0, trend_first_time(view->trend), trend_last(view->trend)->time_us};
	series.n = trend_series(view->trend, row, metric, times, values);
	gboolean grows = row->growth[metric].verdict == GROWTH_STEADY && row->leaks <= metric;
	graph_row(frame, y, x, width, grows ? ROLE_GROWS : ROLE_GRAPH, &series);
}

/* ---- roles ---- */

static enum role change_role(const struct trend_row *row, enum trend_metric metric)
{
	if (row->growth[metric].verdict == GROWTH_STEADY && row->leaks <= metric)
		return ROLE_GROWS;
	gint64 by = change(row, metric);
	return by > 0 ? ROLE_TEXT : by < 0 ? ROLE_SHRINKS : ROLE_DIM;
}

#define ROLE_CHANGE(function, metric)                                                                                  \
	static enum role function(const void *row, const void *context)                                                \
	{                                                                                                              \
		return change_role(row, metric);                                                                       \
	}
ROLE_CHANGE(count_role, TREND_COUNT)
ROLE_CHANGE(bytes_role, TREND_BYTES)
ROLE_CHANGE(refs_role, TREND_REFS)

static enum role rate_role(const void *data, const void *context)
{
	const struct trend_row *row = data;
	if (row->growth[TREND_COUNT].verdict == GROWTH_STEADY)
		return ROLE_GROWS;
	return !isfinite(row->rate) || llround(row->rate) == 0 ? ROLE_DIM : row->rate < 0 ? ROLE_SHRINKS : ROLE_TEXT;
}

static enum role name_role(const void *data, const void *context)
{
	const struct trend_row *row = data;
	if (row->leaks != TREND_METRICS)
		return ROLE_GROWS;
	return row->last[TREND_COUNT] == 0 ? ROLE_DIM : ROLE_TEXT;
}

static enum role dim_role(const void *data, const void *context)
{
	return ROLE_DIM;
}

/* ---- order ---- */

#define ORDER(x, y) ((x) > (y)) - ((x) < (y))
#define COMPARE(function, expression)                                                                                  \
	static int function(const void *a, const void *b, const void *context)                                         \
	{                                                                                                              \
		const struct trend_row *row = a;                                                                       \
		double x = (double)(expression);                                                                       \
		row = b;                                                                                               \
		double y = (double)(expression);                                                                       \
		return ORDER(x, y);                                                                                    \
	}
COMPARE(count_compare, row->last[TREND_COUNT])
COMPARE(count_change_compare, change(row, TREND_COUNT))
COMPARE(rate_compare, isfinite(row->rate) ? row->rate : 0)
COMPARE(bytes_compare, row->last[TREND_BYTES])
COMPARE(bytes_change_compare, change(row, TREND_BYTES))
COMPARE(refs_compare, row->last[TREND_REFS])
COMPARE(refs_change_compare, change(row, TREND_REFS))
COMPARE(refs_max_compare, row->refs_max)
COMPARE(refs_each_compare, per_object(row, TREND_REFS))
COMPARE(bytes_each_compare, per_object(row, TREND_BYTES))
COMPARE(owned_compare, row->owned)
COMPARE(immortal_compare, row->immortal)
COMPARE(unexplained_compare, view_unexplained(context, row))
COMPARE(turnover_compare, row->born)
COMPARE(since_compare, since(row))

static int name_compare(const void *a, const void *b, const void *context)
{
	return strcmp(((const struct trend_row *)a)->name, ((const struct trend_row *)b)->name);
}

/* clang-format off */
const struct table_column view_columns[] = {
	{ .id = "name", .title = "TYPE", .help = "module and name of the type", .min = 18, .ease = 28, .want = 32, .max = 60,
	  .left = TRUE, .ascending = TRUE, .text = name_text, .role = name_role, .compare = name_compare },
	{ .id = "count", .title = "COUNT", .help = "live objects of exactly this type", .min = 9, .want = 11,
	  .text = count_text, .compare = count_compare },
	{ .id = "dcount", .title = "ΔCOUNT", .help = "change of the count since the baseline", .min = 8, .want = 11,
	  .text = count_change_text, .role = count_role, .compare = count_change_compare },
	{ .id = "rate", .title = "RATE/min", .help = "objects a minute, over the last 30 samples", .min = 8, .want = 10,
	  .text = rate_text, .role = rate_role, .compare = rate_compare },
	{ .id = "bytes", .title = "BYTES", .help = "what sys.getsizeof would say, summed up", .min = 6, .want = 7,
	  .text = bytes_text, .compare = bytes_compare },
	{ .id = "dbytes", .title = "ΔBYTES", .help = "change of the bytes since the baseline", .min = 6, .want = 8,
	  .text = bytes_change_text, .role = bytes_role, .compare = bytes_change_compare },
	{ .id = "refs", .title = "REFS", .help = "sum of the reference counts, immortal objects apart", .min = 5, .want = 11,
	  .text = refs_text, .compare = refs_compare },
	{ .id = "refs_max", .title = "MAX", .help = "the largest reference count of one object", .min = 5, .want = 9,
	  .text = refs_max_text, .compare = refs_max_compare },
	{ .id = "drefs", .title = "ΔREFS", .help = "change of the reference counts since the baseline", .min = 8, .want = 11,
	  .rank = 1, .text = refs_change_text, .role = refs_role, .compare = refs_change_compare },
	{ .id = "unexplained", .title = "UNEXPL", .help = "references nobody holds, when last looked at (key u)", .min = 6,
	  .want = 9, .rank = 1, .text = unexplained_text, .role = unexplained_role, .compare = unexplained_compare },
	{ .id = "refs_each", .title = "REFS/OBJ", .help = "references an object has on average", .min = 8, .want = 8,
	  .rank = 2, .text = refs_each_text, .compare = refs_each_compare },
	{ .id = "bytes_each", .title = "SIZE", .help = "bytes of an object on average", .min = 6, .want = 6, .rank = 3,
	  .text = bytes_each_text, .compare = bytes_each_compare },
	{ .id = "born", .title = "BORN/DIED", .help = "since the sample before, at least: by address and type", .min = 11,
	  .want = 11, .rank = 4, .text = turnover_text, .role = turnover_role, .compare = turnover_compare },
	{ .id = "since", .title = "STEADY", .help = "for how long it has grown steadily", .min = 7, .want = 7, .rank = 4,
	  .text = since_text, .role = name_role, .compare = since_compare },
	{ .id = "owned", .title = "OWNED", .help = "buffers its objects own beyond their bytes", .min = 6, .want = 6, .rank = 5,
	  .text = owned_text, .compare = owned_compare },
	{ .id = "immortal", .title = "IMMORTAL", .help = "objects that are never freed (CPython 3.12 and later)", .min = 8,
	  .want = 8, .rank = 6, .text = immortal_text, .role = dim_role, .compare = immortal_compare },
	{ .id = "address", .title = "ADDRESS", .help = "of the type object in the process", .min = 14, .want = 14,
	  .rank = 7, .text = address_text, .role = dim_role },
	{ .id = "worst", .title = "WORST IN", .help = "of several processes: the one it grows most in, and its rate a minute", .min = 12, .want = 16,
	  .rank = TABLE_NEVER, .left = TRUE, .text = worst_text, .role = worst_role },
	{ .id = "trend", .title = "TREND", .help = "what the history of the row looks like", .min = 6, .ease = 12, .want = 14,
	  .max = 60, .left = TRUE, .draw = trend_draw },
};
/* clang-format on */

const size_t view_columns_size = G_N_ELEMENTS(view_columns);
