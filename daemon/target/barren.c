#include "daemon/target/barren.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE   (128ul << 10) /* bytes read at a time: they stay in the cache */
#define SAMPLES 8             /* pages that tell most chunks at once */

/* malloc's head of a block with a mapping of its own */
#define IS_MMAPPED 2
#define FLAGS      7ull

void barren_ranges_of(const struct maps *maps, struct barren_ranges *ranges)
{
	memset(ranges, 0, sizeof(*ranges));
	uint64_t last = 0, gap = 0;
	size_t above = 0, n = maps->n;
	/* the kernel's page lies above all that a pointer leads to */
	while (n && maps->mappings[n - 1].start >> 47)
		n--;
	if (!n)
		return;
	for (size_t i = 0; i < n; last = maps->mappings[i++].end) {
		if (i && maps->mappings[i].start - last > gap) {
			gap = maps->mappings[i].start - last;
			above = i;
		}
	}
	ranges->start[0] = maps->mappings[0].start;
	ranges->size[0] = (above ? maps->mappings[above - 1].end : last) - ranges->start[0];
	if (above) {
		ranges->start[1] = maps->mappings[above].start;
		ranges->size[1] = last - ranges->start[1];
	}
}

bool barren_keeps(const struct barren_ranges *ranges, const uint8_t *bytes, uint64_t page)
{
	uint64_t word, size;
	memcpy(&word, bytes, sizeof(word));
	memcpy(&size, bytes + 8, sizeof(size));
	if (!word && (size & FLAGS) == IS_MMAPPED && (size & ~FLAGS) && (size & ~FLAGS) % page == 0)
		return true;
	unsigned found = 0;
	uint64_t any = 0;
	for (uint64_t at = 0; at < page; at += sizeof(word)) {
		memcpy(&word, bytes + at, sizeof(word));
		any |= word;
		found |= (word - ranges->start[0] < ranges->size[0]) | (word - ranges->start[1] < ranges->size[1]);
	}
	/* an empty stretch of a set's table, or of a list, says something, too */
	return found || !any;
}

static bool fetch(pid_t pid, int mem, bool shared, uint64_t start, uint8_t *bytes, uint64_t size)
{
	if (!shared) {
		struct iovec local = {bytes, size}, remote = {(void *)(uintptr_t)start, size};
		return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
	}
	uint64_t have = 0;
	while (have < size) {
		ssize_t got = pread(mem, bytes + have, size - have, (off_t)(start + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		have += (uint64_t)got;
	}
	return true;
}

bool barren_look(pid_t pid, int mem, bool shared, const struct barren_ranges *ranges, uint64_t start, uint64_t end,
		 uint64_t page, const struct barren *known, struct barren *found)
{
	g_autofree uint8_t *bytes = g_malloc(PIECE);
	uint64_t pages = (end - start) / page;
	unsigned sampled = 0;
	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t number = (2 * i + 1) * pages / (2 * SAMPLES);
		if (!fetch(pid, mem, shared, start + number * page, bytes, page))
			return false;
		if (barren_keeps(ranges, bytes, page) && ++sampled > 1)
			return false;
	}
	*found = (struct barren){0};
	if (known && !sampled) {
		*found = *known;
		return true;
	}
	for (uint64_t at = start; at < end; at += PIECE) {
		uint64_t size = MIN(PIECE, end - at);
		if (!fetch(pid, mem, shared, at, bytes, size))
			return false;
		for (uint64_t offset = 0; offset < size; offset += page) {
			if (!barren_keeps(ranges, bytes + offset, page))
				continue;
			if (found->n == BARREN_KEPT)
				return false;
			found->kept[found->n++] = (uint16_t)((at + offset - start) / page);
		}
	}
	return true;
}
