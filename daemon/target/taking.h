/* A snapshot in the making: what the files that take one (snapshot.c, stop.c, precopy.c) share. */
#pragma once
#include <time.h>

#include "daemon/target/target.h"

struct taking {
	target_t *target;
	const struct snapshot_options *options;
	struct snapshot *snapshot;
	struct snapshot_private *own;
	char *maps_text; /* what the plan was made from */
	size_t maps_size;
	GArray *look;    /* of struct quiet_thread */
	GArray *earlier; /* the same, before the copy was prepared; NULL: that isn't worth it */
	int64_t earlier_ns;
	struct copy_result results[2];
	int64_t pause_ns;
};

static inline int64_t taking_clock(clockid_t clock) /* ns */
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Whether so many bytes make a second thread worth waking, and there is a CPU for it. */
bool taking_two_threads(uint64_t bytes);

/*
 * Make the plan, or make it anew where the maps changed since; preparations that still hold are kept. False without an error: the
 * address space is gone, and the caller is to find out why, but not while the target is stopped.
 */
bool taking_plan(struct taking *taking, GError **error);

/* Copy with no stop, with two threads where that is worth it. `work` says what of the plan. */
bool taking_copy(struct taking *taking, struct work *work);
/* A copy that doesn't count leaves its bytes behind. */
void taking_discard(struct taking *taking);

/* The threads as they were at taking->look, to the snapshot. */
void taking_threads_looked(struct taking *taking);

/*
 * Copy what the target changed since the last time, or all, while it runs, again and again, and stop it for the rest. Arms target->tracker,
 * and leaves it so. Errors: as target_snapshot(), and track_new().
 */
bool precopy_take(struct taking *taking, GError **error);

/*
 * Stop the target, copy what `work` says (its plan is set here), let it go. False without an error: the target is gone. Errors: as
 * target_snapshot(); SKIPPED as stop_allowed() where work->deadline_ns passed.
 */
bool stop_and_copy(struct taking *taking, struct work *work, GError **error);

/*
 * Whether a stop for a copy of `bytes` would keep within options->max_pause_us, as predicted from what copying from this target takes: the
 * last stops, or a few megabytes copied now, while it runs. False: SKIPPED, with the prediction as the cause. Always true without a limit.
 */
bool stop_allowed(struct taking *taking, uint64_t bytes, GError **error);
/* Nanoseconds that a stop for a copy of `bytes` would take. */
int64_t stop_predict(struct taking *taking, uint64_t bytes);
