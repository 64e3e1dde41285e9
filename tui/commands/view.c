/* `reftop view`: the live view over a recording, with a cursor in time. */
#include <unistd.h>

#include "base/error.h"
#include "daemon/source/recorded.h"
#include "daemon/store/reference.h"
#include "tui/commands/commands.h"
#include "tui/screens/top.h"

static int view_run(const struct options *options, GError **error)
{
	if (!options->dump_screen && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))) {
		usage_error(error, &command_view, "standard input or output is no terminal",
			    "the view needs a terminal, or --dump-screen");
		return REFTOP_ERROR_USAGE;
	}
	g_autofree char *at = NULL, *path = reference_split(options->arguments[0], &at);
	source_t *source = source_recorded_new(path, error);
	if (!source)
		return REFTOP_ERROR_FAILED;
	const struct top_options top = {
		.interval_us = options->interval_us,
		.dump_screen = options->dump_screen,
		.no_color = options->no_color,
		.replay = TRUE,
		.at = at,
	};
	return top_run(source, &top, error);
}

const struct command command_view = {
	.name = "view",
	.synopsis = "FILE[@WHEN]",
	.summary = "the live view over a recording, with a cursor in time",
	.details =
		"FILE is what `reftop record` writes; it may still be written to. WHEN is where the cursor begins, as for "
		"`reftop diff`: a number, `first`, `last`, or a time as 14:05:00; the end is where it begins without. The "
		"table, the changes and the verdict are those that somebody would have seen who watched until then. "
		"The keys , and . move by one sample, [ and ] by a twentieth of the recording, { and } go to its ends; z "
		"plays it, a sample every --interval. Blanks in the line of time are gaps: nobody looked then.",
	.options = (const enum option_id[]){OPTION_INTERVAL, OPTION_DUMP_SCREEN, OPTION_END},
	.min_arguments = 1,
	.max_arguments = 1,
	.run = view_run,
};
