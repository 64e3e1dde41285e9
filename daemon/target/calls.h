/*
 * The system call a thread is in, and what its arguments mean: which file, which peer, until when.
 *
 * From the registers of a stopped thread: orig_rax is the call's number, and rax one of the codes with which the kernel takes a call
 * up again (-ERESTART…, include/linux/errno.h), which no program ever sees. From /proc/PID/task/TID/syscall for one that isn't stopped.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/target/snapshot.h"

void call_of_registers(const uint64_t registers[27], struct snapshot_call *call);
/* false: the thread is gone, or not to be read */
bool call_of_thread(pid_t pid, pid_t tid, struct snapshot_call *call);
/* The same from the file's text. */
bool call_parse(const char *text, struct snapshot_call *call);

/*
 * A call that was interrupted and goes on (by us, a debugger, SIGSTOP) is restart_syscall() to the kernel. Its number is then read from the
 * code that made it: `mov $number, %eax` in front of the `syscall`. Where the number comes in a register (glibc from 2.41 on,
 * __syscall_cancel_arch()) it is told by the arguments: only sleeps, polls and waits for a futex go on this way.
 */
void call_restarted(struct snapshot_call *call, const struct memory *memory);

/* what an argument of a call is */
enum call_argument {
	CALL_NOTHING,
	CALL_FD,    /* a descriptor */
	CALL_FUTEX, /* the address of a futex */
	CALL_PID,   /* a process waited for */
	CALL_POLL,  /* an array of struct pollfd, their number behind it */
};

struct call_kind {
	int64_t number;
	const char *name;
	enum call_argument argument;
	int8_t position; /* of that argument */
	int8_t timeout;  /* position of a time-out, -1: none */
	enum call_clock {
		CALL_RELATIVE_TIMESPEC,
		CALL_RELATIVE_TIMEVAL,
		CALL_RELATIVE_MS, /* a number, negative: none */
		CALL_FUTEX_CLOCK, /* as the futex operation says */
		CALL_NANOSLEEP,   /* as the flags say */
	} clock;
};

/* What is known of a call; NULL: nothing but its number. */
const struct call_kind *call_kind(int64_t number);

/*
 * How long the call waits at most. `left`: what is left of it is known (an absolute time); otherwise it is the time it was called with.
 * False: no time-out, or it can't be read. `now`: wall clock at the snapshot, µs; monotonic time is taken now.
 */
bool call_timeout(const struct call_kind *kind, const struct snapshot_call *call, const struct memory *memory,
		  int64_t now_us, int64_t *timeout_us, bool *left);

/* What a descriptor of a process is: "/var/log/x", "socket 127.0.0.1:5000 -> 127.0.0.1:80", "pipe", escaped; NULL: not known. */
char *descriptor_text(pid_t pid, int fd);
