/* What the files of the live source share. */
#pragma once
#include "daemon/analysis/leaks.h"
#include "daemon/source/live.h"
#include "daemon/target/snapshot.h"

struct live {
	source_t source;
	target_t *target;
	struct live_options options;
	leaks_look_t *look;   /* at the previous call of leaks; NULL: there was none */
	int64_t look_time_us;
};

/* A snapshot and its heap, if possible not in the middle of a collection. */
snapshot_t *live_take_snapshot(struct live *live, enum snapshot_extent extent, heap_t **heap, GError **error);
/* After a refusal: whether to try again, until `until` (monotonic) and one time after another tracer has gone. */
#define LIVE_TRACER_WAIT_US 1000000
gboolean live_tracer_may_go(pid_t pid, gint64 until, gboolean *gone);
void live_describe_target(const struct live *live, const snapshot_t *snapshot, sample_t *sample);
void live_describe_snapshot(const snapshot_t *snapshot, const char *coverage, sample_t *sample);

struct leaks *live_leaks(source_t *source, size_t max_objects, GError **error);
struct explanation *live_explain(source_t *source, uint64_t address, GError **error);
struct instances *live_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error);
struct stacks *live_stacks(source_t *source, const struct stacks_options *options, GError **error);
