/*
 * Seam one: a process's memory as an immutable picture.
 *
 * Behind it stands a copied live process, a core file, a saved image or a unit test's few bytes; nothing above it can
 * tell which, knows a pid, or reads the process again. Addresses are the target's.
 *
 * A region is a run of addresses whose bytes lie contiguously in our own memory. Pages of anonymous memory that the target
 * never touched read as zeros, as they do in the target. What could not be copied has no region: reading it fails.
 *
 * Read-only file mappings (code, string constants) are not copied while the target is stopped; they can't change. Their
 * regions are born without bytes and filled piece by piece through `load` when somebody looks.
 *
 * Reading is safe from several threads at once.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct memory_region {
	uint64_t start;       /* first address, page aligned */
	uint64_t size;        /* bytes, a multiple of the page size unless a unit test made it */
	const uint8_t *bytes; /* the copy, `size` bytes; owned by whoever made the memory */
	uint32_t mapping;     /* index into the maps it was made from (symbols/maps.h), or MEMORY_NO_MAPPING */
	bool lazy;            /* bytes come through memory.load */
	bool constant; /* a file's, where nobody may write: no object lies there, for to refer to one is to write to it (what looks like one is
			  CPython's template of its first state, Python/pylifecycle.c) */
	bool spared; /* parts of it were left out on purpose: memory.load fails there, and takes note of it; lazy, too */
};

#define MEMORY_NO_MAPPING UINT32_MAX

struct memory;

/*
 * A memory larger than ours: only so much of it is kept as fits a limit. Pointers into its lazy regions are good until somebody calls
 * memory_rest(), except within what memory_hold() names.
 */
struct memory_hold {
	uint64_t start, end;
	bool on; /* zero at first; private */
};

struct memory_window {
	_Atomic bool pressed; /* more is kept than should be: rest soon */
	void (*hold)(const struct memory *memory, struct memory_hold *hold, uint64_t start, uint64_t end);
	void (*release)(const struct memory *memory, struct memory_hold *hold);
	void (*rest)(const struct memory *memory, struct memory_hold *hold);
	/* copy without keeping anything; false: it can't be had */
	bool (*fetch)(const struct memory *memory, uint64_t address, void *out, uint64_t size);
	void *context;
};
#define MEMORY_HINTS 4096 /* as many MiB: of a larger heap several share one */

struct memory {
	struct memory_region *regions; /* sorted by start, disjoint */
	size_t n_regions;
	struct memory_window *window; /* NULL: all of it stays */
	bool torn;                    /* copied while the process ran: neighbouring pages may be of different moments */
	/* make [offset, offset + size) of a lazy region readable; false: it can't be had */
	bool (*load)(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size);
	/* see memory_probe(); NULL: no region is spared */
	bool (*barren)(const struct memory *memory, uint64_t address, uint64_t size);
	/* see memory_content(); NULL: not known */
	uint64_t (*content)(const struct memory *memory, uint64_t address);
	void *context;                        /* of load and content */
	_Atomic uint32_t hints[MEMORY_HINTS]; /* last region found, by address; private */
};

/* Make `memory` one over `n` regions, which stay the caller's; sorts them. */
void memory_init(struct memory *memory, struct memory_region *regions, size_t n);

/* The region that holds `address`, or NULL. */
const struct memory_region *memory_find(const struct memory *memory, uint64_t address);

/* The same, by a guess that is right most of the time. */
static inline const struct memory_region *memory_region_of(const struct memory *memory, uint64_t address)
{
	size_t hint = atomic_load_explicit(&memory->hints[(address >> 20) % MEMORY_HINTS], memory_order_relaxed);
	const struct memory_region *region = hint < memory->n_regions ? &memory->regions[hint] : NULL;
	return region && address - region->start < region->size ? region : memory_find(memory, address);
}

/*
 * The bytes [address, address + size) in place, or NULL when not all of them are there or they lie in two regions.
 * Valid as long as the memory. size may not be 0.
 */
static inline const void *memory_at(const struct memory *memory, uint64_t address, uint64_t size)
{
	const struct memory_region *region = memory_region_of(memory, address);
	if (!region)
		return NULL;
	uint64_t offset = address - region->start;
	if (size > region->size - offset)
		return NULL;
	if (region->lazy && !memory->load(memory, region, offset, size))
		return NULL;
	return region->bytes + offset;
}

/*
 * The same where `address` may not be that of an object at all: where none can lie (struct memory_region.constant), and what was left out because
 * it holds none, is NULL; nobody takes note.
 */
