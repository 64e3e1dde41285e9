/*
 * Targets that are files: core files and saved images. What is behind them answers for a snapshot; everything else of a target is as they
 * were opened. For the files of this folder only.
 */
#pragma once
#include "daemon/target/lazy.h"
#include "daemon/target/target.h"

/* where the bytes of a region of a file's memory come from */
struct file_region {
	struct memory_region region;
	struct lazy *lazy; /* NULL: load() of the memory has its own way */
};

struct file_target {
	const char *path; /* escaped */
	enum snapshot_mode mode;
	struct maps *maps;
	GArray *regions;      /* of struct memory_region, sorted */
	struct lazy **lazies; /* one a region */
	GPtrArray *windows;   /* of struct file_window */
	struct lazy_files files;
	struct snapshot_thread *threads;
	size_t n_threads;
	int64_t time_us;
	uint64_t bytes, missing; /* in the file; that should be but aren't */
	bool incomplete;
	bool torn; /* saved from a process that ran meanwhile */
	bool (*load)(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size);
	int (*open)(struct file_target *file, const char *path); /* of a file by its path there; NULL: as it is here */
	void (*free)(struct file_target *file);                  /* what the kind of file adds */
};

/* room for bytes that are read when somebody looks */
struct file_window {
	void *bytes;
	uint64_t size;
};

void file_init(struct file_target *file, const char *path, enum snapshot_mode mode);
void file_clear(struct file_target *file);
/* Memory for [start, end), nothing behind it yet; NULL: no room. */
uint8_t *file_window(struct file_target *file, uint64_t start, uint64_t end);
/* A region of the memory; `lazy` (taken over) may be NULL. */
void file_region(struct file_target *file, uint64_t start, uint64_t end, uint8_t *bytes, uint32_t mapping,
		 struct lazy *lazy);
/* The regions are all there: sort them. */
void file_seal(struct file_target *file);

/* The memory of the file; good until the file is cleared. Free the regions with g_free(). */
void file_memory(struct file_target *file, struct memory *memory);

/* Bytes of an open file; false: not all of them are there, or errno says why not. */
bool file_read_at(int fd, void *out, uint64_t size, uint64_t offset);

/* A target around it, which it takes over. */
target_t *file_target_new(struct file_target *file, pid_t pid);
snapshot_t *file_snapshot(struct file_target *file);
