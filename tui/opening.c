#include "tui/opening.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/source/remote.h"

#define DAEMON_INTERVAL_US G_USEC_PER_SEC /* it reads no process more often */

source_t *open_process(const struct options *options, pid_t pid, gint64 interval_us, const struct live_options *live,
		       GError **error)
{
	gboolean special = options->no_daemon || live->nonblocking || live->max_pause_us || live->memory ||
			   live->gc_only || options->precopy || options->budget > 0 || options->watch.n ||
			   (interval_us && interval_us < DAEMON_INTERVAL_US);
	source_t *source =
		special ? NULL : source_remote_new(pid, interval_us ? interval_us : DAEMON_INTERVAL_US, live);
	return source ? source : source_live_new(pid, live, error);
}

source_t *open_source(const struct command *command, const struct options *options, int own,
		      const struct live_options *live, GError **error)
{
	gint64 pid = options->pid;
	if (options->core) {
		const char *exe = options->n_arguments > own ? options->arguments[own] : NULL;
		const struct file_options file = {options->core, exe, options->sysroot};
		if (!options->pid)
			return source_file_new(&file, live, error);
		usage_error(error, command, NULL, "either a process (-p) or a core file (-c)");
		return NULL;
	}
	if (options->sysroot) {
		usage_error(error, command, NULL, "--sysroot is for core files (-c)");
		return NULL;
	}
	if (!own && !options_target(command, options, &pid, error))
		return NULL;
	if (own && (!pid || options->n_arguments > own)) {
		usage_error(error, command, NULL,
			    pid ? "too many arguments" : "which process? -p PID, or a core file: -c FILE");
		return NULL;
	}
	return command_takes(command, OPTION_NO_DAEMON) ? open_process(options, (pid_t)pid, 0, live, error)
							: source_live_new((pid_t)pid, live, error);
}

gboolean sample_check_strict(const sample_t *sample, GError **error)
{
	char count[32];
	g_autofree char *cause = NULL;
	const char *fix = NULL;
	if (sample->snapshot.skipped) {
		cause = g_strdup(sample->snapshot.skipped);
		fix = "a longer --max-pause";
	} else if (sample->totals.unreadable > 0) {
		cause = g_strdup_printf("%s objects could not be read", text_count(count, sample->totals.unreadable));
	} else if (!sample->snapshot.consistent) {
		cause = g_strdup("the process ran while it was copied");
		fix = strcmp(sample->snapshot.mode, "nonblocking") ? NULL : "leave out --nonblocking";
	} else {
		return TRUE;
	}
	error_set(error, FACE_ERROR, REFTOP_ERROR_INCOMPLETE, cause, fix,
		  "the snapshot of process %" G_GINT64_FORMAT " is incomplete", sample->target.pid);
	return FALSE;
}
