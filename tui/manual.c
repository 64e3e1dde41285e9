#include "tui/manual.h"

#include <string.h>

#include "tui/command.h"
#include "tui/version.h"

#define WIDTH 78

GString *(*manual_format(const char *name))(void)
{
	static const struct {
		const char *name;
		GString *(*format)(void);
	} formats[] = {{"man", manual_man},
		       {"markdown", manual_markdown},
		       {"bash", completion_bash},
		       {"zsh", completion_zsh},
		       {"fish", completion_fish}};
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].format;
	return NULL;
}

/* "reftop diff A B" */
static char *command_usage(const struct command *command)
{
	return g_strstrip(g_strdup_printf("reftop %s %s", command->name, command->synopsis));
}

/* "-p, --pid PID" */
static char *option_usage(const struct option_entry *entry)
{
	g_autoptr(GString) text = g_string_new(NULL);
	if (entry->letter)
		g_string_append_printf(text, "-%c, ", entry->letter);
	g_string_append_printf(text, "--%s", entry->name);
	if (entry->argument)
		g_string_append_printf(text, " %s", entry->argument);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean shows(const struct command *command, int id)
{
	return !option_entries[id].hidden && command_takes(command, (enum option_id)id);
}

/* append `text` broken into lines, each behind `indent` blanks */
static void append_wrapped(GString *out, const char *text, int indent)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	int column = 0;
	for (char **word = words; *word; word++) {
		int width = (int)g_utf8_strlen(*word, -1);
		if (column && column + 1 + width > WIDTH) {
			g_string_append_c(out, '\n');
			column = 0;
		}
		if (column) {
			g_string_append_c(out, ' ');
			column++;
		} else {
			g_string_append_printf(out, "%*s", indent, "");
			column = indent;
		}
		g_string_append(out, *word);
		column += width;
	}
	g_string_append_c(out, '\n');
}

/* a block is verbatim when its first line begins with two blanks */
static gboolean is_verbatim(const char *block)
{
	return g_str_has_prefix(block, "  ");
}

static void append_text(GString *out, const char *text)
{
	g_auto(GStrv) blocks = g_strsplit(text, "\n\n", -1);
	for (char **block = blocks; *block; block++) {
		g_string_append_c(out, '\n');
		if (is_verbatim(*block))
			g_string_append_printf(out, "%s\n", *block);
		else
			append_wrapped(out, g_strdelimit(*block, "\n", ' '), 2);
	}
}

static void append_options(GString *out, const struct command *command)
{
	for (int id = 1; id < OPTION_COUNT; id++) {
		if (!shows(command, id))
			continue;
		g_autofree char *usage = option_usage(&option_entries[id]);
		g_string_append_printf(out, "  %-24s %s\n", usage, option_entries[id].help);
	}
}

GString *manual_overview(void)
{
	GString *out =
		g_string_new("reftop shows what a running Python process holds, without changing anything in it.\n\n");
	g_string_append(out, "  reftop                   pick a Python process and watch it\n"
			     "  reftop PID               watch a process\n"
			     "  reftop -- PROGRAM ...    start a program and watch it\n");
	for (size_t i = 0; commands[i]; i++) {
		g_autofree char *usage = command_usage(commands[i]);
		g_string_append_printf(out, "  %-24s%s%s\n", usage,
				       strlen(usage) > 24 ? "\n                           " : " ",
				       commands[i]->summary);
	}
	g_string_append(out, "\n`reftop help COMMAND` tells more, and so does `reftop help TOPIC`:");
	for (const struct manual_section *section = manual_sections; section->topic; section++)
		g_string_append_printf(out, " %s", section->topic);
	return g_string_append_c(out, '\n');
}

GString *manual_topic(const char *name)
{
	const struct command *command = command_find(name);
	if (command) {
		GString *out = g_string_new(NULL);
		g_autofree char *usage = command_usage(command);
		g_string_append_printf(out, "%s\n\n  %s\n", usage, command->summary);
		if (*command->details)
			append_text(out, command->details);
		g_string_append(out, "\nOptions:\n");
		append_options(out, command);
		return out;
	}
	for (const struct manual_section *section = manual_sections; section->topic; section++) {
		if (strcmp(section->topic, name))
			continue;
		GString *out = g_string_new(section->title);
		g_string_append_c(out, '\n');
		append_text(out, section->text);
		g_autofree char *more = section->more ? section->more() : NULL;
		if (more)
			g_string_append_printf(out, "\n%s", more);
		return out;
	}
	return NULL;
}

/* text as troff takes it */
static void append_troff(GString *out, const char *text)
{
	gboolean line_start = TRUE;
	for (; *text; text++) {
		if (line_start && (*text == '.' || *text == '\''))
			g_string_append(out, "\\&");
		if (*text == '\\')
			g_string_append(out, "\\e");
		else if (*text == '-')
			g_string_append(out, "\\-");
		else if (*text == '`')
			g_string_append(out, "\\(cq");
		else
			g_string_append_c(out, *text);
		line_start = *text == '\n';
	}
}

