#include "daemon/target/pages.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLUSTER     (16ull << 10) /* read at once: four pages cost little more than one */
#define MAX_MAPPING (1ull << 44)  /* larger ones are some allocator's reservation, or a sanitizer's shadow */

enum pages_kind {
	PAGES_NOTHING,   /* unreadable, a device, shared with others */
	PAGES_ANONYMOUS, /* absent pages are zeros */
	PAGES_FILE,      /* pages not written to are the file's */
	PAGES_KERNEL,    /* [vdso]: always there */
};

struct area {
	const struct mapping *mapping;
	enum pages_kind kind;
	struct lazy_file *file;
	uint8_t *bytes;   /* NULL: nothing was read yet */
	uint64_t *loaded; /* a bit a cluster */
	GArray *lost; /* addresses of pages that can't be read, as guard pages in the middle of a mapping; NULL: none */
};

struct pages {
	target_t *target;
	const struct maps *maps;
	struct area *areas; /* maps->n */
	struct memory_region *regions;
	struct lazy_files files;
	GArray *runs;
	uint64_t bytes;
	bool held;
};

static enum pages_kind classify(const struct mapping *mapping)
{
	const char *path = mapping->path;
	if (!mapping->readable || mapping->end - mapping->start > MAX_MAPPING)
		return PAGES_NOTHING;
	if (!path[0])
		return mapping->shared || mapping->inode ? PAGES_NOTHING : PAGES_ANONYMOUS;
	if (!strcmp(path, "[heap]") || g_str_has_prefix(path, "[anon:") || g_str_has_prefix(path, "[stack"))
		return PAGES_ANONYMOUS;
	if (!strcmp(path, "[vdso]"))
		return PAGES_KERNEL;
	if (path[0] != '/' || (mapping->shared && mapping->writable))
		return PAGES_NOTHING;
	if (!mapping->shared && (!strcmp(path, "/dev/zero") || g_str_has_prefix(path, "/anon_hugepage")))
		return PAGES_ANONYMOUS;
	if (g_str_has_prefix(path, "/dev/") && !g_str_has_prefix(path, "/dev/shm/"))
		return PAGES_NOTHING; /* device memory: reading it may do something */
	return PAGES_FILE;
}

/* ---- reading ---- */

static uint64_t clusters(const struct area *area)
{
	return (area->mapping->end - area->mapping->start + CLUSTER - 1) / CLUSTER;
}

static bool area_begin(pages_t *pages, struct area *area, struct memory_region *region)
{
	uint64_t size = area->mapping->end - area->mapping->start;
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return false;
	area->loaded = g_try_malloc0((clusters(area) / 64 + 1) * sizeof(*area->loaded));
	if (!area->loaded) {
		munmap(bytes, size);
		return false;
	}
	area->bytes = bytes;
	region->bytes = bytes;
	if (area->kind == PAGES_FILE)
		area->file = lazy_files_open(&pages->files, pages->target->pid, area->mapping);
	return true;
}

