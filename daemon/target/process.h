/*
 * What /proc says about a process (proc(5)): who it is, in which state, since when, whose.
 *
 * Nothing here needs permission to read the process, apart from process_exe(). Times are in µs, sizes in bytes. `comm` is raw
 * bytes of the target; process_cmdline() and process_exe() give escaped text (base/text.h).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_COMM 64 /* TASK_COMM_LEN is 16; workers of the kernel show longer names */

struct process {
	pid_t pid, ppid;
	pid_t tgid;   /* differs from pid when that is a thread's number */
	pid_t tracer; /* TracerPid, 0: nobody traces it */
	char state;   /* R S D T t Z X I */
	char comm[PROCESS_COMM];
	bool kernel_thread;
	bool exiting; /* it will never run its own code again, though it may not be a zombie yet */
	uid_t uid[4]; /* real, effective, saved, filesystem */
	gid_t gid[4];
	uint64_t cap_permitted;
	uint32_t n_threads;
	uint64_t start_ticks;  /* after boot, in clock ticks; with the pid the identity of the process */
	uint64_t cpu_ticks;    /* user and system time used, in clock ticks */
	uint64_t rss;          /* 0 for kernel threads and zombies */
	uint32_t n_namespaces; /* how many pid namespaces deep, as seen from here: 1 = this one */
	pid_t namespace_pid;   /* its pid in its own (innermost) namespace; of a thread: its number there */
};

/* Parse the text of /proc/PID/stat and /proc/PID/status into the fields each has. False: malformed. */
bool process_parse_stat(const char *text, struct process *process);
bool process_parse_status(const char *text, struct process *process);

/* Read both. False with errno: ENOENT or ESRCH when there is no such process (any more), EACCES, EINVAL when malformed. */
bool process_read(pid_t pid, struct process *process);

/* Only what /proc/PID/stat has: who, in which state, since when; for those who look at all processes again and again. */
bool process_read_stat(pid_t pid, struct process *process);

/* A zombie (dead, not yet waited for), or beyond. */
static inline bool process_dead(const struct process *process)
{
	return process->state == 'Z' || process->state == 'X' || process->state == 'x';
}

/* Start of the process, µs since the epoch (to the second the boot time is known by, then exact to the tick). */
int64_t process_start_time(const struct process *process);
/* Seconds since it started. */
double process_uptime(const struct process *process);

/* Command line, escaped, NULL-terminated; empty for kernel threads and zombies. Free with g_strfreev(). */
char **process_cmdline(pid_t pid);
/* Executable as the target sees it, escaped; "" when it can't be told. Free with g_free(). */
char *process_exe(pid_t pid);

/* All process numbers of /proc, ascending, in a GArray of pid_t. Free with g_array_unref(). */
GArray *process_list(void);
/* The thread numbers of a process, ascending as /proc gives them; NULL with errno when there is no such process. */
GArray *process_threads(pid_t pid);

/*
 * Read a whole /proc file, NUL-terminated, at most `max` bytes of it; *size without the NUL. NULL with errno. Free with g_free().
 */
char *process_file(const char *path, size_t max, size_t *size);
