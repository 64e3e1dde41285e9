/* `reftop record`: a sample every interval, into a SQLite file or as lines of JSON, until something ends it. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/leaks.h"
#include "daemon/source/budget.h"
#include "daemon/source/live.h"
#include "daemon/store/json.h"
#include "daemon/store/recording.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/output.h"
#include "tui/pace.h"

#define DEFAULT_INTERVAL_US (1 * G_USEC_PER_SEC)
#define LOOK_US             (1 * G_USEC_PER_SEC) /* how often a long wait looks whether the process is still there */
#define MAX_FAILURES        5                    /* in a row; a single one may come from an unlucky moment */

/* what a run of the recorder is at */
typedef struct recorder {
	const struct options *options;
	source_t *source;
	char *path;             /* "-": standard output */
	recording_t *recording; /* or */
	output_t *output;
	sigset_t signals; /* that end it */
	gint64 start_us;  /* monotonic */
	gint64 samples, skipped;
	struct budget budget;
	gboolean stretched; /* and that was told */
	int failures;
	struct pace pace; /* of looking for the references of what is watched */
} recorder_t;

static void recorder_clear(struct recorder *recorder)
{
	source_free(recorder->source);
	recording_free(recorder->recording);
	output_free(recorder->output);
	g_free(recorder->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(recorder_t, recorder_clear)

/* Lines of JSON go to a pipe or a new file: a file with something in it that may be precious is left alone. */
static gboolean check_lines_file(const char *path, GError **error)
{
	struct stat status;
	if (!strcmp(path, "-") || stat(path, &status) || !S_ISREG(status.st_mode) || !status.st_size)
		return TRUE;
	g_autofree char *name = text_escape(path, strlen(path));
	error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, "it exists and is not empty", "record into a new file",
		  "cannot record into %s", name);
	return FALSE;
}

/* Open what the samples go to; the first sample says of which process they are. */
static gboolean open_destination(struct recorder *recorder, const sample_t *first, GError **error)
{
	if (!recorder->options->json) {
		recorder->recording = recording_append_to(recorder->path, first, error);
		return recorder->recording != NULL;
	}
	if (!check_lines_file(recorder->path, error))
		return FALSE;
	recorder->output = output_open(recorder->path, error);
	return recorder->output != NULL;
}

static gboolean write_sample(struct recorder *recorder, const sample_t *sample, GError **error)
{
	if (recorder->recording)
		return recording_append(recorder->recording, sample, NULL, error);
	g_autoptr(GString) line = json_sample(sample, NULL, 0);
	return output_write(recorder->output, line->str, line->len, error);
}

/* The next sample; the counts of watched objects are explained as often as that costs little. */
static sample_t *take_sample(struct recorder *recorder, GError **error)
{
	gint64 began = g_get_monotonic_time();
	if (!recorder->options->watch.n || !pace_due(&recorder->pace, began))
		return source_next(recorder->source, error);
	leaks_t *leaks = NULL;
	sample_t *sample = recorder->source->ops->assess(recorder->source, 0, &leaks, error);
	leaks_free(leaks);
	if (sample)
		pace_ran(&recorder->pace, began, g_get_monotonic_time(), sample->snapshot.pause_us);
	return sample;
}

/* An address with nothing at it is a mistake at the beginning; later it is the news that was waited for. */
static gboolean check_watched(const struct recorder *recorder, const sample_t *sample, GError **error)
{
	for (size_t i = 0; i < sample->n_watched; i++) {
		const struct sample_watched *watched = &sample->watched[i];
		if (watched->state == WATCHED_ALIVE)
			continue;
		if (!recorder->samples) {
			error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE,
				  "no object of the process is at this address now",
				  "take one from `reftop objects` or `reftop leaks`, or id() in the process",
				  "there is no object at 0x%" G_GINT64_MODIFIER "x", watched->address);
			return FALSE;
		}
		if (!recorder->options->quiet)
			g_printerr("reftop: 0x%" G_GINT64_MODIFIER "x %s: %s%s\n", watched->address, watched->qualname,
				   watched->state == WATCHED_DEAD ? "it died" : "its address was used again, by ",
				   watched->now);
	}
	return TRUE;
}

