/* `reftop top`, which is also `reftop PID` and `reftop -- PROGRAM`: the live view (tui/screens/top.h). */
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/analysis/members.h"
#include "daemon/source/group.h"
#include "daemon/source/live.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
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

static struct live_options live_options(const struct options *options)
{
	return (struct live_options){.nonblocking = options->nonblocking,
				     .precopy = options->precopy,
				     .again = TRUE,
				     .max_pause_us = options->max_pause_us,
				     .memory = options->memory,
				     .turnover = TRUE,
				     .keep = TRUE};
}

/* The sum of several processes: memory is kept of none of them. */
static source_t *open_sum(const struct options *options, const pid_t *pids, size_t n, gboolean children,
			  gboolean adopts)
{
	struct live_options live = live_options(options);
	live.turnover = live.keep = FALSE;
	live.lean = TRUE;
	const struct group_options group = {
		.pids = pids,
		.n = n,
		.children = children,
		.adopts = adopts,
		.no_daemon = options->no_daemon || live.nonblocking || live.precopy || live.max_pause_us ||
			     live.memory || options->budget > 0,
		.interval_us = options->interval_us ? options->interval_us : G_USEC_PER_SEC,
		.live = live,
	};
	return source_group_new(&group);
}

/* What a person chose from the list of processes. */
static source_t *open_choice(void *context, const struct choice *choice, GError **error)
{
	const struct options *options = context;
	struct live_options live = live_options(options);
	const pid_t *pids = (const pid_t *)(gconstpointer)choice->pids->data;
	if (choice->sum)
		return open_sum(options, pids, choice->pids->len, choice->children, FALSE);
	return open_process(options, pids[0], options->interval_us, &live, error);
}

/* The processes of the person are listed where none is named: there it is chosen from. */
static gboolean begins_with_list(const struct options *options)
{
	gboolean list = options->screen ? !strcmp(options->screen, "processes") : !options->dump_screen;
	return list && !options->pid && !options->n_arguments && !options->program;
}

static struct top_options top_options(const struct options *options)
{
	/* what is still being opened when the view ends has no use for it, but looks at it */
	static struct options kept;
	kept = *options;
	return (struct top_options){
		.interval_us = options->interval_us,
		.budget = options->budget,
		.iterations = (int)options->iterations,
		.dump_screen = options->dump_screen,
		.screen = options->screen,
		.no_color = options->no_color,
		.open = open_choice,
		.open_context = &kept,
		.no_daemon = options->no_daemon,
	};
}

static int watch(const struct options *options, pid_t pid, program_t *program, GError **error)
{
	struct live_options live = live_options(options);
	source_t *source = options->subprocesses ? open_sum(options, &pid, 1, TRUE, FALSE)
			   : program             ? program_source(program, &live, error)
						 : open_process(options, pid, options->interval_us, &live, error);
	if (!source)
		return REFTOP_ERROR_FAILED;
	g_autofree char *notice = program ? g_strdup_printf("output goes to %s", program_log(program)) : NULL;
	struct top_options top = top_options(options);
	top.replay = source->ops->moments != NULL;
	top.notice = notice;
	top.ended = program ? ended : NULL;
	top.ended_context = program;
	return top_run(source, &top, error);
}

/* what is known of the processes of a sum at its end */
struct summary {
	GArray *growths;
	guint processes;
};

static void summarize(void *context, struct members *members)
{
	struct summary *summary = context;
	summary->growths = members_grown(members);
	summary->processes = (guint)members_read(members);
}

