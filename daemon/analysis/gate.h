/*
 * A limit for what may grow between two samples, and what went over it. Pure.
 *
 * Types of one name are one here: a class that was defined anew is still that class to who set the limit.
 */
#pragma once
#include "daemon/analysis/diff.h"

/* a type that grew by more than it may; or all objects, then `name` is "total" */
struct gate_row {
	char *name; /* "app.Thing", "dict" */
	int64_t a, b;
};

typedef struct gate {
	struct gate_row *rows; /* by growth, largest first */
	size_t n;              /* 0: it did not trip */
	bool matched;          /* there is such a type in one of the samples */
	size_t unknown;        /* types of which it can't be told, because their count wasn't measured */
} gate_t;

/*
 * `type`: "dict", "app.Thing", "Thing" of whatever module; a glob (`*`, `?`) over "module.qualname", each type that matches judged by itself;
 * "total": all objects together. Trips where the count grew by more than `more_than`.
 */
gate_t *gate_new(const diff_t *diff, const char *type, int64_t more_than);
void gate_free(gate_t *gate); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(gate_t, gate_free)
