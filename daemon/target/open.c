/* Opening a Python process: reading it for interpreter_find(), a few bytes here and there, while it runs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/process.h"
#include "daemon/target/target.h"

struct reader {
	target_t *target;
	struct maps *maps;
};

/* What a page that isn't there would hold: bytes of its file, or zeros. */
static bool read_absent(const struct reader *reader, uint64_t address, uint8_t *out, uint64_t size)
{
	const struct mapping *mapping = maps_find(reader->maps, address);
	if (!mapping || !mapping->readable || size > mapping->end - address)
		return false;
	memset(out, 0, size);
	if (mapping->path[0] != '/')
		return mapping->path[0] == '\0' || !strcmp(mapping->path, "[heap]") ||
		       !strncmp(mapping->path, "[anon:", 6);
	if (!strncmp(mapping->path, "/dev/", 5))
		return false;
	int fd = maps_open(reader->target->pid, mapping);
	if (fd < 0)
		return false;
	ssize_t n = pread(fd, out, size, (off_t)(mapping->offset + (address - mapping->start)));
	close(fd);
	return n > 0;
}

static bool read_present(const struct reader *reader, uint64_t address, uint8_t *out, uint64_t size)
{
	while (size) {
		ssize_t n = pread(reader->target->mem, out, size, (off_t)address);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out += n;
		address += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return true;
}

/*
 * interpreter_read: page by page, because reading a page that isn't there would make the kernel bring it into the target. Through
 * /proc/PID/mem, which leaves pages shared after a fork shared.
 */
static bool reader_read(void *context, uint64_t address, void *out, uint64_t size)
{
	const struct reader *reader = context;
	const struct presence *presence = &reader->target->presence;
	uint8_t *to = out;
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	if (!size || address > UINT64_MAX - size - presence->page)
		return false;
	uint64_t end = address + size, at = address;
	struct presence_sum sum = {0};
	if (!presence_scan(presence, address & ~(presence->page - 1),
			   (end + presence->page - 1) & ~(presence->page - 1), PRESENCE_CONTENT, runs, &sum))
		return false;
	for (guint i = 0; at < end; i++) {
		const struct presence_run *run = i < runs->len ? &g_array_index(runs, struct presence_run, i) : NULL;
		uint64_t absent = run ? MIN(MAX(run->start, at), end) : end;
		while (at < absent) {
			/* mappings and files end at pages */
			uint64_t part = MIN(absent, (at / presence->page + 1) * presence->page) - at;
			if (!read_absent(reader, at, to + (at - address), part))
				return false;
			at += part;
		}
		uint64_t present = run ? MIN(run->end, end) : at;
		if (at < present && !read_present(reader, at, to + (at - address), present - at))
			return false;
		at = MAX(at, present);
	}
	return true;
}

static int reader_open(void *context, const struct mapping *mapping)
{
	const struct reader *reader = context;
	if (!strncmp(mapping->path, "/dev/", 5)) {
		errno = EACCES;
		return -1;
	}
	return maps_open(reader->target->pid, mapping);
}

/* A file by the path the target would use; links are followed inside its root, never into ours. */
static int reader_open_path(void *context, const char *path)
{
	const struct reader *reader = context;
	char root[64];
	snprintf(root, sizeof(root), "/proc/%d/root", reader->target->pid);
	int directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return -1;
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .resolve = RESOLVE_IN_ROOT};
	int fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof(how)), number = errno;
	close(directory);
	struct stat status;
	if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))) {
		close(fd);
		fd = -1;
		number = EACCES;
	}
	errno = number;
	return fd;
}

target_t *target_open(pid_t pid, GError **error)
{
	g_autoptr(target_t) target = target_open_any(pid, error);
	if (!target)
		return NULL;
	g_autoptr(maps_t) maps = maps_read(pid, error);
	if (!maps)
		return NULL;
	struct reader reader = {target, maps};
	struct interpreter_access access = {&reader, reader_read, reader_open, reader_open_path};
	target->interpreter = interpreter_find(maps, &access, error);
	if (!target->interpreter) {
		/* whatever it looked like: if it ended meanwhile, or lost its memory on the way there, then that is why */
		struct process process;
		if (!target_alive(target) || !process_read(pid, &process) || process.exiting) {
			g_clear_error(error);
			target_gone(target, error);
		}
		return NULL;
	}
	return g_steal_pointer(&target);
}
