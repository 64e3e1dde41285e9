#include "tui/command.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

#define AT(member) offsetof(struct options, member)

const struct option_entry option_entries[OPTION_COUNT] = {
	[OPTION_PID] = {"pid", 'p', OPTION_PROCESS, "PID", AT(pid), "the process to look at"},
	[OPTION_CORE] =
		{"core", 'c', OPTION_FILE, "FILE", AT(core),
		 "read a core file (EXE: its program, where that is no longer in its place), or an image that `reftop save` wrote"},
	[OPTION_SYSROOT] = {"sysroot", 0, OPTION_FILE, "DIR", AT(sysroot),
			    "where the root of the machine is that the core file comes from"},
	[OPTION_OUTPUT] = {"output", 'o', OPTION_FILE, "FILE", AT(output), "write to FILE; `-` is standard output"},
	[OPTION_INTERVAL] = {"interval", 'i', OPTION_TIME, "TIME", AT(interval_us),
			     "time between samples: seconds, or 500ms, 10s, 5m, 1h"},
	[OPTION_DURATION] = {"duration", 'd', OPTION_TIME, "TIME", AT(duration_us), "stop after TIME"},
	[OPTION_WATCH] = {"watch", 0, OPTION_ADDRESS, "ADDR", AT(watch),
			  "follow the reference count of the object at ADDR (0x...); may be given again"},
	[OPTION_SUBPROCESSES] = {"subprocesses", 's', OPTION_FLAG, NULL, AT(subprocesses),
				 "the processes it starts, too, and those that they start"},
	[OPTION_CONFIG] = {"config", 0, OPTION_FILE, "FILE", AT(config), "read settings and rules from a key file"},
	[OPTION_SOCKET] = {"socket", 0, OPTION_FILE, "FILE", AT(socket),
			   "the daemon's socket, instead of the usual one"},
	[OPTION_LISTEN] = {"listen", 0, OPTION_WORD, "ADDR:PORT", AT(listen),
			   "serve metrics over HTTP, as 127.0.0.1:9464"},
	[OPTION_NO_DAEMON] = {"no-daemon", 0, OPTION_FLAG, NULL, AT(no_daemon),
			      "read the process itself, also when a daemon watches it"},
	[OPTION_NONBLOCKING] = {"nonblocking", 0, OPTION_FLAG, NULL, AT(nonblocking),
				"never stop the process; the result may be inconsistent and says so"},
	[OPTION_PRECOPY] = {"precopy", 0, OPTION_FLAG, NULL, AT(precopy),
			    "copy while the process runs, and stop it only for what it changed meanwhile"},
	[OPTION_MAX_PAUSE] = {"max-pause", 0, OPTION_TIME, "TIME", AT(max_pause_us),
			      "skip a sample that would stop the process for longer than TIME, as 20ms"},
	[OPTION_BUDGET] = {"budget", 0, OPTION_PERCENT, "PERCENT", AT(budget),
			   "stop the process for no more than PERCENT of the time (1%): longer intervals, if need be"},
	[OPTION_MEMORY] = {"memory", 0, OPTION_SIZE, "SIZE", AT(memory),
			   "count in pieces what needs more memory than SIZE, as 256MB (half of what is available)"},
	[OPTION_NATIVE] = {"native", 'n', OPTION_FLAG, NULL, AT(native), "show native frames too"},
	[OPTION_LOCALS] = {"locals", 'l', OPTION_FLAG, NULL, AT(locals), "show the values of local variables"},
	[OPTION_GC] = {"gc", 0, OPTION_FLAG, NULL, AT(gc),
		       "only the objects in the collector's lists, as gc.get_objects() returns them"},
	[OPTION_JSON] = {"json", 'j', OPTION_FLAG, NULL, AT(json), "write JSON"},
	[OPTION_CSV] = {"csv", 0, OPTION_FLAG, NULL, AT(csv), "write CSV (RFC 4180) with a header line"},
	[OPTION_SORT] = {"sort", 0, OPTION_WORD, "KEY", AT(sort), "sort by KEY; `help` lists the keys"},
	[OPTION_LIMIT] = {"limit", 0, OPTION_NUMBER, "N", AT(limit), "show at most N rows"},
	[OPTION_STRICT] = {"strict", 0, OPTION_FLAG, NULL, AT(strict),
			   "exit with 6 when the snapshot is incomplete or inconsistent"},
	[OPTION_FAIL_ON_GROWTH] =
		{"fail-on-growth", 0, OPTION_GATE, "[TYPE=N]", AT(gates),
		 "exit with 7 when there are more than N more objects of TYPE, or any more of any type; may be given again"},
	[OPTION_FAIL] = {"fail", 0, OPTION_FLAG, NULL, AT(fail), "exit with 7 when references are lost"},
	[OPTION_SUPPRESS] = {"suppress", 0, OPTION_FILE, "FILE", AT(suppress), "what is known: a pattern a line"},
	[OPTION_ITERATIONS] = {"iterations", 0, OPTION_NUMBER, "N", AT(iterations), "end after N samples"},
	[OPTION_DUMP_SCREEN] = {"dump-screen", 0, OPTION_FLAG, NULL, AT(dump_screen),
				"at the end write the screen to standard output as text"},
	[OPTION_SCREEN] = {"screen", 0, OPTION_WORD, "NAME", AT(screen),
			   "begin with the screen NAME: types, watched, threads or processes"},
	[OPTION_QUIET] = {"quiet", 'q', OPTION_FLAG, NULL, AT(quiet), "say nothing but errors"},
	[OPTION_VERBOSE] = {"verbose", 'v', OPTION_FLAG, NULL, AT(verbose), "say more"},
	[OPTION_NO_COLOR] = {"no-color", 0, OPTION_FLAG, NULL, AT(no_color), "no colours (as with NO_COLOR set)"},
	[OPTION_FORMAT] = {"format", 0, OPTION_WORD, "FORMAT", AT(format), "man, markdown, bash, zsh or fish", TRUE},
	[OPTION_HELP] = {"help", 'h', OPTION_FLAG, NULL, AT(help), "show the help of the command"},
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

gboolean command_takes(const struct command *command, enum option_id id)
{
	if (id == OPTION_HELP || id == OPTION_NO_COLOR)
		return TRUE;
	for (const enum option_id *at = command->options; *at != OPTION_END; at++)
		if (*at == id)
			return TRUE;
	return FALSE;
}

void usage_error(GError **error, const struct command *command, const char *cause, const char *what, ...)
{
	va_list args;
	va_start(args, what);
	g_autofree char *text = g_strdup_vprintf(what, args);
	va_end(args);
	g_autofree char *clean = text_escape(text, strlen(text));
	g_autofree char *clean_cause = cause ? text_escape(cause, strlen(cause)) : NULL;
	g_autofree char *fix =
		command ? g_strdup_printf("see `reftop help %s`", command->name) : g_strdup("see `reftop help`");
	error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, clean_cause, fix, "%s", clean);
}

