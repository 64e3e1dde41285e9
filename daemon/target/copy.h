/*
 * What to copy of a process, and copying it.
 *
 * A plan says for every mapping whether its pages are copied, come from its file, or are left out, and cuts the copying into
 * chunks that several threads take one after the other. It is made before the target is stopped; the copy scans each chunk for
 * present pages again, because that costs little (3 ms a GB) and what was true before the stop needn't be any more.
 *
 * Exclusively mapped pages are read with process_vm_readv, 1 MB a call. Pages that another process shares copy-on-write go through
 * /proc/PID/mem: process_vm_readv would take them apart and so cost the machine the memory the fork saved.
 */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/target/barren.h"
#include "daemon/target/lazy.h"
#include "daemon/target/pool.h"
#include "daemon/target/presence.h"
#include "daemon/target/snapshot.h"
#include "symbols/maps.h"

#define CHUNK_BYTES (4ull << 20) /* what a thread takes at a time; a multiple of a huge page */

enum plan_kind {
	PLAN_NOTHING,   /* unreadable, a device, the kernel's, shared, or not wanted */
	PLAN_ANONYMOUS, /* present pages are copied, others are zeros */
	PLAN_FILE,      /* pages written to are copied, others come from the file when somebody looks */
	PLAN_RESIDENT,  /* a file that can't be opened: present pages are copied, others are unknown */
	PLAN_LAZY,      /* a read-only shared file: all comes from the file */
	PLAN_STREAM,    /* as PLAN_ANONYMOUS, but read when somebody looks (daemon/target/stream.h) */
};

struct plan_mapping {
	enum plan_kind kind;
	struct window *window;  /* where its bytes land; NULL for PLAN_NOTHING */
	struct lazy_file *file; /* for PLAN_FILE and PLAN_LAZY */
	bool hugetlb;           /* of huge pages that were asked for (hugetlbfs) */
	bool spared;            /* some of its chunks are barren; known after the copy */
	uint64_t resident;      /* PLAN_ANONYMOUS, after the copy: bytes in RAM */
};

struct chunk {
	uint64_t start, end;
	uint32_t mapping;
	bool prepared;
	bool barren;         /* all but a few pages of it are left out */
	bool shared;         /* has pages that another process shares: read through /proc/PID/mem */
	uint64_t content;    /* bytes present when prepared */
	uint64_t samples[2]; /* pages that were exclusive when that was looked at; 0: none */
	uint64_t resident;
	struct barren kept;
};

/* a chunk that was barren in an earlier snapshot */
struct barren_chunk {
	uint64_t start;
	struct barren kept;
};

struct plan {
	pid_t pid;
	int mem; /* /proc/PID/mem */
	const struct presence *presence;
	struct pool *pool;
	struct maps *maps;
	struct plan_mapping *mappings; /* maps->n */
	struct chunk *chunks;          /* ascending */
	size_t n_chunks;
	uint64_t bytes;   /* present when prepared: what there is to copy */
	uint64_t missing; /* present, but there was no room for it on our side */
	bool sparing;     /* leave out what holds no objects; set after plan_new(), as are the next two */
	struct barren_ranges ranges;
	const GArray *barren; /* of struct barren_chunk, ascending: what an earlier snapshot left out; not its own */
};

/* what one thread copied */
struct copy_result {
	GArray *copied; /* of struct presence_run, unsorted */
	GArray *lost;   /* present, but not readable */
	uint64_t bytes, missing;
	int failure; /* ESRCH: the process is gone; 0 */
};

/*
 * Plan the copy of what `maps` (which it takes) lists. `files` opens what is needed; `before` (or NULL) is an earlier plan whose
 * preparations still count where a chunk is the same.
 */
struct plan *plan_new(pid_t pid, int mem, const struct presence *presence, struct pool *pool, struct lazy_files *files,
		      struct maps *maps, enum snapshot_extent extent, const struct plan *before);
/* Stream all anonymous memory in place of copying it. Before anything else is done with the plan. */
void plan_stream(struct plan *plan);
/* Leaves the maps alone if plan->maps was set to NULL. */
void plan_free(struct plan *plan);

/* which pages are copied: all, or as a tracker (track.h) says */
enum work_pages {
	WORK_ALL,
	WORK_FIRST, /* as a round, and those that aren't in the windows for another reason */
	WORK_ROUND, /* those written to since they were copied last; they are protected first. The target runs. */
	WORK_REST,  /* the same, without protecting; the others are right already, and count as copied */
};

/* a run through all chunks, shared by the threads that take part */
struct work {
	struct plan *plan;
	_Atomic size_t next;
	enum work_pages pages;
	bool soft_dirty; /* the tracker goes by soft-dirty bits, of which it clears all at once: WORK_FIRST or WORK_REST */
	bool swapped;    /* WORK_REST: pages may be swapped out, so what is there need not be resident */
	size_t limit;    /* only the chunks before this one; 0: all */
	int64_t deadline_ns; /* monotonic: stop then; 0: none */
	uint64_t most;       /* plan_prepare(): only see whether there is no more than that to copy; 0: prepare it */
	_Atomic bool late;   /* the deadline passed, or there is more */
	_Atomic bool stop;   /* set by whoever finds that going on is no use */
};

/* Look at present pages and give their destination memory; the target may run. Each thread that takes part calls it once. */
void plan_prepare(struct work *work);
/* Copy. Each thread that takes part calls it once, with a result of its own. */
void plan_copy(struct work *work, struct copy_result *result);

void copy_result_init(struct copy_result *result);
void copy_result_clear(struct copy_result *result);
