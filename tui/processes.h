/* The list of Python processes for a person: as a tree, with what grows in them where a daemon watches, and why some can't be read. */
#pragma once
#include <json-glib/json-glib.h>

#include "daemon/target/pythons.h"

/*
 * What the daemon says of the processes it watches: PID -> JsonObject * of reftop.watched/1. NULL: there is no daemon. Free with
 * g_hash_table_unref().
 */
GHashTable *processes_watched(void);

/*
 * The list as a table for a person, lines at most `width` columns where that can be (0: no limit). Children stand below their parents.
 * `watched` as above, or NULL.
 */
GString *processes_table(const GPtrArray *processes, GHashTable *watched, int width);
