/*
 * reftop: finds the command, parses its options, runs it, and turns what went wrong into a message and an exit status.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "tui/command.h"
#include "tui/output.h"

/* argv as if `name` stood in front of the first argument */
static char **with_command(const char *name, int argc, char **argv)
{
	char **out = g_new0(char *, argc + 1);
	out[0] = (char *)name;
	memcpy(out + 1, argv + 1, (size_t)(argc - 1) * sizeof(*argv));
	return out;
}

/*
 * `reftop`, `reftop PID`, `reftop -p PID` and `reftop -- PROGRAM` are the live view; without a terminal `reftop` alone
 * is the list of processes.
 */
static const struct command *choose(int argc, char **argv, gboolean *implied, GError **error)
{
	*implied = TRUE;
	if (argc == 1)
		return command_find(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && command_find("top") ? "top"
													 : "ps");
	const char *first = argv[1];
	if (!strcmp(first, "--help") || !strcmp(first, "-h")) {
		*implied = FALSE;
		return command_find("help");
	}
	if (!strcmp(first, "--version") || !strcmp(first, "-V")) {
		*implied = FALSE;
		return command_find("version");
	}
	if (*first == '-' || g_ascii_isdigit(*first))
		return command_find("top");
	*implied = FALSE;
	const struct command *command = command_find(first);
	if (!command)
		usage_error(error, NULL, NULL, "no such command: '%s'", first);
	return command;
}

static int run(int argc, char **argv, GError **error)
{
	gboolean implied;
	const struct command *command = choose(argc, argv, &implied, error);
	if (!command) {
		if (error && !*error)
			usage_error(error, NULL, NULL, "no such command: '%s'", argc > 1 ? argv[1] : "");
		return REFTOP_ERROR_USAGE;
	}
	g_autofree char **own = implied ? with_command(command->name, argc, argv) : NULL;
	struct options options;
	if (!command_parse(command, implied ? argc : argc - 1, implied ? own : argv + 1, &options, error))
		return REFTOP_ERROR_USAGE;
	if (options.help) {
		char *topic[] = {(char *)command->name, NULL};
		struct options about = {.arguments = topic, .n_arguments = 1};
		return command_find("help")->run(&about, error);
	}
	return command->run(&options, error);
}

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	/* a closed pipe is an error of write() here, which ends the program quietly */
	signal(SIGPIPE, SIG_IGN);
	g_autoptr(GError) error = NULL;
	int status = run(argc, argv, &error);
	if (!error)
		return status;
	if (g_error_matches(error, OUTPUT_ERROR, OUTPUT_CLOSED))
		return 0;
	fprintf(stderr, "reftop: %s\n", error->message);
	return error->code;
}
