/*
 * The verdict of an audit: which references were lost, on which objects, and whether more are lost as we watch.
 *
 * A picture taken at a random instant can be wrong about an object or two that are just being handed from one place to another. So
 * there are two looks, and an accusation has to survive both: the same object, of the same type, unexplained in both, counts with the
 * smaller number. What grew between the looks comes first. A reference or two that never grow, on a single object, are what C code loses
 * once, when it is loaded: they are shown as that, apart.
 *
 * All text is escaped and owned by the origin. Pure.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/analysis/audit.h"
#include "daemon/analysis/sample.h"

/* from this many lost references on one object, or objects with one in a type, on it is no one-off */
#define LEAKS_MANY_ON_ONE  3
#define LEAKS_MANY_OBJECTS 10

enum leak_kind {
	LEAK_GROWING, /* more was lost between the looks */
	LEAK_STEADY,  /* much is lost, and it did not grow meanwhile */
	LEAK_ONE_OFF, /* a constant reference or two */
};
extern const char *const leak_kind_names[]; /* "growing", "steady", "one-off" */

struct leak_type {
	uint64_t address;
	const char *module, *qualname;
	int64_t objects, refs; /* of the type, immortal ones apart */
	int64_t unexplained, orphans, deficit;
	int64_t unexplained_objects, deficit_objects;
	int64_t largest; /* unexplained references on one object */
	int64_t growth;  /* unexplained references more than at the first look; SAMPLE_UNKNOWN: there was one look */
	enum leak_kind kind;
	bool suppressed;
	bool of_types; /* its instances are types */
	/* what the history of a daemon says; SAMPLE_UNKNOWN: nothing, or there is none */
	int64_t lost_since_us;  /* references were lost then already, µs since the epoch */
	int64_t grows_since_us; /* the number of its objects grows steadily since then, by */
	double grows_rate;      /* objects a second */
};

struct leak_object {
	uint64_t address, type;        /* of the object and of its type */
	const char *module, *qualname; /* of its type */
	int64_t refcount, exact, probable, unexplained, deficit, growth;
	const char *value;
	enum leak_kind kind;
	bool suppressed;
};

typedef struct leaks {
	sample_t *origin;           /* time, process, snapshot; owns the texts */
	struct audit_totals totals; /* of the second look, what survived both as unexplained and deficit */
	struct leak_type *types;    /* with something to say: growing, steady, one-off, each largest first */
	size_t n_types;
	struct leak_object *objects; /* the same order; at most as many as asked for */
	size_t n_objects, all_objects;
	int looks;
	int64_t interval_us; /* between them */
} leaks_t;

/* what the first look found, to be compared; free with leaks_look_free() */
typedef struct leaks_look leaks_look_t;
leaks_look_t *leaks_look_new(const audit_t *audit);
void leaks_look_free(leaks_look_t *look);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(leaks_look_t, leaks_look_free)

/*
 * The verdict of `audit`, against an earlier look (NULL: there was none). `origin` describes the process and snapshot; the reference
 * is taken over. At most `max_objects` objects are listed.
 */
leaks_t *leaks_judge(audit_t *audit, const leaks_look_t *before, sample_t *origin, size_t max_objects);
void leaks_free(leaks_t *leaks);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(leaks_t, leaks_free)

/*
 * Mark what is known: `patterns` are globs (`*`, `?`) that match "module.qualname" of a type, or "module.qualname value" of an object. A
 * type all of whose lost references are on suppressed objects is suppressed, too, as far as all its objects are listed.
 */
void leaks_suppress(leaks_t *leaks, const char *const *patterns);

/* Whether something is lost that is no one-off and not suppressed: what --fail asks. */
bool leaks_found(const leaks_t *leaks);