/* Lines of JSON say it where the sample would be; in a recording there is nothing that could be taken for a sample. */
static gboolean record_skipped(struct recorder *recorder, const sample_t *sample, GError **error)
{
	if (!recorder->skipped++ && !recorder->options->quiet)
		g_printerr("reftop: a sample was skipped: %s\n", sample->snapshot.skipped);
	if (!recorder->options->json)
		return TRUE;
	if (!recorder->output && !open_destination(recorder, sample, error))
		return FALSE;
	return write_sample(recorder, sample, error);
}

/* One sample. False with an error: it is over; GONE: because the process ended. */
static gboolean record_one(struct recorder *recorder, GError **error)
{
	g_autoptr(GError) problem = NULL;
	g_autoptr(sample_t) sample = take_sample(recorder, &problem);
	if (sample && !check_watched(recorder, sample, error))
		return FALSE;
	if (!sample) {
		gboolean passing = problem->code == REFTOP_ERROR_FAILED && recorder->samples &&
				   ++recorder->failures < MAX_FAILURES;
		if (!passing) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return FALSE;
		}
		g_printerr("reftop: a sample failed, going on: %s\n", problem->message);
		return TRUE;
	}
	recorder->failures = 0;
	if (sample->snapshot.skipped)
		return record_skipped(recorder, sample, error);
	if (!recorder->output && !recorder->recording && !open_destination(recorder, sample, error))
		return FALSE;
	if (!write_sample(recorder, sample, error))
		return FALSE;
	recorder->samples++;
	return TRUE;
}

/* Wait until `until` (monotonic). The signal that ended the wait, or 0; a process that ended ends it, too. */
static int wait_until(struct recorder *recorder, gint64 until)
{
	for (;;) {
		gint64 left = CLAMP(until - g_get_monotonic_time(), 0, LOOK_US);
		struct timespec time = {left / G_USEC_PER_SEC, left % G_USEC_PER_SEC * 1000};
		int number = sigtimedwait(&recorder->signals, NULL, &time);
		if (number > 0)
			return number;
		if (until <= g_get_monotonic_time() || !source_alive(recorder->source))
			return 0;
	}
}

static void say_stretched(struct recorder *recorder, gint64 time_us)
{
	if (recorder->stretched || recorder->options->quiet)
		return;
	recorder->stretched = TRUE;
	double share = recorder->budget.share > 0 ? recorder->budget.share : BUDGET_SHARE;
	g_printerr("reftop: the process is to be stopped for no more than %g%% of the time: a sample every %.1f s "
		   "(see --budget)\n",
		   share * 100, (double)time_us / 1e6);
}

/* Samples until a signal, the duration or an error. */
static gboolean record_all(struct recorder *recorder, GError **error)
{
	gint64 interval = recorder->options->interval_us ? recorder->options->interval_us : DEFAULT_INTERVAL_US;
	gint64 duration = recorder->options->duration_us;
	recorder->budget.share = recorder->options->budget;
	gint64 end = duration ? recorder->start_us + duration : G_MAXINT64;
	for (gint64 next = recorder->start_us;;) {
		gint64 began = g_get_monotonic_time(), paused = source_paused(recorder->source);
		if (!record_one(recorder, error))
			return FALSE;
		budget_spent(&recorder->budget, began, source_paused(recorder->source) - paused);
		/* the grid stays; a sample that took longer than the interval leaves out what it missed */
		gint64 now = g_get_monotonic_time();
		next += interval * (1 + MAX(now - next, 0) / interval);
		/* so does the budget of pauses */
		if (recorder->budget.due_us > next) {
			say_stretched(recorder, recorder->budget.due_us - began);
			next += (recorder->budget.due_us - next + interval - 1) / interval * interval;
		}
		if (next > end) {
			wait_until(recorder, end);
			return TRUE;
		}
		if (wait_until(recorder, next))
			return TRUE;
	}
}

