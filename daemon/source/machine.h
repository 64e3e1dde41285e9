/*
 * Looks at the Python processes of this machine (daemon/target/pythons.h), and at what a daemon knows of those that it watches: their objects,
 * what grows, and, the first time, how many objects they had before. No process is stopped or read for that.
 */
#pragma once
#include <glib.h>

typedef struct machine machine_t;

machine_t *machine_new(gboolean no_daemon);
void machine_free(machine_t *machine); /* NULL is fine */

/* A look: struct roster_process * (daemon/analysis/roster.h), for roster_add(). Takes some milliseconds, more with a daemon that is busy. */
GPtrArray *machine_look(machine_t *machine);
