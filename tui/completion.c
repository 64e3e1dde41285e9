/* Completions for bash, zsh and fish, from the tables. */
#include "tui/command.h"
#include "tui/manual.h"

static gboolean shows(const struct command *command, int id)
{
	return !option_entries[id].hidden && command_takes(command, (enum option_id)id);
}

GString *completion_bash(void)
{
	GString *out =
		g_string_new("# bash completion for reftop\n_reftop() {\n\tlocal current=${COMP_WORDS[COMP_CWORD]} "
			     "previous=${COMP_WORDS[COMP_CWORD-1]} words=\n\tcase $previous in\n");
	g_string_append(out, "\t-p|--pid) words=$(pgrep python) ;;\n\t-o|--output) COMPREPLY=($(compgen -f -- "
			     "\"$current\")); return ;;\n");
	g_string_append(out, "\t*) case ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; commands[i]; i++) {
		g_string_append_printf(out, "\t\t%s) words='", commands[i]->name);
		for (int id = 1; id < OPTION_COUNT; id++)
			if (shows(commands[i], id))
				g_string_append_printf(out, "--%s ", option_entries[id].name);
		g_string_append(out, "' ;;\n");
	}
	g_string_append(out, "\t\tesac ;;\n\tesac\n\tif [ \"$COMP_CWORD\" = 1 ]; then words='");
	for (size_t i = 0; commands[i]; i++)
		g_string_append_printf(out, "%s ", commands[i]->name);
	return g_string_append(out, "'; fi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
				    "complete -o default -F _reftop reftop\n");
}

/* text within '…' of a shell */
static char *quoted(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, "'", -1);
	return g_strjoinv("'\\''", parts);
}

/* text within '…[…]' of zsh's _arguments */
static char *zsh_quoted(const char *text)
{
	g_autoptr(GString) out = g_string_new(NULL);
	for (; *text; text++) {
		if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
			g_string_append_c(out, '\\');
		g_string_append_c(out, *text);
	}
	return quoted(out->str);
}

static const char *zsh_action(const struct option_entry *entry)
{
	return entry->kind == OPTION_PROCESS ? "_pids" : entry->kind == OPTION_FILE ? "_files" : " ";
}

static void append_zsh_options(GString *out, const struct command *command)
{
	for (int id = 1; id < OPTION_COUNT; id++) {
		const struct option_entry *entry = &option_entries[id];
		if (!shows(command, id))
			continue;
		g_autofree char *help = zsh_quoted(entry->help);
		g_autofree char *argument = entry->argument ? zsh_quoted(entry->argument) : NULL;
		g_autofree char *value = argument ? g_strdup_printf("%s:%s:%s", entry->kind == OPTION_GATE ? ":" : "",
								    argument, zsh_action(entry))
						  : g_strdup("");
		if (entry->letter)
			g_string_append_printf(out, " \\\n\t\t\t'-%c[%s]%s'", entry->letter, help, value);
		g_string_append_printf(out, " \\\n\t\t\t'--%s[%s]%s'", entry->name, help, value);
	}
}

GString *completion_zsh(void)
{
	GString *out = g_string_new("#compdef reftop\n_reftop() {\n\tlocal -a commands\n\tcommands=(\n");
	for (size_t i = 0; commands[i]; i++) {
		g_autofree char *summary = zsh_quoted(commands[i]->summary);
		g_string_append_printf(out, "\t\t'%s:%s'\n", commands[i]->name, summary);
	}
	g_string_append(
		out, "\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\t_pids\n\t\treturn\n\tfi\n"
		     "\tlocal command=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $command in\n");
	for (size_t i = 0; commands[i]; i++) {
		g_string_append_printf(out, "\t%s)\n\t\t_arguments", commands[i]->name);
		append_zsh_options(out, commands[i]);
		g_string_append(out, " \\\n\t\t\t'*::argument:_files' ;;\n");
	}
	return g_string_append(out, "\tesac\n}\n_reftop \"$@\"\n");
}

GString *completion_fish(void)
{
	GString *out = g_string_new("# fish completion for reftop\n");
	for (size_t i = 0; commands[i]; i++) {
		g_autofree char *summary = quoted(commands[i]->summary);
		g_string_append_printf(out, "complete -c reftop -n __fish_use_subcommand -f -a %s -d '%s'\n",
				       commands[i]->name, summary);
		for (int id = 1; id < OPTION_COUNT; id++) {
			const struct option_entry *entry = &option_entries[id];
			if (!shows(commands[i], id))
				continue;
			g_autofree char *help = quoted(entry->help);
			g_string_append_printf(out, "complete -c reftop -n '__fish_seen_subcommand_from %s' -l %s",
					       commands[i]->name, entry->name);
			if (entry->letter)
				g_string_append_printf(out, " -s %c", entry->letter);
			if (entry->kind == OPTION_PROCESS)
				g_string_append(out, " -x -a '(__fish_complete_pids)'");
			else if (entry->argument)
				g_string_append(out, entry->kind == OPTION_FILE ? " -r" : " -x");
			g_string_append_printf(out, " -d '%s'\n", help);
		}
	}
	return out;
}
