/*
 * Read-only file mappings: they are not copied, they can't change. Their bytes are read from the mapped file, in pieces of 64 KB, when
 * somebody looks; never through the target, so its page tables don't grow. Of a private mapping the pages that the process has
 * written to (.data, and .data.rel.ro, which was written to by the dynamic linker) were copied and are left as they are.
 */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "symbols/maps.h"

struct lazy_file {
	int fd;       /* -1: can't be had */
	bool device;  /* no regular file */
	bool hugetlb; /* of hugetlbfs */
};

/* the open files of one snapshot; each is opened once */
struct lazy_files {
	GHashTable *table;
};

void lazy_files_init(struct lazy_files *files);
void lazy_files_clear(struct lazy_files *files);
/* The file behind a mapping; owned by the table. `fd` is -1 when it can't be opened. */
struct lazy_file *lazy_files_open(struct lazy_files *files, pid_t pid, const struct mapping *mapping);

/* one mapping whose bytes come from a file */
struct lazy {
	int fd;
	uint64_t start, end, offset; /* of the mapping, and of its start in the file */
	uint8_t *bytes;
	_Atomic uint64_t *pages; /* a bit a page: it is there (copied, or read) */
	GMutex lock;             /* held by who reads */
};

struct lazy *lazy_new(const struct mapping *mapping, int fd, uint8_t *bytes);
void lazy_free(struct lazy *lazy);
/* [start, end) was copied from the process. Before anybody reads. */
void lazy_mark(struct lazy *lazy, uint64_t start, uint64_t end);
/* Make [address, address + size) readable. False: the file doesn't have it. Thread-safe. */
bool lazy_load(struct lazy *lazy, uint64_t address, uint64_t size);
/* Append the runs that are there to `runs` (of struct presence_run). */
void lazy_runs(const struct lazy *lazy, GArray *runs);
