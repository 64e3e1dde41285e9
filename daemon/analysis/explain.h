/*
 * Why is this object alive, and why is its count what it is: every holder of a reference to it, and the shortest way to it from
 * something that needs no holder itself: a module, a frame, static data of C code, a thread's stack.
 *
 * All text is escaped and owned by the origin. Pure.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/analysis/audit.h"
#include "daemon/analysis/leaks.h"
#include "daemon/analysis/sample.h"

/* references of one kind that one holder has */
struct holder {
	enum reference_kind kind;
	bool probable;
	int64_t count;
	uint64_t address;              /* of the holding object, or of the word where none holds it; 0: a register */
	const char *module, *qualname; /* of the holder's type; "" when it is no object */
	const char *label;             /* which: "[1042]", "['pending']", ".cart" */
	uint64_t container;            /* an attribute's: the dict it stands in, or that shows it; 0: there is none */
};

/* one reference that the object holds */
struct referent {
	enum reference_kind kind;
	bool probable;
	uint64_t address;
	const char *module, *qualname, *value, *label;
	int64_t refcount; /* SAMPLE_UNKNOWN: immortal */
};

/* one object on the way from the root to the one asked about */
struct explain_step {
	uint64_t address;
	const char *module, *qualname, *value;
	const char *label; /* how it holds the next one; "" for the last */
};

typedef struct explanation {
	sample_t *origin;
	struct leak_object
		object; /* growth is SAMPLE_UNKNOWN; refcount, unexplained and deficit too when it is immortal */
	struct holder *holders; /* exact ones first, then by kind */
	size_t n_holders;
	struct referent *referents; /* in the order they lie in it */
	size_t n_referents;
	int64_t all_referents;
	int64_t spare; /* words that hold its address beyond what the count needs: leftovers */
	const char
		*root; /* what the path begins with: "module", "frame of worker.run", "static data"; "" no path found */
	struct explain_step *path;
	size_t n_path;
} explanation_t;

/* what only somebody who can read files knows: the name of a word of static data */
struct explain_names {
	/* "last_result+0x8" of the word `offset` bytes behind where the image begins; NULL: not known. Free with g_free(). */
	char *(*symbol)(void *context, const struct owners_image *image, uint64_t offset);
	void *context;
};

/*
 * What is called for each object asked about: with its explanation, which is the callee's now, or NULL and why there is none (HEAP_ERROR USAGE:
 * no object is at this address). False with *error: it wants no more of them.
 */
typedef bool explain_each(void *context, uint64_t address, struct explanation *explanation, const GError *problem,
			  GError **error);
/*
 * Explain the objects at the `n` addresses, in this order, in as many passes as for one. The origin is shared by all and stays the caller's;
 * `names` may be NULL. False with *error: `each` wanted no more.
 */
bool explain_objects(audit_t *audit, const uint64_t *addresses, size_t n, sample_t *origin,
		     const struct explain_names *names, explain_each *each, void *context, GError **error);
void explanation_free(explanation_t *explanation);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(explanation_t, explanation_free)
