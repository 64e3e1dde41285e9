/*
 * A process as the daemon sees it (manual, "The daemon"): samples come from its socket, with the history from before anybody looked, and cost
 * the process nothing beyond what the daemon takes anyway. Questions about single objects need its memory: for those, and when the
 * daemon goes away, the process is opened here, as source_live_new() does.
 */
#pragma once
#include "daemon/source/live.h"

/*
 * NULL without an error: there is no daemon, or it doesn't watch that process, or doesn't show it to this user. `interval_us` is how often
 * samples are wanted.
 */
source_t *source_remote_new(pid_t pid, gint64 interval_us, const struct live_options *live);

/*
 * The newest sample that the daemon has, when it is newer than the one before: waits for none to be taken. NULL without *error: there is none
 * newer. Once the daemon is gone this is source_next().
 */
sample_t *source_remote_newest(source_t *source, GError **error);

/* Ask the daemon's socket one thing: a line of JSON and the line that answers it; NULL: there is no daemon. Free with g_free(). */
char *remote_ask(const char *request);
