/*
 * How often something dear is done: so that all its runs together take no more than a share of the time. Times are monotonic
 * microseconds.
 */
#pragma once
#include <glib.h>

#define PACE_SHARE    20                   /* a run may come when it took less than a 20th of the time since */
#define PACE_PAUSE    200                  /* the same for how long the process was stopped */
#define PACE_LEAST_US (2 * G_USEC_PER_SEC) /* and no sooner than that */

struct pace {
	gint64 due_us; /* 0: at once */
};

static inline gboolean pace_due(const struct pace *pace, gint64 now_us)
{
	return now_us >= pace->due_us;
}

/* A run began at `began_us`, ended at `now_us`, and stopped the process for `pause_us` (negative: not known). */
static inline void pace_ran(struct pace *pace, gint64 began_us, gint64 now_us, gint64 pause_us)
{
	gint64 wait = MAX((now_us - began_us) * PACE_SHARE, MAX(pause_us, 0) * PACE_PAUSE);
	pace->due_us = began_us + MAX(wait, PACE_LEAST_US);
}
