#include "daemon/target/pages.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/target/file.h"

#define CLUSTER     (16ull << 10) /* read at once: four pages cost little more than one */
#define MERGE_GAP   (8ull << 10)  /* so much between two runs is read too rather than calling the kernel twice */
#define SCAN_GAP    (1ull << 20)  /* so much between two runs is looked through rather than asking about each */
#define MAX_MAPPING (1ull << 44)  /* larger ones are some allocator's reservation, or a sanitizer's shadow */

enum pages_kind {
	PAGES_NOTHING,   /* unreadable, a device, shared with others */
	PAGES_ANONYMOUS, /* absent pages are zeros */
	PAGES_FILE,      /* pages not written to are the file's */
	PAGES_KERNEL,    /* [vdso]: the same in every process */
};

struct area {
	const struct mapping *mapping;
	enum pages_kind kind;
	struct lazy_file *file;
	uint8_t *bytes;    /* NULL: nothing was read yet */
	uint64_t *loaded;  /* a bit a page: it was read */
	uint64_t *touched; /* a bit a page: somebody looked at it */
	uint64_t *stale;   /* a bit a page: it has bytes of an earlier look; NULL: none has */
	GArray *lost; /* addresses of pages that can't be read, as guard pages in the middle of a mapping; NULL: none */
};

