/* A live process as a source: target -> snapshot -> heap -> sample. */
#pragma once
#include <sys/types.h>

#include "daemon/source/source.h"

struct live_options {
	gboolean nonblocking; /* --nonblocking */
	gboolean gc_only;     /* only what the collector tracks: less to read, and what gc.get_objects() returns */
};

/* Errors as target_open() and heap_open() set them. */
source_t *source_live_new(pid_t pid, const struct live_options *options, GError **error);
