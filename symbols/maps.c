#include "symbols/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/error.h"
#include "base/search.h"

#define DELETED " (deleted)"

/* A process may have at most vm.max_map_count mappings (65530 unless raised); this bounds a file that never ends. */
#define MAPS_BYTES_MAX (512u << 20)

/* what is left of the text; every reader below moves `at` forward and never beyond `end` */
struct cursor {
	const char *at, *end;
};

static bool cursor_number(struct cursor *cursor, unsigned base, char terminator, uint64_t *value)
{
	uint64_t number = 0;
	unsigned digits = 0;
	for (; cursor->at < cursor->end; cursor->at++, digits++) {
		int digit = base == 16 ? g_ascii_xdigit_value(*cursor->at) : g_ascii_digit_value(*cursor->at);
		if (digit < 0)
			break;
		if (number > (UINT64_MAX - (unsigned)digit) / base)
			return false;
		number = number * base + (unsigned)digit;
	}
	if (!digits)
		return false;
	*value = number;
	if (!terminator)
		return true;
	if (cursor->at == cursor->end || *cursor->at != terminator)
		return false;
	cursor->at++;
	return true;
}

static bool cursor_permissions(struct cursor *cursor, struct mapping *mapping)
{
	const char *at = cursor->at;
	if (cursor->end - at < 5 || at[4] != ' ')
		return false;
	if ((at[0] != 'r' && at[0] != '-') || (at[1] != 'w' && at[1] != '-') || (at[2] != 'x' && at[2] != '-') ||
	    (at[3] != 'p' && at[3] != 's'))
		return false;
	mapping->readable = at[0] == 'r';
	mapping->writable = at[1] == 'w';
	mapping->executable = at[2] == 'x';
	mapping->shared = at[3] == 's';
	cursor->at += 5;
	return true;
}

/*
 * The kernel writes a newline in a path as \012 and nothing else escaped (seq_file_path(m, file, "\n")); a backslash
 * stays one, so "\012" in a name can't be told from a newline. Whoever opens the path compares the inode, and asks
 * map_files.
 */
static char *path_unescape(const char *from, size_t size)
{
	char *path = g_malloc(size + 1), *to = path;
	for (size_t i = 0; i < size;) {
		if (size - i >= 4 && !memcmp(from + i, "\\012", 4)) {
			*to++ = '\n';
			i += 4;
		} else {
			*to++ = from[i++];
		}
	}
	*to = '\0';
	return path;
}

static bool line_parse(struct cursor *cursor, struct mapping *mapping, GStringChunk *strings)
{
	uint64_t major, minor;
	memset(mapping, 0, sizeof(*mapping));
	if (!cursor_number(cursor, 16, '-', &mapping->start) || !cursor_number(cursor, 16, ' ', &mapping->end) ||
	    !cursor_permissions(cursor, mapping) || !cursor_number(cursor, 16, ' ', &mapping->offset) ||
	    !cursor_number(cursor, 16, ':', &major) || !cursor_number(cursor, 16, ' ', &minor) ||
	    !cursor_number(cursor, 10, '\0', &mapping->inode))
		return false;
	if (mapping->start >= mapping->end || major > UINT32_MAX || minor > UINT32_MAX)
		return false;
	mapping->device_major = (uint32_t)major;
	mapping->device_minor = (uint32_t)minor;
	while (cursor->at < cursor->end && *cursor->at == ' ')
		cursor->at++;
	size_t size = (size_t)(cursor->end - cursor->at);
	if (memchr(cursor->at, '\0', size))
		return false;
	size_t suffix = strlen(DELETED);
	if (mapping->inode && size > suffix && !memcmp(cursor->end - suffix, DELETED, suffix)) {
		mapping->deleted = true;
		size -= suffix;
	}
	g_autofree char *path = path_unescape(cursor->at, size);
	mapping->path = g_string_chunk_insert_const(strings, path);
	return true;
}

/*
 * Leave nothing of the mappings from `start` on. One that grows, or grows together with another, while the kernel writes is
 * written a second time, as it is by then: the kernel goes on where the last one ended, with whatever lies there (seen on
 * Linux 6.18, which holds no lock from one line to the next).
 */
static void mappings_cut(GArray *mappings, uint64_t start)
{
	while (mappings->len) {
		struct mapping *last = &g_array_index(mappings, struct mapping, mappings->len - 1);
		if (last->start < start) {
			last->end = MIN(last->end, start);
			return;
		}
		g_array_set_size(mappings, mappings->len - 1);
	}
}

struct maps *maps_parse(const char *text, size_t size, GError **error)
{
	g_autoptr(maps_t) maps = g_new0(struct maps, 1);
	g_autoptr(GArray) mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	maps->strings = g_string_chunk_new(4096);
	uint64_t last = 0;
	for (size_t at = 0, line = 1; at < size; line++) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t length = newline ? (size_t)(newline - (text + at)) : size - at;
		struct cursor cursor = {text + at, text + at + length};
		struct mapping mapping;
		if (!line_parse(&cursor, &mapping, maps->strings) || mapping.end <= last) {
			error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_FAILED, "it isn't what proc_pid_maps(5) describes",
				  NULL, "cannot read the memory maps: line %zu is malformed", line);
			return NULL;
		}
		last = mapping.end;
		mappings_cut(mappings, mapping.start);
		g_array_append_val(mappings, mapping);
		at += length + (newline ? 1 : 0);
	}
	maps->n = mappings->len;
	maps->mappings = (struct mapping *)(void *)g_array_free(g_steal_pointer(&mappings), FALSE);
	return g_steal_pointer(&maps);
}

