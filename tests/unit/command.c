#include "tui/command.h"

#include <string.h>

#include "base/error.h"
#include "tui/manual.h"

static int run_nothing(const struct options *options, GError **error)
{
	return 0;
}

static const struct command plain = {
	.name = "plain",
	.synopsis = "-p PID",
	.options = (const enum option_id[]){OPTION_PID, OPTION_OUTPUT, OPTION_INTERVAL, OPTION_LIMIT, OPTION_JSON,
					    OPTION_CSV, OPTION_QUIET, OPTION_END},
	.max_arguments = 1,
	.run = run_nothing,
};

static const struct command starter = {
	.name = "starter",
	.synopsis = "[-p PID | -- PROGRAM ...]",
	.options = (const enum option_id[]){OPTION_PID, OPTION_END},
	.max_arguments = 1,
	.run = run_nothing,
};

static const struct command gated = {
	.name = "gated",
	.synopsis = "A B",
	.options = (const enum option_id[]){OPTION_FAIL_ON_GROWTH, OPTION_JSON, OPTION_END},
	.max_arguments = 2,
	.run = run_nothing,
};

#define PARSE(command, options, error, ...)                                                                            \
	({                                                                                                             \
		char *words[] = {"command", __VA_ARGS__, NULL};                                                        \
		char **argv = g_memdup2(words, sizeof(words));                                                         \
		g_ptr_array_add(kept, argv);                                                                           \
		command_parse(command, (int)G_N_ELEMENTS(words) - 1, argv, options, error);                            \
	})

static GPtrArray *kept; /* options point into argv */

static void test_good(void)
{
	struct options options;
	g_autoptr(GError) error = NULL;
	g_assert_true(PARSE(&plain, &options, &error, "-p", "12", "--json", "-qi", "500ms", "--limit=7", "-o-"));
	g_assert_cmpint(options.pid, ==, 12);
	g_assert_true(options.json && options.quiet && !options.csv);
	g_assert_cmpint(options.interval_us, ==, 500000);
	g_assert_cmpint(options.limit, ==, 7);
	g_assert_cmpstr(options.output, ==, "-");
	g_assert_cmpint(options.n_arguments, ==, 0);
	g_assert_null(options.program);
	/* options after arguments, unambiguous beginnings of names, the same parser twice */
	g_assert_true(PARSE(&plain, &options, &error, "55", "--out", "file", "--no-color"));
	g_assert_cmpstr(options.output, ==, "file");
	g_assert_true(options.no_color);
	gint64 pid = 0;
	g_assert_true(options_target(&plain, &options, &pid, &error));
	g_assert_cmpint(pid, ==, 55);
}

static void test_program(void)
{
	struct options options;
	g_autoptr(GError) error = NULL;
	g_assert_true(PARSE(&starter, &options, &error, "--", "python3", "-p", "x", "--", "--json"));
	g_assert_cmpstr(options.program[0], ==, "python3");
	g_assert_cmpstr(options.program[4], ==, "--json");
	g_assert_null(options.program[5]);
	g_assert_cmpint(options.pid, ==, 0);
}

static void check_gate(const struct options *options, gsize i, const char *type, gint64 more_than)
{
	g_assert_cmpuint(i, <, options->gates.n);
	g_assert_cmpuint(options->gates.at[i].length, ==, strlen(type));
	g_assert_cmpint(strncmp(options->gates.at[i].type, type, strlen(type)), ==, 0);
	g_assert_cmpint(options->gates.at[i].more_than, ==, more_than);
}

/* its value may be left out: what follows is one by its "=" */
static void test_gates(void)
{
	struct options options;
	g_autoptr(GError) error = NULL;
	g_assert_true(
		PARSE(&gated, &options, &error, "a", "--fail-on-growth", "app.*=0", "b", "--fail-on-growth=x=y=7"));
	g_assert_cmpuint(options.gates.n, ==, 2);
	check_gate(&options, 0, "app.*", 0);
	check_gate(&options, 1, "x=y", 7);
	g_assert_cmpint(options.n_arguments, ==, 2);
	g_assert_cmpstr(options.arguments[0], ==, "a");
	g_assert_cmpstr(options.arguments[1], ==, "b");
	g_assert_true(PARSE(&gated, &options, &error, "--fail-on-growth", "a", "b"));
	g_assert_cmpuint(options.gates.n, ==, 1);
	check_gate(&options, 0, "*", 0);
	g_assert_cmpint(options.n_arguments, ==, 2);
	g_assert_true(PARSE(&gated, &options, &error, "a", "b", "--fail-on-growth"));
	check_gate(&options, 0, "*", 0);
	g_assert_true(PARSE(&gated, &options, &error, "--fail-on-growth", "--json", "a", "b"));
	g_assert_true(options.json);
	g_assert_cmpuint(options.gates.n, ==, 1);
}

#define REFUSED(command, what, ...)                                                                                    \
	G_STMT_START                                                                                                   \
	{                                                                                                              \
		struct options options;                                                                                \
		g_autoptr(GError) error = NULL;                                                                        \
		g_assert_false(PARSE(command, &options, &error, __VA_ARGS__));                                         \
		g_assert_error(error, FACE_ERROR, REFTOP_ERROR_USAGE);                                                 \
		g_assert_nonnull(strstr(error->message, what));                                                        \
		g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);                                            \
		g_assert_cmpuint(g_strv_length(lines), <=, 3);                                                         \
	}                                                                                                              \
	G_STMT_END

