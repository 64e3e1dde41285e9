/*
 * Watched objects: what the samples say about each, from the first sample it is in to its end. A recording brings its own.
 *
 * At most WATCH_POINTS moments are kept of one; when they are full, every other one of the older half goes.
 */
#pragma once
#include "daemon/analysis/sample.h"
#include "tui/screens/view.h"

#define WATCH_POINTS 1200

struct watch {
	guint64 address;
	char *name, *value;                /* of its type; what it looks like */
	gint64 began_us, last_us;          /* 0: in no sample yet */
	gint64 first, last;                /* reference counts; SAMPLE_UNKNOWN immortal, or not known yet */
	gint64 exact, probable;            /* at the last look at references; SAMPLE_UNKNOWN: none yet */
	gint64 explained_us, explained_of; /* when that was, and what the count was then */
	char *ended;                       /* how, in words; NULL: it lives */
	gboolean reused;                   /* so: another object is at its address */
	gint64 ended_us;
	size_t n;
	int64_t *times_us, *values;
};

void watch_free(gpointer watch);
struct watch *watch_find(const struct view *view, guint64 address); /* NULL: it is not watched */
/* Take in what a sample says. */
void watches_add(struct view *view, const sample_t *sample);
/* Unexplained references at the last look; SAMPLE_UNKNOWN. */
gint64 watch_unexplained(const struct watch *watch);