gboolean parse_pid(const struct command *command, const char *text, gint64 *pid, GError **error)
{
	guint64 value;
	/* pid_max is 2^22 at most; anything up to int is a number that may just not exist */
	if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &value, NULL)) {
		usage_error(error, command, "a PID is a whole number above 0", "not a PID: '%s'", text);
		return FALSE;
	}
	*pid = (gint64)value;
	return TRUE;
}

static gboolean parse_number(const struct command *command, const struct option_entry *entry, const char *text,
			     gint64 *number, GError **error)
{
	guint64 value;
	if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &value, NULL)) {
		usage_error(error, command, "a whole number above 0 is needed", "bad value of --%s: '%s'", entry->name,
			    text);
		return FALSE;
	}
	*number = (gint64)value;
	return TRUE;
}

static gboolean append_address(const struct command *command, const struct option_entry *entry, const char *text,
			       struct option_addresses *addresses, GError **error)
{
	guint64 address;
	gboolean prefixed = g_str_has_prefix(text, "0x") || g_str_has_prefix(text, "0X");
	if (!g_ascii_string_to_unsigned(text + (prefixed ? 2 : 0), prefixed ? 16 : 10, 1, G_MAXINT64, &address, NULL)) {
		usage_error(error, command, "an address is needed, as 0x7f3a1c0d4e80 or what id() says",
			    "bad value of --%s: '%s'", entry->name, text);
		return FALSE;
	}
	if (addresses->n == OPTION_ADDRESSES) {
		usage_error(error, command, NULL, "--%s is given more than %d times", entry->name, OPTION_ADDRESSES);
		return FALSE;
	}
	addresses->at[addresses->n++] = address;
	return TRUE;
}

