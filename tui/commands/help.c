/* `reftop help`: the manual, made from the tables of commands and options and the sections of tui/manual.c. */
#include <string.h>

#include "base/error.h"
#include "tui/commands/commands.h"
#include "tui/manual.h"
#include "tui/output.h"

static int help_run(const struct options *options, GError **error)
{
	const char *topic = options->n_arguments ? options->arguments[0] : NULL;
	GString *(*format)(void) = options->format ? manual_format(options->format) : NULL;
	if (options->format && !format) {
		usage_error(error, &command_help, NULL, "no such format: '%s'", options->format);
		return REFTOP_ERROR_USAGE;
	}
	g_autoptr(GString) text = format ? format() : topic ? manual_topic(topic) : manual_overview();
	if (!text) {
		usage_error(error, NULL, NULL, "no such command or topic: '%s'", topic);
		return REFTOP_ERROR_USAGE;
	}
	return output_text(NULL, text->str, text->len, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_help = {
	.name = "help",
	.synopsis = "[COMMAND | TOPIC]",
	.summary = "the manual",
	.details = "",
	.options = (const enum option_id[]){OPTION_FORMAT, OPTION_END},
	.max_arguments = 1,
	.run = help_run,
};
