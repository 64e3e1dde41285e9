/*
 * The chunks of glibc's malloc (glibc malloc/malloc.c, 2.26 to 2.43): which memory is allocated, and which is free and full of what was
 * there before.
 *
 * A chunk: [size of the previous one if that is free] [size | flags] [user data …]; the user data goes on over the first word of
 * the next chunk. The main heap is walked from its start, the heaps of threads' arenas (64 MiB aligned) from their first chunk. Free
 * are: a chunk whose follower says so; the top; what waits in the tcache (its second word is a key, one random number for the process) or in a
 * fastbin. Other allocators (musl, jemalloc, …) are not recognised: nothing is visited, and nothing can be told about their memory.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "daemon/heap/allocator.h"
#include "symbols/maps.h"

enum glibc_state { GLIBC_IN_USE, GLIBC_FREE, GLIBC_TOP, GLIBC_TCACHE, GLIBC_FASTBIN };

struct glibc_chunk {
	uint64_t start; /* of the user data */
	uint64_t end;   /* of the user data */
	enum glibc_state state;
};

struct glibc {
	struct glibc_chunk *chunks; /* sorted by start */
	size_t n;
	uint64_t tcache_key; /* 0: not found */
	/* open addressing: number + 1 of a page in which chunks start (0: empty), and the index of the first of them; NULL: none */
	struct glibc_page {
		uint64_t number;
		size_t first;
	} * pages;
	size_t mask;
};

/*
 * Whether this is the main heap: the kernel calls it [heap]; in a core file it has no name, but it begins with the tcache of the thread that made
 * it.
 */
bool glibc_is_main_heap(const struct memory *memory, const struct mapping *mapping);

/* Find the chunks, but not where another allocator has its memory (NULL: there is none); n is 0 when this isn't glibc's malloc. False: not
 * enough memory. */
bool glibc_find(const struct memory *memory, const struct maps *maps, const struct allocator *allocator,
		struct glibc *glibc);
void glibc_clear(struct glibc *glibc);

/* The chunk whose user data holds `address`, or NULL. */
const struct glibc_chunk *glibc_chunk_at(const struct glibc *glibc, uint64_t address);
