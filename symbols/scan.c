#include "symbols/scan.h"

#include <string.h>

#include "symbols/debug_offsets.h"
#include "symbols/validate.h"

/* what is looked at of the writable data; an interpreter's has 1 MiB, an embedding program's may have much */
#define SCAN_MAX   (64u << 20)
#define PAGE       4096u
#define ARENAS_MAX (1u << 24)

/* the writable data of the image, copied once */
struct data {
	uint64_t start;
	uint64_t n; /* words */
	uint64_t *words;
};

/* Pages that can't be read are zeros: nothing is found there. */
static GArray *data_read(const struct elf_file *elf, uint64_t bias, const struct interpreter_access *access)
{
	GArray *all = g_array_new(FALSE, FALSE, sizeof(struct data));
	for (size_t i = 0; i < elf->n_segments; i++) {
		const GElf_Phdr *segment = &elf->segments[i];
		if (!(segment->p_flags & PF_W))
			continue;
		uint64_t start = (bias + segment->p_vaddr + 7) & ~7ull, size = segment->p_memsz;
		if (size < 16)
			continue;
		size = (size - 8 < SCAN_MAX ? size - 8 : SCAN_MAX) & ~7ull;
		struct data data = {.start = start, .n = size / 8, .words = g_try_malloc0(size)};
		if (!data.words)
			continue;
		for (uint64_t at = 0; at < size;) {
			uint64_t piece = PAGE - ((start + at) & (PAGE - 1));
			if (piece > size - at)
				piece = size - at;
			access->read(access->context, start + at, (uint8_t *)data.words + at, piece);
			at += piece;
		}
		g_array_append_val(all, data);
	}
	return all;
}

static void data_free(GArray *all)
{
	for (guint i = 0; i < all->len; i++)
		g_free(g_array_index(all, struct data, i).words);
	g_array_free(all, TRUE);
}

uint64_t scan_cookie(const struct elf_file *elf, uint64_t bias, const struct interpreter_access *access,
		     uint32_t *version, bool *free_threaded)
{
	GArray *all = data_read(elf, bias, access);
	uint64_t address = 0;
	for (guint i = 0; i < all->len && !address; i++) {
		const struct data *data = &g_array_index(all, struct data, i);
		for (uint64_t k = 0; k + 3 <= data->n && !address; k++)
			if (debug_offsets_version((const uint8_t *)&data->words[k], 24, version, free_threaded))
				address = data->start + k * 8;
	}
	data_free(all);
	return address;
}

static bool is_mapped(const struct maps *maps, uint64_t address, uint64_t size)
{
	const struct mapping *mapping = address & 7 ? NULL : maps_find(maps, address);
	return mapping && mapping->readable && mapping->writable && size <= mapping->end - address;
}

/*
 * Its first thread is its own, and the newest one: nothing comes before it. Pools of the allocator in a list of their
 * own pass that too; but they have no sys.__dict__.
 */
static bool is_interpreter(const struct interpreter *found, const struct maps *maps,
			   const struct interpreter_access *access, uint64_t at)
{
	const struct py_layout *layout = &found->layout;
	uint64_t thread, interp, sysdict, previous = 0;
	return is_mapped(maps, at, layout->interp_tstate_head + 8) &&
	       access_u64(access, at + layout->interp_tstate_head, &thread) && thread &&
	       is_mapped(maps, thread, layout->tstate_interp + 8) &&
	       access_u64(access, thread + layout->tstate_interp, &interp) && interp == at &&
	       (layout->tstate_prev == PY_ABSENT ||
		(access_u64(access, thread + layout->tstate_prev, &previous) && !previous)) &&
	       access_u64(access, at + layout->interp_sysdict, &sysdict) &&
	       access_is_a(access, layout, sysdict, "dict");
}

uint64_t scan_interpreters(const struct elf_file *elf, const struct interpreter *found, const struct maps *maps,
			   const struct interpreter_access *access)
{
	bool pair = found->layout.shape.gc != PY_GC_GLOBAL;
	GArray *all = data_read(elf, found->bias, access);
	uint64_t address = 0, interp = 0;
	bool clear = true;
	for (guint i = 0; i < all->len; i++) {
		const struct data *data = &g_array_index(all, struct data, i);
		for (uint64_t k = 0; k + 1 < data->n; k++) {
			uint64_t word = data->words[k], next = data->words[k + 1];
			if (!word || (pair && !next) || !is_interpreter(found, maps, access, word) ||
			    (pair && next != word && !is_interpreter(found, maps, access, next)))
				continue;
			/* a second word that says the same is a copy of it (the autoInterpreterState, say), and comes
			 * later */
			if (address && interp != word)
				clear = false;
			if (!address) {
				address = data->start + k * 8;
				interp = word;
			}
		}
	}
	data_free(all);
	return clear ? address : 0;
}

