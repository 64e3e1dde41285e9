/*
 * libFuzzer over the heap readers: saved images of real interpreters (REFTOP_FUZZ_IMAGES, a directory; `make fuzz` fills it with a small one of
 * each version at hand) are changed in memory, read, and put back. No answer may be a crash, a hang or a read outside.
 *
 * An input is: which image, what to ask, then changes of 13 bytes each: where, what kind of place and of change, and what to write. Places are
 * what the readers go by: headers of objects, the structures of the interpreter and what they point to, headers of pools and segments; and,
 * rarely of use, any word.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/analysis/instances.h"
#include "daemon/analysis/leaks.h"
#include "daemon/analysis/stacks.h"
#include "daemon/heap/census.h"
#include "daemon/heap/threads.h"
#include "daemon/source/live.h"
#include "daemon/source/live_private.h"
#include "daemon/target/file.h"

#define IMAGES  32
#define CHANGES 64
#define ROOT    4096 /* bytes of a structure of the interpreter that are looked at for pointers */

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
	/* addresses: where objects are, where structures of the interpreter and what they point to, where pools and segments begin */
	GArray *objects, *roots, *headers;
};

static struct image images[IMAGES];
static size_t n_images;

/* What is in memory now needn't be looked for in the file at every read. */
static void set_loaded(const struct image *image, uint64_t start)
{
	GArray *regions = ((struct live *)image->source)->target->file->regions;
	for (guint i = 0; i < regions->len; i++) {
		struct memory_region *region = &g_array_index(regions, struct file_region, i).region;
		if (region->start == start)
			region->lazy = false;
	}
}

/* The picture, but for what is too large to be worth it. */
static void find_spans(struct image *image)
{
	const struct memory *memory = &image->snapshot->memory;
	image->spans = g_new0(struct span, memory->n_regions);
	for (size_t i = 0; i < memory->n_regions; i++) {
		const struct memory_region *region = &memory->regions[i];
		const void *bytes = memory_at(memory, region->start, region->size);
		if (!bytes || region->size > 64u << 20)
			continue;
		set_loaded(image, region->start);
		image->spans[image->n_spans++] = (struct span){(uint8_t *)bytes, region->start, region->size};
		image->size += region->size;
	}
}

static void add_address(GArray *addresses, GHashTable *seen, uint64_t address)
{
	if (g_hash_table_add(seen, GSIZE_TO_POINTER(address)))
		g_array_append_val(addresses, address);
}

struct finding {
	struct image *image;
	GHashTable *seen;
};

static void visit_objects(void *context, const struct objects *objects)
{
	static const uint64_t steps[] = {4096, 16384, 65536, 256 << 10, 1 << 20, 32 << 20};
	struct finding *finding = context;
	for (size_t k = 0; k < objects->n; k++) {
		uint64_t address = objects_nth(objects, k).address;
		g_array_append_val(finding->image->objects, address);
		/* pools, chunks, arenas and segments lie where such a step begins */
		for (size_t i = 0; i < G_N_ELEMENTS(steps); i++)
			add_address(finding->image->headers, finding->seen, address / steps[i] * steps[i]);
	}
}

static void forget_objects(void *context)
{
	g_array_set_size(((struct finding *)context)->image->objects, 0);
}

static void add_root(struct image *image, GHashTable *seen, uint64_t address)
{
	const struct memory *memory = &image->snapshot->memory;
	add_address(image->roots, seen, address);
	for (uint64_t at = 0; at < ROOT; at += 8) {
		uint64_t word;
		if (memory_u64(memory, address + at, &word) && memory_find(memory, word))
			add_address(image->roots, seen, word & ~UINT64_C(7));
	}
}

static gboolean find_places(struct image *image, GError **error)
{
	const snapshot_t *snapshot = image->snapshot;
	const interpreter_t *python = target_interpreter(((struct live *)image->source)->target);
	g_autoptr(heap_t) heap = heap_open(&snapshot->memory, snapshot->maps, python, error);
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL), seen_headers = g_hash_table_new(NULL, NULL);
	struct finding finding = {image, seen_headers};
	void *contexts[] = {&finding};
	const struct census_visitor visitor = {visit_objects, forget_objects, contexts, 1};
	struct census census;
	image->objects = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	image->roots = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	image->headers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	if (!heap || !census_take(heap, CENSUS_ALL, &visitor, &census, error))
		return FALSE;
	census_clear(&census);
	if (python->runtime)
		add_root(image, seen, python->runtime);
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		const struct heap_interpreter *interpreter = &heap->interpreters[i];
		add_root(image, seen, interpreter->address);
		for (size_t g = 0; g < interpreter->collector.n_generations; g++)
			add_address(image->roots, seen, interpreter->collector.generations[g].head);
	}
	g_autoptr(GArray) threads = threads_read(heap);
	for (guint i = 0; i < threads->len; i++)
		add_root(image, seen, g_array_index(threads, struct thread, i).address);
	return image->objects->len && image->roots->len;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted: an input is of the same image everywhere. */
