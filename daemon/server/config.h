/*
 * What the daemon is told to do: a key file (GLib's, like systemd's units; manual, "The daemon") and the command line over it.
 *
 * Without a [watch] group every Python process that may be read is watched. With some, those that match one of them. [ignore] groups
 * take out. All keys of a group must match; text matches with * and ?.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/target/pythons.h"

/* one [watch NAME] or [ignore NAME] */
struct config_match {
	char *name;
	bool ignore;
	char *cmdline, *user, *unit, *container, *parent; /* patterns; NULL: any */
	int64_t interval_us;                              /* 0: that of [daemon] */
};

/* one [rule NAME]: what to do when a type grows, or the process does */
struct config_rule {
	char *name;
	char *on_growth; /* pattern of a type's name; NULL: no such condition */
	double rate;     /* objects a minute at least */
	int64_t on_rss;  /* bytes; 0: no such condition */
	bool journal, save;
	char **command;   /* argv; NULL: none. %p %t %r: pid, type, rate */
	int64_t again_us; /* no sooner than that for the same process and type */
	char *directory;  /* where images go */
};

struct config {
	int64_t interval_us; /* between samples of a process, when the budget allows it */
	double cpu,
		pause;   /* share of one core for all of the daemon; share of a process's time that it is stopped for */
	int64_t memory;  /* bytes for all of the daemon */
	int64_t full_us; /* how long every sample is kept, */
	int64_t minutes_us;   /* then one a minute, */
	int64_t retention_us; /* and one every ten until then */
	char *store;          /* path; NULL: no store */
	char *socket;         /* path */
	char *listen;         /* address:port for metrics; NULL: none */
	char *token;          /* that scrapers must show; NULL: none */
	int64_t top;          /* types a process in the metrics */
	bool questions;       /* peers may ask for leaks, explain, objects and stacks */
	int64_t leaks_us;     /* how often unexplained references are looked for in a process; 0: when asked only */
	pid_t root;           /* watch this process and, with `children`, its descendants; 0: no such limit */
	bool children;
	bool adopts; /* orphans of the descendants become our children */
	bool quiet;
	GPtrArray *matches; /* struct config_match * */
	GPtrArray *rules;   /* struct config_rule * */
};

/* The defaults: for the system's daemon when we are root, else for the user's. */
struct config *config_new(void);
void config_free(struct config *config);
/* Read a key file over it. Errors: USAGE with group and key; FAILED when it can't be read. */
gboolean config_load(struct config *config, const char *path, GError **error);

/* Whether it is to be watched, and how often. */
gboolean config_matches(const struct config *config, const struct python_process *python, int64_t *interval_us);

/* From the text of /proc/PID/cgroup: the systemd unit and the container's id, "" where there is none. Free with g_free(). */
char *config_unit(const char *cgroup);
char *config_container(const char *cgroup);
