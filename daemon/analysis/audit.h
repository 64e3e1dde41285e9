/*
 * Does each object's reference count agree with the references there are to it?
 *
 * refcount = exact + probable + unexplained. `exact` references stand in structures whose layout is known; `probable` ones are words
 * elsewhere that hold the object's address, each counted once, and at most as many as the count leaves open: a word that happens to look
 * like a reference never makes a deficit. `unexplained` is what the count has and nobody holds: a reference that was lost. `deficit` is what
 * is held in known structures beyond the count: one reference given back too many, or never taken.
 *
 * Immortal objects are left out: their count says nothing.
 *
 * Pure; one thread. Facts: REFERENCES in the manual's chapter "How references are explained".
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/analysis/owners.h"
#include "daemon/heap/table.h"

struct audit_totals {
	int64_t objects; /* that are not immortal */
	int64_t refs;    /* the sum of their counts */
	int64_t exact, probable, unexplained, deficit;
	int64_t orphans; /* objects with a count and no holder at all */
	int64_t unexplained_objects, deficit_objects;
	int64_t by_class[OWNERS_CLASSES]; /* words found by searching, before any capping; for `-v` */
	int64_t words;                    /* searched */
	int64_t spare_words;              /* words found for objects that needed none */
};

typedef struct audit {
	heap_t *heap;
	struct table table; /* exact and probable are filled in */
	references_t *references;
	struct owners owners;
	GArray *kept; /* of struct cython_kept (cython.h) */
	struct audit_totals totals;
} audit_t;

/*
 * The index of the object that a word found by searching at `address` (0: in a register) refers to, or TABLE_NONE: the object whose address it
 * is, or the str whose characters it points to. C code that keeps what PyUnicode_AsUTF8() returned keeps the str with it (numpy's doc
 * strings); on a stack such a pointer is borrowed.
 */
uint32_t audit_referred(const audit_t *audit, uint64_t address, uint64_t word);

/*
 * References that an object was born with and that nobody holds: 1 when the linker laid it out (or 0, in careless C++), and another for
 * struct sequence types up to 3.7, which are copied from a template that has 1 and get 1 again (CPython Objects/structseq.c,
 * PyStructSequence_InitType2()).
 */
uint32_t audit_born_with(const audit_t *audit, const struct table_object *object);

/* Audit the heap, which must outlive the audit, like what `view` points to. Errors: those of table_take() and owners_init(). */
audit_t *audit_take(heap_t *heap, const struct owners_view *view, GError **error);
void audit_free(audit_t *audit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(audit_t, audit_free)

static inline int64_t audit_unexplained(const struct table_object *object)
{
	if (object->refcount == TABLE_IMMORTAL)
		return 0;
	return MAX((int64_t)object->refcount - object->exact - object->probable, 0);
}

static inline int64_t audit_deficit(const struct table_object *object)
{
	if (object->refcount == TABLE_IMMORTAL)
		return 0;
	return MAX((int64_t)object->exact - object->refcount, 0);
}

static inline bool audit_orphan(const struct table_object *object)
{
	return object->refcount != TABLE_IMMORTAL && object->refcount && !object->exact && !object->probable;
}