static inline const void *memory_probe(const struct memory *memory, uint64_t address, uint64_t size)
{
	const struct memory_region *region = memory_region_of(memory, address);
	if (!region || region->constant || (memory->barren && memory->barren(memory, address, size)))
		return NULL;
	return memory_at(memory, address, size);
}

/* Bring what lies at `address`, if anything, close to the processor: it's going to be read soon. */
static inline void memory_prefetch(const struct memory *memory, uint64_t address)
{
	size_t hint = atomic_load_explicit(&memory->hints[(address >> 20) % MEMORY_HINTS], memory_order_relaxed);
	const struct memory_region *region = &memory->regions[hint];
	if (hint < memory->n_regions && address - region->start < region->size && (!region->lazy || region->spared))
		__builtin_prefetch(region->bytes + (address - region->start));
}

/*
 * Bring bytes of a copy close to the processor: one of each `stride`, in order. Nothing depends on them, so that many are on their way at a time;
 * who decides upon each in turn waits for each.
 */
static inline void memory_fetch(const uint8_t *bytes, uint64_t size, uint64_t stride)
{
	unsigned sum = 0;
	for (uint64_t at = 0; at < size; at += stride)
		sum += bytes[at];
	__asm__ volatile("" ::"r"(sum));
}

#define MEMORY_LINE 64 /* bytes that are brought at once */

/* Ask for the line that a byte lies in, of what will be read later, and go on; nothing need be there. Much else is read before: not into the nearest cache. */
static inline void memory_ask(const uint8_t *bytes)
{
	__builtin_prefetch(bytes, 0, 2);
}

/* The same, of what will be read soon: into the nearest cache. */
static inline void memory_ask_near(const uint8_t *bytes)
{
	__builtin_prefetch(bytes, 0, 3);
}

/*
 * The first address from `address` on that may hold anything but zeros (or that of a region which isn't a copy); UINT64_MAX: there is none.
 * For what would look at gigabytes that were reserved and never touched.
 */
static inline uint64_t memory_content(const struct memory *memory, uint64_t address)
{
	return memory->content ? memory->content(memory, address) : address;
}

/* Whether it is time for memory_rest(). */
static inline bool memory_pressed(const struct memory *memory)
{
	return memory->window && atomic_load_explicit(&memory->window->pressed, memory_order_relaxed);
}

/*
 * The calling thread walks through [start, end), in place of what it held before, and what it points to there stays; it has to
 * call memory_rest() now and then, or release the hold. Does nothing in a memory without a window.
 */
static inline void memory_hold(const struct memory *memory, struct memory_hold *hold, uint64_t start, uint64_t end)
{
	if (memory->window)
		memory->window->hold(memory, hold, start, end);
}

static inline void memory_release(const struct memory *memory, struct memory_hold *hold)
{
	if (memory->window)
		memory->window->release(memory, hold);
}

/* The calling thread has no pointers but into what it holds (NULL: nothing): room can be made. */
static inline void memory_rest(const struct memory *memory, struct memory_hold *hold)
{
	if (memory_pressed(memory))
		memory->window->rest(memory, hold);
}

/* Whether all of [address, address + size) lies in regions that touch; that it can be read remains to be seen. */
bool memory_spans(const struct memory *memory, uint64_t address, uint64_t size);

/* Copy [address, address + size) to `out`, across regions that touch. False: not all of it is there, `out` is undefined. */
bool memory_read(const struct memory *memory, uint64_t address, void *out, uint64_t size);

/* One little-endian number; false: not there, *value is untouched. */
static inline bool memory_u64(const struct memory *memory, uint64_t address, uint64_t *value)
{
	const void *at = memory_at(memory, address, sizeof(*value));
	if (!at)
		return memory_read(memory, address, value, sizeof(*value));
	memcpy(value, at, sizeof(*value));
	return true;
}

static inline bool memory_u32(const struct memory *memory, uint64_t address, uint32_t *value)
{
	const void *at = memory_at(memory, address, sizeof(*value));
	if (!at)
		return memory_read(memory, address, value, sizeof(*value));
	memcpy(value, at, sizeof(*value));
	return true;
}

static inline bool memory_u8(const struct memory *memory, uint64_t address, uint8_t *value)
{
	const void *at = memory_at(memory, address, sizeof(*value));
	if (!at)
		return false;
	*value = *(const uint8_t *)at;
	return true;
}

/*
 * The NUL-terminated string at `address`, raw bytes, at most max - 1 of them, to out[max].
 * False: nothing readable, or no NUL within max bytes (out then holds what fits, terminated).
 */
bool memory_string(const struct memory *memory, uint64_t address, char *out, size_t max);
