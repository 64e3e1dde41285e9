/* What a target_t is made of: for the files of this folder only. */
#pragma once
#include <glib.h>

#include "daemon/target/copy.h"
#include "daemon/target/freeze.h"
#include "daemon/target/pool.h"
#include "daemon/target/presence.h"
#include "daemon/target/process.h"
#include "daemon/target/snapshot.h"
#include "daemon/target/stream.h"
#include "daemon/target/track.h"

struct target {
	pid_t pid;
	int pidfd; /* -1 where the kernel has none (before 5.3) */
	int mem;   /* /proc/PID/mem, pagemap and maps: bound to the address space they were opened on */
	int maps;
	struct presence presence;
	struct process process; /* as it was when opened */
	int64_t start_time;
	char *exe;
	char **cmdline;
	interpreter_t *interpreter; /* NULL: none was looked for */
	GMutex lock;
	struct pool *idle;        /* of a freed snapshot, for the next; guarded by the lock */
	unsigned quiet_skip;      /* snapshots to take without trying it quietly first */
	struct file_target *file; /* a core file or an image: there is no process; NULL: there is one */
	unsigned quiet_misses;    /* snapshots in a row for which that didn't work */
	uint64_t quiet_copies;    /* made while it seemed to sleep, right or not */
	GArray *barren;           /* of struct barren_chunk: what the last snapshot left out; NULL: none did */
	double ns_per_byte;       /* of copying while it is stopped; 0: not measured yet */
	struct tracker *tracker;  /* NULL: its writes are not followed */
	int64_t paused_ns;        /* by all stops together */
};

#define SPARED_BITS 4096

/* storage of a snapshot */
struct snapshot_private {
	struct target *target;
	struct pool *pool;
	struct plan *plan; /* as copied */
	struct lazy_files files;
	struct stream *stream; /* NULL: all is copied */
	GArray *look;          /* of struct quiet_thread: before streaming began */
	struct lazy **lazies;  /* maps->n; NULL where a mapping isn't read from a file */
	GArray *copied;        /* of struct presence_run, sorted */
	GArray *lost;
	GArray *spared;                         /* the same: left out */
	uint64_t spared_bits[SPARED_BITS / 64]; /* by the number of a chunk: there may be some in it */
	_Atomic uint64_t verified[1024];        /* pages of these that still held no address later on */
	_Atomic bool missed;                    /* one of these was asked for */
};

/* The text of the maps file, read again. NULL: the address space is gone. */
char *target_maps_text(struct target *target, size_t *size);

/* Set *error to GONE with what happened to the target: it ended, or exec'ed. */
void target_gone(struct target *target, GError **error);

/* Resident bytes now, roughly, as /proc/PID/statm says. */
uint64_t target_rss(const struct target *target);
/* The same without pages of files, but with what is swapped out left out. */
uint64_t target_anonymous(const struct target *target);

/* Make the regions, the residence and the sums of a snapshot whose plan was copied with these results. */
void picture_make(snapshot_t *snapshot, const struct copy_result results[2]);