/* Read from a descriptor; what is missing at the end stays zero. False: nothing could be read. */
static bool read_some(int fd, uint8_t *to, uint64_t size, uint64_t offset)
{
	uint64_t have = 0;
	while (have < size) {
		ssize_t n = pread(fd, to + have, size - have, (off_t)(offset + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (uint64_t)n;
	}
	return have > 0;
}

static bool read_mem(const pages_t *pages, const struct area *area, uint64_t start, uint64_t end)
{
	uint8_t *to = area->bytes + (start - area->mapping->start);
	uint64_t have = 0;
	while (have < end - start) {
		ssize_t n = pread(pages->target->mem, to + have, end - start - have, (off_t)(start + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (uint64_t)n;
	}
	return true;
}

/* What can't be read (guard pages that MADV_GUARD_INSTALL put into a mapping, Linux 6.13) is noted page by page. */
static void read_process(pages_t *pages, struct area *area, uint64_t start, uint64_t end)
{
	uint64_t page = pages->target->presence.page;
	pages->bytes += end - start;
	if (read_mem(pages, area, start, end))
		return;
	for (uint64_t at = start; at < end; at += page) {
		if (read_mem(pages, area, at, MIN(at + page, end)))
			continue;
		if (!area->lost)
			area->lost = g_array_new(FALSE, FALSE, sizeof(uint64_t));
		g_array_append_val(area->lost, at);
	}
}

static bool any_lost(const pages_t *pages, const struct area *area, uint64_t start, uint64_t end)
{
	for (guint i = 0; area->lost && i < area->lost->len; i++) {
		uint64_t at = g_array_index(area->lost, uint64_t, i);
		if (at < end && start < at + pages->target->presence.page)
			return true;
	}
	return false;
}

static bool read_file(const struct area *area, uint64_t start, uint64_t end)
{
	const struct mapping *mapping = area->mapping;
	return start >= end || (area->file && area->file->fd >= 0 &&
				read_some(area->file->fd, area->bytes + (start - mapping->start), end - start,
					  mapping->offset + (start - mapping->start)));
}

/* Read [start, end), whole clusters of one mapping. */
static bool read_range(pages_t *pages, struct area *area, uint64_t start, uint64_t end)
{
	struct presence_sum sum = {0};
	if (area->kind == PAGES_KERNEL) {
		read_process(pages, area, start, end);
		return true;
	}
	g_array_set_size(pages->runs, 0);
	if (!presence_scan(&pages->target->presence, start, end,
			   area->kind == PAGES_FILE ? PRESENCE_ANONYMOUS : PRESENCE_CONTENT, pages->runs, &sum))
		return false;
	uint64_t at = start;
	for (guint i = 0; i <= pages->runs->len; i++) {
		const struct presence_run *run =
			i < pages->runs->len ? &g_array_index(pages->runs, struct presence_run, i) : NULL;
		if (area->kind == PAGES_FILE && !read_file(area, at, run ? run->start : end))
			return false;
		if (run)
			read_process(pages, area, run->start, run->end);
		at = run ? run->end : end;
	}
	return true;
}

static bool pages_load(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size)
{
	pages_t *pages = memory->context;
	struct area *area = &pages->areas[region->mapping];
	const struct mapping *mapping = area->mapping;
	uint64_t first = offset / CLUSTER, last = (offset + size - 1) / CLUSTER;
	if (!area->bytes && !area_begin(pages, area, (struct memory_region *)region))
		return false;
	for (uint64_t i = first; i <= last; i++) {
		if (area->loaded[i / 64] >> i % 64 & 1)
			continue;
		if (!pages->held && mapping->writable)
			return false;
		uint64_t k = i;
		while (k <= last && !(area->loaded[k / 64] >> k % 64 & 1))
			k++;
		if (!read_range(pages, area, mapping->start + i * CLUSTER,
				MIN(mapping->start + k * CLUSTER, mapping->end)))
			return false;
		for (; i < k; i++)
			area->loaded[i / 64] |= 1ull << i % 64;
	}
	return !any_lost(pages, area, mapping->start + offset, mapping->start + offset + size);
}

/* ---- lifecycle ---- */

pages_t *pages_new(target_t *target, const struct maps *maps, struct memory *memory)
{
	pages_t *pages = g_new0(pages_t, 1);
	pages->target = target;
	pages->maps = maps;
	pages->areas = g_new0(struct area, maps->n);
	pages->runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	pages->held = true;
	lazy_files_init(&pages->files);
	pages->regions = g_new0(struct memory_region, maps->n);
	size_t n = 0;
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		pages->areas[i].mapping = mapping;
		pages->areas[i].kind = classify(mapping);
		if (pages->areas[i].kind != PAGES_NOTHING)
			pages->regions[n++] = (struct memory_region){.start = mapping->start,
								     .size = mapping->end - mapping->start,
								     .mapping = (uint32_t)i,
								     .lazy = true};
	}
	memory_init(memory, pages->regions, n);
	memory->load = pages_load;
	memory->context = pages;
	return pages;
}

void pages_release(pages_t *pages)
{
	pages->held = false;
}

uint64_t pages_bytes(const pages_t *pages)
{
	return pages->bytes;
}

void pages_free(pages_t *pages)
{
	if (!pages)
		return;
	for (size_t i = 0; i < pages->maps->n; i++) {
		struct area *area = &pages->areas[i];
		if (area->bytes)
			munmap(area->bytes, area->mapping->end - area->mapping->start);
		g_free(area->loaded);
		if (area->lost)
			g_array_unref(area->lost);
	}
	lazy_files_clear(&pages->files);
	g_array_unref(pages->runs);
	g_free(pages->areas);
	g_free(pages->regions);
	g_free(pages);
}
