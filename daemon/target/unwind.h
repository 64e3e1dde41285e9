/*
 * Native stacks: the calls a thread is in, from its registers and the memory of a snapshot, with the unwind tables of the files it runs
 * (libdwfl; .eh_frame, .debug_frame, separate debug files by build-id below /usr/lib/debug). Nothing is asked of the process: this may
 * be done when it runs again. No file is fetched from anywhere.
 *
 * The snapshot must hold the stacks: unwind_prepare() reads them in a look.
 */
#pragma once
#include <glib.h>

#include "daemon/target/snapshot.h"

struct native_frame {
	uint64_t address; /* of the instruction, or the one after the call */
	char *function;   /* escaped; NULL: not known */
	uint64_t offset;  /* from its start; from the start of the mapping when there is none */
	char *file;       /* source file where debug information tells it, else the library; escaped */
	int line;         /* 0: not known */
};

typedef struct unwinder unwinder_t;

/* Make the snapshot hold the stacks of its threads; for snapshots of looks, while the process is held. */
void unwind_prepare(const snapshot_t *snapshot);

/* Errors: FAILED. The snapshot and the target must outlive it. */
unwinder_t *unwinder_new(target_t *target, const snapshot_t *snapshot, GError **error);
void unwinder_free(unwinder_t *unwinder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(unwinder_t, unwinder_free)

/*
 * The calls of a thread, the innermost first: of struct native_frame, freed with g_array_unref(). *broken (or NULL): why it ends before the
 * thread's first function; free with g_free(). Empty when the snapshot has no registers of it.
 */
GArray *unwind_thread(unwinder_t *unwinder, pid_t tid, char **broken);