/* What stands for any type that has more objects than before, when there is no value. */
static const struct option_gate any_growth = {"*", 1, 0};

static gboolean append_gate(const struct command *command, const struct option_entry *entry, const char *text,
			    struct option_gates *gates, GError **error)
{
	struct option_gate gate = any_growth;
	const char *equals = text ? strrchr(text, '=') : NULL;
	guint64 number = 0;
	if (text &&
	    (!equals || equals == text || !g_ascii_string_to_unsigned(equals + 1, 10, 0, G_MAXINT64, &number, NULL))) {
		usage_error(error, command, "a type and a whole number are needed, as app.Thing=100 or 'app.*=0'",
			    "bad value of --%s: '%s'", entry->name, text);
		return FALSE;
	}
	if (text)
		gate = (struct option_gate){text, (gsize)(equals - text), (gint64)number};
	if (gates->n == OPTION_GATES) {
		usage_error(error, command, NULL, "--%s is given more than %d times", entry->name, OPTION_GATES);
		return FALSE;
	}
	gates->at[gates->n++] = gate;
	return TRUE;
}

static gboolean store_value(const struct command *command, const struct option_entry *entry, const char *text,
			    struct options *options, GError **error)
{
	void *at = (char *)options + entry->position;
	switch (entry->kind) {
	case OPTION_FLAG:
		*(gboolean *)at = TRUE;
		return TRUE;
	case OPTION_PROCESS:
		return parse_pid(command, text, at, error);
	case OPTION_NUMBER:
		return parse_number(command, entry, text, at, error);
	case OPTION_TIME:
		if (text_duration(text, at))
			return TRUE;
		usage_error(error, command, "a time above 0 is needed, as 2, 0.5, 500ms, 10s, 5m or 1h",
			    "bad value of --%s: '%s'", entry->name, text);
		return FALSE;
	case OPTION_SIZE:
		if (text_size(text, at))
			return TRUE;
		usage_error(error, command, "a size above 0 is needed, as 256MB or 4G", "bad value of --%s: '%s'",
			    entry->name, text);
		return FALSE;
	case OPTION_PERCENT:
		if (text_percent(text, at))
			return TRUE;
		usage_error(error, command, "a share above 0 and up to 100% is needed, as 1% or 0.5%",
			    "bad value of --%s: '%s'", entry->name, text);
		return FALSE;
	case OPTION_ADDRESS:
		return append_address(command, entry, text, at, error);
	case OPTION_GATE:
		return append_gate(command, entry, text, at, error);
	case OPTION_FILE:
	case OPTION_WORD:
		if (*text) {
			*(const char **)at = text;
			return TRUE;
		}
		usage_error(error, command, NULL, "the value of --%s is empty", entry->name);
		return FALSE;
	}
	g_assert_not_reached();
}

/* what getopt_long() could not take */
static void refuse_option(const struct command *command, int result, const char *word, char letter, GError **error)
{
	const char *name = word && g_str_has_prefix(word, "--") ? word : NULL;
	g_autofree char *shown = name ? g_strndup(name, strcspn(name, "=")) : g_strdup_printf("-%c", letter);
	if (result == ':')
		usage_error(error, command, NULL, "option %s needs a value", shown);
	else if (name && strchr(name, '=') && !letter)
		usage_error(error, command, NULL, "no such option, or it takes no value: %s", shown);
	else
		usage_error(error, command, NULL, "no such option: %s", shown);
}

