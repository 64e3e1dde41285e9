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

/* Ask the daemon's socket one thing: a line of JSON and the line that answers it; NULL: there is no daemon. Free with g_free(). */
char *remote_ask(const char *request);
