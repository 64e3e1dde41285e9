/* `reftop view`: the live view over a recording, with a cursor in time. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/source/recorded.h"
#include "daemon/store/reference.h"
#include "tui/commands/commands.h"
#include "tui/screens/top.h"

#define LISTED 1000 /* processes */

/* "2026-11-20 14:05:00", local time */
static char *moment(int64_t time_us)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(time_us / G_USEC_PER_SEC);
	return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("-");
}

static void list_processes(const GArray *processes, FILE *out)
{
	fprintf(out, "%10s  %-19s  %-19s  %8s  %s\n", "PID", "FROM", "TO", "SAMPLES", "COMMAND");
	for (guint i = 0; i < MIN(processes->len, LISTED); i++) {
		const struct archive_process *at = &g_array_index(processes, struct archive_process, i);
		g_autofree char *from = moment(at->first_us), *to = moment(at->last_us);
		fprintf(out, "%10" G_GINT64_FORMAT "  %-19s  %-19s  %8" G_GINT64_FORMAT "  %s\n", at->pid, from, to,
			at->samples, at->cmdline);
	}
	if (processes->len > LISTED)
		fprintf(out, "and %u more\n", processes->len - LISTED);
}

/* A file of several processes: of which one? *pid 0: the person doesn't want any. */
static gboolean pick(const char *path, const GArray *processes, gboolean ask, gint64 *pid, GError **error)
{
	char line[64] = "";
	list_processes(processes, ask ? stdout : stderr);
	if (!ask) {
		g_autofree char *cause = g_strdup_printf("there are samples of %u processes in it", processes->len);
		usage_error(error, &command_view, cause, "which process of %s? -p PID", path);
		return FALSE;
	}
	printf("\nView which process? PID (or Enter for none): ");
	fflush(stdout);
	*pid = 0;
	if (!fgets(line, sizeof(line), stdin) || !*g_strstrip(line))
		return TRUE;
	return parse_pid(&command_view, line, pid, error);
}

/* Select the process; FALSE without an error: none is wanted. */
static gboolean choose(archive_t *archive, const char *path, const struct options *options, GError **error)
{
	gint64 pid = options->pid;
	g_autoptr(GArray) processes = pid ? NULL : archive_processes(archive, error);
	if (!pid && !processes)
		return FALSE;
	if (!pid && processes->len < 2)
		return TRUE;
	if (!pid && !pick(path, processes, !options->dump_screen, &pid, error))
		return FALSE;
	return pid && archive_choose(archive, pid, error);
}

static int view_run(const struct options *options, GError **error)
{
	if (!options->dump_screen && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))) {
		usage_error(error, &command_view, "standard input or output is no terminal",
			    "the view needs a terminal, or --dump-screen");
		return REFTOP_ERROR_USAGE;
	}
	g_autofree char *at = NULL, *path = reference_split(options->arguments[0], &at);
	g_autoptr(archive_t) archive = archive_open(path, error);
	if (!archive)
		return REFTOP_ERROR_FAILED;
	if (!choose(archive, path, options, error))
		return error && *error ? REFTOP_ERROR_FAILED : 0;
	const struct top_options top = {
		.interval_us = options->interval_us,
		.dump_screen = options->dump_screen,
		.no_color = options->no_color,
		.replay = TRUE,
		.at = at,
	};
	return top_run(source_recorded_of(g_steal_pointer(&archive)), &top, error);
}

const struct command command_view = {
	.name = "view",
	.synopsis = "FILE[@WHEN] [-p PID]",
	.summary = "the live view over a recording, with a cursor in time",
	.details =
		"FILE is what `reftop record` writes, a recording or lines of JSON (`record -o FILE --json`), a sample that `histo --json` wrote, or the "
		"store of the daemon. A recording may still be written to; JSON is read as it is at the beginning. Of a file with samples of several "
		"processes -p says which one, of those that had this PID the last; without it they are listed, to pick one.\n\n"
		"WHEN is where the cursor begins, as for "
		"`reftop diff`: a number, `first`, `last`, or a time as 14:05:00; the end is where it begins without. The "
		"table, the changes and the verdict are those that somebody would have seen who watched until then. "
		"The keys , and . move by one sample, [ and ] by a twentieth of the recording, { and } go to its ends; z "
		"plays it, a sample every --interval. Blanks in the line of time are gaps: nobody looked then.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_INTERVAL, OPTION_DUMP_SCREEN, OPTION_END},
	.min_arguments = 1,
	.max_arguments = 1,
	.run = view_run,
};
