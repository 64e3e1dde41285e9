/*
 * Seam two: where samples come from. A live process, a recording, and later a daemon on its socket stand behind it; the commands
 * and screens see nothing else, so each works on all of them.
 *
 * A source is used by one thread at a time; samples it gave out are shared and immutable (sample_ref).
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/sample.h"

typedef struct source source_t;
struct stacks_options;

struct source_ops {
	const char *name; /* "live", "recording" */
	/*
	 * Take or read the next sample; NULL with *error set: GONE when the target ended (or the recording is at its end). May block for
	 * as long as a snapshot takes, never longer.
	 */
	sample_t *(*next)(source_t *source, GError **error);
	/* Whether there can be a next sample. */
	gboolean (*alive)(source_t *source);
	void (*free)(source_t *source);
	/*
	 * What only a source with memory behind it can tell; NULL where it can't. Each takes a picture of its own, of all of the process.
	 *
	 * leaks: the references nothing explains, judged against the previous call's picture if there was one (daemon/analysis/leaks.h).
	 * explain: the holders of one object. instances: the objects of a type, by name or "0x…" address.
	 */
	struct leaks *(*leaks)(source_t *source, size_t max_objects, GError **error);
	struct explanation *(*explain)(source_t *source, uint64_t address, GError **error);
	/* explain_objects() of daemon/analysis/explain.h, in one picture; `each` is an explain_each. */
	gboolean (*explain_all)(source_t *source, const uint64_t *addresses, size_t n,
				bool (*each)(void *context, uint64_t address, struct explanation *explanation,
					     const GError *problem, GError **error),
				void *context, GError **error);
	struct instances *(*instances)(source_t *source, const char *type, const char *sort, size_t limit,
				       GError **error);
	/*
	 * The next sample, and in *leaks what leaks() says, of one and the same picture; the watched objects' counts are explained in it.
	 * NULL with *error like next(), *leaks is NULL then.
	 */
	sample_t *(*assess)(source_t *source, size_t max_objects, struct leaks **leaks, GError **error);
	/*
	 * Follow the object at `address` in every sample from the next one on (sample->watched), or do so no longer. At most
	 * SOURCE_WATCHES objects: false when there are more.
	 */
	gboolean (*watch)(source_t *source, uint64_t address, gboolean on);
	/* Let go of what was kept for the next question (live_options.keep). */
	void (*forget)(source_t *source);
	/* How long it has stopped its process so far, µs; NULL: it never does. */
	int64_t (*paused)(source_t *source);
	/* The stacks of all threads and what they wait for (daemon/analysis/stacks.h); the pause is that of a look, not of a picture. */
	struct stacks *(*stacks)(source_t *source, const struct stacks_options *options, GError **error);
	/*
	 * What a source remembers (a recording, a daemon): the moments of its samples, ascending, as GArray of struct source_moment, and the
	 * sample of one of them. NULL with *error. Neither takes anything from what next() gives. NULL where nothing is remembered.
	 */
	GArray *(*moments)(source_t *source, GError **error);
	sample_t *(*load)(source_t *source, int64_t id, GError **error);
};

struct source_moment {
	int64_t id, time_us;
};

#define SOURCE_WATCHES 64

struct source {
	const struct source_ops *ops;
};

static inline sample_t *source_next(source_t *source, GError **error)
{
	return source->ops->next(source, error);
}

static inline gboolean source_alive(source_t *source)
{
	return source->ops->alive(source);
}

/* The same, 0 for a source that doesn't stop anything. */
static inline int64_t source_paused(source_t *source)
{
	return source->ops->paused ? source->ops->paused(source) : 0;
}

static inline void source_free(source_t *source)
{
	if (source)
		source->ops->free(source);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(source_t, source_free)
