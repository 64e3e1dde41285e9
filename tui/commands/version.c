#include "tui/version.h"
#include "base/error.h"
#include "symbols/layout.h"
#include "tui/commands/commands.h"
#include "tui/output.h"

static void append_once(GString *list, const char *word)
{
	g_auto(GStrv) words = g_strsplit(list->str, ", ", -1);
	if (!g_strv_contains((const char *const *)words, word))
		g_string_append_printf(list, "%s%s", list->len ? ", " : "", word);
}

/* one line for all tables of a minor version: the versions they were made from, and the kinds of builds */
static void append_minor(GString *text, const struct py_builtin *builtins, size_t n, unsigned minor)
{
	g_autoptr(GString) versions = g_string_new(NULL);
	g_autoptr(GString) kinds = g_string_new(NULL);
	for (size_t i = 0; i < n; i++) {
		if (builtins[i].minor != minor)
			continue;
		g_autofree char *version = g_strdup_printf("3.%u.%u", minor, builtins[i].version >> 8 & 0xff);
		g_autofree char *kind = g_strdup_printf("%s%s%s", builtins[i].free_threaded ? "free-threaded " : "",
							builtins[i].debug ? "debug" : "release",
							builtins[i].trace_refs ? " with trace-refs" : "");
		append_once(versions, version);
		append_once(kinds, kind);
	}
	g_string_append_printf(text, "  3.%-3u %s; from %s\n", minor, kinds->str, versions->str);
}

static int version_run(const struct options *options, GError **error)
{
	g_autoptr(GString) text = g_string_new("reftop " REFTOP_VERSION "\nCPythons it knows by built-in layouts:\n");
	size_t n;
	const struct py_builtin *builtins = py_builtin_all(&n);
	unsigned last = 0;
	for (size_t i = 0; i < n; i++) {
		/* they are sorted by minor version */
		if (i && builtins[i].minor == last)
			continue;
		last = builtins[i].minor;
		append_minor(text, builtins, n, last);
	}
	return output_text(NULL, text->str, text->len, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_version = {
	.name = "version",
	.synopsis = "",
	.summary = "the version of the program, and of the CPythons it knows",
	.details = "A CPython of one of these minor versions is read with the table of its own build where there is "
		   "one. An interpreter that "
		   "carries DWARF, or whose debug file is installed, is read by that.",
	.options = (const enum option_id[]){OPTION_END},
	.run = version_run,
};
