#include "daemon/target/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/access.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define MAPS_MAX  (512u << 20)
#define READ_STEP 1024 /* pages looked up at once */

static int proc_open(pid_t pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static target_t *target_new(pid_t pid)
{
	target_t *target = g_new0(struct target, 1);
	target->pid = pid;
	target->mem = target->maps = target->presence.fd = -1;
	g_mutex_init(&target->lock);
	target->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return target;
}

static void fail_open(pid_t pid, int number, GError **error)
{
	enum reftop_error code = number == ENOENT || number == ESRCH ? REFTOP_ERROR_GONE :
				 number == EACCES || number == EPERM ? REFTOP_ERROR_DENIED : REFTOP_ERROR_FAILED;
	error_set(error, TARGET_ERROR, code, g_strerror(number), NULL, "cannot read process %d", pid);
}

target_t *target_open_any(pid_t pid, GError **error)
{
	/* the pidfd first: what is looked at afterwards is this process, or the pidfd says that it ended */
	g_autoptr(target_t) target = target_new(pid);
	struct access access;
	access_check(pid, &access);
	target->process = access.process;
	bool granted = access.cause == ACCESS_GRANTED;
	access_error(pid, &access, error);
	access_clear(&access);
	if (!granted)
		return NULL;
	target->mem = proc_open(pid, "mem");
	target->maps = target->mem < 0 ? -1 : proc_open(pid, "maps");
	if (target->maps < 0 || !presence_open(&target->presence, pid)) {
		fail_open(pid, errno, error);
		return NULL;
	}
	target->start_time = process_start_time(&target->process);
	target->exe = process_exe(pid);
	target->cmdline = process_cmdline(pid);
	if (!target_alive(target)) {
		target_gone(target, error);
		return NULL;
	}
	return g_steal_pointer(&target);
}

void target_free(target_t *target)
{
	if (!target)
		return;
	if (target->pidfd >= 0)
		close(target->pidfd);
	if (target->mem >= 0)
		close(target->mem);
	if (target->maps >= 0)
		close(target->maps);
	presence_close(&target->presence);
	pool_free(target->idle);
	if (target->interpreter)
		target->interpreter_free(target->interpreter);
	g_free(target->exe);
	g_strfreev(target->cmdline);
	g_mutex_clear(&target->lock);
	g_free(target);
}

pid_t target_pid(const target_t *target)
{
	return target->pid;
}

const interpreter_t *target_interpreter(const target_t *target)
{
	return target->interpreter;
}

int64_t target_start_time(const target_t *target)
{
	return target->start_time;
}

const char *target_exe(const target_t *target)
{
	return target->exe;
}

const char *const *target_cmdline(const target_t *target)
{
	return (const char *const *)target->cmdline;
}

bool target_alive(const target_t *target)
{
	if (target->pidfd >= 0) {
		struct pollfd ended = { .fd = target->pidfd, .events = POLLIN };
		return poll(&ended, 1, 0) == 0;
	}
	struct process process;
	return process_read(target->pid, &process) && process.start_ticks == target->process.start_ticks &&
	       !process_dead(&process);
}

char *target_maps_text(struct target *target, size_t *size)
{
	g_autoptr(GString) text = g_string_sized_new(64 << 10);
	char piece[32 << 10];
	if (lseek(target->maps, 0, SEEK_SET) < 0)
		return NULL;
	for (;;) {
		ssize_t n = read(target->maps, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || text->len > MAPS_MAX)
			return NULL;
		if (!n)
			break;
		g_string_append_len(text, piece, n);
	}
	*size = text->len;
	return g_string_free(g_steal_pointer(&text), FALSE);
}

void target_gone(struct target *target, GError **error)
{
	if (target_alive(target) && !presence_alive(&target->presence)) {
		/* a process that just got its SIGKILL has no memory any more either, for a moment */
		struct pollfd ended = { .fd = target->pidfd, .events = POLLIN };
		if (target->pidfd < 0 || poll(&ended, 1, 100) == 0) {
			error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "it called exec: another program runs in its place",
				  "start again with the same pid, to look at that one", "process %d is not what it was",
				  target->pid);
			return;
		}
	}
	if (target_alive(target)) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, "the kernel refuses to tell which of its pages are present",
			  NULL, "cannot read process %d", target->pid);
		return;
	}
	error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "it ended", NULL, "process %d is gone", target->pid);
}
