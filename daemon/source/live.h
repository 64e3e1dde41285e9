/* A live process as a source: target -> snapshot -> heap -> sample. */
#pragma once
#include <sys/types.h>

#include "daemon/source/source.h"

struct live_options {
	gboolean nonblocking; /* --nonblocking */
	/*
	 * For a person who drills down: births and deaths are counted between samples, and the picture that instances() took is kept, so
	 * that what explain() says agrees with it and costs the process no more stops. forget() lets it go.
	 */
	gboolean turnover, keep;
	gboolean gc_only;     /* only what the collector tracks: less to read, and what gc.get_objects() returns */
};

/* Errors as target_open() and heap_open() set them. */
source_t *source_live_new(pid_t pid, const struct live_options *options, GError **error);
