/* `reftop leaks`: the references that nothing in the process explains. */
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/leaks.h"
#include "daemon/store/json_references.h"
#include "tui/commands/commands.h"
#include "tui/leaks_text.h"
#include "tui/opening.h"
#include "tui/output.h"
#include "tui/program.h"

#define DEFAULT_INTERVAL_US (1 * G_USEC_PER_SEC)
#define PROGRAM_INTERVAL_US (250 * 1000) /* between looks at a program that may end at any moment */
#define PROGRAM_SHARE       8            /* but no more than an eighth of the time is spent looking */
#define WAIT_US             (50 * 1000)  /* how often a wait looks whether the program still runs */
#define JSON_OBJECTS        10000
#define TEXT_ROWS           20

static size_t max_objects(const struct options *options)
{
	return options->limit ? (size_t)options->limit : options->json || options->suppress ? JSON_OBJECTS : TEXT_ROWS;
}

/* The patterns of a file: one a line, `#` begins a comment. NULL with *error. */
static char **read_patterns(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) problem = NULL;
	if (!g_file_get_contents(path, &text, NULL, &problem)) {
		g_autofree char *name = text_escape(path, strlen(path));
		error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, problem->message, NULL,
			  "cannot read the patterns in %s", name);
		return NULL;
	}
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	GPtrArray *patterns = g_ptr_array_new();
	for (char **line = lines; *line; line++) {
		char *pattern = g_strstrip(*line);
		if (*pattern && *pattern != '#')
			g_ptr_array_add(patterns, g_strdup(pattern));
	}
	g_ptr_array_add(patterns, NULL);
	return (char **)g_ptr_array_free(patterns, FALSE);
}

/* ---- looking ---- */

static void block_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGHUP);
	sigprocmask(SIG_BLOCK, signals, NULL);
}

/* Wait; the signal that ended the wait, or 0. */
static int wait_for(const sigset_t *signals, gint64 us)
{
	struct timespec time = {us / G_USEC_PER_SEC, us % G_USEC_PER_SEC * 1000};
	int number = sigtimedwait(signals, NULL, &time);
	return number > 0 ? number : 0;
}

/* Two looks at a process, an interval apart. NULL with *error. */
static leaks_t *look_twice(source_t *source, const struct options *options, GError **error)
{
	sigset_t signals;
	leaks_t *first = source->ops->leaks(source, 0, error);
	if (!first)
		return NULL;
	leaks_free(first);
	/* a file doesn't change: the second look finds what the first did, and the document is as of a process */
	if (options->core)
		return source->ops->leaks(source, max_objects(options), error);
	block_signals(&signals);
	int number = wait_for(&signals, options->interval_us ? options->interval_us : DEFAULT_INTERVAL_US);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	if (number && number != SIGINT) {
		raise(number);
		return NULL;
	}
	return source->ops->leaks(source, max_objects(options), error);
}

/* Until `until` (monotonic), a signal (returned), or the program's end. */
static int wait_until(program_t *program, const sigset_t *signals, gint64 until)
{
	for (;;) {
		gint64 left = until - g_get_monotonic_time();
		g_autofree char *ended = program_ended(program);
		if (left <= 0 || ended)
			return 0;
		int number = wait_for(signals, MIN(left, WAIT_US));
		if (number)
			return number;
	}
}

/*
 * Look at a program again and again while it runs: at its end it is too late, it has torn down its objects by then. The last verdict that
 * rests on two looks counts. A signal is the end, too: one more look, and the program gets the signal.
 */
static leaks_t *look_until_end(program_t *program, const struct options *options, gint64 *looked_us, GError **error)
{
	struct live_options live = {.nonblocking = options->nonblocking, .precopy = options->precopy};
	leaks_t *last = NULL;
	sigset_t signals;
	int number = 0;
	/* from here on a signal waits until we look for one: it must not leave the program behind */
	block_signals(&signals);
	g_autoptr(source_t) source = program_source(program, &live, error);
	if (!source)
		return NULL;
	for (;;) {
		g_autoptr(GError) problem = NULL;
		gint64 start = g_get_monotonic_time();
		leaks_t *leaks = source->ops->leaks(source, max_objects(options), &problem);
		gint64 end = g_get_monotonic_time();
		if (leaks) {
			leaks_free(last);
			last = leaks;
			*looked_us = end;
		}
		g_autofree char *ended = program_ended(program);
		if (number || ended || (!leaks && problem->code == REFTOP_ERROR_GONE))
			break;
		gint64 interval = options->interval_us ? options->interval_us : PROGRAM_INTERVAL_US;
		number = wait_until(program, &signals, end + MAX(interval, PROGRAM_SHARE * (end - start)));
	}
	if (number)
		kill(program_pid(program), number);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	if (!last)
		error_set(error, FACE_ERROR, REFTOP_ERROR_GONE, "it ran too short a time", NULL,
			  "%s ended before a look was possible", program_name(program));
	return last;
}

