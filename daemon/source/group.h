/*
 * Several processes as one source: each sample is the sum of theirs (daemon/analysis/sum.h), with the samples themselves as its parts.
 *
 * Processes join as they start and leave as they end. Each is read through the daemon if that watches it, else here, under a budget of
 * pauses of its own: one that isn't due stands in the sum with its last sample. One that can't be read is tried again with each round,
 * and the part says why. They are read one after the other: only one is stopped at any time.
 */
#pragma once
#include "daemon/source/live.h"

struct group_options {
	const pid_t *pids;
	size_t n;
	gboolean children; /* and all that they start */
	gboolean adopts;   /* orphans of these come to us (PR_SET_CHILD_SUBREAPER) */
	gboolean no_daemon;
	gint64 interval_us; /* between samples */
	double budget;      /* share of the time that each may be stopped; 0: BUDGET_SHARE */
	struct live_options live;
};

#define GROUP_NAME "sum" /* of the source */

/* next() sets GONE when all have ended; other errors when none of those that are there can be read. */
source_t *source_group_new(const struct group_options *options);
