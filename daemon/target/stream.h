/*
 * Memory too large to be copied at once: pages of a running process are read when somebody looks at them, into windows that mirror its
 * addresses, and given back when they are more than a bounded number of bytes. What a reader holds on to (memory_hold()) stays.
 *
 * Nothing is stopped. Pages that the process never touched are not read, all others through /proc/PID/mem, which leaves shared pages
 * shared. Which pages there are is looked up once, at the beginning: one that came into being later reads as zeros.
 */
#pragma once
#include "base/memory.h"
#include "daemon/target/presence.h"
#include "symbols/maps.h"

struct stream;

/*
 * Over mapping i of `maps` where wanted[i]. `limit`: bytes kept at a time. `mem` and `presence` stay the caller's, as does `maps`. NULL: the address
 * space is gone, or there is none left of our own.
 */
struct stream *stream_new(const struct maps *maps, const bool *wanted, int mem, const struct presence *presence,
			  uint64_t limit);
void stream_free(struct stream *stream);

/* Where mapping `i` lands; NULL: it isn't streamed. */
uint8_t *stream_bytes(const struct stream *stream, size_t i);
/* Put it behind `memory`, whose streamed regions have their mapping's index: for stream_load() and the window's functions. */
void stream_attach(struct stream *stream, struct memory *memory);
/* The first address of mapping `i` from `address` on that may hold anything but zeros; its end: none. */
uint64_t stream_content(const struct stream *stream, size_t i, uint64_t address);
bool stream_load(struct stream *stream, const struct memory_region *region, uint64_t offset, uint64_t size);

/* Bytes read so far, and bytes that are there but couldn't be. */
uint64_t stream_read(const struct stream *stream);
uint64_t stream_missing(const struct stream *stream);
