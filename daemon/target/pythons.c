#include "daemon/target/pythons.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "symbols/interpreter.h"
#include "symbols/layout.h"

void python_process_free(struct python_process *python)
{
	if (!python)
		return;
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

char *process_user_name(uid_t uid)
{
	struct passwd entry, *found = NULL;
	char buffer[4096];
	if (!getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) && found)
		return text_escape(found->pw_name, strlen(found->pw_name));
	return g_strdup_printf("%u", uid);
}

struct python_process *python_process_look(pid_t pid)
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
	python->user = process_user_name(process.uid[1]);
	python->exe = process_exe(pid);
	python->cmdline = g_steal_pointer(&cmdline);
	access_check(pid, &python->access);
	if (version && !is_known(version))
		python->unsupported = g_strdup_printf("this is CPython %s, which this program doesn't know", version);
	return python;
}

GPtrArray *processes_find(void)
{
	GPtrArray *processes = g_ptr_array_new_with_free_func((GDestroyNotify)python_process_free);
	g_autoptr(GArray) pids = process_list();
	for (guint i = 0; i < pids->len; i++) {
		struct python_process *python = python_process_look(g_array_index(pids, pid_t, i));
		if (python)
			g_ptr_array_add(processes, python);
	}
	return processes;
}
