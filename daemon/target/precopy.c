/* Copying while the target runs, then what it changed meanwhile with it stopped: --precopy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/target/changes.h"
#include "daemon/target/quiet.h"
#include "daemon/target/taking.h"
#include "daemon/target/track.h"
#define ROUNDS 5          /* of copying before the stop, at most */
#define FEW    (1u << 20) /* bytes of a round that make another one not worth it */
/* by soft-dirty bits: bytes copied during the stop rather than clearing those again, about a millisecond's */
#define MOST_LEFT  (8u << 20)
#define CONVERGING 3 / 4 /* of the bytes of the round before: with more, another round doesn't help */

static uint64_t round_bytes(const struct taking *taking)
{
	return taking->results[0].bytes + taking->results[1].bytes;
}

static bool swaps(const struct target *target)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", target->pid);
	g_autofree char *text = process_file(path, 16384, NULL);
	const char *swap = text ? strstr(text, "\nVmSwap:") : NULL;
	return !swap || strtoul(swap + strlen("\nVmSwap:"), NULL, 10) > 0;
}

/* Whether a stop for a copy of so many bytes would be as short as was asked for. */
static bool fits(struct taking *taking, uint64_t bytes)
{
	int64_t limit = taking->options->max_pause_us;
	return !limit || stop_predict(taking, bytes) / 1000 <= limit;
}

/*
 * By soft-dirty bits there is one round, after they were cleared; what is left is all that was written to since. From one sample to the next that
 * grows, until it's better to begin again than to stop the process for it.
 */
static bool soft_dirty_round(struct taking *taking, uint64_t *left, GError **error)
{
	struct tracker *tracker = taking->target->tracker;
	if (!taking_plan(taking, error))
		return false;
	if (track_cleared(tracker, &taking->target->presence)) {
		if (!changes_soft_dirty(taking->own->plan, tracker, left))
			return false;
		if (*left <= MOST_LEFT && fits(taking, *left))
			return true;
	}
	if (!track_clear(tracker, taking->target, taking->own->pool, error))
		return false;
	struct work work = {.plan = taking->own->plan, .pages = WORK_FIRST, .soft_dirty = true};
	bool good = taking_copy(taking, &work);
	taking->snapshot->bytes_copied += round_bytes(taking);
	taking_discard(taking);
	return good && taking_plan(taking, error) && changes_soft_dirty(taking->own->plan, tracker, left);
}

/* Rounds until little is left. *left: bytes of the last one. */
static bool protection_rounds(struct taking *taking, uint64_t *left, GError **error)
{
	uint64_t before = UINT64_MAX;
	for (int i = 0; i < ROUNDS; i++) {
		if (!taking_plan(taking, error))
			return false;
		track_cover(taking->target->tracker, taking->own->plan);
		struct work work = {.plan = taking->own->plan, .pages = i ? WORK_ROUND : WORK_FIRST};
		bool good = taking_copy(taking, &work);
		*left = round_bytes(taking);
		taking->snapshot->bytes_copied += *left;
		/* the windows are to know what was put there; what counts is told in the end */
		taking_discard(taking);
		if (!good)
			return false;
		if (*left <= FEW || (before != UINT64_MAX && *left > before * CONVERGING))
			return true;
		before = *left;
	}
	return true;
}

/* What is copied in the end, of a plan that is made then. */
static struct work rest(const struct taking *taking)
{
	target_t *target = taking->target;
	return (struct work){
		.pages = WORK_REST, .soft_dirty = track_by_soft_dirty(target->tracker), .swapped = swaps(target)};
}

/* The rest without a stop: right if nothing ran meanwhile. */
static bool rest_quietly(struct taking *taking, bool *valid, GError **error)
{
	target_t *target = taking->target;
	*valid = false;
	g_clear_pointer(&taking->look, g_array_unref);
	if (!(taking->look = quiet_look(target->pid, true)))
		return false;
	if (taking->options->extent != SNAPSHOT_HEAP || !quiet_asleep(taking->look))
		return true;
	if (!taking_plan(taking, error))
		return false;
	struct work work = rest(taking);
	work.plan = taking->own->plan;
	taking->snapshot->time_us = taking_clock(CLOCK_REALTIME) / 1000;
	if (!taking_copy(taking, &work))
		return false;
	g_autoptr(GArray) after = quiet_look(target->pid, true);
	*valid = after && quiet_same(taking->look, after) && presence_alive(&target->presence);
	if (!*valid)
		taking_discard(taking);
	return true;
}

bool precopy_take(struct taking *taking, GError **error)
{
	target_t *target = taking->target;
	struct snapshot *snapshot = taking->snapshot;
	uint64_t left = 0;
	bool valid;
	if (target->tracker && track_outgrown(target->tracker, target))
		g_clear_pointer(&target->tracker, track_free);
	if (!target->tracker && !(target->tracker = track_new(target, error)))
		return false;
	track_follow(target->tracker, taking->own->pool);
	bool soft_dirty = track_by_soft_dirty(target->tracker);
	if (!(soft_dirty ? soft_dirty_round : protection_rounds)(taking, &left, error) ||
	    !rest_quietly(taking, &valid, error))
		return false;
	taking_threads_looked(taking);
	snapshot->consistent = true;
	snapshot->mode = valid ? SNAPSHOT_QUIET : SNAPSHOT_PRECOPY;
	if (valid)
		return true;
	struct work work = rest(taking);
	return stop_allowed(taking, left, error) && stop_and_copy(taking, &work, error);
}
