/*
 * The history: a recording (recording.h) of many processes, which the daemon keeps. The schema is that of a recording, with two things
 * more: an index by process and time, and `gap`, one row a sample before which nobody looked at the process for a while. Whatever reads
 * a recording reads a history: recording_open(), recording_select().
 *
 * Every sample is kept for some minutes, then one a minute, then one every ten minutes, until it is too old.
 */
#pragma once
#include "daemon/store/recording.h"

/* Open for writing, or make it; its directory must exist. Errors as recording_append_to(). */
recording_t *history_open(const char *path, GError **error);

/*
 * Write a sample, with a gap before it when gap_from_us isn't 0. After an error the history holds what it held, and the next one may
 * succeed.
 */
gboolean history_append(recording_t *history, const sample_t *sample, int64_t gap_from_us, const char *why,
			GError **error);

struct history_keep {
	int64_t full_us, minutes_us, retention_us; /* ages: see above */
};

/* Thin out what has come of age since the last call (*done_us, 0 at first). */
gboolean history_thin(recording_t *history, int64_t now_us, const struct history_keep *keep, int64_t *done_us,
		      GError **error);

/* one process in a history; or one of the programs it ran, where it went on as another by exec */
struct history_target {
	int64_t pid, start_time_us, first_us, last_us, samples;
	char *cmdline; /* escaped */
};

/* The processes in a recording or history, as GArray of struct history_target that frees what it holds; NULL with *error. */
GArray *history_targets(recording_t *recording, GError **error);
