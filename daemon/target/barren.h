/*
 * Memory that a histogram can do without: buffers of numbers, of numpy above all, which may be most of a process and hold neither an
 * object nor a reference to one. They are found before the target is stopped, and left out of the copy.
 *
 * A page in which no word is an address of the process holds no object, whose header has its type's, and no reference. A chunk is barren where all
 * pages but a few are such, and not all zeros, as an empty stretch of a set's table is; the few are copied. So are pages that begin like malloc's own mappings (glibc malloc/malloc.c, struct
 * malloc_chunk with IS_MMAPPED), which say where blocks are.
 *
 * The target ran on after it was looked at. Who reads a page that was left out is told that it can't be read, and the snapshot knows
 * (snapshot_missed()): then it has to be taken again, with everything. What is only asked whether it may be an object (memory_probe()) is none where
 * the page still holds no address.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "symbols/maps.h"

#define BARREN_KEPT 8 /* pages of a chunk that are copied nevertheless, at most */

struct barren {
	uint8_t n;                  /* of kept */
	uint16_t kept[BARREN_KEPT]; /* pages, counted from the start of the chunk, ascending */
};

/* where addresses of a process point to: below and above the largest gap of its address space */
struct barren_ranges {
	uint64_t start[2], size[2];
};

void barren_ranges_of(const struct maps *maps, struct barren_ranges *ranges);

/* Whether this page has to be copied. `bytes`: all of it. */
bool barren_keeps(const struct barren_ranges *ranges, const uint8_t *bytes, uint64_t page);

/*
 * Look at [start, end), all of it present, of process `pid` (through `mem`, its /proc/PID/mem, where `shared`), while it runs. `known`, or NULL: what was
 * found there the last time, which is taken for true where a few pages still look so. True: barren, *found says how.
 */
bool barren_look(pid_t pid, int mem, bool shared, const struct barren_ranges *ranges, uint64_t start, uint64_t end,
		 uint64_t page, const struct barren *known, struct barren *found);
