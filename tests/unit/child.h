/* Children of the tests of daemon/target: processes whose memory and doings are known, because they are ours. */
#pragma once
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/target/process.h"
#include "daemon/target/snapshot.h"

/*
 * For AddressSanitizer: freed memory isn't kept for long. Children inherit it, and it would be most of what is copied of them.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4";
}

/* how often something is tried: a tenth where all costs ten times as much */
#ifdef __SANITIZE_ADDRESS__
#define TRIES(n) ((n) / 10)
#else
#define TRIES(n) (n)
#endif

struct child {
	pid_t pid;
	int from; /* what it writes */
	int to;   /* what it reads */
};

/* in the child: its ends */
struct child_ends {
	int out, in;
};

/* Fork, and run `body` in the child; it dies with us. */
static inline struct child child_start(void (*body)(struct child_ends ends, void *data), void *data)
{
	int up[2], down[2];
	g_assert_cmpint(pipe(up), ==, 0);
	g_assert_cmpint(pipe(down), ==, 0);
	struct child child = {fork(), up[0], down[1]};
	g_assert_cmpint(child.pid, >=, 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(up[0]);
		close(down[1]);
		body((struct child_ends){up[1], down[0]}, data);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	return child;
}

/* in the child */
static inline void child_say(struct child_ends ends, int64_t value)
{
	if (write(ends.out, &value, sizeof(value)) != sizeof(value))
		_exit(3);
}

static inline void child_listen(struct child_ends ends)
{
	int64_t value;
	while (read(ends.in, &value, sizeof(value)) < 0)
		;
}

/* in the test: the next value the child says */
static inline int64_t child_hear(const struct child *child)
{
	int64_t value = 0;
	g_assert_cmpint(read(child->from, &value, sizeof(value)), ==, sizeof(value));
	return value;
}

/* Wait until it sleeps, after what it said. */
static inline void child_asleep(const struct child *child)
{
	struct process process;
	do
		g_assert_true(process_read(child->pid, &process));
	while (process.state != 'S');
}

/* its state, as /proc/PID/stat has it; also of a child of a child */
static inline char process_state(pid_t pid)
{
	struct process process;
	g_assert_true(process_read(pid, &process));
	return process.state;
}

static inline void child_tell(const struct child *child)
{
	int64_t value = 0;
	g_assert_cmpint(write(child->to, &value, sizeof(value)), ==, sizeof(value));
}

static inline void child_end(struct child *child)
{
	kill(child->pid, SIGKILL);
	g_assert_cmpint(waitpid(child->pid, NULL, 0), ==, child->pid);
	close(child->from);
	close(child->to);
}

/* a number behind `name` in a file of /proc */
static inline uint64_t proc_number(const char *path, const char *name)
{
	g_autofree char *text = process_file(path, 65536, NULL);
	const char *at = text ? strstr(text, name) : NULL;
	g_assert_nonnull(at);
	return strtoull(at + strlen(name), NULL, 10);
}

static inline uint64_t status_number(pid_t pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return proc_number(path, name);
}

static inline target_t *child_target(const struct child *child)
{
	g_autoptr(GError) error = NULL;
	target_t *target = target_open_any(child->pid, &error);
	g_assert_no_error(error);
	return target;
}

static inline snapshot_t *snapshot_take(target_t *target, enum snapshot_extent extent)
{
	g_autoptr(GError) error = NULL;
	struct snapshot_options options = {.extent = extent};
	snapshot_t *snapshot = target_snapshot(target, &options, &error);
	g_assert_no_error(error);
	return snapshot;
}