/* `reftop -s -- PROGRAM` on a terminal: the live view of all that it starts, and at the end what grew, as without one. */
static int watch_tree(const struct options *options, GError **error)
{
	/* what its processes leave behind comes to us */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	g_autoptr(program_t) program = program_start(options->program, PROGRAM_TO_FILE, error);
	if (!program)
		return REFTOP_ERROR_FAILED;
	pid_t pid = program_pid(program);
	g_autofree char *notice = g_strdup_printf("output goes to %s", program_log(program));
	struct summary summary = {0};
	struct top_options top = top_options(options);
	top.notice = notice;
	top.ended = ended;
	top.ended_context = program;
	top.finished = summarize;
	top.finished_context = &summary;
	g_autoptr(GError) problem = NULL;
	int status = top_run(open_sum(options, &pid, 1, TRUE, TRUE), &top, &problem);
	g_autofree char *how = program_ended(program);
	if (problem && !how) {
		g_propagate_error(error, g_steal_pointer(&problem));
		say_end(program);
		return status;
	}
	if (summary.growths)
		tree_summarize(summary.growths, summary.processes);
	g_clear_pointer(&summary.growths, g_array_unref);
	say_end(program);
	return how ? program_status(program) : 0;
}

static int top_main(const struct options *options, GError **error)
{
	gint64 pid = 0;
	gboolean terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	gboolean tree = options->subprocesses && options->program && !options->pid && !options->n_arguments;
	if (tree && !options->dump_screen && (options->quiet || !terminal))
		return tree_run(options, error);
	if (options->program && (options->pid || options->n_arguments)) {
		usage_error(error, &command_top, NULL, "either a process or a program, not both");
		return REFTOP_ERROR_USAGE;
	}
	if (options->screen && !screen_is_tab(options->screen)) {
		usage_error(error, &command_top, "the screens to begin with are types, watched, threads and processes",
			    "no screen is called '%s'", options->screen);
		return REFTOP_ERROR_USAGE;
	}
	if (!options->dump_screen && !terminal) {
		usage_error(error, &command_top, "standard input or output is no terminal",
			    "the live view needs a terminal");
		return REFTOP_ERROR_USAGE;
	}
	if (tree)
		return watch_tree(options, error);
	if (begins_with_list(options)) {
		struct top_options top = top_options(options);
		top.screen = NULL;
		return top_run(NULL, &top, error);
	}
	if (!options->program && !options_target(&command_top, options, &pid, error))
		return REFTOP_ERROR_USAGE;
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
	.synopsis = "[-s] [-p PID | -- PROGRAM ...]",
	.summary = "the live view: types, counts, bytes, reference counts, and how they grow",
	.details =
		"`reftop PID` and `reftop -- PROGRAM ...` are the same. A program that is started so has no input, "
		"and its output goes to a "
		"file that is named; its exit status is told at the end. It is not killed: it goes on when the view "
		"is left. With "
		"--dump-screen no terminal is needed: after --iterations samples, or when the process ends, the screen is written as text, in "
		"the size that COLUMNS "
		"and LINES say.\n\n"
		"Without a process the list of all comes first (with --dump-screen: where --screen processes asks for it): a tree of the Python processes, with the growth of their "
		"memory, and where a daemon watches, their objects and what grows in them; of those that can't be read, "
		"why. Enter opens one and Esc leads back, Space tags, t shows the list by number. From the view of a "
		"process Tab leads there.\n\n"
		"Several processes are watched as one with S in that list: the sum over those that are tagged, or over the "
		"selected one and all below it. `reftop -s PID` does the same for a process and all that it starts. The "
		"types are then those of all, matched by name, with the process that each grows most in; Enter shows a "
		"type process by process. A process joins as it starts and leaves as it ends; changes count from the "
		"baseline or from when it joined. One that can't be read is named, and counts as what it last held.\n\n"
		"`reftop -s -- PROGRAM ...` starts a program and shows the sum over it and all that it starts, as the "
		"workers of `pytest -n 4`. Without a terminal, or with --quiet, the program has its own input and output "
		"instead of the view. Either way what grew, how fast, and in which process is said on standard error at "
		"the end, and the exit status is the program's.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_INTERVAL, OPTION_ITERATIONS, OPTION_DUMP_SCREEN,
					    OPTION_SUBPROCESSES, OPTION_QUIET, OPTION_SCREEN, OPTION_NO_DAEMON,
					    OPTION_NONBLOCKING, OPTION_PRECOPY, OPTION_MAX_PAUSE, OPTION_MEMORY,
					    OPTION_BUDGET, OPTION_END},
	.max_arguments = 1,
	.run = top_main,
};
