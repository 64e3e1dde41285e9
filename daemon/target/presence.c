#include "daemon/target/presence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* <linux/fs.h> of 6.7 and later; older headers build this program too */
#define SCAN_WRITTEN (1u << 1)
#define SCAN_FILE    (1u << 2) /* PAGE_IS_FILE, and so on */
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_PFNZERO (1u << 5)
#define SCAN_SOFT    (1u << 7) /* PAGE_IS_SOFT_DIRTY: 6.8 */

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL   _IOWR('f', 16, struct scan_arg)
#define SCAN_VECTOR  256
#define SCAN_PROTECT (1u << 0) /* PM_SCAN_WP_MATCHING */

/* bits of /proc/PID/pagemap */
#define PM_FRAME     ((1ull << 55) - 1)
#define PM_SOFT      (1ull << 55)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_GUARD     (1ull << 58)
#define PM_FILE      (1ull << 61)
#define PM_SWAPPED   (1ull << 62)
#define PM_PRESENT   (1ull << 63)
#define PM_BLOCK     1024 /* entries read at once */

/*
 * Whether this kernel has soft-dirty bits. One without them (CONFIG_MEM_SOFT_DIRTY) doesn't say so: it lets them be cleared, and then they are
 * never set. So this looks at a page that was just written to. Called once.
 */
static void *probe_soft_dirty(void *data)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	volatile char *fresh = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	bool found = false;
	if (fresh != MAP_FAILED) {
		fresh[0] = 1;
		off_t at = (off_t)((uintptr_t)fresh / page * sizeof(entry));
		found = fd >= 0 && pread(fd, &entry, sizeof(entry), at) == sizeof(entry) && entry & PM_SOFT;
		munmap((void *)(uintptr_t)fresh, page);
	}
	if (fd >= 0)
		close(fd);
	return GINT_TO_POINTER(found);
}

/* Whether PAGEMAP_SCAN knows these categories. */
static bool scan_knows(const struct presence *presence, uint64_t categories)
{
	struct scan_region none;
	struct scan_arg arg = {.size = sizeof(arg),
			       .vec = (uintptr_t)&none,
			       .vec_len = 1,
			       .category_mask = categories,
			       .return_mask = SCAN_PRESENT};
	return ioctl(presence->fd, SCAN_IOCTL, &arg) >= 0;
}

bool presence_open(struct presence *presence, pid_t pid)
{
	static GOnce probed = G_ONCE_INIT;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	presence->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (presence->fd < 0)
		return false;
	presence->page = (uint64_t)sysconf(_SC_PAGESIZE);
	presence->scan = scan_knows(presence, SCAN_PFNZERO);
	presence->soft_dirty = g_once(&probed, probe_soft_dirty, NULL) != NULL;
	presence->scan_soft_dirty = presence->soft_dirty && scan_knows(presence, SCAN_SOFT);
	return true;
}

void presence_close(struct presence *presence)
{
	if (presence->fd >= 0)
		close(presence->fd);
	presence->fd = -1;
}

bool presence_alive(const struct presence *presence)
{
	uint64_t entry;
	return pread(presence->fd, &entry, sizeof(entry), 0) == sizeof(entry);
}

void presence_run_add(GArray *runs, uint64_t start, uint64_t end)
{
	struct presence_run *last = runs->len ? &g_array_index(runs, struct presence_run, runs->len - 1) : NULL;
	if (last && last->end == start) {
		last->end = end;
		return;
	}
	struct presence_run run = {start, end};
	g_array_append_val(runs, run);
}

static void change_add(GArray *changes, uint64_t start, uint64_t end, bool written)
{
	struct presence_change *last =
		changes->len ? &g_array_index(changes, struct presence_change, changes->len - 1) : NULL;
	if (last && last->end == start && last->written == written) {
		last->end = end;
		return;
	}
	struct presence_change change = {start, end, written};
	g_array_append_val(changes, change);
}

static void scan_prepare(struct scan_arg *arg, struct scan_region vector[SCAN_VECTOR], uint64_t end,
			 enum presence_filter filter)
{
	*arg = (struct scan_arg){.size = sizeof(*arg), .end = end, .vec = (uintptr_t)vector, .vec_len = SCAN_VECTOR};
	/* a category in `inverted` and in `mask` must be absent */
	arg->category_inverted = arg->category_mask = SCAN_PFNZERO;
	arg->category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED;
	arg->return_mask = SCAN_PRESENT;
	if (filter == PRESENCE_RESIDENT) {
		arg->category_mask |= SCAN_PRESENT;
		arg->category_anyof_mask = 0;
	} else if (filter == PRESENCE_ANONYMOUS) {
		arg->category_inverted |= SCAN_FILE;
		arg->category_mask |= SCAN_FILE;
	}
}

