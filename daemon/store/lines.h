/*
 * Samples in a file of JSON: one a line, as `record --json` writes them, or a single one, also over many lines, as `histo --json` does
 * and other programs format it. Read whole when it is opened; what is appended later isn't seen.
 *
 * A sample's number is that of its line among those with something on them, from 1. Samples that were skipped (sample.h) have a number,
 * but aren't listed. A last line that was cut off, because who wrote it was killed, is no error: that sample isn't there.
 *
 * Errors are STORE_ERROR/FAILED with the path, and the number of the sample where it is one's fault.
 */
#pragma once
#include "daemon/analysis/sample.h"

typedef struct lines lines_t;

struct lines_sample {
	int64_t time_us, pid, start_time_us;
};

/* Also a pipe. NULL with *error when a line but a cut-off last one is no sample. */
lines_t *lines_open(const char *path, GError **error);
void lines_free(lines_t *lines); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(lines_t, lines_free)

/* How many there are, the skipped ones with them. */
size_t lines_n(const lines_t *lines);
/* False: number `id` was skipped, or there is none. */
bool lines_at(const lines_t *lines, int64_t id, struct lines_sample *sample);
sample_t *lines_load(const lines_t *lines, int64_t id, GError **error);
