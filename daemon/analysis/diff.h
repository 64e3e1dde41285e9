/*
 * What changed between two samples, by type. Pure.
 *
 * Two samples of one process (pid and start time) are compared type by type, by address and name. Samples of different
 * processes, say before and after an upgrade, are compared by name; several types of one name are one row then, with
 * address 0.
 */
#pragma once
#include "daemon/analysis/sample.h"

/* what one sample says about a type; 0 when it has no objects, SAMPLE_UNKNOWN when it wasn't measured */
struct diff_side {
	int64_t count, bytes, refs;
};

struct diff_row {
	uint64_t address;
	const char *module, *qualname; /* of one of the samples */
	struct diff_side a, b;
};

typedef struct diff {
	sample_t *a, *b;       /* references of their own */
	struct diff_row *rows; /* in no order that means anything */
	size_t n;
} diff_t;

diff_t *diff_new(sample_t *a, sample_t *b);
void diff_free(diff_t *diff); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(diff_t, diff_free)

/* b - a; SAMPLE_UNKNOWN when one of them is. A difference of -1 is told from that by asking diff_known(). */
int64_t diff_change(int64_t a, int64_t b);
static inline bool diff_known(int64_t a, int64_t b)
{
	return a != SAMPLE_UNKNOWN && b != SAMPLE_UNKNOWN;
}