static void test_bad(void)
{
	static const char *const pids[] = {"abc", "12x", "-5", "0", "", " 7", "+7", "0x10", "99999999999", "1.5", "٣"};
	for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
		REFUSED(&plain, "not a PID", "-p", (char *)pids[i]);
	REFUSED(&plain, "option -p needs a value", "-p");
	REFUSED(&plain, "option --pid needs a value", "--pid");
	REFUSED(&plain, "no such option: --nope", "--nope");
	REFUSED(&plain, "no such option: -x", "-x");
	REFUSED(&plain, "no such option: -x", "-qx");
	REFUSED(&plain, "takes no value: --json", "--json=yes");
	REFUSED(&plain, "no such option: --strict", "--strict"); /* another command's */
	REFUSED(&plain, "bad value of --limit", "--limit", "0");
	REFUSED(&plain, "bad value of --limit", "--limit", "many");
	REFUSED(&plain, "bad value of --interval", "-i", "0");
	REFUSED(&plain, "bad value of --interval", "-i", "1 fortnight");
	REFUSED(&plain, "empty", "-o", "");
	REFUSED(&plain, "too many", "1", "2");
	REFUSED(&plain, "exclude", "--json", "--csv");
	REFUSED(&plain, "starts no program", "--", "ls");
	REFUSED(&starter, "no program after", "--");
	static const char *const gates[] = {"x=", "=5", "=", "x=-1", "x=1.5", "x=y", "x= 5", "x=99999999999999999999"};
	for (size_t i = 0; i < G_N_ELEMENTS(gates); i++)
		REFUSED(&gated, "bad value of --fail-on-growth", "--fail-on-growth", (char *)gates[i]);
	REFUSED(&gated, "bad value of --fail-on-growth", "--fail-on-growth=5");
	REFUSED(&gated, "bad value of --fail-on-growth", "--fail-on-growth=");
	REFUSED(&plain, "no such option: --\\x1b[2J", "--\x1b[2J");
}

static void test_target(void)
{
	struct options options;
	gint64 pid;
	g_autoptr(GError) error = NULL;
	g_assert_true(PARSE(&plain, &options, &error, "-q"));
	g_assert_false(options_target(&plain, &options, &pid, &error));
	g_assert_error(error, FACE_ERROR, REFTOP_ERROR_USAGE);
	g_clear_error(&error);
	g_assert_true(PARSE(&plain, &options, &error, "-p", "1", "2"));
	g_assert_false(options_target(&plain, &options, &pid, &error));
	g_assert_error(error, FACE_ERROR, REFTOP_ERROR_USAGE);
	g_clear_error(&error);
	g_assert_true(PARSE(&plain, &options, &error, "twelve"));
	g_assert_false(options_target(&plain, &options, &pid, &error));
	g_assert_error(error, FACE_ERROR, REFTOP_ERROR_USAGE);
}

/* every command and option of the real table can be told about */
static void test_tables(void)
{
	g_autoptr(GString) man = manual_man();
	g_assert_nonnull(strstr(man->str, ".SH COMMANDS"));
	g_autoptr(GString) markdown = manual_markdown();
	g_autoptr(GString) overview = manual_overview();
	for (size_t i = 0; commands[i]; i++) {
		const struct command *command = commands[i];
		g_assert_true(command_find(command->name) == command);
		g_assert_nonnull(strstr(overview->str, command->summary));
		g_assert_nonnull(strstr(markdown->str, command->summary));
		g_autoptr(GString) topic = manual_topic(command->name);
		for (const enum option_id *id = command->options; *id != OPTION_END; id++) {
			const struct option_entry *entry = &option_entries[*id];
			g_assert_nonnull(entry->name);
			if (!entry->hidden)
				g_assert_nonnull(strstr(topic->str, entry->name));
		}
	}
	for (const struct manual_section *section = manual_sections; section->topic; section++) {
		g_autoptr(GString) topic = manual_topic(section->topic);
		g_assert_nonnull(strstr(topic->str, section->title));
		g_assert_null(command_find(section->topic));
	}
	for (int id = 1; id < OPTION_COUNT; id++)
		for (int other = id + 1; other < OPTION_COUNT; other++) {
			g_assert_cmpstr(option_entries[id].name, !=, option_entries[other].name);
			g_assert_false(option_entries[id].letter &&
				       option_entries[id].letter == option_entries[other].letter);
		}
	g_assert_null(manual_topic("nothing"));
	g_assert_null(command_find("nothing"));
}

/* every file of a command is in the table: a merge once lost a line of it */
static void test_files(void)
{
	g_autoptr(GDir) directory = g_dir_open("tui/commands", 0, NULL);
	if (!directory) {
		g_test_skip("not run from the root of the repository");
		return;
	}
	const char *name;
	while ((name = g_dir_read_name(directory))) {
		if (!g_str_has_suffix(name, ".c") || !strcmp(name, "table.c"))
			continue;
		g_autofree char *command = g_strndup(name, strlen(name) - 2);
		g_test_message("%s", command);
		g_assert_nonnull(command_find(command));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	kept = g_ptr_array_new_with_free_func(g_free);
	g_test_add_func("/command/good", test_good);
	g_test_add_func("/command/program", test_program);
	g_test_add_func("/command/gates", test_gates);
	g_test_add_func("/command/bad", test_bad);
	g_test_add_func("/command/target", test_target);
	g_test_add_func("/command/tables", test_tables);
	g_test_add_func("/command/files", test_files);
	int status = g_test_run();
	g_ptr_array_unref(kept);
	return status;
}
