/* The Python processes of this machine, and for each that can't be read, why. Nothing is attached to to find them. */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "daemon/target/access.h"

struct python_process {
	pid_t pid;
	struct process process;
	char *user;         /* name, or the number as text */
	const char *python; /* "3.12", static; NULL: its maps can't be read, it only looks like a Python by its name */
	char *exe;          /* escaped; "" unknown */
	char **cmdline;     /* escaped */
	struct access access;
	char *unsupported; /* when it may be read, but this program doesn't know its CPython: why; else NULL */
};

/* The process when it is a Python, or looks like one; NULL: it isn't. Free with python_process_free(). */
struct python_process *python_process_look(pid_t pid);
void python_process_free(struct python_process *python); /* NULL is fine */

/* All of them by pid, as struct python_process *; free with g_ptr_array_unref(). */
GPtrArray *processes_find(void);

/* Whether reftop can read it. */
gboolean python_process_readable(const struct python_process *python);
/* "zombie", "yama-1", "unsupported"…; NULL: readable */
const char *python_process_why(const struct python_process *python);

/* "running", "sleeping", "zombie"… for a state letter of proc(5). */
const char *process_state_name(char state);

/* Name of a user, escaped; the number when there is none. Free with g_free(). */
char *process_user_name(uid_t uid);
