/*
 * The budget of pauses: samples are taken so far apart that all of them together stop the process for no more than a share of the
 * time. Times are monotonic microseconds.
 */
#pragma once
#include <glib.h>

#define BUDGET_SHARE 0.01 /* where nobody says otherwise */

struct budget {
	double share;  /* of 1; 0: BUDGET_SHARE */
	gint64 due_us; /* before that no sample may begin; 0: any time */
};

/* The process was stopped for `pause_us` (negative: not known) by what began at `began_us`. */
static inline void budget_spent(struct budget *budget, gint64 began_us, gint64 pause_us)
{
	double share = budget->share > 0 ? budget->share : BUDGET_SHARE;
	gint64 wait = (gint64)((double)MAX(pause_us, 0) / share);
	budget->due_us = MAX(budget->due_us, began_us) + wait;
}
