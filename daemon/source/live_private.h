/* What the files of the live source share. */
#pragma once
#include "daemon/analysis/explain.h"
#include "daemon/analysis/histogram.h"
#include "daemon/analysis/leaks.h"
#include "daemon/analysis/population.h"
#include "daemon/heap/census.h"
#include "daemon/source/live.h"
#include "daemon/target/snapshot.h"

struct live {
	source_t source;
	target_t *target;
	struct live_options options;
	leaks_look_t *look; /* at the previous call of leaks; NULL: there was none */
	int64_t look_time_us;
	struct picture *kept;     /* of the last instances(); NULL: none */
	population_t *population; /* of the last sample; NULL: none, or too large */
	size_t most_located;      /* objects, for turnover */
	GArray *watched;          /* struct live_watched; NULL: none ever */
	gboolean needs_all;       /* a census needed what was left out of a sparing snapshot: none is taken any more */
};

#define LIVE_PIECES (256ll << 20)

/* more objects than that are not located: it would take longer than 100 ms a sample, and 50 MB meanwhile */
#define LIVE_MOST_LOCATED 3000000

/*
 * Its sample. `audit` (NULL: there is none) explains the watched objects' counts. NULL without an error: the snapshot left out what is needed after
 * all, live->needs_all is set now, and another one has to be taken.
 */
sample_t *live_make_sample(struct live *live, snapshot_t *snapshot, heap_t *heap, audit_t *audit, GError **error);

/* live_watch.c */
gboolean live_watch(source_t *source, uint64_t address, gboolean on);
void live_watch_free(struct live *live);
/* The addresses that are watched, into `sought`; how many. */
size_t live_watch_sought(const struct live *live, uint64_t sought[SOURCE_WATCHES]);
/* Fill sample->watched. found[i]: a census met an object there; `ranges` is the memory in which it meets all. */
void live_watch_fill(struct live *live, heap_t *heap, const struct census *census, const bool *found, audit_t *audit,
		     sample_t *sample);

/* A snapshot and its heap, if possible not in the middle of a collection. */
snapshot_t *live_take_snapshot(struct live *live, enum snapshot_extent extent, heap_t **heap, GError **error);
/* After a refusal: whether to try again, until `until` (monotonic) and one time after another tracer has gone. */
#define LIVE_TRACER_WAIT_US 1000000
gboolean live_tracer_may_go(pid_t pid, gint64 until, gboolean *gone);
void live_describe_target(const struct live *live, const snapshot_t *snapshot, sample_t *sample);
void live_describe_snapshot(const snapshot_t *snapshot, const char *coverage, sample_t *sample);

struct leaks *live_leaks(source_t *source, size_t max_objects, GError **error);
sample_t *live_assess(source_t *source, size_t max_objects, struct leaks **leaks, GError **error);
void live_forget(source_t *source);
struct explanation *live_explain(source_t *source, uint64_t address, GError **error);
gboolean live_explain_all(source_t *source, const uint64_t *addresses, size_t n, explain_each *each, void *context,
			  GError **error);
struct instances *live_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error);
struct stacks *live_stacks(source_t *source, const struct stacks_options *options, GError **error);
