/*
 * The daemon: finds processes (watch.c), reads each through a worker of its own (subject.c) as often as its interval and the budget
 * allow (schedule.c), keeps their history (daemon/store/history.h), and answers on its socket (client.c, protocol.c), over HTTP
 * (metrics.c) and by rules (rules.c). One thread, one main loop.
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/noted.h"
#include "daemon/analysis/trend.h"
#include "daemon/server/config.h"
#include "daemon/server/nursery.h"

typedef struct server server_t;

/*
 * Open the store and the socket. Takes the nursery (made before there was anything to hide) and the configuration over. Errors: FAILED
 * when the socket or the address for metrics can't be had, or another daemon has it. A store that can't be opened is told and done without.
 */
server_t *server_new(struct config *config, nursery_t *nursery, GError **error);
void server_free(server_t *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(server_t, server_free)

/* Run until server_stop(), SIGINT or SIGTERM. */
void server_run(server_t *server);
void server_stop(server_t *server);

/* From now on remember what grew in processes that have ended. */
void server_remember(server_t *server);
/* All that grew, a program's own classes and the fastest first, as an array of struct grown that frees what it holds. */
GArray *server_growths(server_t *server);
/* How many processes were read at least once; only with server_remember(). */
guint server_processes(const server_t *server);
