#include "tui/version.h"
#include "base/error.h"
#include "symbols/layout.h"
#include "tui/commands/commands.h"
#include "tui/output.h"

static int version_run(const struct options *options, GError **error)
{
	g_autoptr(GString) text = g_string_new("reftop " REFTOP_VERSION "\n");
	size_t n;
	const struct py_builtin *builtins = py_builtin_all(&n);
	g_string_append(text, "built-in layouts of CPython, each good for its minor version:\n");
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(text, "  %s\n", builtins[i].origin);
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