/* the entries a command takes, as getopt_long() wants them */
static void build_tables(const struct command *command, GString *letters, struct option *longs)
{
	g_string_assign(letters, ":");
	for (int id = 1; id < OPTION_COUNT; id++) {
		const struct option_entry *entry = &option_entries[id];
		if (!command_takes(command, (enum option_id)id))
			continue;
		int takes = entry->kind == OPTION_GATE ? optional_argument
			    : entry->argument          ? required_argument
						       : no_argument;
		*longs++ = (struct option){entry->name, takes, NULL, 256 + id};
		if (entry->letter) {
			g_string_append_c(letters, entry->letter);
			if (entry->argument)
				g_string_append_c(letters, ':');
		}
	}
	*longs = (struct option){NULL, 0, NULL, 0};
}

static const struct option_entry *entry_by_result(int result)
{
	if (result > 256)
		return &option_entries[result - 256];
	for (int id = 1; id < OPTION_COUNT; id++)
		if (option_entries[id].letter && option_entries[id].letter == result)
			return &option_entries[id];
	return NULL;
}

static gboolean check_arguments(const struct command *command, const struct options *options, GError **error)
{
	if (options->help)
		return TRUE;
	if (options->program && !strstr(command->synopsis, "-- ")) {
		usage_error(error, command, NULL, "`reftop %s` starts no program", command->name);
		return FALSE;
	}
	if (options->program && !options->program[0]) {
		usage_error(error, command, NULL, "no program after `--`");
		return FALSE;
	}
	if (options->n_arguments < command->min_arguments) {
		usage_error(error, command, NULL, "`reftop %s` needs %s", command->name, command->synopsis);
		return FALSE;
	}
	if (command->max_arguments >= 0 && options->n_arguments > command->max_arguments) {
		usage_error(error, command, NULL, "one argument too many: '%s'",
			    options->arguments[command->max_arguments]);
		return FALSE;
	}
	if (options->json && options->csv) {
		usage_error(error, command, NULL, "--json and --csv exclude each other");
		return FALSE;
	}
	return TRUE;
}

/* A word that belongs to the option in front of it, which may go without. */
static gboolean is_gate(const char *word)
{
	return *word != '-' && strchr(word, '=') && !g_file_test(word, G_FILE_TEST_EXISTS);
}

gboolean command_parse(const struct command *command, int argc, char **argv, struct options *options, GError **error)
{
	memset(options, 0, sizeof(*options));
	/* what follows "--" belongs to another program: getopt never sees it */
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			options->program = argv + i + 1;
			argc = i;
			break;
		}
	}
	g_autoptr(GString) letters = g_string_new(NULL);
	struct option longs[OPTION_COUNT + 1];
	build_tables(command, letters, longs);
	opterr = 0;
	optind = 0; /* glibc: start afresh */
	for (;;) {
		optopt = 0;
		int before = optind ? optind : 1;
		int result = getopt_long(argc, argv, letters->str, longs, NULL);
		if (result == -1)
			break;
		if (result == '?' || result == ':') {
			/* a short one may stand in a cluster, then optind has not moved */
			const char *word = optind > before || !optopt ? argv[optind - 1] : NULL;
			refuse_option(command, result, word, (char)(optopt < 256 ? optopt : 0), error);
			return FALSE;
		}
		const struct option_entry *entry = entry_by_result(result);
		const char *value = optarg;
		if (entry->kind == OPTION_GATE && !value && optind < argc && is_gate(argv[optind]))
			value = argv[optind++];
		if (!store_value(command, entry, value, options, error))
			return FALSE;
	}
	options->arguments = argv + optind;
	options->n_arguments = argc - optind;
	return check_arguments(command, options, error);
}

gboolean options_target(const struct command *command, const struct options *options, gint64 *pid, GError **error)
{
	if (options->pid && options->n_arguments) {
		usage_error(error, command, NULL, "two processes: %" G_GINT64_FORMAT " and '%s'", options->pid,
			    options->arguments[0]);
		return FALSE;
	}
	*pid = options->pid;
	if (options->n_arguments)
		return parse_pid(command, options->arguments[0], pid, error);
	if (!*pid) {
		usage_error(error, command, NULL, "no process given: `reftop %s -p PID`", command->name);
		return FALSE;
	}
	return TRUE;
}
