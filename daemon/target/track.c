#include "daemon/target/track.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/inject.h"
#include "daemon/target/target.h"

/* <linux/userfaultfd.h> of 6.7 */
#define FEATURE_WP       (1ull << 0)  /* UFFD_FEATURE_PAGEFAULT_FLAG_WP */
#define FEATURE_WP_ASYNC (1ull << 15) /* UFFD_FEATURE_WP_ASYNC */

#define PIECE     (16ull << 20) /* released at a time: one call holds the target's mmap lock for as long as it takes */
#define VDSO_MOST 65536

#define AT_ONCE  (512ull << 20) /* bytes whose soft-dirty bits are cleared in 3 ms, with the process's mmap lock held */
#define OUTGROWN (2 * AT_ONCE)  /* far enough above that not to go back and forth */

#define REMEMBERED 16

struct tracker {
	int fd;          /* of the userfaultfd, or of /proc/PID/clear_refs */
	GArray *covered; /* of struct presence_run, as registered; may overlap. NULL: it goes by soft-dirty bits */
	bool cleared;
	uint64_t remembered[REMEMBERED]; /* pages that had their bits since, the first ones */
	size_t n_remembered;
	bool settled;  /* the other way was tried, and isn't possible */
	uint64_t pool; /* number of the one that is followed; 0: none yet */
};

static bool fail(const struct target *target, enum reftop_error code, const char *cause, GError **error)
{
	error_set(error, TARGET_ERROR, code, cause, "leave out --precopy", "cannot follow what process %d writes to",
		  target->pid);
	return false;
}

/* A syscall instruction of the process: the vdso has one. 0: none. */
static uint64_t find_code(const struct target *target, const struct maps *maps)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		uint64_t size = mapping->end - mapping->start;
		if (strcmp(mapping->path, "[vdso]") != 0 || size > VDSO_MOST)
			continue;
		g_autofree uint8_t *bytes = g_malloc(size);
		ssize_t got = pread(target->mem, bytes, size, (off_t)mapping->start);
		for (ssize_t k = 0; k + 1 < got; k++) {
			if (bytes[k] == 0x0f && bytes[k + 1] == 0x05)
				return mapping->start + (uint64_t)k;
		}
	}
	return 0;
}

/* A filter of system calls may end a process for one it doesn't expect. */
static bool is_filtered(const struct target *target)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", target->pid);
	g_autofree char *text = process_file(path, 16384, NULL);
	const char *at = text ? strstr(text, "\nSeccomp:") : NULL;
	return at && strtol(at + strlen("\nSeccomp:"), NULL, 10) != 0;
}

static bool may_inject(struct target *target, uint64_t *code, GError **error)
{
	if (!target->presence.scan)
		return fail(target, REFTOP_ERROR_FAILED,
			    "this kernel has neither PAGEMAP_SCAN (Linux 6.7) nor soft-dirty bits", error);
	if (target->pidfd < 0)
		return fail(target, REFTOP_ERROR_FAILED, "this kernel has no pidfd_open", error);
	if (is_filtered(target))
		return fail(target, REFTOP_ERROR_DENIED, "it runs under a filter of system calls (seccomp)", error);
	size_t size = 0;
	g_autofree char *text = target_maps_text(target, &size);
	g_autoptr(GError) problem = NULL;
	struct maps *maps = text ? maps_parse(text, size, &problem) : NULL;
	*code = maps ? find_code(target, maps) : 0;
	if (maps)
		maps_free(maps);
	if (!*code)
		return fail(target, REFTOP_ERROR_FAILED, "there is no system call instruction in its vdso", error);
	return true;
}

/* ---- soft-dirty bits ---- */

static struct tracker *soft_dirty_new(struct target *target, GError **error)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", target->pid);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		g_autofree char *cause = g_strdup_printf("%s: %s", path, g_strerror(errno));
		fail(target, errno == EACCES || errno == EPERM ? REFTOP_ERROR_DENIED : REFTOP_ERROR_FAILED, cause,
		     error);
		return NULL;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		close(fd);
		fail(target, REFTOP_ERROR_FAILED, "another reftop does, and this kernel tells one at a time", error);
		return NULL;
	}
	struct tracker *tracker = g_new0(struct tracker, 1);
	tracker->fd = fd;
	return tracker;
}

bool track_by_soft_dirty(const struct tracker *tracker)
{
	return !tracker->covered;
}

bool track_outgrown(const struct tracker *tracker, const struct target *target)
{
	return track_by_soft_dirty(tracker) && !tracker->settled && target_anonymous(target) > OUTGROWN;
}

void track_follow(struct tracker *tracker, struct pool *pool)
{
	if (tracker->pool == pool->number)
		return;
	tracker->pool = pool->number;
	tracker->cleared = false;
	pool_forget(pool);
}

