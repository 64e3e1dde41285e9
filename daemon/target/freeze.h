/*
 * Stop every thread of a process, and let it go again, so that nobody can tell.
 *
 * PTRACE_SEIZE and PTRACE_INTERRUPT: no signal is sent, the parent sees nothing, a stopped process stays stopped afterwards, and
 * when the tracing thread ends, for whatever reason (kill -9 included), the kernel lets every thread go. That is why freezing happens on a
 * thread of our own, which ends after the thaw: whatever couldn't be detached by hand is detached by that.
 *
 * - A signal that arrives meanwhile is seen with WNOWAIT and passed on at the detach: it isn't lost either way.
 * - A thread caught on its way out of a system call with -EINTR would tell its program so, because of us. Where no signal handler
 *   runs the call must go on: the register is set to -ERESTARTNOHAND, which the kernel turns into exactly that (kernel/signal.c, the
 *   handlers' case included). It is the one thing we ever write. Calls with a relative time-out start it anew. What the kernel
 *   restarts with what was left (ERESTART_RESTARTBLOCK: nanosleep, poll, futex) is left alone.
 * - A thread in uninterruptible sleep (D: a disk that doesn't answer, a vfork whose child didn't exec yet) can't stop, and can't run
 *   either: it is not waited for. Should it wake up it stops before its program goes on.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct frozen_thread {
	pid_t tid;
	bool stopped; /* in a ptrace stop; false: in state D, or gone */
	bool gone;
	bool has_registers;
	int signal; /* to pass on at the detach, 0: none */
	uint64_t registers[27];
};

struct freeze {
	pid_t pid;
	GArray *threads;  /* of struct frozen_thread */
	GHashTable *held; /* their numbers, without those that are gone */
	int64_t started;  /* monotonic ns: just before the first thread was interrupted; 0: none was */
};

void freeze_init(struct freeze *freeze, pid_t pid);
/* Only after freeze_end(), on any thread. */
void freeze_clear(struct freeze *freeze);

/*
 * Stop all threads, or those of `only` (of pid_t; NULL: all). The calling thread becomes the tracer. On failure everything is let go again.
 * Errors of TARGET_ERROR: GONE, DENIED (somebody traces it already, named), FAILED (it doesn't stop in time).
 */
bool freeze_start(struct freeze *freeze, GArray *only, GError **error);

/* Fetch the registers of the stopped threads. */
void freeze_registers(struct freeze *freeze);

/* Let all go. Returns the pause in ns, from before the first interruption to after the last detach. On the tracing thread. */
int64_t freeze_end(struct freeze *freeze);

/*
 * From another thread, while freeze_start() takes suspiciously long: a thread of the target may be in execve(), which waits for the
 * threads it ends, which wait for their tracer to collect them, while the tracer waits in PTRACE_SEIZE for the execve.
 * Collects the ones that ended. Shares nothing with the tracing thread, so that it can't delay it.
 */
void freeze_rescue(pid_t pid);
