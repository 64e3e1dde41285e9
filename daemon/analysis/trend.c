#include "daemon/analysis/trend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* the values of a type from a moment on, until its next point */
struct point {
	uint32_t tick;
	int64_t values[TREND_METRICS];
};

struct row {
	struct trend_row face; /* first: a struct trend_row * is a struct row * */
	struct point *points;  /* ascending ticks, at least one */
	size_t n_points, capacity;
	uint32_t seen; /* the newest tick that listed it */
};

struct tick {
	uint32_t id;
	int64_t time_us;
	int64_t totals[TREND_METRICS];
};

struct trend {
	size_t max_ticks, max_points;
	struct tick *ticks; /* ascending; the last is the newest sample */
	size_t n_ticks, n_points;
	GPtrArray *rows;   /* struct row *, owned */
	GHashTable *index; /* struct row * by address and name */
	sample_t *last;
	uint32_t samples, baseline_number;
	int64_t first_time, baseline_time;
	struct sample_totals baseline;
	int64_t *times, *values; /* scratch, max_ticks each */
	bool deferred;
};

static guint row_hash(gconstpointer key)
{
	const struct row *row = key;
	return (guint)(row->face.address >> 4) ^ g_str_hash(row->face.qualname);
}

static gboolean row_equal(gconstpointer a, gconstpointer b)
{
	const struct row *x = a, *y = b;
	return x->face.address == y->face.address && !strcmp(x->face.qualname, y->face.qualname) &&
	       !strcmp(x->face.module, y->face.module);
}

static void row_free(gpointer data)
{
	struct row *row = data;
	g_free(row->face.module);
	g_free(row->face.qualname);
	g_free(row->face.name);
	g_free(row->points);
	g_free(row);
}

trend_t *trend_new_bounded(size_t ticks, size_t points)
{
	trend_t *trend = g_new0(trend_t, 1);
	trend->max_ticks = MAX(ticks, 8);
	trend->max_points = points;
	trend->ticks = g_new(struct tick, trend->max_ticks);
	trend->times = g_new(int64_t, trend->max_ticks);
	trend->values = g_new(int64_t, trend->max_ticks);
	trend->rows = g_ptr_array_new_with_free_func(row_free);
	trend->index = g_hash_table_new(row_hash, row_equal);
	return trend;
}

trend_t *trend_new(void)
{
	return trend_new_bounded(TREND_TICKS, TREND_POINTS);
}

void trend_free(trend_t *trend)
{
	if (!trend)
		return;
	g_hash_table_destroy(trend->index);
	g_ptr_array_unref(trend->rows);
	sample_unref(trend->last);
	g_free(trend->ticks);
	g_free(trend->times);
	g_free(trend->values);
	g_free(trend);
}

static void row_append(trend_t *trend, struct row *row, uint32_t tick, const int64_t values[TREND_METRICS])
{
	memcpy(row->face.last, values, sizeof(row->face.last));
	if (row->n_points && row->points[row->n_points - 1].tick == tick) {
		memcpy(row->points[row->n_points - 1].values, values, sizeof(row->points->values));
		return;
	}
	if (row->n_points && !memcmp(row->points[row->n_points - 1].values, values, sizeof(row->points->values)))
		return;
	if (row->n_points == row->capacity) {
		row->capacity = row->capacity ? row->capacity * 2 : 1;
		row->points = g_renew(struct point, row->points, row->capacity);
	}
	struct point *point = &row->points[row->n_points++];
	point->tick = tick;
	memcpy(point->values, values, sizeof(point->values));
	trend->n_points++;
}

