/*
 * The nursery: a small process, forked before the daemon knows anything, from which the workers are forked. So a worker shares the
 * pages of the program with all others (a few hundred KB of its own each), and no worker ever had the memory of the daemon, with
 * what it knows of other processes.
 *
 * It does what it is told, tells who ended, and dies with the daemon, as the workers do with it.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "daemon/server/worker.h"

typedef struct nursery nursery_t;

/* Fork it. To be called while there is one thread and no secret. */
nursery_t *nursery_new(GError **error);
/* Ends it, and all workers. */
void nursery_free(nursery_t *nursery);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nursery_t, nursery_free)

/* Make a worker. The daemon's end of its channel, non-blocking; -1 with *error. *number tells it from the others. */
int nursery_spawn(nursery_t *nursery, const struct worker_order *order, guint *number, GError **error);
/* Kill a worker; its end is told like any other. */
void nursery_kill(nursery_t *nursery, guint number);

/* Called in the main loop when a worker ended, with what wait(2) says; with number 0: the nursery itself did. */
typedef void (*nursery_ended)(void *context, guint number, int status);
void nursery_watch(nursery_t *nursery, nursery_ended ended, void *context);
/* Process number of the nursery, to count what it and its children use. */
pid_t nursery_pid(const nursery_t *nursery);
