/*
 * The one thing that is ever done inside of a target, and only for --precopy: a thread of it is stopped for some 0.1 ms and made to
 * call userfaultfd(2), and close(2) on what it got, once we have a copy of the descriptor. Nothing is written into its memory; its
 * registers, signal mask and interrupted system call are as they were, and signals that arrive meanwhile wait.
 *
 * A process of its own does that, which is there for no longer, so that a kill -9 of this program can't come in between: a tracer
 * that vanishes would leave the thread with other registers. For the same reason it waits for the thread however long that takes: one that others
 * keep from the CPU (a quota of its container, a busy machine) gets its registers back when it has made its calls, not before.
 */
#pragma once
#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

struct inject_result {
	int fd;           /* the descriptor, ours; -1 */
	int number;       /* errno of what failed */
	const char *what; /* it, in words; NULL: nothing failed */
	int64_t pause_ns; /* how long the thread was stopped */
};

/* `pidfd` is that of the process; `code` the address of a syscall instruction in it. Blocks for as long as it takes, at most six seconds. */
struct inject_result inject_userfaultfd(pid_t pid, int pidfd, uint64_t code);
