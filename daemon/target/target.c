#include "daemon/target/target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/access.h"
#include "daemon/target/file.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define MAPS_MAX   (512u << 20)
#define OPEN_TRIES 20 /* a millisecond apart */
#define GONE_LOOKS 50 /* the same */

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
	enum reftop_error code = number == ENOENT || number == ESRCH   ? REFTOP_ERROR_GONE
				 : number == EACCES || number == EPERM ? REFTOP_ERROR_DENIED
								       : REFTOP_ERROR_FAILED;
	error_set(error, TARGET_ERROR, code, g_strerror(number), NULL, "cannot read process %d", pid);
}

static bool open_files(target_t *target, GError **error)
{
	struct access access;
	access_check(target->pid, &access);
	target->process = access.process;
	/* one that is traced can be read, if it needs no stop; if it does, freeze.c says who traces it */
	bool granted = access.cause == ACCESS_GRANTED || access.cause == ACCESS_TRACED;
	if (!granted)
		access_error(target->pid, &access, error);
	access_clear(&access);
	if (!granted)
		return false;
	target->mem = proc_open(target->pid, "mem");
	target->maps = target->mem < 0 ? -1 : proc_open(target->pid, "maps");
	if (target->maps >= 0 && presence_open(&target->presence, target->pid))
		return true;
	fail_open(target->pid, errno, error);
	return false;
}

static void close_files(target_t *target)
{
	if (target->mem >= 0)
		close(target->mem);
	if (target->maps >= 0)
		close(target->maps);
	target->mem = target->maps = -1;
	presence_close(&target->presence);
}

target_t *target_open_any(pid_t pid, GError **error)
{
	/* the pidfd first: what is looked at afterwards is this process, or the pidfd says that it ended */
	g_autoptr(target_t) target = target_new(pid);
	for (int i = 0;; i++) {
		GError *failure = NULL;
		if (open_files(target, &failure) && presence_alive(&target->presence))
			break;
		/* in the middle of an exec a process has no memory for a moment, or seems not to be there at all */
		bool again = i < OPEN_TRIES && (!failure || failure->code == REFTOP_ERROR_GONE) && target->pidfd >= 0 &&
			     target_alive(target);
		if (!again && !failure)
			target_gone(target, &failure);
		close_files(target);
		if (!again) {
			g_propagate_error(error, failure);
			return NULL;
		}
		g_clear_error(&failure);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
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

void target_relax(target_t *target)
{
	g_mutex_lock(&target->lock);
	g_clear_pointer(&target->idle, pool_free);
	g_mutex_unlock(&target->lock);
}

void target_free(target_t *target)
{
	if (!target)
		return;
	track_free(target->tracker);
	if (target->pidfd >= 0)
		close(target->pidfd);
	close_files(target);
	pool_free(target->idle);
	if (target->barren)
		g_array_unref(target->barren);
	if (target->file)
		target->file->free(target->file);
	interpreter_free(target->interpreter);
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
	if (target->file)
		return true;
	if (target->pidfd >= 0) {
		struct pollfd ended = {.fd = target->pidfd, .events = POLLIN};
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

static void statm(const struct target *target, uint64_t *resident, uint64_t *shared)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/statm", target->pid);
	g_autofree char *text = process_file(path, 256, NULL);
	*resident = *shared = 0;
	if (text)
		sscanf(text, "%*u %" SCNu64 " %" SCNu64, resident, shared);
}

uint64_t target_rss(const struct target *target)
{
	uint64_t resident, shared;
	statm(target, &resident, &shared);
	return resident * target->presence.page;
}

uint64_t target_anonymous(const struct target *target)
{
	uint64_t resident, shared;
	statm(target, &resident, &shared);
	return (resident - MIN(resident, shared)) * target->presence.page;
}

enum fate { FATE_ENDED, FATE_REPLACED, FATE_FINE, FATE_OPEN };

static enum fate fate_look(const struct target *target)
{
	struct process process;
	if (!target_alive(target))
		return FATE_ENDED;
	if (!presence_alive(&target->presence)) {
		/* it has other memory: an exec; it has none: a kill or an exec that isn't through yet */
		g_autofree char *path = g_strdup_printf("/proc/%d/maps", target->pid);
		size_t size = 0;
		g_autofree char *text = process_file(path, 64, &size);
		return text && size ? FATE_REPLACED : FATE_OPEN;
	}
	return process_read(target->pid, &process) && !process_dead(&process) ? FATE_FINE : FATE_OPEN;
}

void target_gone(struct target *target, GError **error)
{
	enum fate fate = fate_look(target);
	/* something failed: that all looks fine means that it hasn't happened yet */
	for (int i = 0; i < GONE_LOOKS && (fate == FATE_OPEN || fate == FATE_FINE); i++) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		fate = fate_look(target);
	}
	if (fate == FATE_ENDED) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "it ended", NULL, "process %d is gone", target->pid);
	} else if (fate == FATE_REPLACED) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "it called exec: another program runs in its place",
			  "start again with the same pid, to look at that one", "process %d is not what it was",
			  target->pid);
	} else if (fate == FATE_OPEN) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE,
			  "its main thread ended, and the kernel shows no memory for those that are left", NULL,
			  "cannot read process %d", target->pid);
	} else {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, "the kernel refused, and it looks well",
			  "try again", "cannot read process %d", target->pid);
	}
}

int64_t target_paused_us(const target_t *target)
{
	return target->paused_ns / 1000;
}
