/*
 * The history of a process by type: what every sample said, thinned out where it is old, and what follows from it: change since a
 * baseline, rates, and which types grow steadily (growth.h).
 *
 * Memory is bounded. At most TREND_TICKS moments are kept: when they are full, half of the older half goes, so that what stays of it is
 * spread evenly in time: the history reaches back to the first sample while the recent past stays exact. A type's series stores a point only where it changed; types
 * that don't move cost one. All series together hold at most TREND_POINTS points: beyond that, moments go sooner.
 *
 * A type is known by its address, module and name: a new class at the address of a dead one is another row. A type that a sample doesn't
 * list has no live objects in it. Values of SAMPLE_UNKNOWN stay unknown: they are in no rate and no verdict.
 *
 * Pure: bytes in, values out, no clock. Times are those of the samples. One thread at a time.
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/growth.h"
#include "daemon/analysis/sample.h"

#define TREND_TICKS  600
#define TREND_POINTS 1000000

enum trend_metric { TREND_COUNT, TREND_BYTES, TREND_REFS, TREND_METRICS };

/* one type; valid until the next trend_add() or trend_free(), except that a row that is still there stays where it is */
struct trend_row {
	uint64_t address;
	char *module, *qualname;
	char *name;                                  /* "module.qualname", without "builtins." */
	bool builtin;                                /* of module builtins */
	int64_t last[TREND_METRICS];                 /* of the newest sample */
	int64_t refs_max, immortal, gc_count, owned; /* of the newest sample */
	int64_t born, died;                          /* between the newest sample and the one before, at least */
	int64_t baseline[TREND_METRICS];
	struct growth growth[TREND_METRICS];
	/*
	 * Which growth makes this row worth a mark: TREND_METRICS for none. References count only while no type's objects grow: new
	 * objects refer to their type, their names and to what they share, whose references then grow along.
	 */
	enum trend_metric leaks;
	double rate; /* objects a minute now: the slope over the last TREND_RECENT samples; NAN unknown */
	int64_t settled[TREND_METRICS]; /* change since the baseline, 0 where it is no larger than the noise */
};

/* samples that say what happens "now" */
#define TREND_RECENT 30

typedef struct trend trend_t;

trend_t *trend_new(void);
/* For tests: with other bounds than TREND_TICKS (at least 8) and TREND_POINTS. */
trend_t *trend_new_bounded(size_t ticks, size_t points);
void trend_free(trend_t *trend);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(trend_t, trend_free)

/* Take a sample in; the trend keeps a reference to the newest. The first one becomes the baseline. */
void trend_add(trend_t *trend, sample_t *sample);

/*
 * Put off judging while many samples are taken in at once; with `off` false, judge. Meanwhile the rows know their values, but verdicts, rates and
 * settled changes are those of the last time. Judging is the dear
 * part: a millisecond where a hundred types move, against some ten microseconds for the sample.
 */
void trend_defer(trend_t *trend, bool off);

/* Count changes from the newest sample from here on. */
void trend_set_baseline(trend_t *trend);

/*
 * For a sum of processes, which come and go: changes of a row (NULL: of the totals) count from these values instead. The next judgement
 * goes by them.
 */
void trend_move_baseline(trend_t *trend, struct trend_row *row, const int64_t values[TREND_METRICS]);

/* The newest sample, owned by the trend; NULL before the first. */
const sample_t *trend_last(const trend_t *trend);
/* How many samples came in; the number of the newest (from 1) and of the baseline. */
size_t trend_samples(const trend_t *trend);
size_t trend_baseline_number(const trend_t *trend);
/* Time of the first sample and of the baseline, µs since the epoch; 0 before the first. */
int64_t trend_first_time(const trend_t *trend);
int64_t trend_baseline_time(const trend_t *trend);
/* Totals of the baseline. */
const struct sample_totals *trend_baseline_totals(const trend_t *trend);
/* Moments kept, and points in all series. */
size_t trend_ticks(const trend_t *trend);
size_t trend_points(const trend_t *trend);

/* The rows, struct trend_row *, in no order that means anything; owned by the trend. */
const GPtrArray *trend_rows(const trend_t *trend);

/*
 * The series of a row: times[] and values[] hold at least trend_ticks() each; unknown values are left out. Returns how many.
 * With row NULL: of the whole process (totals).
 */
size_t trend_series(const trend_t *trend, const struct trend_row *row, enum trend_metric metric, int64_t *times_us,
		    int64_t *values);
