/*
 * Commands and options as tables: the parser, `reftop help`, the manual page and the shell completions are made from
 * them.
 *
 * A command is one file in tui/commands/ with one exported `const struct command`. An option has one meaning
 * everywhere, so there is one table of them; a command lists those it takes.
 */
#pragma once
#include <glib.h>

enum option_id {
	OPTION_END, /* ends a command's list */
	OPTION_PID,
	OPTION_CORE,
	OPTION_SYSROOT,
	OPTION_OUTPUT,
	OPTION_INTERVAL,
	OPTION_DURATION,
	OPTION_WATCH,
	OPTION_SUBPROCESSES,
	OPTION_CONFIG,
	OPTION_SOCKET,
	OPTION_LISTEN,
	OPTION_NO_DAEMON,
	OPTION_NONBLOCKING,
	OPTION_PRECOPY,
	OPTION_MAX_PAUSE,
	OPTION_BUDGET,
	OPTION_MEMORY,
	OPTION_LOCALS,
	OPTION_NATIVE,
	OPTION_GC,
	OPTION_JSON,
	OPTION_CSV,
	OPTION_SORT,
	OPTION_LIMIT,
	OPTION_STRICT,
	OPTION_FAIL_ON_GROWTH,
	OPTION_FAIL,
	OPTION_SUPPRESS,
	OPTION_ITERATIONS,
	OPTION_DUMP_SCREEN,
	OPTION_SCREEN,
	OPTION_QUIET,
	OPTION_VERBOSE,
	OPTION_NO_COLOR,
	OPTION_FORMAT, /* hidden: for the build */
	OPTION_HELP,
	OPTION_COUNT
};

#define OPTION_ADDRESSES 64 /* that may be given at most */

struct option_addresses {
	guint64 at[OPTION_ADDRESSES];
	gsize n;
};

#define OPTION_GATES 64 /* that may be given at most */

/* TYPE=N of --fail-on-growth */
struct option_gate {
	const char *type; /* not terminated: */
	gsize length;
	gint64 more_than;
};

struct option_gates {
	struct option_gate at[OPTION_GATES];
	gsize n;
};

/* what stands on the command line after it was parsed */
struct options {
	gint64 pid;                           /* 0: none given */
	const char *core, *sysroot;           /* NULL: none given */
	const char *output;                   /* NULL: none given; "-" standard output */
	gint64 interval_us, duration_us;      /* 0: none given */
	gint64 limit, iterations;             /* 0: none given */
	gint64 max_pause_us, memory;          /* 0: none given; memory: bytes */
	double budget;                        /* share of the time the process may be stopped; 0: none given */
	const char *config, *socket, *listen; /* NULL: none given */
	const char *sort;                     /* NULL: none given */
	const char *format;
	const char *suppress; /* NULL: none given */
	const char *screen;   /* NULL: none given */
	struct option_addresses watch;
	struct option_gates gates;
	gboolean subprocesses, no_daemon;
	gboolean nonblocking, precopy, locals, native, gc, json, csv, strict, fail, dump_screen, quiet, verbose,
		no_color, help;
	char **arguments; /* that are no options, before "--"; n_arguments of them */
	int n_arguments;
	char **program; /* what follows "--", NULL-terminated; NULL: there was no "--" */
};

enum option_kind {
	OPTION_FLAG,
	OPTION_PROCESS,
	OPTION_TIME,
	OPTION_NUMBER,
	OPTION_FILE,
	OPTION_WORD,
	OPTION_ADDRESS,
	OPTION_SIZE,
	OPTION_PERCENT,
	OPTION_GATE, /* its value may be left out, and the next word is one if it has a "=" and is no file */
};

struct option_entry {
	const char *name; /* long name */
	char letter;      /* or 0 */
	enum option_kind kind;
	const char *argument; /* how its value is called in the help; NULL: takes none */
	gsize position;       /* offsetof(struct options, …) */
	const char *help;
	gboolean hidden;
};

/* index is enum option_id; entry 0 is empty */
extern const struct option_entry option_entries[OPTION_COUNT];

struct command {
	const char *name;
	const char *synopsis; /* what follows "reftop NAME" */
	const char *summary;  /* one line, no full stop */
	const char *details;  /* paragraphs for the manual; lines that start with two blanks stand as they are */
	const enum option_id *options;    /* ends with OPTION_END; --help and --no-color belong to all */
	int min_arguments, max_arguments; /* max -1: any number */
	/* Returns the exit status; on failure sets *error, whose code is the exit status. */
	int (*run)(const struct options *options, GError **error);
};

/* all commands in the order of the help, ends with NULL */
extern const struct command *const commands[];

const struct command *command_find(const char *name);

/*
 * Parse `argv` (argv[0] is the command's name, permuted) for `command`. False with a USAGE error. `options` refers to
 * argv.
 */
gboolean command_parse(const struct command *command, int argc, char **argv, struct options *options, GError **error);

/* whether the command takes this option */
gboolean command_takes(const struct command *command, enum option_id id);

/* Set a USAGE error that ends with "see `reftop help COMMAND`" (command may be NULL). */
void usage_error(GError **error, const struct command *command, const char *cause, const char *what, ...)
	G_GNUC_PRINTF(4, 5);

/* A PID from text; false with a USAGE error. */
gboolean parse_pid(const struct command *command, const char *text, gint64 *pid, GError **error);

/*
 * The process a command is about: -p PID or its only argument. False with a USAGE error when there is none or two.
 */
gboolean options_target(const struct command *command, const struct options *options, gint64 *pid, GError **error);
