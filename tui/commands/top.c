/* `reftop top`, which is also `reftop PID` and `reftop -- PROGRAM`: the live view (tui/screens/top.h). */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/source/live.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/processes.h"
#include "tui/program.h"
#include "tui/screens/screen.h"
#include "tui/screens/top.h"
#include "tui/tree.h"

static char *ended(void *context)
{
	return program_ended(context);
}

static void say_end(program_t *program)
{
	g_autofree char *how = program_ended(program);
	if (how)
		g_printerr("reftop: %s ended: %s\n", program_name(program), how);
	else
		g_printerr("reftop: %s goes on as process %d\n", program_name(program), (int)program_pid(program));
	g_printerr("  output: %s\n", program_log(program));
}

/* `reftop` alone on a terminal: the list of processes, and which one it should be. 0 when the answer was none. */
static gboolean pick_process(gint64 *pid, GError **error)
{
	struct winsize size = {0};
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	g_autoptr(GPtrArray) processes = processes_find();
	GHashTable *watched = processes_watched();
	g_autoptr(GString) table = processes_table(processes, watched, size.ws_col);
	g_clear_pointer(&watched, g_hash_table_unref);
	if (!processes->len) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_GONE, "no process of this machine looks like one",
			  "start one, or let `reftop -- PROGRAM` do that", "there is no Python process to watch");
		return FALSE;
	}
	char line[64] = "";
	printf("%s\nWatch which process? PID (or Enter for none): ", table->str);
	fflush(stdout);
	*pid = 0;
	if (!fgets(line, sizeof(line), stdin) || !*g_strstrip(line))
		return TRUE;
	return parse_pid(&command_top, line, pid, error);
}

/* The process to watch, from the options or the person. False: an error, or with *pid 0 there is none to watch. */
static gboolean choose_process(const struct options *options, gint64 *pid, GError **error)
{
	if (options->pid || options->n_arguments || options->dump_screen)
		return options_target(&command_top, options, pid, error);
	return pick_process(pid, error) && *pid;
}

static int watch(const struct options *options, pid_t pid, program_t *program, GError **error)
{
	struct live_options live = {.nonblocking = options->nonblocking,
				    .precopy = options->precopy,
				    .again = TRUE,
				    .max_pause_us = options->max_pause_us,
				    .memory = options->memory,
				    .turnover = TRUE,
				    .keep = TRUE};
	source_t *source = program ? program_source(program, &live, error)
				   : open_process(options, pid, options->interval_us, &live, error);
	if (!source)
		return REFTOP_ERROR_FAILED;
	g_autofree char *notice = program ? g_strdup_printf("output goes to %s", program_log(program)) : NULL;
	const struct top_options top = {
		.interval_us = options->interval_us,
		.budget = options->budget,
		.iterations = (int)options->iterations,
		.dump_screen = options->dump_screen,
		.screen = options->screen,
		.replay = source->ops->moments != NULL,
		.no_color = options->no_color,
		.notice = notice,
		.ended = program ? ended : NULL,
		.ended_context = program,
	};
	return top_run(source, &top, error);
}

static int top_main(const struct options *options, GError **error)
{
	gint64 pid = 0;
	if (options->subprocesses && options->program && !options->pid && !options->n_arguments)
		return tree_run(options, error);
	if (options->subprocesses) {
		usage_error(error, &command_top,
			    "a process that runs already is watched so by `reftop daemon -p PID -s`",
			    "--subprocesses is for a program that is started");
		return REFTOP_ERROR_USAGE;
	}
	if (options->program && (options->pid || options->n_arguments)) {
		usage_error(error, &command_top, NULL, "either a process or a program, not both");
		return REFTOP_ERROR_USAGE;
	}
	if (options->screen && !screen_is_tab(options->screen)) {
		usage_error(error, &command_top, "the screens to begin with are types, watched and threads",
			    "no screen is called '%s'", options->screen);
		return REFTOP_ERROR_USAGE;
	}
	if (!options->dump_screen && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))) {
		usage_error(error, &command_top, "standard input or output is no terminal",
			    "the live view needs a terminal");
		return REFTOP_ERROR_USAGE;
	}
	if (!options->program && !choose_process(options, &pid, error))
		return error && *error ? REFTOP_ERROR_USAGE : 0;
	g_autoptr(program_t) program = NULL;
	if (options->program && !(program = program_start(options->program, PROGRAM_TO_FILE, error)))
		return REFTOP_ERROR_FAILED;
	int status = watch(options, (pid_t)pid, program, error);
	g_autofree char *how = program ? program_ended(program) : NULL;
	/* an error of a program that ended has told that already */
	if (program && !(how && error && *error))
		say_end(program);
	return status;
}

const struct command command_top = {
	.name = "top",
	.synopsis = "[-p PID | -- PROGRAM ...]",
	.summary = "the live view: types, counts, bytes, reference counts, and how they grow",
	.details =
		"`reftop PID` and `reftop -- PROGRAM ...` are the same; without either the processes are listed, to "
		"pick one. A program that is started so has no input, "
		"and its output goes to a "
		"file that is named; its exit status is told at the end. It is not killed: it goes on when the view "
		"is left. With "
		"--dump-screen no terminal is needed: after --iterations samples the screen is written as text, in "
		"the size that COLUMNS "
		"and LINES say.\n\n"
		"`reftop -s -- PROGRAM ...` runs a program with its own input and output, watches it and all that it "
		"starts, as the workers of `pytest -n 4`, and says on standard error at its end what grew, how fast, "
		"and in which process. The exit status is the program's.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_INTERVAL, OPTION_ITERATIONS, OPTION_DUMP_SCREEN,
					    OPTION_SUBPROCESSES, OPTION_SCREEN, OPTION_NO_DAEMON, OPTION_NONBLOCKING,
					    OPTION_PRECOPY, OPTION_MAX_PAUSE, OPTION_MEMORY, OPTION_BUDGET, OPTION_END},
	.max_arguments = 1,
	.run = top_main,
};