static void append_troff_verbatim(GString *out, const char *text)
{
	g_string_append(out, ".PP\n.nf\n");
	append_troff(out, text);
	g_string_append(out, g_str_has_suffix(text, "\n") ? ".fi\n" : "\n.fi\n");
}

static void append_troff_text(GString *out, const char *text)
{
	g_auto(GStrv) blocks = g_strsplit(text, "\n\n", -1);
	for (char **block = blocks; *block; block++) {
		if (is_verbatim(*block)) {
			append_troff_verbatim(out, *block);
			continue;
		}
		g_string_append(out, ".PP\n");
		append_troff(out, *block);
		g_string_append_c(out, '\n');
	}
}

static void append_troff_command(GString *out, const struct command *command)
{
	g_autofree char *usage = command_usage(command);
	g_string_append(out, ".SS \"");
	append_troff(out, usage);
	g_string_append(out, "\"\n");
	append_troff(out, command->summary);
	g_string_append(out, ".\n");
	if (*command->details)
		append_troff_text(out, command->details);
	for (int id = 1; id < OPTION_COUNT; id++) {
		if (!shows(command, id))
			continue;
		g_autofree char *option = option_usage(&option_entries[id]);
		g_string_append(out, ".TP\n.B ");
		append_troff(out, option);
		g_string_append_c(out, '\n');
		append_troff(out, option_entries[id].help);
		g_string_append_c(out, '\n');
	}
}

GString *manual_man(void)
{
	GString *out = g_string_new(".TH REFTOP 1 \"\" \"reftop " REFTOP_VERSION "\" \"User Commands\"\n");
	g_string_append(out, ".SH NAME\nreftop \\- show what a running Python process holds\n.SH SYNOPSIS\n"
			     ".B reftop\n[\\fIPID\\fR]\n.br\n.B reftop \\-\\-\n\\fIPROGRAM\\fR ...\n");
	for (size_t i = 0; commands[i]; i++) {
		g_string_append_printf(out, ".br\n.B reftop %s\n", commands[i]->name);
		append_troff(out, commands[i]->synopsis);
		if (*commands[i]->synopsis)
			g_string_append_c(out, '\n');
	}
	g_string_append(out, ".SH COMMANDS\n");
	for (size_t i = 0; commands[i]; i++)
		append_troff_command(out, commands[i]);
	for (const struct manual_section *section = manual_sections; section->topic; section++) {
		g_autofree char *title = g_utf8_strup(section->title, -1);
		g_string_append_printf(out, ".SH \"%s\"\n", title);
		append_troff_text(out, section->text);
		g_autofree char *more = section->more ? section->more() : NULL;
		if (more)
			append_troff_verbatim(out, more);
	}
	return out;
}

static void append_markdown_text(GString *out, const char *text)
{
	g_auto(GStrv) blocks = g_strsplit(text, "\n\n", -1);
	gboolean open = FALSE;
	for (char **block = blocks; *block; block++) {
		gboolean verbatim = is_verbatim(*block);
		if (verbatim != open)
			g_string_append(out, open ? "```\n\n" : "```\n");
		else if (verbatim)
			g_string_append_c(out, '\n');
		open = verbatim;
		g_string_append_printf(out, verbatim ? "%s\n" : "%s\n\n", *block);
	}
	if (open)
		g_string_append(out, "```\n\n");
}

static void append_markdown_command(GString *out, const struct command *command)
{
	g_autofree char *usage = command_usage(command);
	g_string_append_printf(out, "### %s\n\n%c%s.\n\n", usage, g_ascii_toupper(*command->summary),
			       command->summary + 1);
	if (*command->details)
		append_markdown_text(out, command->details);
	g_string_append(out, "| option | |\n|---|---|\n");
	for (int id = 1; id < OPTION_COUNT; id++) {
		if (!shows(command, id))
			continue;
		g_autofree char *option = option_usage(&option_entries[id]);
		g_string_append_printf(out, "| `%s` | %s |\n", option, option_entries[id].help);
	}
	g_string_append_c(out, '\n');
}

GString *manual_markdown(void)
{
	GString *out = g_string_new("# The manual of reftop\n\nMade by `make manual` from the program's own tables; "
				    "`reftop help` and `man reftop` say the same.\n\n## Commands\n\n```\n");
	g_autoptr(GString) overview = manual_overview();
	g_string_append_printf(out, "%s```\n\n", overview->str);
	for (size_t i = 0; commands[i]; i++)
		append_markdown_command(out, commands[i]);
	for (const struct manual_section *section = manual_sections; section->topic; section++) {
		g_string_append_printf(out, "## %s\n\n", section->title);
		append_markdown_text(out, section->text);
		g_autofree char *more = section->more ? section->more() : NULL;
		if (more)
			g_string_append_printf(out, "```\n%s```\n\n", more);
	}
	return g_string_truncate(out, out->len - 1);
}
