/*
 * A look at a live process that needs little of its memory, like the stacks of its threads: instead of copying everything, pages are
 * read when somebody looks at them, while the process is held still.
 *
 * Held still means: no thread of it runs anyway (checked before and after, as quiet.h says: then the process isn't stopped at all), or it is
 * stopped for as long as the visit lasts. Where a lock guards what is looked at, it is enough to stop the thread that has it. Afterwards the snapshot has the pages that were looked at, and what can't change (read-only
 * mappings); everything else can't be read any more.
 *
 * Pages the process never touched are not read here either, and all others through /proc/PID/mem, which leaves shared pages shared.
 */
#pragma once
#include "daemon/target/snapshot.h"

/*
 * Look at what is needed and keep what was found in `context`. May be called a second time, with another snapshot, when the process turned
 * out to have run: what the first call found doesn't count then. Runs on a thread of its own.
 */
typedef bool look_visit(void *context, snapshot_t *snapshot, GError **error);

/*
 * The locks that guard what the last visit looked at, and who may have them: of struct hold_lock (hold.h), free with g_array_unref(). NULL:
 * there are none, and all threads have to be stopped.
 */
typedef GArray *look_locks(void *context);

struct look_options {
	bool registers;    /* needed, of all threads: the process must be stopped */
	bool nonblocking;  /* never stop it; the result may be inconsistent */
	look_locks *locks; /* NULL: none are known */
};

/*
 * Hold the process still, visit, let it go. Returns the snapshot (its extent is what was looked at), free with snapshot_free() before the
 * target. Errors: as target_snapshot(), and those of the visit.
 */
snapshot_t *target_look(target_t *target, const struct look_options *options, look_visit *visit, void *context,
			GError **error);