/* The kernel makes the text page by page; a read that is cut at a line's end goes on at the next address. */
static GString *maps_slurp(int fd)
{
	g_autoptr(GString) text = g_string_sized_new(64 << 10);
	char piece[64 << 10];
	for (;;) {
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || text->len > MAPS_BYTES_MAX)
			return NULL;
		if (!n)
			return g_steal_pointer(&text);
		g_string_append_len(text, piece, n);
	}
}

static void maps_read_error(pid_t pid, int number, GError **error)
{
	if (number == ENOENT || number == ESRCH) {
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_GONE, "it ended, or never was", NULL, "no process %d",
			  (int)pid);
		return;
	}
	if (number == EACCES || number == EPERM) {
		g_autofree char *advice = g_strdup_printf("run it with sudo, or see `reftop why -p %d`", (int)pid);
		error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_DENIED, "its memory maps may not be read by this user",
			  advice, "cannot read process %d: %s", (int)pid, g_strerror(number));
		return;
	}
	error_set(error, SYMBOLS_ERROR, REFTOP_ERROR_FAILED, g_strerror(number), NULL, "cannot read /proc/%d/maps",
		  (int)pid);
}

struct maps *maps_read(pid_t pid, GError **error)
{
	char path[64];
	g_snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		maps_read_error(pid, errno, error);
		return NULL;
	}
	errno = 0;
	g_autoptr(GString) text = maps_slurp(fd);
	int number = errno;
	close(fd);
	if (!text) {
		maps_read_error(pid, number, error);
		return NULL;
	}
	return maps_parse(text->str, text->len, error);
}

void maps_free(struct maps *maps)
{
	if (!maps)
		return;
	g_free(maps->mappings);
	if (maps->strings)
		g_string_chunk_free(maps->strings);
	g_free(maps);
}

const struct mapping *maps_find(const struct maps *maps, uint64_t address)
{
	size_t n = SEARCH_UP_TO(maps->mappings, maps->n, start, address);
	return n && address < maps->mappings[n - 1].end ? &maps->mappings[n - 1] : NULL;
}

/* how sure it is that an open file is the mapped one */
enum same_file { FILE_OTHER, FILE_PERHAPS, FILE_SAME };

/*
 * The device in maps is the one of the underlying superblock: on btrfs and on overlayfs it differs from what fstat says
 * of the very same file. The inode then decides only together with a size that the mapping fits in.
 */
static enum same_file file_compare(int fd, const struct mapping *mapping)
{
	struct stat status;
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || (uint64_t)status.st_ino != mapping->inode)
		return FILE_OTHER;
	if (major(status.st_dev) == mapping->device_major && minor(status.st_dev) == mapping->device_minor)
		return FILE_SAME;
	/* a mapping may end in the page that holds the file's last byte, and not beyond */
	uint64_t page = 4096, rounded = ((uint64_t)status.st_size + page - 1) / page * page;
	uint64_t size = mapping->end - mapping->start;
	return size <= rounded && mapping->offset <= rounded - size ? FILE_PERHAPS : FILE_OTHER;
}

/* O_NONBLOCK: the path is the target's choice, and opening a fifo without it would hang us. */
static int file_open(const char *path)
{
	int fd;
	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* open `path` when it is the mapped file for sure; -1 otherwise */
static int file_open_same(const char *path, const struct mapping *mapping)
{
	int fd = file_open(path);
	if (fd >= 0 && file_compare(fd, mapping) != FILE_SAME) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * By the links the kernel keeps to the very file. map_files needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN; exe doesn't,
 * and is what remains when the executable of a running process was replaced.
 */
static int mapping_open_link(pid_t pid, const struct mapping *mapping)
{
	g_autofree char *link =
		g_strdup_printf("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, mapping->start, mapping->end);
	int fd = file_open(link);
	if (fd >= 0)
		return fd;
	g_autofree char *exe = g_strdup_printf("/proc/%d/exe", (int)pid);
	return file_open_same(exe, mapping);
}

int maps_open(pid_t pid, const struct mapping *mapping)
{
	if (mapping->path[0] != '/') {
		errno = ENOENT;
		return -1;
	}
	int perhaps = -1, number = ENOENT;
	if (!mapping->deleted) {
		g_autofree char *path = g_strdup_printf("/proc/%d/root%s", (int)pid, mapping->path);
		perhaps = file_open(path);
		if (perhaps < 0)
			number = errno;
		enum same_file same = perhaps < 0 ? FILE_OTHER : file_compare(perhaps, mapping);
		if (same == FILE_SAME)
			return perhaps;
		if (perhaps >= 0 && same == FILE_OTHER) {
			close(perhaps);
			perhaps = -1;
			number = ESTALE;
		}
	}
	int fd = mapping_open_link(pid, mapping);
	if (fd < 0)
		fd = perhaps;
	else if (perhaps >= 0)
		close(perhaps);
	if (fd < 0)
		errno = number;
	return fd;
}

int maps_open_path(pid_t pid, const char *path)
{
	struct stat status;
	if (path[0] != '/') {
		errno = ENOENT;
		return -1;
	}
	g_autofree char *inside = g_strdup_printf("/proc/%d/root%s", (int)pid, path);
	int fd = file_open(inside);
	if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}