static struct row *trend_find(trend_t *trend, const struct sample_type *type)
{
	struct row key = {
		.face = {.address = type->address, .module = (char *)type->module, .qualname = (char *)type->qualname}};
	struct row *row = g_hash_table_lookup(trend->index, &key);
	if (row)
		return row;
	row = g_new0(struct row, 1);
	row->face.address = type->address;
	row->face.module = g_strdup(type->module);
	row->face.qualname = g_strdup(type->qualname);
	row->face.name = sample_type_name(type);
	row->face.builtin = !*type->module || !strcmp(type->module, "builtins");
	g_ptr_array_add(trend->rows, row);
	g_hash_table_add(trend->index, row);
	return row;
}

/* Drop the points that no kept tick shows any more; what a dropped tick changed, the next kept one shows. */
static void row_thin(trend_t *trend, struct row *row)
{
	size_t kept = 0, tick = 0;
	for (size_t i = 0; i < row->n_points; i++) {
		while (tick < trend->n_ticks && trend->ticks[tick].id < row->points[i].tick)
			tick++;
		uint32_t shown = tick < trend->n_ticks ? trend->ticks[tick].id : row->points[i].tick;
		if (kept && row->points[kept - 1].tick == shown)
			kept--;
		row->points[kept] = row->points[i];
		row->points[kept++].tick = shown;
	}
	trend->n_points -= row->n_points - kept;
	row->n_points = kept;
	if (row->capacity > 2 * kept + 8) {
		row->capacity = kept;
		row->points = g_renew(struct point, row->points, kept);
	}
}

/* a type that had no objects in all of the history and at the baseline */
static bool row_forgotten(const struct row *row)
{
	return row->n_points == 1 && row->points[0].values[TREND_COUNT] == 0 && row->face.baseline[TREND_COUNT] == 0;
}

/*
 * Drop half of the older half of the ticks, one after the other that with the closest neighbours, never the first. So the older half is
 * spread evenly over its time, however long that has become.
 */
static void ticks_thin(trend_t *trend)
{
	struct tick *ticks = trend->ticks;
	size_t older = trend->n_ticks / 2;
	for (size_t left = trend->n_ticks / 4; left > 0 && older > 1; left--, older--) {
		size_t closest = 1;
		for (size_t i = 2; i < older; i++)
			if (ticks[i + 1].time_us - ticks[i - 1].time_us <
			    ticks[closest + 1].time_us - ticks[closest - 1].time_us)
				closest = i;
		memmove(ticks + closest, ticks + closest + 1, (--trend->n_ticks - closest) * sizeof(*ticks));
	}
}

static void trend_thin(trend_t *trend)
{
	ticks_thin(trend);
	for (guint i = trend->rows->len; i-- > 0;) {
		struct row *row = trend->rows->pdata[i];
		row_thin(trend, row);
		if (row_forgotten(row)) {
			trend->n_points -= row->n_points;
			g_hash_table_remove(trend->index, row);
			g_ptr_array_remove_index_fast(trend->rows, i);
		}
	}
}

static size_t row_series(const trend_t *trend, const struct row *row, enum trend_metric metric, int64_t *times_us,
			 int64_t *values)
{
	size_t n = 0, next = 0;
	int64_t value = 0; /* before its first point a type had no objects */
	for (size_t i = 0; i < trend->n_ticks; i++) {
		while (next < row->n_points && row->points[next].tick <= trend->ticks[i].id)
			value = row->points[next++].values[metric];
		if (value == SAMPLE_UNKNOWN)
			continue;
		times_us[n] = trend->ticks[i].time_us;
		values[n++] = value;
	}
	return n;
}

size_t trend_series(const trend_t *trend, const struct trend_row *row, enum trend_metric metric, int64_t *times_us,
		    int64_t *values)
{
	if (row)
		return row_series(trend, (const struct row *)row, metric, times_us, values);
	size_t n = 0;
	for (size_t i = 0; i < trend->n_ticks; i++) {
		if (trend->ticks[i].totals[metric] == SAMPLE_UNKNOWN)
			continue;
		times_us[n] = trend->ticks[i].time_us;
		values[n++] = trend->ticks[i].totals[metric];
	}
	return n;
}