bool track_clear(struct tracker *tracker, const struct target *target, struct pool *pool, GError **error)
{
	if (write(tracker->fd, "4", 1) == 1) {
		pool_forget(pool);
		tracker->n_remembered = 0;
		return tracker->cleared = true;
	}
	/* it has ended */
	if (errno == ESRCH)
		return false;
	g_autofree char *cause = g_strdup_printf("writing to /proc/%d/clear_refs: %s", target->pid, g_strerror(errno));
	return fail(target, REFTOP_ERROR_FAILED, cause, error);
}

void track_remember(struct tracker *tracker, const struct presence *presence, uint64_t page)
{
	bool written;
	if (tracker->n_remembered < REMEMBERED && presence_soft_dirty(presence, page, &written) && written)
		tracker->remembered[tracker->n_remembered++] = page;
}

bool track_cleared(const struct tracker *tracker, const struct presence *presence)
{
	bool written;
	for (size_t i = 0; i < tracker->n_remembered; i++) {
		if (presence_soft_dirty(presence, tracker->remembered[i], &written) && !written)
			return false;
	}
	return tracker->cleared;
}

/* ---- asynchronous write protection ---- */

static struct tracker *protection_new(struct target *target, GError **error)
{
	uint64_t code;
	if (!may_inject(target, &code, error))
		return NULL;
	struct inject_result result = inject_userfaultfd(target->pid, target->pidfd, code);
	target->paused_ns += result.pause_ns;
	if (result.what) {
		g_autofree char *cause = g_strdup_printf("%s: %s", result.what, g_strerror(result.number));
		fail(target, result.number == EPERM ? REFTOP_ERROR_DENIED : REFTOP_ERROR_FAILED, cause, error);
		if (result.fd >= 0)
			close(result.fd);
		return NULL;
	}
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP | FEATURE_WP_ASYNC};
	if (ioctl(result.fd, UFFDIO_API, &api) < 0) {
		close(result.fd);
		fail(target, REFTOP_ERROR_FAILED, "this kernel has no asynchronous write protection (Linux 6.7)",
		     error);
		return NULL;
	}
	struct tracker *tracker = g_new0(struct tracker, 1);
	tracker->fd = result.fd;
	tracker->covered = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	return tracker;
}

static void uncover(const struct tracker *tracker, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end;) {
		uint64_t until = MIN((at / PIECE + 1) * PIECE, end);
		struct uffdio_range range = {at, until - at};
		/* what isn't there any more needs nothing; the rest the kernel does at the close */
		ioctl(tracker->fd, UFFDIO_UNREGISTER, &range);
		at = until;
	}
}

void track_free(struct tracker *tracker)
{
	if (!tracker)
		return;
	for (guint i = 0; tracker->covered && i < tracker->covered->len; i++) {
		const struct presence_run *run = &g_array_index(tracker->covered, struct presence_run, i);
		uncover(tracker, run->start, run->end);
	}
	close(tracker->fd);
	g_clear_pointer(&tracker->covered, g_array_unref);
	g_free(tracker);
}

/* A small process first by soft-dirty bits, a large one by protection; by the other where that may not be, or can't. */
struct tracker *track_new(struct target *target, GError **error)
{
	bool soft_dirty = target->presence.soft_dirty, small = target_anonymous(target) <= AT_ONCE;
	g_autoptr(GError) problem = NULL;
	struct tracker *tracker =
		soft_dirty && small ? soft_dirty_new(target, &problem) : protection_new(target, &problem);
	if (tracker)
		return tracker;
	/* the bits are somebody else's then, and that is worth knowing */
	if (!soft_dirty || (small && (!target->presence.scan || problem->code != REFTOP_ERROR_DENIED))) {
		g_propagate_error(error, g_steal_pointer(&problem));
		return NULL;
	}
	tracker = small ? protection_new(target, error) : soft_dirty_new(target, error);
	if (tracker)
		tracker->settled = true;
	return tracker;
}

void track_cover(struct tracker *tracker, const struct plan *plan)
{
	g_array_set_size(tracker->covered, 0);
	for (size_t i = 0; i < plan->maps->n; i++) {
		const struct mapping *mapping = &plan->maps->mappings[i];
		enum plan_kind kind = plan->mappings[i].kind;
		if ((kind != PLAN_ANONYMOUS && kind != PLAN_FILE) || !mapping->writable)
			continue;
		struct uffdio_register cover = {.range = {mapping->start, mapping->end - mapping->start},
						.mode = UFFDIO_REGISTER_MODE_WP};
		struct presence_run run = {mapping->start, mapping->end};
		/*
		 * What is of a file is let go by the close alone: Linux 6.12 has a BUG, which ends us with the target's memory
		 * locked, when such a mapping is unregistered in pieces (its loop meets the part it has merged once more).
		 */
		if (ioctl(tracker->fd, UFFDIO_REGISTER, &cover) == 0 && !mapping->inode)
			g_array_append_val(tracker->covered, run);
	}
}
