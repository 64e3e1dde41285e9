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
void live_describe_target(const struct live *live, const snapshot_t *snapshot, sample_t *sample);
void live_describe_snapshot(const snapshot_t *snapshot, const char *coverage, sample_t *sample);

struct leaks *live_leaks(source_t *source, size_t max_objects, GError **error);
struct explanation *live_explain(source_t *source, uint64_t address, GError **error);
struct instances *live_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error);
