/*
 * A consistent copy of a live process, taken as briefly as possible.
 *
 * A `target` is an attached-to process: opened once, snapshot many times. Between snapshots nothing holds it: no ptrace
 * attachment, no stop. Every snapshot is self-contained and immutable.
 *
 * The first law (manual, "What it does to the target") is kept here: nothing is written into the target but one register, rax of a
 * thread that would see EINTR because we looked; it is never left stopped, also when this program is killed.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/memory.h"
#include "symbols/interpreter.h"
#include "symbols/maps.h"

enum snapshot_mode {
	SNAPSHOT_QUIET,
	SNAPSHOT_STOP,
	SNAPSHOT_PRECOPY,
	SNAPSHOT_NONBLOCKING,
	SNAPSHOT_CORE,
	SNAPSHOT_IMAGE
};

/* what the copy is needed for; decides which memory is copied */
enum snapshot_extent {
	SNAPSHOT_HEAP, /* private writable memory without thread stacks: enough for a census */
	SNAPSHOT_ALL,  /* with stacks and registers: enough to explain every reference */
};

struct snapshot_options {
	enum snapshot_extent extent;
	/*
	 * Copy while it runs, with its writes followed (daemon/target/track.h), and stop it for the rest only. keep_tracking: go on following until the
	 * target is freed, so that the next one copies only what changed.
	 */
	bool precopy, keep_tracking;
	bool nonblocking; /* never stop the target; the copy may be inconsistent */
	/*
	 * With more anonymous memory than so many bytes, even when sparing: copy none of it, but read it as somebody looks, with about that much kept at a time
	 * (extent HEAP only; such a snapshot is never a stop). It is of no one moment unless snapshot_settle() says so. 0: always copy.
	 */
	uint64_t stream_limit;
	/*
	 * Only for a census: leave out buffers that hold no objects (daemon/target/barren.h; extent HEAP, not with precopy). Ask snapshot_missed()
	 * afterwards.
	 */
	bool sparing;
	int64_t max_pause_us; /* never stop it for longer than that: rather take none (SKIPPED); 0: no limit */
};

/* the system call a thread is in: known by its registers, or by /proc/PID/task/TID/syscall where it isn't stopped */
struct snapshot_call {
	bool in_call;
	int64_t number; /* of x86-64 */
	uint64_t arguments[6];
	uint64_t stack_pointer, instruction; /* 0: not known */
};

/* a thread of the target at the moment of the copy */
struct snapshot_thread {
	pid_t tid;
	pid_t native;  /* its number in its own pid namespace; 0: that is ours, or it is not known */
	char state;    /* of /proc/PID/task/TID/stat before the stop: R, S, D, T… */
	char name[16]; /* comm, raw bytes */
	bool has_registers;
	uint64_t registers[27];    /* struct user_regs_struct of x86-64, valid when has_registers */
	struct snapshot_call call; /* only of a look (daemon/target/look.h) and of files */
};

/* how one mapping stands in memory, same index as snapshot.maps->mappings */
struct snapshot_residence {
	uint64_t resident; /* bytes present in RAM (Rss) */
	uint64_t copied;   /* bytes in the snapshot */
};

typedef struct snapshot {
	struct memory memory;
	struct maps *maps;                    /* as they were at the copy */
	struct snapshot_residence *residence; /* maps->n entries */
	struct snapshot_thread *threads;
	size_t n_threads;
	enum snapshot_mode mode;
	bool consistent;
	bool streamed;      /* see snapshot_options.stream_limit */
	int64_t resumed_us; /* monotonic: when the copy was there and the target ran again; 0: of a file */
	int64_t time_us;    /* wall clock, µs since the epoch, at the copy */
	int64_t pause_us;   /* from the first stopped thread to the last resumed; 0 in mode QUIET, -1 not measured */
	int64_t elapsed_us; /* from the request to the resumed target */
	uint64_t bytes_copied;
	uint64_t bytes_spared;            /* present in the target, and left out because nobody needs it */
	uint64_t bytes_missing;           /* present in the target, but could not be read */
	uint64_t rss;                     /* of the target, bytes; UINT64_MAX: not measured (files, target_look()) */
	struct snapshot_private *private; /* the copy's storage */
	void (*release)(struct snapshot *snapshot,
			void *storage); /* NULL, or how `storage` is freed in place of `private` */
	void *storage;
} snapshot_t;

void snapshot_free(snapshot_t *snapshot);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(snapshot_t, snapshot_free)

/* Bytes of [start, end) that were in RAM: of a whole mapping as residence says, of a part of one as far as it was copied. */
uint64_t snapshot_resident(const snapshot_t *snapshot, uint64_t start, uint64_t end);

/* Somebody needed what a sparing snapshot left out: whatever was found in it doesn't count. */
bool snapshot_missed(const snapshot_t *snapshot);

/*
 * A streamed snapshot was looked through: if no thread of the target ran since it was begun, it is a quiet, consistent one after all. What
 * was read, and couldn't be, is counted now. Others are left as they are. Once a snapshot.
 */
void snapshot_settle(snapshot_t *snapshot);

typedef struct target target_t;

/*
 * Open process `pid`: check that it may be read, find its interpreter, keep a pidfd so that a reused pid is never taken for it.
 * Errors: GONE, DENIED (cause and narrowest remedy), UNKNOWN, FAILED.
 */
target_t *target_open(pid_t pid, GError **error);
/* The same without looking for an interpreter: target_interpreter() is NULL. For tests, and for processes that aren't Python. */
target_t *target_open_any(pid_t pid, GError **error);
void target_free(target_t *target);
/* Give back the memory that is kept for the next snapshot, which then takes somewhat longer. Not while there is a snapshot. */
void target_relax(target_t *target);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(target_t, target_free)

pid_t target_pid(const target_t *target);
const interpreter_t *target_interpreter(const target_t *target);
/* start of the process, µs since the epoch */
int64_t target_start_time(const target_t *target);
/* executable as the target sees it, escaped; "" unknown */
const char *target_exe(const target_t *target);
/* command line, escaped, NULL-terminated vector owned by the target */
const char *const *target_cmdline(const target_t *target);

/*
 * Take a snapshot. May be called again and again, by one thread at a time. The storage of a freed snapshot is kept by the target for
 * the next one, so that a view doesn't pay for fresh pages each time; free every snapshot before the target.
 * Errors: GONE (the target ended or exec'ed: `exec` says so in the cause), DENIED, FAILED, SKIPPED (max_pause_us).
 *
 * A target that is this process's own child: nobody may wait for it meanwhile but with WNOWAIT. The stops of a snapshot would be told
 * to whoever waits, asked for or not, and only once.
 */
snapshot_t *target_snapshot(target_t *target, const struct snapshot_options *options, GError **error);

/* How long the target was stopped by us so far, all snapshots and looks together, µs. */
int64_t target_paused_us(const target_t *target);

/* Whether the target still runs (a zombie doesn't). Never blocks. */
bool target_alive(const target_t *target);
