/*
 * libFuzzer over the heap readers: saved images of real interpreters (REFTOP_FUZZ_IMAGES, a directory; `make fuzz` fills it with one of
 * each version at hand) are changed in memory, read, and put back. An input is: which image, then changes of 13 bytes each: where (a share of
 * the memory that holds objects), how, and what to write. No answer may be a crash, a hang or a read outside.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/analysis/leaks.h"
#include "daemon/analysis/stacks.h"
#include "daemon/source/live.h"
#include "daemon/source/live_private.h"

#define IMAGES  32
#define CHANGES 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct image {
	source_t *source;
	snapshot_t *snapshot; /* whose memory is that of all later ones */
	struct span {
		uint8_t *bytes;
		uint64_t address, size;
	} * spans;
	size_t n_spans;
	uint64_t size;
};

static struct image images[IMAGES];
static size_t n_images;

/* The writable part of the picture that the readers look at: what isn't loaded lazily from the interpreter's own file. */
static void find_spans(struct image *image)
{
	const struct memory *memory = &image->snapshot->memory;
	image->spans = g_new0(struct span, memory->n_regions);
	for (size_t i = 0; i < memory->n_regions; i++) {
		const struct memory_region *region = &memory->regions[i];
		const void *bytes = memory_at(memory, region->start, region->size);
		if (!bytes || region->size > 64u << 20)
			continue;
		image->spans[image->n_spans++] = (struct span){(uint8_t *)bytes, region->start, region->size};
		image->size += region->size;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *directory = getenv("REFTOP_FUZZ_IMAGES");
	GDir *dir = directory ? g_dir_open(directory, 0, NULL) : NULL;
	const struct live_options options = {0};
	for (const char *name; dir && n_images < IMAGES && (name = g_dir_read_name(dir));) {
		g_autofree char *path = g_build_filename(directory, name, NULL);
		const struct file_options file = {.path = path};
		struct image *image = &images[n_images];
		g_autoptr(GError) error = NULL;
		image->source = source_file_new(&file, &options, &error);
		image->snapshot = image->source
					  ? target_snapshot(((struct live *)image->source)->target,
							    &(struct snapshot_options){.extent = SNAPSHOT_ALL}, &error)
					  : NULL;
		if (!image->snapshot) {
			fprintf(stderr, "LEFT OUT %s: %s\n", path, error->message);
			continue;
		}
		find_spans(image);
		fprintf(stderr, "%s: %.1f MB\n", name, (double)image->size / 1e6);
		n_images++;
	}
	if (!n_images) {
		fprintf(stderr, "no images in REFTOP_FUZZ_IMAGES\n");
		exit(1);
	}
	return 0;
}

/* what is changed, to be put back */
struct change {
	uint8_t *at;
	uint64_t before;
};

static uint8_t *place(struct image *image, uint32_t share)
{
	uint64_t at = (uint64_t)((double)share / 4294967296.0 * (double)image->size);
	for (size_t i = 0; i < image->n_spans; i++) {
		if (at < image->spans[i].size)
			return at + 8 <= image->spans[i].size ? image->spans[i].bytes + (at & ~UINT64_C(7)) : NULL;
		at -= image->spans[i].size;
	}
	return NULL;
}

static size_t apply(struct image *image, const uint8_t *data, size_t size, struct change *changes)
{
	size_t n = 0;
	for (; size >= 13 && n < CHANGES; data += 13, size -= 13) {
		uint32_t share;
		uint64_t value, old;
		memcpy(&share, data, 4);
		memcpy(&value, data + 5, 8);
		uint8_t *at = place(image, share);
		if (!at)
			continue;
		memcpy(&old, at, 8);
		changes[n++] = (struct change){at, old};
		switch (data[4] % 4) {
		case 0: /* any word */
			break;
		case 1: /* an address of the picture */
			value = image->spans[value % image->n_spans].address + (value >> 32) % 4096 * 8;
			break;
		case 2: /* what is there, a little off */
			value = old + (int64_t)(int8_t)value;
			break;
		case 3: /* one bit */
			value = old ^ UINT64_C(1) << (value & 63);
			break;
		}
		memcpy(at, &value, 8);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct change changes[CHANGES];
	if (size < 15)
		return 0;
	struct image *image = &images[data[0] % n_images];
	size_t n = apply(image, data + 2, size - 2, changes);
	sample_t *sample = source_next(image->source, NULL);
	sample_unref(sample);
	if (data[1] % 4 == 1) {
		const struct stacks_options options = {.locals = true};
		stacks_free(image->source->ops->stacks(image->source, &options, NULL));
	}
	if (data[1] % 8 == 2)
		leaks_free(image->source->ops->leaks(image->source, 10, NULL));
	while (n--)
		memcpy(changes[n].at, &changes[n].before, 8);
	return 0;
}
