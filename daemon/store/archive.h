/*
 * Samples that were written down, whatever the form: a recording or the daemon's history (SQLite, recording.h), or lines of JSON (lines.h).
 * What reads samples from files, to view or to compare them, does it through this.
 *
 * Samples are numbered, ascending; not every number need be there. Errors are STORE_ERROR/FAILED with the path. Used by one thread at a time.
 */
#pragma once
#include "daemon/analysis/sample.h"

typedef struct archive archive_t;

/* The file's content says which form it has. */
archive_t *archive_open(const char *path, GError **error);
void archive_free(archive_t *archive); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(archive_t, archive_free)

/* one process of which there are samples */
struct archive_process {
	int64_t pid, start_time_us, first_us, last_us, samples;
	char *cmdline; /* escaped */
};

/*
 * The processes, by the time of their first samples, as GArray of struct archive_process that frees what it holds; NULL with *error. Start
 * times that differ by no more than two seconds are one process's, as everywhere.
 */
GArray *archive_processes(archive_t *archive, GError **error);

/* From here on there are only the samples of this process. pid 0: of all. */
void archive_select(archive_t *archive, int64_t pid, int64_t start_time_us);

/* Select the last process that had this PID. False with *error: none in it had. */
bool archive_choose(archive_t *archive, int64_t pid, GError **error);

/* The numbers of the samples, *n of them (may be 0); free with g_free(). NULL with an error, also when all were skipped. */
int64_t *archive_samples(archive_t *archive, size_t *n, GError **error);
/* When sample `id` was taken, µs since the epoch; SAMPLE_UNKNOWN: there is no such sample. */
int64_t archive_time(archive_t *archive, int64_t id);
/* The smallest number above `id` (0: the first), or 0 when there is none (yet). */
int64_t archive_after(archive_t *archive, int64_t id);
/* Sample `id`, sealed. */
sample_t *archive_load(archive_t *archive, int64_t id, GError **error);
