/*
 * Which pages of a process exist, so that a page the target never touched is never read: reading it would make the kernel
 * allocate page tables, and memory, in the target (for its own pages: Documentation/admin-guide/mm/pagemap.rst).
 *
 * ioctl(PAGEMAP_SCAN) where the kernel has it (6.7), else the 8 bytes a page of /proc/PID/pagemap. Neither changes anything
 * in the target. The descriptor stays bound to the address space it was opened on: after an exec there is nothing in it.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* a run of pages [start, end) that hold something */
struct presence_run {
	uint64_t start, end;
};

/* Append a run to `runs` (of struct presence_run), or lengthen the last one where they touch. */
void presence_run_add(GArray *runs, uint64_t start, uint64_t end);

enum presence_filter {
	PRESENCE_RESIDENT, /* in RAM, the shared zero page apart: what Rss counts */
	PRESENCE_CONTENT,  /* in RAM or swapped out, the zero page apart */
	PRESENCE_ANONYMOUS, /* as CONTENT, without pages of a file's page cache: of a private file mapping, those written to */
};

struct presence {
	int fd;               /* of /proc/PID/pagemap */
	bool scan;            /* the kernel has PAGEMAP_SCAN */
	bool soft_dirty;      /* it has soft-dirty bits */
	bool scan_soft_dirty; /* PAGEMAP_SCAN tells them */
	uint64_t page;        /* bytes of a page */
};

/* Open it for process `pid`. False with errno. */
bool presence_open(struct presence *presence, pid_t pid);
void presence_close(struct presence *presence);

/* Whether the address space it was opened on still exists: false after the process ended or exec'ed. */
bool presence_alive(const struct presence *presence);

/* bytes that a scan found */
struct presence_sum {
	uint64_t content;  /* of all runs */
	uint64_t resident; /* of these in RAM, not swapped out */
};

/*
 * Append the runs of [start, end) that pass the filter to `runs` (of struct presence_run, NULL: only count), ascending, adjacent
 * ones merged, and add to `sum`. False when the address space is gone (errno ESRCH) or the kernel refuses.
 */
bool presence_scan(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		   GArray *runs, struct presence_sum *sum);

/* a run of pages that hold something, and whether they were written to since a moment */
struct presence_change {
	uint64_t start, end;
	bool written;
};

/*
 * The same, telling pages whose soft-dirty bit is set (where the kernel has it), or which that bit may not be believed of, to `changes` (of struct
 * presence_change, adjacent ones merged where they are alike). See daemon/target/track.h.
 */
bool presence_changes(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		      GArray *changes, struct presence_sum *sum);

/* *written: whether the soft-dirty bit of the page at that address is set. False: it isn't there, or shared, and its bit tells nothing. */
bool presence_soft_dirty(const struct presence *presence, uint64_t page, bool *written);

/* The next ones with PAGEMAP_SCAN alone. Protect those of them that were written to, and at the same moment list them. */
bool presence_protect(const struct presence *presence, uint64_t start, uint64_t end, enum presence_filter filter,
		      GArray *changes);
/*
 * List what isn't a protected page, several times as fast as the others: what was written to, pages of zeros, and where there is nothing (but
 * not all of that). What isn't listed is as it was when it was protected, or there is nothing in all of its 2 MB.
 */
bool presence_unprotected(const struct presence *presence, uint64_t start, uint64_t end, GArray *changes);
/* The frame of the page at `address`: no other page that is there has the same. 0: it isn't in RAM, or we may not know (CAP_SYS_ADMIN). */
uint64_t presence_frame(const struct presence *presence, uint64_t address);
/* Whether the page at `address` is there, or swapped out. */
bool presence_at(const struct presence *presence, uint64_t address);

/*
 * Whether any anonymous page of the `n` runs (ascending) is mapped by other processes too: copy-on-write after a fork, or merged by
 * KSM. True when it can't be told: the careful answer.
 */
bool presence_shared(const struct presence *presence, const struct presence_run *runs, size_t n);
