/* Copying while the target runs, then what it changed meanwhile with it stopped: --precopy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/target/quiet.h"
#include "daemon/target/taking.h"
#include "daemon/target/track.h"
#define ROUNDS     5          /* of copying before the stop, at most */
#define FEW        (1u << 20) /* bytes of a round that make another one not worth it */
#define CONVERGING 3 / 4      /* of the bytes of the round before: with more, another round doesn't help */

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

/* Rounds until little is left. *left: bytes of the last one. */
static bool rounds(struct taking *taking, uint64_t *left, GError **error)
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
	struct work work = {.plan = taking->own->plan, .pages = WORK_REST, .swapped = swaps(target)};
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
	if (!target->tracker && !(target->tracker = track_new(target, error)))
		return false;
	if (!rounds(taking, &left, error) || !rest_quietly(taking, &valid, error))
		return false;
	taking_threads_looked(taking);
	snapshot->consistent = true;
	snapshot->mode = valid ? SNAPSHOT_QUIET : SNAPSHOT_PRECOPY;
	if (valid)
		return true;
	struct work work = {.pages = WORK_REST, .swapped = swaps(target)};
	return stop_allowed(taking, left, error) && stop_and_copy(taking, &work, error);
}
