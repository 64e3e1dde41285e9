/* A live process as a source: target -> snapshot -> heap -> sample. */
#pragma once
#include <sys/types.h>

#include "daemon/source/source.h"

struct live_options {
	gboolean nonblocking; /* --nonblocking */
	gboolean precopy;     /* --precopy */
	gboolean again;       /* there will be more than one sample: with precopy, writes are followed in between */
	/*
	 * --memory: a histogram of a process with more memory than that is counted piece by piece. 0: half of what is available, and
	 * LIVE_PIECES with nonblocking, where a copy has no advantage.
	 */
	gint64 memory;
	/*
	 * --max-pause: a sample that would stop the process for longer is skipped: next() gives one that says so (sample_snapshot.skipped),
	 * everything else an error. 0: no limit.
	 */
	gint64 max_pause_us;
	/*
	 * For a person who drills down: births and deaths are counted between samples, and the picture that instances() took is kept, so
	 * that what explain() says agrees with it and costs the process no more stops. forget() lets it go.
	 */
	gboolean turnover, keep;
	gboolean lean;    /* keep no memory between samples: there are many such sources, and long intervals */
	gboolean gc_only; /* only what the collector tracks: less to read, and what gc.get_objects() returns */
};

/* a core file or a saved image, see daemon/target/core.h */
struct file_options {
	const char *path, *exe, *sysroot; /* exe and sysroot may be NULL */
};

/* Errors as target_open_file() sets them. */
source_t *source_file_new(const struct file_options *file, const struct live_options *options, GError **error);

/*
 * Save an image of all of the process to the open descriptor `fd`: the pause is that of a snapshot. *bytes: size of the image; *pause_us: how
 * long the process was stopped.
 */
gboolean source_save(source_t *source, int fd, uint64_t *bytes, int64_t *pause_us, GError **error);

/* Errors as target_open() and heap_open() set them. */
source_t *source_live_new(pid_t pid, const struct live_options *options, GError **error);

/* What a daemon asks of a live source: births and deaths only where there are at most `most` objects, from the next sample on; */
void source_live_locate(source_t *source, size_t most);
/* and after a question, to give back the memory it took. */
void source_live_relax(source_t *source);
