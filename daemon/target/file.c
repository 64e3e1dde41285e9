#include "daemon/target/file.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

bool file_read_at(int fd, void *out, uint64_t size, uint64_t offset)
{
	uint64_t have = 0;
	while (have < size) {
		ssize_t n = pread(fd, (uint8_t *)out + have, size - have, (off_t)(offset + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (uint64_t)n;
	}
	return true;
}

static void window_free(void *data)
{
	struct file_window *window = data;
	munmap(window->bytes, window->size);
	g_free(window);
}

void file_init(struct file_target *file, const char *path, enum snapshot_mode mode)
{
	file->path = text_escape(path, G_MAXSIZE);
	file->mode = mode;
	file->regions = g_array_new(FALSE, TRUE, sizeof(struct file_region));
	file->windows = g_ptr_array_new_with_free_func(window_free);
	lazy_files_init(&file->files);
}

void file_clear(struct file_target *file)
{
	for (guint i = 0; i < file->regions->len; i++)
		lazy_free(g_array_index(file->regions, struct file_region, i).lazy);
	g_array_unref(file->regions);
	g_ptr_array_unref(file->windows);
	lazy_files_clear(&file->files);
	maps_free(file->maps);
	g_free(file->threads);
	g_free((char *)file->path);
}

uint8_t *file_window(struct file_target *file, uint64_t start, uint64_t end)
{
	void *bytes =
		mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return NULL;
	struct file_window *window = g_new(struct file_window, 1);
	*window = (struct file_window){bytes, end - start};
	g_ptr_array_add(file->windows, window);
	return bytes;
}

void file_region(struct file_target *file, uint64_t start, uint64_t end, uint8_t *bytes, uint32_t mapping,
		 struct lazy *lazy)
{
	struct file_region region = {
		.region = {.start = start, .size = end - start, .bytes = bytes, .mapping = mapping, .lazy = true},
		.lazy = lazy};
	g_array_append_val(file->regions, region);
}

static int region_compare(const void *a, const void *b)
{
	const struct file_region *x = a, *y = b;
	return (x->region.start > y->region.start) - (x->region.start < y->region.start);
}

void file_seal(struct file_target *file)
{
	g_array_sort(file->regions, region_compare);
	/* overlapping segments are nobody's: the first one counts */
	for (guint i = 1; i < file->regions->len;) {
		const struct file_region *before = &g_array_index(file->regions, struct file_region, i - 1),
					 *at = &g_array_index(file->regions, struct file_region, i);
		if (at->region.start - before->region.start >= before->region.size) {
			i++;
			continue;
		}
		lazy_free(at->lazy);
		g_array_remove_index(file->regions, i);
	}
}

static bool load_lazy(const struct memory *memory, const struct memory_region *region, uint64_t offset, uint64_t size)
{
	const struct file_target *file = memory->context;
	const struct file_region *from =
		&g_array_index(file->regions, struct file_region, (guint)(region - memory->regions));
	return from->lazy && lazy_load(from->lazy, region->start + offset, size);
}

void file_memory(struct file_target *file, struct memory *memory)
{
	struct memory_region *regions = g_new0(struct memory_region, file->regions->len);
	for (guint i = 0; i < file->regions->len; i++) {
		regions[i] = g_array_index(file->regions, struct file_region, i).region;
		regions[i].constant = regions[i].mapping < file->maps->n &&
				      mapping_is_constant(&file->maps->mappings[regions[i].mapping]);
	}
	memory_init(memory, regions, file->regions->len);
	memory->load = file->load ? file->load : load_lazy;
	memory->context = file;
}

static void release(snapshot_t *snapshot, void *storage)
{
	/* all belongs to the file but the regions, which snapshot_free() frees */
	(void)storage;
	snapshot->maps = NULL;
}

snapshot_t *file_snapshot(struct file_target *file)
{
	snapshot_t *snapshot = g_new0(snapshot_t, 1);
	file_memory(file, &snapshot->memory);
	snapshot->maps = file->maps;
	snapshot->residence = g_new0(struct snapshot_residence, file->maps->n);
	for (size_t i = 0; i < snapshot->memory.n_regions; i++) {
		const struct memory_region *region = &snapshot->memory.regions[i];
		if (region->mapping < file->maps->n)
			snapshot->residence[region->mapping].copied += region->size;
	}
	snapshot->threads = g_memdup2(file->threads, file->n_threads * sizeof(*file->threads));
	snapshot->n_threads = file->n_threads;
	snapshot->mode = file->mode;
	snapshot->consistent = !file->incomplete && !file->torn;
	snapshot->memory.torn = file->torn;
	snapshot->time_us = file->time_us;
	snapshot->pause_us = snapshot->elapsed_us = -1;
	snapshot->bytes_copied = file->bytes;
	snapshot->bytes_missing = file->missing;
	snapshot->rss = UINT64_MAX;
	snapshot->release = release;
	return snapshot;
}

target_t *file_target_new(struct file_target *file, pid_t pid)
{
	target_t *target = g_new0(struct target, 1);
	target->pid = pid;
	target->pidfd = target->mem = target->maps = target->presence.fd = -1;
	target->start_time = -1;
	target->file = file;
	g_mutex_init(&target->lock);
	return target;
}
