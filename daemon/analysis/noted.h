/*
 * What a process was seen to grow by: the steady growth of each type when it was largest, remembered after it stopped. What grew in one test
 * of many has ended growing when the process ends; and what was let go again was no leak. Pure.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "daemon/analysis/trend.h"

typedef GHashTable noted_t; /* name of a type -> what is known of it */

/* a type that grew steadily in a process, which may have ended */
struct grown {
	pid_t pid;
	char *command, *type;
	double rate; /* objects a second */
	int64_t amount, since_us, until_us;
	bool builtin;
};

noted_t *noted_new(void); /* free with g_hash_table_destroy() */
/* Note what grows now. */
void noted_take(noted_t *noted, const trend_t *trend);
/* Append what grew in it and is still there. */
void noted_report(noted_t *noted, const trend_t *trend, pid_t pid, const char *command, GArray *grown);

/* An array of struct grown that frees what it holds. */
GArray *grown_new(void);
/* Append a copy. */
void grown_add(GArray *to, const struct grown *grown);
/* A program's own classes and the fastest first. */
void grown_sort(GArray *grown);