static GPtrArray *list_names(const char *directory)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) dir = directory ? g_dir_open(directory, 0, NULL) : NULL;
	for (const char *name; dir && (name = g_dir_read_name(dir));)
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, compare_names);
	return names;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *directory = getenv("REFTOP_FUZZ_IMAGES");
	g_autoptr(GPtrArray) names = list_names(directory);
	const struct live_options options = {0};
	for (guint i = 0; i < names->len && n_images < IMAGES; i++) {
		const char *name = names->pdata[i];
		g_autofree char *path = g_build_filename(directory, name, NULL);
		const struct file_options file = {.path = path};
		struct image *image = &images[n_images];
		g_autoptr(GError) error = NULL;
		image->source = source_file_new(&file, &options, &error);
		image->snapshot = image->source
					  ? target_snapshot(((struct live *)image->source)->target,
							    &(struct snapshot_options){.extent = SNAPSHOT_ALL}, &error)
					  : NULL;
		if (!image->snapshot || !find_places(image, &error)) {
			fprintf(stderr, "LEFT OUT %s: %s\n", path, error ? error->message : "nothing in it");
			continue;
		}
		find_spans(image);
		fprintf(stderr, "%s: %.1f MB, %u objects, %u roots, %u headers\n", name, (double)image->size / 1e6,
			image->objects->len, image->roots->len, image->headers->len);
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

static uint8_t *any_place(const struct image *image, uint32_t share)
{
	uint64_t at = (uint64_t)((double)share / 4294967296.0 * (double)image->size);
	for (size_t i = 0; i < image->n_spans; i++) {
		if (at < image->spans[i].size)
			return at + 8 <= image->spans[i].size ? image->spans[i].bytes + (at & ~UINT64_C(7)) : NULL;
		at -= image->spans[i].size;
	}
	return NULL;
}

/* A word of one of the places: the upper bits of `share` say of which, `words` (a power of two) how many there are from `before` bytes in front. */
static uint8_t *chosen_place(const struct image *image, const GArray *places, uint32_t share, uint32_t words,
			     uint64_t before)
{
	uint64_t address = g_array_index(places, uint64_t, share / words % places->len);
	return (uint8_t *)memory_at(&image->snapshot->memory, address - before + share % words * 8, 8);
}

static uint8_t *place(const struct image *image, uint32_t share, unsigned kind)
{
	switch (kind % 4) {
	case 0:
		return chosen_place(image, image->objects, share, 16, 16);
	case 1:
		return chosen_place(image, image->roots, share, 512, 0);
	case 2:
		return chosen_place(image, image->headers, share, 64, 0);
	default:
		return any_place(image, share);
	}
}

static size_t apply(struct image *image, const uint8_t *data, size_t size, struct change *changes)
{
	size_t n = 0;
	for (; size >= 13 && n < CHANGES; data += 13, size -= 13) {
		uint32_t share;
		uint64_t value, old;
		memcpy(&share, data, 4);
		memcpy(&value, data + 5, 8);
		uint8_t *at = place(image, share, data[4] >> 2);
		if (!at)
			continue;
		memcpy(&old, at, 8);
		changes[n++] = (struct change){at, old};
		switch (data[4] % 4) {
		case 0: /* any word */
			break;
		case 1: /* an address of the picture, more often than not an object's */
			value = value & 3 ? g_array_index(image->objects, uint64_t, (value >> 2) % image->objects->len)
					  : image->spans[(value >> 2) % image->n_spans].address +
						    (value >> 32) % 4096 * 8;
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

/* Stacks are read in a twentieth of the time of everything. */
static void ask(struct image *image, unsigned what)
{
	source_t *source = image->source;
	const struct stacks_options options = {.locals = what & 1, .tasks = what & 2};
	switch (what % 64) {
	case 0:
		leaks_free(source->ops->leaks(source, 10, NULL));
		break;
	case 1:
		instances_free(source->ops->instances(source, "dict", NULL, 5, NULL));
		break;
	case 2:
		explanation_free(source->ops->explain(
			source, g_array_index(image->objects, uint64_t, what * 97 % image->objects->len), NULL));
		break;
	default:
		if (what & 4)
			stacks_free(source->ops->stacks(source, &options, NULL));
		else
			sample_unref(source_next(source, NULL));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct change changes[CHANGES];
	if (size < 15)
		return 0;
	struct image *image = &images[data[0] % n_images];
	size_t n = apply(image, data + 2, size - 2, changes);
	ask(image, data[1]);
	while (n--)
		memcpy(changes[n].at, &changes[n].before, 8);
	return 0;
}
