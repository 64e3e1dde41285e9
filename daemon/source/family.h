/*
 * Which processes belong together: given ones, and all that they start, as that starts. /proc is looked through with each call; only what is
 * new costs more than a line of it. Nothing is attached to.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "daemon/target/pythons.h"

typedef struct family family_t;

/* `children`: what they start, too; `adopts`: orphans of these come to us (PR_SET_CHILD_SUBREAPER). */
family_t *family_new(const pid_t *pids, size_t n, bool children, bool adopts);
void family_free(family_t *family); /* NULL is fine */

/* Look again. The Python processes that belong to it and are news, as struct python_process *; free with g_ptr_array_unref(). */
GPtrArray *family_look(family_t *family);
/* Whether a process is there still, the same one; as of the last look. */
bool family_has(const family_t *family, pid_t pid, uint64_t start_ticks);
/* A process runs another program now: it is news with the next look, if that is a Python. */
void family_again(family_t *family, pid_t pid);
/* Whether any of it is alive, Python or not; as of the last look. */
bool family_alive(const family_t *family);