static bool is_generation(const struct interpreter *found, const struct interpreter_access *access, uint64_t head)
{
	uint64_t next, back;
	uint32_t threshold, count;
	const struct py_layout *layout = &found->layout;
	return access_u64(access, head, &next) && next && !(next & 7) && access_u64(access, next + 8, &back) &&
	       back == head && access_u32(access, head + layout->gc_generation_threshold, &threshold) &&
	       access_u32(access, head + layout->gc_generation_count, &count) && threshold && threshold < 10000000 &&
	       count < 100000000;
}

uint64_t scan_generations(const struct elf_file *elf, const struct interpreter *found,
			  const struct interpreter_access *access)
{
	GArray *all = data_read(elf, found->bias, access);
	uint64_t address = 0;
	for (guint i = 0; i < all->len && !address; i++) {
		const struct data *data = &g_array_index(all, struct data, i);
		for (uint64_t k = 0; k < data->n && !address; k++) {
			uint64_t head = data->words[k], stride = found->layout.gc_generation_size;
			/* the pointer and what it points to are both static */
			if ((head & 7) || head < found->image_start || head >= found->image_end)
				continue;
			if (is_generation(found, access, head) && is_generation(found, access, head + stride) &&
			    is_generation(found, access, head + 2 * stride))
				address = data->start + k * 8;
		}
	}
	data_free(all);
	return address;
}

/* CPython Objects/obmalloc.c, the same in all versions: address 0, pool_address 8, nfreepools 16, ntotalpools 20,
 * freepools 24 */
static bool is_arena(const struct interpreter *found, const struct maps *maps, const struct interpreter_access *access,
		     uint64_t at)
{
	const struct py_shape *shape = &found->layout.shape;
	uint64_t address, pool_address;
	uint32_t n_free, n_total, arena_index, size_class;
	uint64_t pools = shape->arena_bytes / shape->pool_bytes;
	if (!access_u64(access, at, &address) || !access_u64(access, at + 8, &pool_address) ||
	    !access_u32(access, at + 16, &n_free) || !access_u32(access, at + 20, &n_total))
		return false;
	if (!address || (address & (PAGE - 1)) || !is_mapped(maps, address, shape->arena_bytes))
		return false;
	if ((n_total != pools && n_total != pools - 1) || n_free > n_total || pool_address < address ||
	    pool_address - address > shape->arena_bytes)
		return false;
	uint64_t first = (address + shape->pool_bytes - 1) / shape->pool_bytes * shape->pool_bytes;
	return access_u32(access, first + 32, &arena_index) && access_u32(access, first + 36, &size_class) &&
	       arena_index == 0 && size_class < 64;
}

/*
 * How long the array of arena_object is, what stands in front of it tells: the debug hooks' prefix (its size,
 * big-endian, then 'r' and seven 0xFD: Objects/obmalloc.c _PyMem_DebugRawAlloc), or glibc's chunk header. CPython
 * starts with 16 and doubles, so with a chunk the length is the largest 16 * 2^k that fits. 0: neither.
 */
static uint64_t arenas_length(uint64_t array, const struct interpreter_access *access)
{
	uint64_t hook, api, chunk;
	if (!access_u64(access, array - 16, &hook) || !access_u64(access, array - 8, &api))
		return 0;
	if (api == 0xfdfdfdfdfdfdfd72ull)
		return GUINT64_FROM_BE(hook) / 48;
	chunk = api;
	uint64_t length = 16, fits = (chunk & ~15ull) / 48;
	while (length * 2 <= fits && length < ARENAS_MAX)
		length *= 2;
	return length;
}

/* The variable with this value nearest to `arenas` is maxarenas: the compiler puts the statics of a file together. */
static uint64_t maxarenas_near(const struct data *data, uint64_t arenas, uint64_t array,
			       const struct interpreter_access *access)
{
	uint64_t best = 0, best_distance = 1024, length = arenas_length(array, access);
	const uint32_t *values = (const uint32_t *)data->words;
	for (uint64_t i = 0; i < data->n * 2; i++) {
		uint64_t at = data->start + i * 4, distance = at > arenas ? at - arenas : arenas - at;
		if (length && values[i] == length && distance < best_distance) {
			best = at;
			best_distance = distance;
		}
	}
	return best;
}

bool scan_arenas(const struct elf_file *elf, const struct interpreter *found, const struct maps *maps,
		 const struct interpreter_access *access, uint64_t *arenas, uint64_t *maxarenas)
{
	GArray *all = data_read(elf, found->bias, access);
	unsigned hits = 0;
	*arenas = *maxarenas = 0;
	for (guint i = 0; i < all->len; i++) {
		const struct data *data = &g_array_index(all, struct data, i);
		for (uint64_t k = 0; k < data->n; k++) {
			uint64_t word = data->words[k];
			/* the array is malloc'ed, it isn't static */
			if (!word || (word >= found->image_start && word < found->image_end) ||
			    !is_mapped(maps, word, 48) || !is_arena(found, maps, access, word))
				continue;
			hits++;
			*arenas = data->start + k * 8;
			*maxarenas = maxarenas_near(data, *arenas, word, access);
		}
	}
	if (hits != 1 || !*maxarenas)
		*arenas = *maxarenas = 0;
	data_free(all);
	return *arenas != 0;
}
