/*
 * Samples by name: "run.db@3" (the third), "run.db@first", "run.db@last" or just "run.db", "run.db@14:05:00" or
 * "run.db@14:05" (the last one by then, local time), and the same for a file of JSON as `histo
 * --json` and `record --json` write it.
 */
#pragma once
#include "daemon/analysis/sample.h"

/*
 * The path of the file, and in *which what follows the @ (NULL: nothing does, the last one is meant). Free both with g_free().
 */
char *reference_split(const char *reference, char **which);
/* Which of the samples taken at these times `which` means: an index, or -1 with an error: USAGE, or FAILED as there is no such. */
gssize reference_choose(const char *which, const int64_t *times_us, size_t n, GError **error);

/*
 * The sample, or NULL with an error of STORE_ERROR: FAILED, or USAGE when what follows the @ is no number or time. `pid`: in a file of several
 * processes of this one (archive_choose()); 0: of all.
 */
sample_t *sample_by_reference(const char *reference, int64_t pid, GError **error);