static bool scan_ioctl(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		       GArray *runs, struct presence_sum *sum)
{
	struct scan_region vector[SCAN_VECTOR];
	struct scan_arg arg;
	scan_prepare(&arg, vector, end, filter);
	while (start < end) {
		arg.start = start;
		int n = ioctl(presence->fd, SCAN_IOCTL, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		for (int i = 0; i < n; i++) {
			if (vector[i].start < start || vector[i].end > end || vector[i].start >= vector[i].end)
				continue;
			if (runs)
				presence_run_add(runs, vector[i].start, vector[i].end);
			uint64_t bytes = vector[i].end - vector[i].start;
			sum->content += bytes;
			sum->resident += vector[i].categories & SCAN_PRESENT ? bytes : 0;
		}
		if (arg.walk_end <= start)
			break; /* no progress: nothing more there */
		start = arg.walk_end;
	}
	return true;
}

/* One pass over [start, end): what `arg` asks for, to `changes`. */
static bool changes_scan(const struct presence *presence, struct scan_arg *arg, struct scan_region vector[SCAN_VECTOR],
			 uint64_t start, uint64_t written, GArray *changes, struct presence_sum *sum)
{
	while (start < arg->end) {
		arg->start = start;
		int n = ioctl(presence->fd, SCAN_IOCTL, arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		for (int i = 0; i < n; i++) {
			if (vector[i].start < start || vector[i].end > arg->end || vector[i].start >= vector[i].end)
				continue;
			change_add(changes, vector[i].start, vector[i].end, vector[i].categories & written);
			uint64_t bytes = vector[i].end - vector[i].start;
			sum->content += bytes;
			sum->resident += vector[i].categories & SCAN_PRESENT ? bytes : 0;
		}
		if (arg->walk_end <= start)
			break;
		start = arg->walk_end;
	}
	return true;
}

bool presence_protect(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		      GArray *changes)
{
	struct scan_region vector[SCAN_VECTOR];
	struct scan_arg arg;
	struct presence_sum sum = {0};
	scan_prepare(&arg, vector, end, filter);
	/* of pages that are there only: an empty entry would get a mark, and then look like one that is swapped out */
	arg.flags = SCAN_PROTECT;
	arg.category_mask |= SCAN_WRITTEN;
	arg.return_mask = SCAN_PRESENT | SCAN_WRITTEN;
	return changes_scan(presence, &arg, vector, start, SCAN_WRITTEN, changes, &sum);
}

bool presence_unprotected(const struct presence *presence, uint64_t start, uint64_t end, GArray *changes)
{
	struct scan_region vector[SCAN_VECTOR];
	struct presence_sum sum = {0};
	/* this and no other category: a faster way, that lists empty entries, too (fs/proc/task_mmu.c, pagemap_scan_pmd_entry()) */
	struct scan_arg arg = {.size = sizeof(arg),
			       .end = end,
			       .vec = (uintptr_t)vector,
			       .vec_len = SCAN_VECTOR,
			       .category_mask = SCAN_WRITTEN,
			       .return_mask = SCAN_WRITTEN};
	return changes_scan(presence, &arg, vector, start, SCAN_WRITTEN, changes, &sum);
}

static uint64_t entry_at(const struct presence *presence, uint64_t address)
{
	uint64_t entry;
	off_t at = (off_t)(address / presence->page * sizeof(entry));
	return pread(presence->fd, &entry, sizeof(entry), at) == sizeof(entry) ? entry : 0;
}

uint64_t presence_frame(const struct presence *presence, uint64_t address)
{
	uint64_t entry = entry_at(presence, address);
	return entry & PM_PRESENT ? entry & PM_FRAME : 0;
}

bool presence_at(const struct presence *presence, uint64_t address)
{
	return entry_at(presence, address) & (PM_PRESENT | PM_SWAPPED);
}

static bool entry_passes(uint64_t entry, enum presence_filter filter)
{
	if (entry & PM_GUARD)
		return false;
	switch (filter) {
	case PRESENCE_RESIDENT:
		return entry & PM_PRESENT;
	case PRESENCE_CONTENT:
		return entry & (PM_PRESENT | PM_SWAPPED);
	case PRESENCE_ANONYMOUS:
		return (entry & (PM_PRESENT | PM_SWAPPED)) && !(entry & PM_FILE);
	}
	return false;
}

/* The entries of [start, end), as many as go in at once. Their number; 0 with errno. */
static uint64_t entries_read(const struct presence *presence, uint64_t start, uint64_t end, uint64_t entries[PM_BLOCK])
{
	uint64_t want = MIN((end - start) / presence->page, PM_BLOCK);
	ssize_t got = pread(presence->fd, entries, want * sizeof(*entries),
			    (off_t)(start / presence->page * sizeof(*entries)));
	if (got >= (ssize_t)sizeof(*entries))
		return (uint64_t)got / sizeof(*entries);
	errno = got < 0 ? errno : ESRCH;
	return 0;
}

static void sum_entry(const struct presence *presence, struct presence_sum *sum, uint64_t entry)
{
	sum->content += presence->page;
	sum->resident += entry & PM_PRESENT ? presence->page : 0;
}

static bool scan_pagemap(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
			 GArray *runs, struct presence_sum *sum)
{
	uint64_t entries[PM_BLOCK], n;
	while (start < end) {
		if (!(n = entries_read(presence, start, end, entries)))
			return false;
		for (uint64_t i = 0; i < n; i++, start += presence->page) {
			if (!entry_passes(entries[i], filter))
				continue;
			if (runs)
				presence_run_add(runs, start, start + presence->page);
			sum_entry(presence, sum, entries[i]);
		}
	}
	return true;
}

/*
 * What there is without its bit may be the shared page of zeros, read where something was before that was given back: an entry can't be told
 * from that of such a page unless the process has it to itself.
 */
static bool entry_written(uint64_t entry)
{
	return entry & PM_SOFT || (entry & PM_PRESENT && !(entry & PM_EXCLUSIVE));
}

static bool changes_pagemap(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
			    GArray *changes, struct presence_sum *sum)
{
	uint64_t entries[PM_BLOCK], n;
	while (start < end) {
		if (!(n = entries_read(presence, start, end, entries)))
			return false;
		for (uint64_t i = 0; i < n; i++, start += presence->page) {
			if (!entry_passes(entries[i], filter))
				continue;
			change_add(changes, start, start + presence->page, entry_written(entries[i]));
			sum_entry(presence, sum, entries[i]);
		}
	}
	return true;
}

bool presence_changes(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		      GArray *changes, struct presence_sum *sum)
{
	struct scan_region vector[SCAN_VECTOR];
	struct scan_arg arg;
	if (!presence->scan_soft_dirty)
		return changes_pagemap(presence, start, end, filter, changes, sum);
	scan_prepare(&arg, vector, end, filter);
	arg.return_mask = SCAN_PRESENT | SCAN_SOFT;
	return changes_scan(presence, &arg, vector, start, SCAN_SOFT, changes, sum);
}

bool presence_soft_dirty(const struct presence *presence, uint64_t page, bool *written)
{
	uint64_t entry;
	if (pread(presence->fd, &entry, sizeof(entry), (off_t)(page / presence->page * sizeof(entry))) !=
		    sizeof(entry) ||
	    !(entry & PM_PRESENT) || !(entry & PM_EXCLUSIVE))
		return false;
	*written = entry & PM_SOFT;
	return true;
}

bool presence_scan(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		   GArray *runs, struct presence_sum *sum)
{
	if (presence->scan)
		return scan_ioctl(presence, start, end, filter, runs, sum);
	return scan_pagemap(presence, start, end, filter, runs, sum);
}

bool presence_shared(const struct presence *presence, const struct presence_run *runs, size_t n)
{
	uint64_t entries[PM_BLOCK], from = 0, to = 0; /* `entries` are of the addresses [from, to) */
	for (size_t i = 0; i < n; i++) {
		for (uint64_t at = runs[i].start; at < runs[i].end; at += presence->page) {
			if (at >= to) {
				uint64_t want = MIN((runs[n - 1].end - at) / presence->page, PM_BLOCK);
				ssize_t got = pread(presence->fd, entries, want * sizeof(*entries),
						    (off_t)(at / presence->page * sizeof(*entries)));
				if (got < (ssize_t)sizeof(*entries))
					return true;
				from = at;
				to = at + (uint64_t)got / sizeof(*entries) * presence->page;
			}
			uint64_t entry = entries[(at - from) / presence->page];
			if ((entry & (PM_PRESENT | PM_FILE | PM_EXCLUSIVE)) == PM_PRESENT)
				return true;
		}
	}
	return false;
}