struct pages {
	target_t *target;
	const struct maps *maps;
	struct memory *memory;
	unsigned shift;     /* of a page's size */
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

static inline uint64_t bit_words(const pages_t *pages, const struct area *area)
{
	return ((area->mapping->end - area->mapping->start) >> pages->shift) / 64 + 1;
}

static inline bool bit_get(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static inline void bit_set(uint64_t *bits, uint64_t i)
{
	bits[i / 64] |= 1ull << i % 64;
}

static void area_clear(struct area *area)
{
	if (area->bytes)
		munmap(area->bytes, area->mapping->end - area->mapping->start);
	g_free(area->loaded);
	g_free(area->touched);
	g_free(area->stale);
	if (area->lost)
		g_array_unref(area->lost);
}

static bool area_begin(pages_t *pages, struct area *area, struct memory_region *region)
{
	uint64_t size = area->mapping->end - area->mapping->start;
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return false;
	area->loaded = g_try_malloc0_n(bit_words(pages, area), sizeof(*area->loaded));
	area->touched = g_try_malloc0_n(bit_words(pages, area), sizeof(*area->touched));
	if (!area->loaded || !area->touched) {
		g_clear_pointer(&area->loaded, g_free);
		g_clear_pointer(&area->touched, g_free);
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
	return file_read_at(pages->target->mem, area->bytes + (start - area->mapping->start), end - start, start);
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

/* Pages that the process doesn't have any more: zeros, as those it never had. */
static void wipe(const pages_t *pages, struct area *area, uint64_t start, uint64_t end)
{
	uint64_t page = pages->target->presence.page;
	for (uint64_t at = start; at < end; at += page) {
		if (bit_get(area->stale, (at - area->mapping->start) >> pages->shift))
			memset(area->bytes + (at - area->mapping->start), 0, page);
	}
}

/*
 * Our own vdso: the kernel has one for all 64-bit processes. A page of it that the process hasn't used isn't in its page tables, and reading it
 * there would put it in. NULL: the process has another one.
 */
static const uint8_t *own_vdso(uint64_t size)
{
	g_autofree char *text = NULL;
	gsize length;
	struct maps *maps =
		g_file_get_contents("/proc/self/maps", &text, &length, NULL) ? maps_parse(text, length, NULL) : NULL;
	const uint8_t *found = NULL;
	for (size_t i = 0; maps && i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		if (!strcmp(mapping->path, "[vdso]") && mapping->end - mapping->start == size)
			found = (const uint8_t *)(uintptr_t)mapping->start;
	}
	maps_free(maps);
	return found;
}

static bool read_kernel(const struct area *area, uint64_t start, uint64_t end)
{
	const struct mapping *mapping = area->mapping;
	const uint8_t *own = start < end ? own_vdso(mapping->end - mapping->start) : NULL;
	if (own)
		memcpy(area->bytes + (start - mapping->start), own + (start - mapping->start), end - start);
	return own || start >= end;
}

/* Have [start, end) of an area, of which the process has the `runs` from *cursor on. */
static bool fill(pages_t *pages, struct area *area, uint64_t start, uint64_t end, const GArray *runs, guint *cursor)
{
	uint64_t at = start;
	while (at < end) {
		while (*cursor < runs->len && g_array_index(runs, struct presence_run, *cursor).end <= at)
			++*cursor;
		struct presence_run run = {end, end};
		if (*cursor < runs->len)
			run = g_array_index(runs, struct presence_run, *cursor);
		uint64_t from = CLAMP(run.start, at, end), to = CLAMP(run.end, at, end);
		if (area->kind == PAGES_FILE && !read_file(area, at, from))
			return false;
		if (area->kind == PAGES_KERNEL && !read_kernel(area, at, from))
			return false;
		if (area->kind == PAGES_ANONYMOUS && area->stale)
			wipe(pages, area, at, from);
		if (from < to)
			read_process(pages, area, from, to);
		at = to;
	}
	return true;
}

/* Which pages of [start, end) the process has, to pages->runs. */
static bool scan(pages_t *pages, const struct area *area, uint64_t start, uint64_t end)
{
	struct presence_sum sum = {0};
	g_array_set_size(pages->runs, 0);
	return presence_scan(&pages->target->presence, start, end,
			     area->kind == PAGES_FILE ? PRESENCE_ANONYMOUS : PRESENCE_CONTENT, pages->runs, &sum);
}

static uint64_t page_address(const pages_t *pages, const struct area *area, uint64_t page)
{
	return MIN(area->mapping->start + (page << pages->shift), area->mapping->end);
}

/* Read the pages [first, last] and those around them, as far as they aren't there yet. */
static bool load_around(pages_t *pages, struct area *area, uint64_t first, uint64_t last)
{
	uint64_t cluster = MAX(CLUSTER >> pages->shift, 1);
	uint64_t limit = (area->mapping->end - area->mapping->start) >> pages->shift;
	uint64_t page = first / cluster * cluster, end = MIN((last / cluster + 1) * cluster, limit);
	while (page < end) {
		uint64_t next = page;
		while (next < end && !bit_get(area->loaded, next))
			next++;
		if (next == page) {
			page++;
			continue;
		}
		uint64_t from = page_address(pages, area, page), to = page_address(pages, area, next);
		guint cursor = 0;
		if (!scan(pages, area, from, to) || !fill(pages, area, from, to, pages->runs, &cursor))
			return false;
		while (page < next)
			bit_set(area->loaded, page++);
	}
	return true;
}

static bool pages_load(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size)
{
	pages_t *pages = memory->context;
	struct area *area = &pages->areas[region->mapping];
	const struct mapping *mapping = area->mapping;
	uint64_t first = offset >> pages->shift, last = (offset + size - 1) >> pages->shift;
	/* once it is there, which is nearly always */
	if (first == last && area->bytes && bit_get(area->touched, first) && bit_get(area->loaded, first) &&
	    !area->lost)
		return true;
	if (!area->bytes && !area_begin(pages, area, (struct memory_region *)region))
		return false;
	for (uint64_t i = first; i <= last; i++) {
		bit_set(area->touched, i);
		if (bit_get(area->loaded, i))
			continue;
		if (!pages->held && mapping->writable)
			return false;
		if (!load_around(pages, area, i, last))
			return false;
	}
	return !any_lost(pages, area, mapping->start + offset, mapping->start + offset + size);
}

/* ---- what an earlier look is good for ---- */

static void area_touched(const pages_t *pages, const struct area *area, GArray *runs)
{
	uint64_t words = bit_words(pages, area);
	for (uint64_t page = 0; page < words * 64; page++) {
		if (!area->touched[page / 64]) {
			page |= 63;
			continue;
		}
		if (!bit_get(area->touched, page))
			continue;
		struct presence_run run = {page_address(pages, area, page), page_address(pages, area, page + 1)};
		struct presence_run *last = runs->len ? &g_array_index(runs, struct presence_run, runs->len - 1) : NULL;
		if (last && last->start >= area->mapping->start && run.start - last->end <= MERGE_GAP)
			last->end = run.end;
		else if (run.start < run.end)
			g_array_append_val(runs, run);
	}
}

GArray *pages_touched(const pages_t *pages)
{
	GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct presence_run));
	for (size_t i = 0; i < pages->maps->n; i++) {
		if (pages->areas[i].bytes)
			area_touched(pages, &pages->areas[i], runs);
	}
	return runs;
}

static bool same_mapping(const struct mapping *a, const struct mapping *b)
{
	return a->start == b->start && a->end == b->end && a->writable == b->writable && a->shared == b->shared &&
	       a->inode == b->inode && a->device_major == b->device_major && a->device_minor == b->device_minor &&
	       a->offset == b->offset && !strcmp(a->path, b->path);
}

/* Take the storage of an area over, and its bytes too where they can't have changed. */
static void area_adopt(pages_t *pages, struct area *area, struct memory_region *region, struct area *from)
{
	g_autofree uint64_t *spare = g_try_malloc0_n(bit_words(pages, area), sizeof(*spare));
	if (!spare)
		return;
	area->bytes = g_steal_pointer(&from->bytes);
	area->loaded = g_steal_pointer(&from->loaded);
	area->touched = g_steal_pointer(&from->touched);
	area->file = from->file;
	region->bytes = area->bytes;
	memset(area->touched, 0, bit_words(pages, area) * sizeof(*area->touched));
	if (!area->mapping->writable) {
		area->lost = g_steal_pointer(&from->lost);
		return;
	}
	area->stale = g_steal_pointer(&area->loaded);
	area->loaded = g_steal_pointer(&spare);
}

void pages_adopt(pages_t *pages, pages_t *from)
{
	size_t k = 0;
	for (size_t i = 0; i < pages->maps->n; i++) {
		struct area *area = &pages->areas[i];
		while (k < from->maps->n && from->areas[k].mapping->start < area->mapping->start)
			k++;
		if (k == from->maps->n || !from->areas[k].bytes || !same_mapping(area->mapping, from->areas[k].mapping))
			continue;
		struct memory_region *region = (struct memory_region *)memory_find(pages->memory, area->mapping->start);
		if (region && region->mapping == i)
			area_adopt(pages, area, region, &from->areas[k]);
	}
	/* the open files go with the areas */
	struct lazy_files files = pages->files;
	pages->files = from->files;
	from->files = files;
}

/* Read the runs [first, next) of `wanted`, which lie in one area and not far from each other. */
static bool preload(pages_t *pages, struct area *area, const GArray *wanted, guint first, guint next)
{
	const struct presence_run *runs = (const struct presence_run *)(const void *)wanted->data;
	uint64_t base = area->mapping->start, limit = area->mapping->end;
	guint cursor = 0;
	if (!scan(pages, area, runs[first].start, MIN(runs[next - 1].end, limit)))
		return false;
	for (guint i = first; i < next; i++) {
		uint64_t end = MIN(runs[i].end, limit), page = (runs[i].start - base) >> pages->shift;
		if (bit_get(area->loaded, page))
			continue; /* can't have changed */
		if (!fill(pages, area, runs[i].start, end, pages->runs, &cursor))
			return false;
		while (page_address(pages, area, page) < end)
			bit_set(area->loaded, page++);
	}
	return true;
}

void pages_preload(pages_t *pages, const GArray *wanted)
{
	const struct presence_run *runs = (const struct presence_run *)(const void *)wanted->data;
	for (guint first = 0, next; first < wanted->len; first = next) {
		const struct memory_region *region = memory_find(pages->memory, runs[first].start);
		next = first + 1;
		if (!region)
			continue;
		while (next < wanted->len && runs[next].start - region->start < region->size &&
		       runs[next].start - runs[next - 1].end <= SCAN_GAP)
			next++;
		struct area *area = &pages->areas[region->mapping];
		if (area->bytes || area_begin(pages, area, (struct memory_region *)region))
			preload(pages, area, wanted, first, next);
	}
}

/* ---- lifecycle ---- */

pages_t *pages_new(target_t *target, const struct maps *maps, struct memory *memory)
{
	pages_t *pages = g_new0(pages_t, 1);
	pages->target = target;
	pages->maps = maps;
	pages->areas = g_new0(struct area, maps->n);
	pages->memory = memory;
	pages->shift = (unsigned)__builtin_ctzll(target->presence.page);
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
								     .constant = mapping_is_constant(mapping),
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
	for (size_t i = 0; i < pages->maps->n; i++)
		area_clear(&pages->areas[i]);
	lazy_files_clear(&pages->files);
	g_array_unref(pages->runs);
	g_free(pages->areas);
	g_free(pages->regions);
	g_free(pages);
}
