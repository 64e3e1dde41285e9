/*
 * Where copies land: windows of our own memory that mirror parts of the target's address space, byte for byte at a constant
 * distance. Only what was copied, or read, has pages behind it; the rest reads as zeros and costs nothing.
 *
 * Fresh pages are what makes a copy slow (471 ms a GB instead of 103), so a pool is kept from one snapshot to the next, and populated
 * before the target is stopped: with huge pages where the target's memory is dense.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/target/presence.h"

struct window {
	uint64_t start, end; /* of the target's addresses it mirrors */
	uint8_t *bytes;      /* what mirrors `start`; at the same place in a huge page */
	GArray *dirty;       /* struct presence_run: what may hold other bytes than zeros */
	bool *huge;          /* for each huge page from `start` on: asked for one */
	uint64_t *valid; /* a bit a page: it was copied, and is right unless the target wrote to it since; NULL: none */
	_Atomic uint64_t
		*frames; /* for each table of pages: pool_frame() when something was copied from there; 0: not known */
	bool used;       /* by the snapshot being made */
	void *map;
	uint64_t map_size;
};

#define POOL_TABLE (2ull << 20) /* of addresses that one table of pages is for */

struct pool {
	GPtrArray *windows;  /* of struct window */
	GMutex lock;         /* two threads populate */
	uint64_t number;     /* no other pool of this program has, or had, the same; not 0 */
	uint64_t huge_limit; /* rows of huge pages that may still be asked for */
	uint64_t
		huge_waste; /* bytes of such pages that may be left empty in all, beyond a 16th of each; 0 unless somebody sets it */
	uint64_t huge_wasted; /* that are */
};

struct pool *pool_new(void);
void pool_free(struct pool *pool);

/*
 * The window that mirrors all of [start, end), made if there is none; NULL when there is no room (address space, overcommit
 * limits). Marks it used.
 */
struct window *pool_window(struct pool *pool, uint64_t start, uint64_t end);

/* Give the pages behind `runs` (all inside the window, sorted) memory, so that the copy doesn't meet page faults. */
void pool_populate(struct pool *pool, struct window *window, const struct presence_run *runs, size_t n);

/*
 * The snapshot is made: what `window` holds besides `runs` (sorted, disjoint) from earlier ones must not be seen: make it zeros.
 * `runs` are its dirty ones from now on.
 */
void pool_settle(struct window *window, const struct presence_run *runs, size_t n);

/* Bytes at `runs` of the window are no zeros any more; in any order, and again is fine. */
void pool_dirty(struct window *window, const struct presence_run *runs, size_t n);

/* Pages [start, end), inside the window, are valid, or aren't. `page`: bytes of one. */
void pool_set_valid(struct window *window, uint64_t start, uint64_t end, uint64_t page, bool valid);
static inline bool pool_valid(const struct window *window, uint64_t address, uint64_t page)
{
	uint64_t i = (address - window->start) / page;
	return window->valid && window->valid[i / 64] >> i % 64 & 1;
}
/* Where the pages from `start` on begin to differ from that one in this; at most `end`. */
uint64_t pool_valid_end(const struct window *window, uint64_t start, uint64_t end, uint64_t page);

/* No page of any window is valid any more, and no frame known. */
void pool_forget(struct pool *pool);

/* The place of the frame of the table that `address`, inside the window, is in. Threads may meet there. */
_Atomic uint64_t *pool_frame(struct window *window, uint64_t address);

/* Start a new snapshot: no window is used. */
void pool_begin(struct pool *pool);
/* Drop the windows that the snapshot doesn't use. */
void pool_trim(struct pool *pool);
