/* The objects of a type, with what an audit says of each. All text is escaped and owned by the origin. Pure. */
#pragma once
#include "daemon/analysis/audit.h"
#include "daemon/analysis/leaks.h"

struct instance {
	struct leak_object object; /* refcount, unexplained and deficit are SAMPLE_UNKNOWN when it is immortal */
	int64_t bytes;             /* sys.getsizeof(); SAMPLE_UNKNOWN where it can't be told */
};

typedef struct instances {
	sample_t *origin;
	struct instance *objects;
	size_t n;            /* at most as many as asked for */
	int64_t all_objects; /* of the type */
} instances_t;

/* by what they are sorted, largest first; ends with NULL. The first is the default. */
extern const char *const instances_sort_keys[];

/*
 * The objects of the types called `type` ("dict", "collections.deque", "0x…": the one at that address). `origin` is taken over, also
 * on failure. NULL with *error (HEAP_ERROR USAGE): there is no such type.
 */
instances_t *instances_find(audit_t *audit, const char *type, const char *sort, size_t limit, sample_t *origin,
			    GError **error);
void instances_free(instances_t *instances);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(instances_t, instances_free)
