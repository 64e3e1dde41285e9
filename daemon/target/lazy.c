#include "daemon/target/lazy.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/target/presence.h"

#define PAGE  4096ull /* the smallest there is: a bit may stand for part of a page, never for more than one */
#define PIECE (64u << 10)

static void file_free(void *data)
{
	struct lazy_file *file = data;
	if (file->fd >= 0)
		close(file->fd);
	g_free(file);
}

void lazy_files_init(struct lazy_files *files)
{
	files->table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, file_free);
}

void lazy_files_clear(struct lazy_files *files)
{
	if (files->table)
		g_hash_table_unref(files->table);
	files->table = NULL;
}

struct lazy_file *lazy_files_open(struct lazy_files *files, pid_t pid, const struct mapping *mapping)
{
	g_autofree char *key = g_strdup_printf("%x:%x:%" G_GUINT64_FORMAT ":%s", mapping->device_major,
					       mapping->device_minor, mapping->inode, mapping->path);
	struct lazy_file *file = g_hash_table_lookup(files->table, key);
	if (file)
		return file;
	file = g_new0(struct lazy_file, 1);
	file->fd = maps_open(pid, mapping);
	struct stat status;
	struct statfs system;
	if (file->fd >= 0 && (fstat(file->fd, &status) < 0 || !S_ISREG(status.st_mode))) {
		close(file->fd);
		file->fd = -1;
		file->device = true;
	}
	file->hugetlb = file->fd >= 0 && fstatfs(file->fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
	g_hash_table_insert(files->table, g_steal_pointer(&key), file);
	return file;
}

struct lazy *lazy_new(const struct mapping *mapping, int fd, uint8_t *bytes)
{
	struct lazy *lazy = g_new0(struct lazy, 1);
	lazy->fd = fd;
	lazy->start = mapping->start;
	lazy->end = mapping->end;
	lazy->offset = mapping->offset;
	lazy->bytes = bytes;
	lazy->pages = g_new0(_Atomic uint64_t, (mapping->end - mapping->start) / PAGE / 64 + 1);
	g_mutex_init(&lazy->lock);
	return lazy;
}

void lazy_free(struct lazy *lazy)
{
	if (!lazy)
		return;
	g_mutex_clear(&lazy->lock);
	g_free((void *)lazy->pages);
	g_free(lazy);
}

static inline bool page_there(const struct lazy *lazy, uint64_t page)
{
	return atomic_load_explicit(&lazy->pages[page / 64], memory_order_acquire) >> page % 64 & 1;
}

static void pages_set(struct lazy *lazy, uint64_t from, uint64_t to)
{
	for (uint64_t page = from; page < to; page++)
		atomic_fetch_or_explicit(&lazy->pages[page / 64], 1ull << page % 64, memory_order_release);
}

void lazy_mark(struct lazy *lazy, uint64_t start, uint64_t end)
{
	pages_set(lazy, (start - lazy->start) / PAGE, (end - lazy->start) / PAGE);
}

/* Read the pages [from, to), none of which is there yet. What the file doesn't have stays not there. */
static void pages_read(struct lazy *lazy, uint64_t from, uint64_t to)
{
	uint64_t size = (to - from) * PAGE, have = 0;
	uint8_t *bytes = lazy->bytes + from * PAGE;
	while (have < size) {
		ssize_t n = pread(lazy->fd, bytes + have, size - have, (off_t)(lazy->offset + from * PAGE + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (uint64_t)n;
	}
	if (have % PAGE) { /* the page with the last byte of the file ends in zeros */
		memset(bytes + have, 0, PAGE - have % PAGE);
		have += PAGE - have % PAGE;
	}
	pages_set(lazy, from, from + have / PAGE);
}

bool lazy_load(struct lazy *lazy, uint64_t address, uint64_t size)
{
	if (address < lazy->start || address >= lazy->end || size > lazy->end - address)
		return false;
	uint64_t first = (address - lazy->start) / PAGE, last = (address + size - 1 - lazy->start) / PAGE;
	uint64_t page = first;
	while (page <= last && page_there(lazy, page))
		page++;
	if (page > last)
		return true;

	g_mutex_lock(&lazy->lock);
	uint64_t piece = PIECE / PAGE, limit = (lazy->end - lazy->start) / PAGE;
	uint64_t from = page / piece * piece, to = MIN((last / piece + 1) * piece, limit);
	while (from < to) {
		if (page_there(lazy, from)) {
			from++;
			continue;
		}
		uint64_t next = from;
		while (next < to && !page_there(lazy, next))
			next++;
		pages_read(lazy, from, next);
		from = next;
	}
	g_mutex_unlock(&lazy->lock);

	for (page = first; page <= last; page++) {
		if (!page_there(lazy, page))
			return false;
	}
	return true;
}

void lazy_runs(const struct lazy *lazy, GArray *runs)
{
	uint64_t n = (lazy->end - lazy->start) / PAGE;
	for (uint64_t page = 0; page < n;) {
		if (!(page % 64) && !atomic_load_explicit(&lazy->pages[page / 64], memory_order_relaxed)) {
			page += 64;
			continue;
		}
		if (!page_there(lazy, page)) {
			page++;
			continue;
		}
		struct presence_run run = {lazy->start + page * PAGE, 0};
		while (page < n && page_there(lazy, page))
			page++;
		run.end = lazy->start + page * PAGE;
		g_array_append_val(runs, run);
	}
}
