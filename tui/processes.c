#include "tui/processes.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "symbols/interpreter.h"
#include "symbols/layout.h"

static void python_process_free(gpointer data)
{
	struct python_process *python = data;
	g_free(python->user);
	g_free(python->exe);
	g_strfreev(python->cmdline);
	access_clear(&python->access);
	g_free(python->unsupported);
	g_free(python);
}

gboolean python_process_readable(const struct python_process *python)
{
	return python->access.cause == ACCESS_GRANTED && !python->unsupported;
}

const char *python_process_why(const struct python_process *python)
{
	if (python->access.cause != ACCESS_GRANTED)
		return access_name(python->access.cause);
	return python->unsupported ? "unsupported" : NULL;
}

const char *process_state_name(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "waiting"; /* uninterruptible */
	case 'T':
		return "stopped";
	case 't':
		return "traced";
	case 'Z':
	case 'X':
	case 'x':
		return "zombie";
	case 'I':
		return "idle";
	default:
		return "unknown";
	}
}

/* "python", "python3.11", "pypy" don't lie: what can't be looked into is shown if it is called like that */
static gboolean is_python_name(const char *path)
{
	const char *name = strrchr(path, '/');
	return g_str_has_prefix(name ? name + 1 : path, "python");
}

/* "3.12" -> whether there is a shape for it */
static gboolean is_known(const char *version)
{
	unsigned major = 0, minor = 0;
	struct py_shape shape;
	if (sscanf(version, "%u.%u", &major, &minor) != 2 || major > 255 || minor > 255)
		return TRUE;
	return py_shape_find(major << 24 | minor << 16 | 0xf0, false, &shape);
}

static char *user_name(uid_t uid)
{
	struct passwd entry, *found = NULL;
	char buffer[4096];
	if (!getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) && found)
		return text_escape(found->pw_name, strlen(found->pw_name));
	return g_strdup_printf("%u", uid);
}

/* the process when it is a Python, or NULL */
static struct python_process *look_at(pid_t pid)
{
	struct process process;
	if (!process_read(pid, &process) || process.kernel_thread)
		return NULL;
	g_autoptr(maps_t) maps = process_dead(&process) ? NULL : maps_read(pid, NULL);
	const char *version = maps ? interpreter_guess(maps) : NULL;
	g_auto(GStrv) cmdline = process_cmdline(pid);
	gboolean named = is_python_name(process.comm) || (cmdline && cmdline[0] && is_python_name(cmdline[0]));
	if (maps && maps->n ? !version : !named)
		return NULL;
	struct python_process *python = g_new0(struct python_process, 1);
	python->pid = pid;
	python->process = process;
	python->python = version;
	python->user = user_name(process.uid[1]);
	python->exe = process_exe(pid);
	python->cmdline = g_steal_pointer(&cmdline);
	access_check(pid, &python->access);
	if (version && !is_known(version))
		python->unsupported = g_strdup_printf("this is CPython %s, which this program doesn't know", version);
	return python;
}

GPtrArray *processes_find(void)
{
	GPtrArray *processes = g_ptr_array_new_with_free_func(python_process_free);
	g_autoptr(GArray) pids = process_list();
	for (guint i = 0; i < pids->len; i++) {
		struct python_process *python = look_at(g_array_index(pids, pid_t, i));
		if (python)
			g_ptr_array_add(processes, python);
	}
	return processes;
}

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
