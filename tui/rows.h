/* The rows of a sample in the order and number asked for. */
#pragma once
#include "daemon/analysis/sample.h"

struct rows {
	const struct sample_type **types; /* into the sample */
	size_t n;
};

/* how one row compares with another by one key; largest first, names ascending */
struct rows_key {
	const char *name;
	size_t position;   /* offsetof(struct sample_type, …) of an int64_t; SIZE_MAX: the name */
	const char *title; /* of a column that only a table sorted by it has; NULL: every table has it */
	bool bytes;        /* it is a size */
};

/* The key of that name, of NULL the default (bytes); NULL: there is none. */
const struct rows_key *rows_key(const char *name);
/* All names, one a line. Free with g_free(). */
char *rows_key_names(void);

/* At most `limit` rows of a sample, sorted; valid as long as the sample. */
void rows_init(struct rows *rows, const sample_t *sample, const struct rows_key *key, size_t limit);
void rows_clear(struct rows *rows);
