/*
 * Whether a process ran: a copy of one that didn't needs no stop, and costs it nothing at all.
 *
 * A thread did not run between two looks when, after the number of its time slices was read the first time, the kernel found it off
 * every CPU (/proc/PID/task/TID/syscall answers only for such a thread), and the number, its CPU time and its context switches are
 * the same at the second look. A state of S alone proves nothing: a thread on its way to sleep, or deciding not to, shows it too.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct quiet_thread {
	pid_t tid;
	char state;                      /* as in struct process */
	char name[16];                   /* raw bytes */
	bool asleep;                     /* off every CPU when looked at */
	uint64_t slices, cpu_ns;         /* schedstat */
	uint64_t voluntary, involuntary; /* context switches */
};

/*
 * Look at all threads of `pid`: an array of struct quiet_thread, or NULL when there is no such process. `counters` false: only tid, state
 * and name. Free with g_array_unref().
 */
GArray *quiet_look(pid_t pid, bool counters);
/* All threads were asleep at this look, and the kernel counts time slices. */
bool quiet_asleep(const GArray *look);
/* No thread ran from the first look (where all were asleep) to the second. */
bool quiet_same(const GArray *first, const GArray *second);
/* CPU time between two looks, ns, as far as the kernel had counted it: what threads ended with isn't in it. */
uint64_t quiet_used(const GArray *first, const GArray *second);