static int64_t middle_of_three(const int64_t *values, size_t n)
{
	if (n < 3)
		return values[n - 1];
	int64_t a = values[n - 1], b = values[n - 2], c = values[n - 3];
	return MAX(MIN(a, b), MIN(MAX(a, b), c));
}

/* The change since the baseline that noise doesn't explain. */
static int64_t row_settled(const struct row *row, enum trend_metric metric, const int64_t *values, size_t n)
{
	if (!n || row->face.baseline[metric] == SAMPLE_UNKNOWN)
		return 0;
	int64_t change = middle_of_three(values, n) - row->face.baseline[metric];
	if (row->face.growth[metric].verdict != GROWTH_STEADY && fabs((double)change) <= 3 * growth_noise(values, n))
		return 0;
	return change;
}

static void row_judge(trend_t *trend, struct row *row)
{
	struct trend_row *face = &row->face;
	const struct point *last = &row->points[row->n_points - 1];
	memcpy(face->last, last->values, sizeof(face->last));
	for (int m = 0; m < TREND_METRICS; m++) {
		size_t n = row_series(trend, row, m, trend->times, trend->values);
		if (row->n_points > 1) {
			face->growth[m] = growth_judge(trend->times, trend->values, n);
		} else {
			memset(&face->growth[m], 0, sizeof(face->growth[m]));
			face->growth[m].verdict = n < GROWTH_MIN_SAMPLES ? GROWTH_WAITING : GROWTH_NONE;
		}
		face->settled[m] = row_settled(row, m, trend->values, n);
		if (m != TREND_COUNT)
			continue;
		size_t recent = MIN(n, TREND_RECENT);
		face->rate = recent < 2
				     ? NAN
				     : 60 * growth_slope(trend->times + n - recent, trend->values + n - recent, recent);
	}
}

static void rows_mark(trend_t *trend)
{
	gboolean objects_grow = FALSE;
	for (guint i = 0; i < trend->rows->len; i++) {
		struct row *row = trend->rows->pdata[i];
		objects_grow |= row->face.growth[TREND_COUNT].verdict == GROWTH_STEADY;
	}
	for (guint i = 0; i < trend->rows->len; i++) {
		struct trend_row *face = &((struct row *)trend->rows->pdata[i])->face;
		face->leaks = TREND_METRICS;
		for (int m = TREND_METRICS - 1; m >= 0; m--)
			if (face->growth[m].verdict == GROWTH_STEADY && !(m == TREND_REFS && objects_grow))
				face->leaks = m;
	}
}

static void trend_judge(trend_t *trend)
{
	for (guint i = 0; i < trend->rows->len; i++)
		row_judge(trend, trend->rows->pdata[i]);
	rows_mark(trend);
}

static void trend_add_type(trend_t *trend, const struct sample_type *type, bool turnover, uint32_t tick)
{
	struct row *row = trend_find(trend, type);
	int64_t values[TREND_METRICS] = {
		[TREND_COUNT] = type->count, [TREND_BYTES] = type->bytes, [TREND_REFS] = type->refs};
	if (row->seen == tick) {
		/* listed twice in one sample: add up */
		const int64_t *first = row->points[row->n_points - 1].values;
		for (int m = 0; m < TREND_METRICS; m++)
			values[m] = values[m] == SAMPLE_UNKNOWN || first[m] == SAMPLE_UNKNOWN ? SAMPLE_UNKNOWN
											      : values[m] + first[m];
	}
	row_append(trend, row, tick, values);
	row->seen = tick;
	row->face.refs_max = type->refs_max;
	row->face.immortal = type->immortal;
	row->face.gc_count = type->gc_count;
	row->face.owned = type->owned;
	row->face.born = turnover ? type->born : SAMPLE_UNKNOWN;
	row->face.died = turnover ? type->died : SAMPLE_UNKNOWN;
}