static void say_result(const struct recorder *recorder, const char *why)
{
	if (recorder->options->quiet || (!recorder->samples && !recorder->skipped))
		return;
	gboolean standard = !strcmp(recorder->path, "-");
	g_autofree char *name =
		standard ? g_strdup("standard output") : text_escape(recorder->path, strlen(recorder->path));
	g_autofree char *skipped =
		recorder->skipped ? g_strdup_printf(", %" G_GINT64_FORMAT " skipped", recorder->skipped) : g_strdup("");
	g_printerr("reftop: %s%" G_GINT64_FORMAT " sample%s%s in %.1f s to %s\n", why, recorder->samples,
		   recorder->samples == 1 ? "" : "s", skipped,
		   (double)(g_get_monotonic_time() - recorder->start_us) / 1e6, name);
}

/* Signals wait from here on until wait_until() looks: a sample is always finished, the file always closed. */
static void block_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGHUP);
	sigprocmask(SIG_BLOCK, signals, NULL);
	/* a limit of the file's size is an error of write() */
	signal(SIGXFSZ, SIG_IGN);
}

static gboolean check_options(const struct options *options, gint64 *pid, GError **error)
{
	if (!options_target(&command_record, options, pid, error))
		return FALSE;
	if (!options->json && options->output && !strcmp(options->output, "-")) {
		usage_error(error, &command_record, "a recording is a SQLite file", "-o - needs --json");
		return FALSE;
	}
	return TRUE;
}

static int record_run(const struct options *options, GError **error)
{
	gint64 pid;
	if (!check_options(options, &pid, error))
		return REFTOP_ERROR_USAGE;
	g_auto(recorder_t) recorder = {.options = options};
	recorder.path = options->output ? g_strdup(options->output)
			: options->json ? g_strdup("-")
					: g_strdup_printf("reftop-%" G_GINT64_FORMAT ".db", pid);
	struct live_options live = {.nonblocking = options->nonblocking,
				    .turnover = TRUE,
				    .precopy = options->precopy,
				    .again = TRUE,
				    .max_pause_us = options->max_pause_us,
				    .memory = options->memory};
	recorder.source = open_process(options, (pid_t)pid,
				       options->interval_us ? options->interval_us : DEFAULT_INTERVAL_US, &live, error);
	if (!recorder.source)
		return REFTOP_ERROR_FAILED;
	for (gsize i = 0; i < options->watch.n; i++)
		recorder.source->ops->watch(recorder.source, options->watch.at[i], TRUE);
	block_signals(&recorder.signals);
	recorder.start_us = g_get_monotonic_time();

	g_autoptr(GError) problem = NULL;
	gboolean done = record_all(&recorder, &problem);
	gboolean ended = !done && problem->code == REFTOP_ERROR_GONE && recorder.samples;
	if (done || ended) {
		/* closing may be the first to notice that the disk is full */
		if (!output_close(g_steal_pointer(&recorder.output), error))
			return REFTOP_ERROR_FAILED;
		g_autofree char *why =
			ended ? g_strdup_printf("process %" G_GINT64_FORMAT " ended; ", pid) : g_strdup("");
		say_result(&recorder, why);
		return 0;
	}
	if (problem->domain != OUTPUT_ERROR)
		say_result(&recorder, "");
	g_propagate_error(error, g_steal_pointer(&problem));
	return REFTOP_ERROR_FAILED;
}

const struct command command_record = {
	.name = "record",
	.synopsis = "-p PID [-o FILE]",
	.summary = "a sample every interval into a SQLite file",
	.details =
		"It ends with Ctrl-C (SIGINT, SIGTERM or SIGHUP), after --duration, or with the process. Without -o "
		"the file is "
		"reftop-PID.db; a recording of the same process is continued, one of another process is refused, "
		"and a file that is no "
		"recording is never touched. With --json each sample is one line of JSON, to standard output unless "
		"there is -o. The "
		"default interval is one second. With --watch the reference count of an object is in every sample, and as "
		"often as that takes less than a twentieth of the time what explains it; when the object dies or its address "
		"is used again, that is told and its rows end.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_OUTPUT, OPTION_INTERVAL, OPTION_DURATION, OPTION_WATCH,
					    OPTION_JSON, OPTION_NO_DAEMON, OPTION_NONBLOCKING, OPTION_PRECOPY,
					    OPTION_MAX_PAUSE, OPTION_MEMORY, OPTION_BUDGET, OPTION_QUIET, OPTION_END},
	.max_arguments = 1,
	.run = record_run,
};
