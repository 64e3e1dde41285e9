/*
 * The Python processes of this machine over time: what a look at all of them told, how their memory and objects change, and who started
 * whom. Of processes that a daemon watches the number of objects is known, and what grows in them; of all others the resident memory.
 *
 * At most ROSTER_POINTS moments a process are kept, the latest. Pure: times are those of the looks. One thread at a time.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define ROSTER_POINTS 600
#define ROSTER_RECENT 30 /* looks that say what happens "now" */

/* what one look told of a process; text is escaped */
struct roster_process {
	int64_t pid, ppid, start_time_us;
	char *user, *python, *command, *state; /* python: NULL not known */
	char *why, *cause, *fix;               /* why it can't be read; NULL: it can. cause and fix may be NULL */
	int64_t rss;                           /* bytes */
	bool watched;                          /* by a daemon: only then the following */
	int64_t objects, sampled_us;           /* SAMPLE_UNKNOWN; when the daemon counted them */
	char *growing;                         /* the type that grows most; NULL: none */
	bool growing_bytes;                    /* its bytes do, not its count */
	double growing_rate;                   /* a minute */
	/* its objects from before anybody looked, ascending times; told once */
	size_t n_history;
	int64_t *history_times_us, *history_objects;
};

struct roster_process *roster_process_new(void); /* numbers SAMPLE_UNKNOWN */
void roster_process_free(gpointer process);

struct roster_series {
	size_t n;
	int64_t *times_us, *values; /* ROSTER_POINTS each */
};

struct roster_row {
	struct roster_process *now;
	struct roster_series rss, objects;
	double rss_rate, objects_rate; /* a minute, over the last ROSTER_RECENT values; NAN: not known */
	bool steady;                   /* its objects, or its memory where these aren't known, grow steadily */
	int depth;                     /* in the tree: 0 has no parent among them */
};

typedef struct roster roster_t;

roster_t *roster_new(void);
void roster_free(roster_t *roster); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(roster_t, roster_free)

/* Take in a look: struct roster_process *, taken over. Who isn't in it is gone. */
void roster_add(roster_t *roster, GPtrArray *processes, int64_t time_us);
/* Looks so far, and the time of the newest. */
size_t roster_looks(const roster_t *roster);
int64_t roster_time(const roster_t *roster);
/* struct roster_row *, as a tree: children below their parents, else by pid. Owned by the roster; a row stays where it is while its process lives. */
const GPtrArray *roster_rows(const roster_t *roster);
struct roster_row *roster_find(const roster_t *roster, int64_t pid); /* NULL */
/* The pids of a process and of all below it. Free with g_array_unref(); of pid_t. */
GArray *roster_below(const roster_t *roster, int64_t pid);