/* A type the sample doesn't list. */
static void trend_empty_row(trend_t *trend, struct row *row, bool turnover, uint32_t tick)
{
	static const int64_t nothing[TREND_METRICS];
	row->face.born = turnover ? 0 : SAMPLE_UNKNOWN;
	row->face.died = turnover ? row->points[row->n_points - 1].values[TREND_COUNT] : SAMPLE_UNKNOWN;
	row_append(trend, row, tick, nothing);
	row->face.refs_max = row->face.immortal = row->face.gc_count = 0;
	row->face.owned = SAMPLE_UNKNOWN;
}

void trend_add(trend_t *trend, sample_t *sample)
{
	while (trend->n_ticks >= trend->max_ticks || (trend->n_points > trend->max_points && trend->n_ticks >= 8))
		trend_thin(trend);

	struct tick *tick = &trend->ticks[trend->n_ticks++];
	tick->id = ++trend->samples;
	tick->time_us = sample->time_us;
	/* a clock that was set back must not make time stand still or run backwards */
	if (trend->n_ticks > 1 && tick->time_us <= tick[-1].time_us)
		tick->time_us = tick[-1].time_us + 1;
	tick->totals[TREND_COUNT] = sample->totals.objects;
	tick->totals[TREND_BYTES] = sample->totals.bytes;
	tick->totals[TREND_REFS] = sample->totals.refs;

	for (size_t i = 0; i < sample->n_types; i++)
		trend_add_type(trend, &sample->types[i], sample->has_turnover, tick->id);
	for (guint i = 0; i < trend->rows->len; i++) {
		struct row *row = trend->rows->pdata[i];
		if (row->seen != tick->id)
			trend_empty_row(trend, row, sample->has_turnover, tick->id);
	}
	sample_ref(sample);
	sample_unref(trend->last);
	trend->last = sample;
	if (trend->samples == 1) {
		trend->first_time = sample->time_us;
		trend_set_baseline(trend);
		return;
	}
	if (!trend->deferred)
		trend_judge(trend);
}

void trend_defer(trend_t *trend, bool off)
{
	trend->deferred = off;
	if (!off && trend->last)
		trend_judge(trend);
}

void trend_set_baseline(trend_t *trend)
{
	if (!trend->last)
		return;
	trend->baseline_number = trend->samples;
	trend->baseline_time = trend->last->time_us;
	trend->baseline = trend->last->totals;
	for (guint i = 0; i < trend->rows->len; i++) {
		struct row *row = trend->rows->pdata[i];
		memcpy(row->face.baseline, row->points[row->n_points - 1].values, sizeof(row->face.baseline));
	}
	if (!trend->deferred)
		trend_judge(trend);
}

void trend_move_baseline(trend_t *trend, struct trend_row *row, const int64_t values[TREND_METRICS])
{
	if (row) {
		memcpy(row->baseline, values, sizeof(row->baseline));
		return;
	}
	trend->baseline.objects = values[TREND_COUNT];
	trend->baseline.bytes = values[TREND_BYTES];
	trend->baseline.refs = values[TREND_REFS];
}

const sample_t *trend_last(const trend_t *trend)
{
	return trend->last;
}

size_t trend_samples(const trend_t *trend)
{
	return trend->samples;
}

size_t trend_baseline_number(const trend_t *trend)
{
	return trend->baseline_number;
}

int64_t trend_first_time(const trend_t *trend)
{
	return trend->first_time;
}

int64_t trend_baseline_time(const trend_t *trend)
{
	return trend->baseline_time;
}

const struct sample_totals *trend_baseline_totals(const trend_t *trend)
{
	return &trend->baseline;
}

size_t trend_ticks(const trend_t *trend)
{
	return trend->n_ticks;
}

size_t trend_points(const trend_t *trend)
{
	return trend->n_points;
}

const GPtrArray *trend_rows(const trend_t *trend)
{
	return trend->rows;
}
