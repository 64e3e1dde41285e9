/*
 * Which threads have to be stopped so that something of a process stands still: whoever has the lock that guards it.
 *
 * A lock is known by a word that names who had it last, and that is written by whoever gets it, before anything guarded changes. While
 * the one it names is stopped, and until the word names another, nothing guarded changes: a second look at the word, after what is
 * guarded was read, proves that. (Whether the lock is held at that moment makes no difference.)
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* one thread that may be named by one word */
struct hold_lock {
	uint64_t word;  /* its address in the process */
	uint64_t value; /* what it says when this thread had the lock last */
	pid_t tid;
};

/*
 * Whom the words of `locks` (of struct hold_lock) name now, read through `mem` (/proc/PID/mem): an array of pid_t, free with
 * g_array_unref(). NULL: a word can't be read, or names none of these threads; then all have to be stopped.
 */
GArray *hold_threads(const GArray *locks, int mem);

/* They still name those, and nobody else. */
bool hold_stands(const GArray *locks, int mem, const GArray *tids);
