#include "tui/processes.h"

#include <string.h>

#include "base/text.h"

/* "3d04h", "4h12m", "12m55s" */
static void format_uptime(char buffer[16], double seconds)
{
	unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
	if (s >= 86400)
		g_snprintf(buffer, 16, "%lud%02luh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		g_snprintf(buffer, 16, "%luh%02lum", s / 3600, s / 60 % 60);
	else
		g_snprintf(buffer, 16, "%lum%02lus", s / 60, s % 60);
}

/* the command line, or for a zombie its name as ps(1) shows it */
static char *format_command(const struct python_process *python)
{
	if (python->cmdline && python->cmdline[0])
		return g_strjoinv(" ", python->cmdline);
	g_autofree char *name = text_escape(python->process.comm, sizeof(python->process.comm));
	return g_strdup_printf("[%s]", name);
}

static void append_row(GString *text, const struct python_process *python, int width)
{
	char rss[16], uptime[16];
	const char *why = python_process_why(python);
	g_autofree char *command = format_command(python);
	format_uptime(uptime, process_uptime(&python->process));
	g_autofree char *line =
		g_strdup_printf("%7d  %-10s %-7s %5s %8s  %-9s %-13s %s", (int)python->pid, python->user,
				python->python ? python->python : "-", text_bytes(rss, (gint64)python->process.rss),
				uptime, process_state_name(python->process.state), why ? why : "", command);
	if (width && g_utf8_strlen(line, -1) > width)
		*g_utf8_offset_to_pointer(line, width) = '\0';
	g_string_append_printf(text, "%s\n", line);
}

/* each cause once, with its remedy */
static void append_causes(GString *text, const GPtrArray *processes)
{
	g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);
	for (guint i = 0; i < processes->len; i++) {
		const struct python_process *python = g_ptr_array_index(processes, i);
		const char *why = python_process_why(python);
		if (!why || !g_hash_table_add(told, (gpointer)why))
			continue;
		const struct access *access = &python->access;
		const char *cause = access->cause == ACCESS_GRANTED ? python->unsupported : access->text;
		g_string_append_printf(text, "\n%s: %s (process %d)\n", why, cause ? cause : "", (int)python->pid);
		if (access->cause != ACCESS_GRANTED && access->fix)
			g_string_append_printf(text, "  fix: %s\n", access->fix);
	}
}

GString *processes_table(const GPtrArray *processes, int width)
{
	GString *text = g_string_new("    PID  USER       PYTHON    RSS   UPTIME  STATE     WHY NOT       COMMAND\n");
	for (guint i = 0; i < processes->len; i++)
		append_row(text, g_ptr_array_index(processes, i), width);
	append_causes(text, processes);
	return text;
}
