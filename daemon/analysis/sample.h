/*
 * A sample: what a process held at one moment, by type. The value that travels from the heap to every face, file and socket.
 *
 * What was not measured is SAMPLE_UNKNOWN (-1), which is written as null in JSON and as an empty cell on a screen; it is never 0.
 * All text is escaped (base/text.h) and owned by the sample. Samples are immutable once made and shared by reference count.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define SAMPLE_UNKNOWN         (-1)
#define SAMPLE_MAX_GENERATIONS 3

/* the process a sample is of; the same for all samples of one source unless the process execs */
struct sample_target {
	int64_t pid;
	int64_t start_time_us; /* µs since the epoch */
	const char *exe;
	const char *const *cmdline; /* NULL-terminated */
	const char *python;         /* "3.12.1" */
	bool debug, free_threaded;
	const char *layout; /* "builtin", "dwarf", "debug_offsets" */
	int64_t rss;        /* bytes */
};

struct sample_snapshot {
	const char *mode; /* "quiet", "stop", "precopy", "nonblocking", "core", "image" */
	bool consistent;
	bool streamed; /* counted piece by piece, because there was too much for a copy; not kept in recordings */
	const char *coverage; /* "gc", "all" */
	int64_t pause_us, elapsed_us, bytes_copied;
	int64_t walk_us; /* from the copy to the counted sample */
	int64_t torn;    /* places of a copy of a running process that contradict themselves */
	/*
	 * Why there was no copy, in words; NULL: there was one. Everything that would have been counted is SAMPLE_UNKNOWN then, and
	 * there are no types. Such a sample is shown and written, but never compared with others, or recorded.
	 */
	const char *skipped;
};

struct sample_generation {
	int64_t count, threshold;
	int64_t objects;     /* in the list now */
	int64_t collections; /* so far; SAMPLE_UNKNOWN where the interpreter doesn't say */
};

struct sample_gc {
	int64_t interpreter; /* its id */
	bool enabled, collecting;
	size_t n_generations;
	struct sample_generation generations[SAMPLE_MAX_GENERATIONS];
	int64_t permanent; /* objects in the permanent generation (gc.freeze) */
};

/* where the resident memory is, bytes; the parts add up to target.rss (daemon/analysis/memory_parts.h) */
struct sample_memory {
	int64_t objects;     /* live objects */
	int64_t blocks;      /* allocator blocks that are no objects: dict keys, list arrays, instance values */
	int64_t free_blocks; /* free blocks in pools in use */
	int64_t free_pools;  /* pools and arenas the allocator keeps for later */
	int64_t malloc_heap; /* the C heap: what malloc has from the kernel, in use or not */
	int64_t anonymous;   /* other anonymous mappings: thread stacks, large buffers */
	int64_t file;        /* of files: programs, libraries, their data */
	int64_t other;       /* the rest */
};

/* the parts in the order a person reads them: the key in JSON, a word for a screen, where it is in struct sample_memory */
struct sample_memory_part {
	const char *key, *label;
	size_t offset;
};
#define SAMPLE_MEMORY_PARTS 8
extern const struct sample_memory_part sample_memory_parts[SAMPLE_MEMORY_PARTS];

static inline int64_t *sample_memory_at(struct sample_memory *memory, size_t part)
{
	return (int64_t *)((char *)memory + sample_memory_parts[part].offset);
}

struct sample_totals {
	int64_t objects, gc_objects;
	int64_t bytes;            /* as sys.getsizeof */
	int64_t refs;             /* of the objects that are not immortal */
	int64_t immortal;         /* objects */
	int64_t unreadable;       /* objects seen but not readable */
	int64_t allocated_blocks; /* what sys.getallocatedblocks() says; SAMPLE_UNKNOWN without a known allocator */
	bool has_memory;
	struct sample_memory memory; /* when has_memory */
};

/* one row of the table: the live objects of exactly this type */
struct sample_type {
	uint64_t address;     /* of the type object; with start_time_us of the process its identity */
	const char *module;   /* "builtins" */
	const char *qualname; /* "dict" */
	int64_t count, gc_count, bytes;
	int64_t refs,
		refs_max; /* sum and maximum of reference counts, immortals apart; refs_max 0 when all are immortal */
	int64_t immortal;
	int64_t owned; /* bytes of the buffers its objects own (daemon/heap/buffer.h); SAMPLE_UNKNOWN: a type without */
	int64_t born, died; /* since the sample before, at least; when the sample has_turnover */
};

enum sample_watched_state {
	WATCHED_ALIVE,
	WATCHED_DEAD,   /* there is no object at its address any more */
	WATCHED_REUSED, /* another object is */
};
extern const char *const sample_watched_states[]; /* "alive", "dead", "reused" */

/* one object whose reference count is followed (daemon/source/source.h, watch); in the sample after its end it is listed for the last time */
struct sample_watched {
	uint64_t address, type;
	const char *module, *qualname; /* of its type; "" when there never was an object */
	const char *value;             /* as Python would print it */
	int64_t refcount;              /* SAMPLE_UNKNOWN: it is gone, or immortal */
	int64_t exact, probable;       /* what of it is explained; SAMPLE_UNKNOWN: not looked for in this sample */
	enum sample_watched_state state;
	const char *now; /* what is at its address instead of it; "" unless it was reused */
};

/* one of the processes a sum is of (daemon/analysis/sum.h) */
struct sample_part {
	int64_t pid, start_time_us; /* who it is */
	const char *command;
	struct sample *sample; /* the newest of it; NULL: it could never be read */
	bool fresh;            /* that is of this round, not of an earlier one */
	const char *why;       /* why it could not be read in this round; NULL: it could, or nobody tried */
};

typedef struct sample {
	int references;  /* atomic; private to sample_ref and sample_unref */
	int64_t time_us; /* µs since the epoch */
	struct sample_target target;
	struct sample_snapshot snapshot;
	size_t n_gc;
	struct sample_gc *gc;
	struct sample_totals totals;
	size_t n_types;
	struct sample_type *types; /* sorted by bytes, largest first; equal ones by name, then address */
	bool has_turnover;
	size_t n_watched;
	struct sample_watched *watched;
	size_t n_parts;
	struct sample_part *parts; /* ascending pids; each refers to its sample */
	GStringChunk *strings;     /* owns all text above; sample_text() puts there; NULL: */
	struct sample *origin;     /* the text is that of this one; else NULL */
} sample_t;

/*
 * An empty sample with one reference; whoever makes it fills the fields and then calls sample_seal(). What describes the target and
 * the snapshot starts as SAMPLE_UNKNOWN and "", the totals at 0. `gc` and `types` are made with g_new() and belong to the sample.
 */
sample_t *sample_new(void);
/* Copy text into the sample, each different one once. */
const char *sample_text(sample_t *sample, const char *text);
/* Copy a NULL-terminated vector of arguments to target.cmdline. */
void sample_cmdline(sample_t *sample, const char *const *cmdline);
/* Sort the types and compute nothing else; the sample is immutable from here on. */
void sample_seal(sample_t *sample);
/*
 * What the same process holds at `time_us`, when nothing of it ran since: the same, with no cost to it (mode "quiet", no pause, nothing
 * copied). Watched objects stay, births and deaths are none.
 */
sample_t *sample_repeat(sample_t *sample, int64_t time_us);
sample_t *sample_ref(sample_t *sample);
void sample_unref(sample_t *sample); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sample_t, sample_unref)

/* "module.qualname" as a person writes it: without "builtins." Free with g_free(). */
char *sample_type_name(const struct sample_type *type);
