/*
 * The recording: the samples of one process in a SQLite file (manual, "The recording").
 *
 * The file says what it is by application_id (RECORDING_APPLICATION) and user_version (RECORDING_VERSION). It is in WAL
 * mode and every sample is one transaction: a writer killed at any moment leaves a file that opens and lacks at most
 * the sample that was being written. Numbers are as in sample.h, SAMPLE_UNKNOWN is NULL. The schema is
 * recording_schema; its comments are the documentation.
 *
 * A process that execs is still the same target (pid and start time); what it runs then is another row of `target`.
 *
 * Errors are STORE_ERROR/FAILED with the path. A recording is used by one thread at a time.
 */
#pragma once
#include "daemon/analysis/sample.h"

#define RECORDING_APPLICATION 0x72667470 /* "rftp" */
#define RECORDING_VERSION                                                                                              \
	3 /* 1, 2: without some columns (recording_added); such can still be read, and are made 3 when appended to */

typedef struct recording recording_t;

/* The SQL that makes an empty recording. */
extern const char recording_schema[];

/*
 * Open for appending samples of the process that `sample` is of: a new or empty file becomes a recording, one of the
 * same process is continued, everything else is refused before a byte of it is touched. `sample` itself is not written.
 */
recording_t *recording_append_to(const char *path, const sample_t *sample, GError **error);

/* Write one sample, all of it or nothing; *id (may be NULL) becomes its number. After an error the recording holds what
 * it held. */
gboolean recording_append(recording_t *recording, const sample_t *sample, int64_t *id, GError **error);

/* Open for reading. Works while somebody records into it, and sees samples as they come in. */
recording_t *recording_open(const char *path, GError **error);

/*
 * From here on only the samples of this process are numbered by recording_samples() and recording_after(): a history holds many. With
 * start_time_us 0: of all that had this PID; with pid 0: of all.
 */
void recording_select(recording_t *recording, int64_t pid, int64_t start_time_us);

/* The numbers of the samples, ascending, *n of them (may be 0); free with g_free(). NULL with an error. */
int64_t *recording_samples(recording_t *recording, size_t *n, GError **error);

/* When sample `id` was taken, µs since the epoch; SAMPLE_UNKNOWN: there is no such sample. */
int64_t recording_time(recording_t *recording, int64_t id);

/* The smallest number above `id` (0: the first), or 0 when there is none. */
int64_t recording_after(recording_t *recording, int64_t id);

/* Sample `id`, sealed. */
sample_t *recording_load(recording_t *recording, int64_t id, GError **error);

/* NULL is fine. */
void recording_free(recording_t *recording);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(recording_t, recording_free)
