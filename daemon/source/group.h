/*
 * Several processes as one source: each sample is the sum of theirs (daemon/analysis/sum.h), with the samples themselves as its parts.
 *
 * Processes join as they start and leave as they end. Each is read through the daemon if that watches it, else here, one after the other:
 * only one is stopped at any time. All are read in each round, or a sum would be of no moment; so what was stopped longest decides about
 * the pace that a budget of pauses allows, and counts as the pause of all. One that can't be read stands in the sum with its last
 * sample, the part says why, and it is tried again.
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
	struct live_options live;
};

#define GROUP_NAME "sum" /* of the source */

/* next() sets GONE when all have ended; other errors when none of those that are there can be read. */
source_t *source_group_new(const struct group_options *options);
