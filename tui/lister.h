/*
 * A thread that looks at the Python processes of this machine every LISTER_US (daemon/source/machine.h), so that the view answers meanwhile.
 * While a look waits to be taken there is no next one. All signals are blocked in it.
 */
#pragma once
#include <glib.h>

#define LISTER_US (2 * G_USEC_PER_SEC)

typedef struct lister lister_t;

/* The first look begins at once. */
lister_t *lister_new(gboolean no_daemon);
void lister_free(lister_t *lister); /* NULL is fine */

/* Readable while there is a look to take. */
int lister_fd(const lister_t *lister);
/* The newest look, for roster_add(); NULL: none. */
GPtrArray *lister_take(lister_t *lister);
/* While held, no look is begun. */
void lister_hold(lister_t *lister, gboolean hold);
