/*
 * The live view: the types of a process as a table that moves, with the verdict of what grows under it.
 *
 * It sees a source and its samples, nothing else, so it works on a live process and on a recording alike. Samples are taken by a
 * thread of its own (tui/sampler.h); keys are answered while one is being taken. With `dump_screen` no terminal is touched: the
 * same frame that curses would show is printed as plain text when the last sample is in.
 */
#pragma once
#include <glib.h>

#include "daemon/source/source.h"
#include "tui/request.h"

struct members;

/* what a person chose to look at */
struct choice {
	gboolean sum;      /* the sum of the processes, even of one */
	gboolean children; /* of a sum: and all that they start */
	GArray *pids;      /* pid_t, at least one */
};

struct choice *choice_new(gboolean sum, gboolean children, const pid_t *pids, guint n);
void choice_free(struct choice *choice); /* NULL is fine */

struct top_options {
	gint64 interval_us; /* between the starts of two samples; 0 = 1 s */
	double budget;      /* share of the time the target may be stopped (daemon/source/budget.h); 0 = the default */
	int iterations;     /* end after so many samples; 0 = until quit (with dump_screen: until the source's end) */
	gboolean dump_screen; /* print the last screen as text to stdout, size from COLUMNS and LINES or 80x24 */
	const char *screen;   /* the tab to begin with; NULL: the types */
	gboolean no_color;    /* --no-color; NO_COLOR is looked at here, too */
	gboolean ascii;       /* no glyph outside ASCII; else decided by the locale */

	/*
	 * The source remembers (source.h, moments): its history is shown with a cursor in time. Of a recording that is all; a daemon's
	 * goes on while it is watched.
	 */
	gboolean replay;
	const char *at; /* where the cursor begins, as after the @ of daemon/store/reference.h; NULL: at the end */

	gboolean sum; /* the source gives sums of several processes (daemon/source/group.h); top_run() sets it */
	/*
	 * Opens what a person chose from the list of processes; with it there is one (tui/screens/processes.h). NULL with *error. `open_context`
	 * must live as long as the program, for this is done by a thread (tui/screens/opening_thread.h). `no_daemon`: no daemon is asked about the list.
	 */
	source_t *(*open)(void *context, const struct choice *choice, GError **error);
	void *open_context;
	gboolean no_daemon;
	/*
	 * A sum was watched, and this is what is known of its members, before it is forgotten. May be NULL.
	 */
	void (*finished)(void *context, struct members *members);
	void *finished_context;

	const char *notice; /* a line for the person, shown until the first key: "output goes to /tmp/…"; NULL none */
	/*
	 * How the target ended, in words ("exit status 1", "killed by signal 9"), asked once after the source said GONE; NULL: not
	 * known. The answer is freed with g_free(). The function itself may be NULL.
	 */
	char *(*ended)(void *context);
	void *ended_context;

	/*
	 * Puts a question to the source, which is answered by view_answer(); takes it over. NULL: the source has no memory to ask about.
	 * top_run() sets it.
	 */
	void (*ask)(void *context, struct request *request);
	void *ask_context;

	const char *save_directory; /* where `s` puts samples; NULL = the current directory */
	gint64 (*now)(void);        /* µs since the epoch; NULL = g_get_real_time. For tests. */
};

/*
 * Run the view until the person quits, the iterations are done or, with dump_screen, the source ends. Takes over the source; without one
 * (NULL) it begins with the list of processes, for which options->open is needed.
 * Returns an exit status (manual, "Exit status"): 0 also when the target ended while it was watched. When not even the first
 * sample could be had, the status of its error, which is then in *error. Needs a terminal on stdin and stdout unless dump_screen.
 */
int top_run(source_t *source, const struct top_options *options, GError **error);
