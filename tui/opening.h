/* What a command reads: a process (-p), or a core file or image (-c FILE, and the executable behind it). */
#pragma once
#include "daemon/source/live.h"
#include "tui/command.h"

/*
 * Open it. `own` is how many arguments the command takes for itself; behind them may stand the executable of a core file, or, where the command
 * takes none, a PID. NULL with *error: USAGE, and as source_live_new() and source_file_new().
 */
source_t *open_source(const struct command *command, const struct options *options, int own,
		      const struct live_options *live, GError **error);

/*
 * A process, through the daemon when one watches it and nothing was asked for that the daemon can't do; `interval_us` is how often
 * samples are wanted (0: no matter). NULL with *error as source_live_new().
 */
source_t *open_process(const struct options *options, pid_t pid, gint64 interval_us, const struct live_options *live,
		       GError **error);

/* With --strict: what keeps the sample from being complete, as an error (INCOMPLETE) after the data was written. */
gboolean sample_check_strict(const sample_t *sample, GError **error);