/* ---- telling ---- */

static gboolean tell(leaks_t *leaks, const struct options *options, GError **error)
{
	g_auto(GStrv) patterns = options->suppress ? read_patterns(options->suppress, error) : NULL;
	if (options->suppress && !patterns)
		return FALSE;
	if (patterns)
		leaks_suppress(leaks, (const char *const *)patterns);
	size_t rows = options->limit ? (size_t)options->limit : TEXT_ROWS;
	g_autoptr(GString) text = options->json ? json_leaks(leaks, options->limit ? rows : SIZE_MAX)
						: leaks_text(leaks, rows, options->verbose);
	return output_text(options->output, text->str, text->len, error);
}

static int gate(const leaks_t *leaks, const struct options *options, GError **error)
{
	if (!options->fail || !leaks_found(leaks))
		return 0;
	char count[32];
	g_autofree char *cause = g_strdup_printf("%s references are held by nobody, or more than counted",
						 text_count(count, leaks->totals.unexplained + leaks->totals.deficit));
	error_set(error, FACE_ERROR, REFTOP_ERROR_GATE, cause, "name what is known in a file for --suppress",
		  "references are lost in process %" G_GINT64_FORMAT, leaks->origin->target.pid);
	return REFTOP_ERROR_GATE;
}

static int run_program(const struct options *options, GError **error)
{
	g_autoptr(program_t) program = program_start(options->program, PROGRAM_TO_ERROR, error);
	gint64 looked_us = 0;
	g_autoptr(leaks_t) leaks = program ? look_until_end(program, options, &looked_us, error) : NULL;
	if (!leaks)
		return REFTOP_ERROR_FAILED;
	if (!tell(leaks, options, error))
		return REFTOP_ERROR_FAILED;
	g_autofree char *ended = program_ended(program);
	if (!options->quiet)
		g_printerr("reftop: %s: %s; the last look was %.1f s before\n", program_name(program),
			   ended ? ended : "still running", (double)(g_get_monotonic_time() - looked_us) / 1e6);
	return gate(leaks, options, error);
}

static int leaks_run(const struct options *options, GError **error)
{
	if (options->program && (options->pid || options->n_arguments)) {
		usage_error(error, &command_leaks, NULL, "either a process or a program, not both");
		return REFTOP_ERROR_USAGE;
	}
	if (options->program)
		return run_program(options, error);
	struct live_options live = {.nonblocking = options->nonblocking, .precopy = options->precopy};
	g_autoptr(source_t) source = open_source(&command_leaks, options, 0, &live, error);
	g_autoptr(leaks_t) leaks = source ? look_twice(source, options, error) : NULL;
	if (!leaks || !tell(leaks, options, error))
		return REFTOP_ERROR_FAILED;
	return gate(leaks, options, error);
}

const struct command command_leaks = {
	.name = "leaks",
	.synopsis = "{-p PID | -c FILE [EXE] | -- PROGRAM ...}",
	.summary = "the references that nothing in the process explains, by type, and the worst objects",
	.details =
		"Every reference to every object is looked for, in all of the process's memory, and compared with the reference "
		"counts. What a count has and nobody holds was lost: a missing Py_DECREF. What is held beyond the count is a "
		"deficit: one Py_DECREF too many, or a missing Py_INCREF. It looks twice, --interval apart (one second; a file doesn't "
		"change), and only what both looks found counts; what grew between them comes first. A reference or two that never grow are told apart as "
		"one-offs: C code keeps such when it is loaded.\n"
		"With --fail the exit status is 7 when something is lost that is no one-off. --suppress names a file with what is "
		"known, a pattern a line: module.qualname of a type, or that, a blank, and the value of an object; * and ? stand for "
		"anything.\n"
		"`reftop leaks -- pytest ...` runs a program and looks again and again until it ends or Ctrl-C; the last verdict "
		"counts. The program's output goes to standard error.",
	.options =
		(const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_OUTPUT, OPTION_INTERVAL,
					 OPTION_JSON, OPTION_LIMIT, OPTION_FAIL, OPTION_SUPPRESS, OPTION_NO_DAEMON,
					 OPTION_NONBLOCKING, OPTION_PRECOPY, OPTION_QUIET, OPTION_VERBOSE, OPTION_END},
	.max_arguments = 1,
	.run = leaks_run,
};
