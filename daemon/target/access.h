/*
 * Whether a process may be read, and if not: why, and the narrowest remedy.
 *
 * Nothing is attached to and nothing disturbed to find that out: /proc is asked, and /proc/PID/mem is opened and closed, which makes
 * the kernel check exactly what it would check for an attachment (ptrace(2), "Ptrace access mode checking").
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "daemon/target/process.h"

enum access_cause {
	ACCESS_GRANTED,
	ACCESS_NO_PROCESS, /* no such process */
	ACCESS_HIDDEN,     /* there is one, but /proc is mounted with hidepid */
	ACCESS_THREAD,     /* the number is that of a thread */
	ACCESS_ZOMBIE,     /* it ended; its parent didn't notice yet */
	ACCESS_KERNEL_THREAD,
	ACCESS_ITSELF,        /* this program */
	ACCESS_TRACED,        /* a debugger or strace has it */
	ACCESS_SECCOMP,       /* this program may not use ptrace or process_vm_readv at all (containers) */
	ACCESS_YAMA_CHILDREN, /* kernel.yama.ptrace_scope = 1: only own descendants */
	ACCESS_YAMA_ADMIN,    /* = 2: only with CAP_SYS_PTRACE */
	ACCESS_YAMA_NOBODY,   /* = 3: nobody */
	ACCESS_OTHER_USER,    /* belongs to somebody else */
	ACCESS_NAMESPACE,     /* in a user namespace that isn't ours */
	ACCESS_CAPABILITIES,  /* has capabilities that this program doesn't */
	ACCESS_NOT_DUMPABLE,  /* set-uid, unreadable executable, or prctl(PR_SET_DUMPABLE, 0) */
	ACCESS_SECURITY,      /* a security module (SELinux, AppArmor…), by exclusion */
};

struct access {
	enum access_cause cause;
	int number;             /* errno that says it, 0: none */
	char *text;             /* the cause in words, escaped; NULL when granted */
	char *fix;              /* the narrowest remedy; NULL: there is none */
	struct process process; /* as found; pid 0 where there is none */
};

/* Find out. Always fills *access; free what it holds with access_clear(). */
void access_check(pid_t pid, struct access *access);
void access_clear(struct access *access);

/* Short name of a cause, for tables and JSON: "granted", "zombie", "yama-1"… */
const char *access_name(enum access_cause cause);

/* Set *error (TARGET_ERROR; GONE, DENIED or UNKNOWN) from what access_check() found. Does nothing when it was granted. */
void access_error(pid_t pid, const struct access *access, GError **error);
