#include "tui/opening.h"

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
	return source_live_new((pid_t)pid, live, error);
}
