/*
 * Where a thread's stack ends, by glibc's descriptor of the thread (struct pthread), which lies at its upper end, in the last page: nptl/allocatestack.c.
 * The mapping doesn't tell: since glibc 2.42, on Linux 6.13 and later, nothing but a mark in the page tables (MADV_GUARD_INSTALL) stands between the
 * stacks of two threads, and one mapping holds many. The main thread's has no descriptor; neither have those of other C libraries.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

#define PTHREAD_ALIGN 64
#define PTHREAD_TID   0x2d0 /* glibc 2.4 to 2.43 on x86-64 */
#define PTHREAD_PAGE  4096ull

/* Whether a descriptor lies there: a word that holds its own address, again 16 bytes on (tcbhead_t). *tid is 0 when the thread has ended. */
static inline bool pthread_at(const struct memory *memory, uint64_t address, uint32_t *tid)
{
	uint64_t self, again;
	return memory_u64(memory, address, &self) && self == address && memory_u64(memory, address + 16, &again) &&
	       again == address && memory_u32(memory, address + PTHREAD_TID, tid);
}

/* The first descriptor in [from, end); 0: there is none. Reads all that lies before it, page by page. */
static inline uint64_t pthread_find(const struct memory *memory, uint64_t from, uint64_t end)
{
	uint32_t tid;
	uint64_t next;
	for (uint64_t at = (from + PTHREAD_ALIGN - 1) & ~(PTHREAD_ALIGN - 1ull); at < end; at = next) {
		next = (at | (PTHREAD_PAGE - 1)) + 1;
		const uint8_t *bytes = next <= end ? memory_at(memory, at, next - at) : NULL;
		for (; bytes && at < next; at += PTHREAD_ALIGN, bytes += PTHREAD_ALIGN) {
			uint64_t self;
			memcpy(&self, bytes, sizeof(self));
			if (self == at && pthread_at(memory, at, &tid))
				return at;
		}
	}
	return 0;
}

/* Where the stack begins, with its guard, as the descriptor says (stackblock, stackblock_size; each version somewhere else). 0: it doesn't. */
static inline uint64_t pthread_stack(const struct memory *memory, uint64_t descriptor)
{
	const uint64_t end = (descriptor | (PTHREAD_PAGE - 1)) + 1;
	for (uint64_t at = descriptor + PTHREAD_TID; at + 16 <= end; at += 8) {
		uint64_t start, size;
		if (memory_u64(memory, at, &start) && start % PTHREAD_PAGE == 0 && start < descriptor &&
		    memory_u64(memory, at + 8, &size) && start + size == end)
			return start;
	}
	return 0;
}
