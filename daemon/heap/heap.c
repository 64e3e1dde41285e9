#include "daemon/heap/heap.h"

#include <inttypes.h>

#include "base/error.h"
#include "daemon/heap/gc.h"
#include "daemon/heap/type.h"

/* entries of a ring: Include/internal/pycore_interp_structs.h, GC_YOUNG_STATS_SIZE is the larger one */
#define GC_STATS_RING 11

/*
 * How often generation `i` was collected, in all; -1: this version doesn't keep it here. Up to 3.14 an array in the collector's state;
 * from 3.15 a ring for each generation, whose entry `index` is the newest and counts on from the one before (Python/gc.c).
 */
static int64_t collections_read(const heap_t *heap, uint64_t state, size_t i)
{
	const struct py_layout *layout = heap->layout;
	uint64_t collections, rings;
	uint8_t index;
	if (!heap_has(layout->gc_stats) || !heap_has(layout->gc_stats_collections))
		return -1;
	if (!heap_has(layout->gc_stats_young)) {
		uint64_t entry = state + layout->gc_stats + i * layout->gc_stats_entry_size;
		return memory_u64(heap->memory, entry + layout->gc_stats_collections, &collections)
			       ? (int64_t)collections
			       : -1;
	}
	if (!memory_u64(heap->memory, state + layout->gc_stats, &rings))
		return -1;
	uint64_t ring =
		rings + (i ? layout->gc_stats_old + (i - 1) * layout->gc_stats_old_size : layout->gc_stats_young);
	uint64_t index_at =
		ring + (i ? layout->gc_stats_old_index : layout->gc_stats_young_index - layout->gc_stats_young);
	if (!memory_u8(heap->memory, index_at, &index) || index >= GC_STATS_RING)
		return -1;
	uint64_t entry = ring + index * (uint64_t)layout->gc_stats_entry_size;
	return memory_u64(heap->memory, entry + layout->gc_stats_collections, &collections) ? (int64_t)collections : -1;
}

/* The lists of one collector; false when something of them isn't there. */
static bool generations_read(const heap_t *heap, uint64_t state, struct heap_collector *collector)
{
	const struct py_layout *layout = heap->layout;
	uint64_t first = 0;
	if (layout->shape.gc == PY_GC_GLOBAL) {
		if (!memory_u64(heap->memory, heap->python->gc_generation0, &first))
			return false;
	} else if (heap_has(layout->gc_generation0)) {
		/* the pointer is right where the offset of the array drifted inside a minor version (3.13.0 and 3.13.5) */
		if (!memory_u64(heap->memory, state + layout->gc_generation0, &first))
			return false;
	} else {
		first = state + layout->gc_generations;
	}
	collector->n_generations = HEAP_MAX_GENERATIONS;
	for (size_t i = 0; i < HEAP_MAX_GENERATIONS; i++) {
		struct heap_generation *generation = &collector->generations[i];
		uint32_t count, threshold;
		generation->head = first + i * layout->gc_generation_size;
		if (!memory_u32(heap->memory, generation->head + layout->gc_generation_count, &count) ||
		    !memory_u32(heap->memory, generation->head + layout->gc_generation_threshold, &threshold))
			return false;
		generation->count = (int32_t)count;
		generation->threshold = (int32_t)threshold;
		generation->collections = collections_read(heap, state, i);
	}
	if (heap_has(layout->gc_permanent))
		collector->permanent = state + layout->gc_permanent;
	return true;
}

/* Read one collector state; false when something of it isn't there. */
static bool collector_read(const heap_t *heap, uint64_t state, struct heap_collector *collector)
{
	const struct py_layout *layout = heap->layout;
	/* a 3.6 that is stripped doesn't say; few programs switch the collector off, and its lists stay whole while it works */
	uint32_t enabled = layout->shape.gc == PY_GC_GLOBAL, collecting = 0;
	if (layout->shape.gc == PY_GC_GLOBAL) {
		if (heap->python->gc_enabled)
			memory_u32(heap->memory, heap->python->gc_enabled, &enabled);
		if (heap->python->gc_collecting)
			memory_u32(heap->memory, heap->python->gc_collecting, &collecting);
	}
	if (heap_has(layout->gc_enabled) && !memory_u32(heap->memory, state + layout->gc_enabled, &enabled))
		return false;
	if (heap_has(layout->gc_collecting) && !memory_u32(heap->memory, state + layout->gc_collecting, &collecting))
		return false;
	collector->enabled = enabled != 0;
	collector->collecting = collecting != 0;
	return layout->shape.gc == PY_GC_NONE || generations_read(heap, state, collector);
}

/* Whether the list around `head` looks like one: a neighbour points back. One of them may be on its way in or out. */
static bool list_plausible(const heap_t *heap, uint64_t head)
{
	uint64_t next, prev, link;
	if (!memory_u64(heap->memory, head, &next) || !memory_u64(heap->memory, head + 8, &prev))
		return false;
	/* while a collection runs the back links hold reference counts; in a torn copy neighbours may be of another moment */
	if (memory_u64(heap->memory, (next & ~3ull) + 8, &link) &&
	    (heap->collecting || heap->memory->torn || (link & ~3ull) == head))
		return true;
	return memory_u64(heap->memory, prev & ~3ull, &link) && (link & ~3ull) == head;
}

/*
 * The first of a collector's lists that doesn't look like one; 0: they are lists. One of them may be odd: it is getting its first object (it leads
 * to it, nothing leads back yet), or all of its objects are on their way to another (CPython Modules/gcmodule.c, gc_list_merge()).
 */
static uint64_t first_odd_list(const heap_t *heap, const struct heap_collector *collector)
{
	uint64_t first = 0;
	size_t odd = 0;
	for (size_t i = 0; i < collector->n_generations; i++) {
		uint64_t head = collector->generations[i].head;
		if (!list_plausible(heap, head) && !odd++)
			first = head;
	}
	return odd > 1 || odd == collector->n_generations ? first : 0;
}

static bool collectors_read(heap_t *heap, GError **error)
{
	const struct py_layout *layout = heap->layout;
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		struct heap_interpreter *interpreter = &heap->interpreters[i];
		uint64_t state = interpreter->address + layout->interp_gc;
		if (layout->shape.gc == PY_GC_RUNTIME)
			state = heap->python->runtime + layout->runtime_gc;
		if (!collector_read(heap, state, &interpreter->collector)) {
			error_set(error, HEAP_ERROR, REFTOP_ERROR_UNKNOWN,
				  "the collector's state isn't where the layout says", NULL,
				  "cannot read the heap of CPython %s", heap->python->version_text);
			return false;
		}
		heap->collecting |= interpreter->collector.collecting;
		if (layout->shape.gc == PY_GC_RUNTIME || layout->shape.gc == PY_GC_GLOBAL)
			break;
	}
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		const struct heap_collector *collector = &heap->interpreters[i].collector;
		uint64_t odd = first_odd_list(heap, collector);
		if (!odd)
			continue;
		g_autofree char *cause = g_strdup_printf(
			"there are no lists of objects, as at 0x%" PRIx64 "; is this CPython patched?", odd);
		error_set(error, HEAP_ERROR, REFTOP_ERROR_UNKNOWN, cause,
			  "install the interpreter's debug symbols, from which the layout is read",
			  "the layout of CPython %s doesn't fit this process", heap->python->version_text);
		return false;
	}
	return true;
}

/* 3.6 has no _PyRuntime: the roots are statics of their own. */
static uint64_t first_interpreter(const heap_t *heap)
{
	uint64_t where = heap->python->interp_head, first = 0;
	if (heap->python->runtime)
		where = heap->python->runtime + heap->layout->runtime_interpreters_head;
	return memory_u64(heap->memory, where, &first) ? first : 0;
}

static bool interpreters_read(heap_t *heap, GError **error)
{
	g_autoptr(GArray) found = g_array_new(FALSE, TRUE, sizeof(struct heap_interpreter));
	uint64_t address = first_interpreter(heap);
	while (address && found->len < HEAP_MAX_INTERPRETERS) {
		struct heap_interpreter interpreter = {.address = address, .id = found->len};
		uint64_t id;
		if (heap_has(heap->layout->interp_id) &&
		    memory_u64(heap->memory, address + heap->layout->interp_id, &id))
			interpreter.id = (int64_t)id;
		g_array_append_val(found, interpreter);
		if (!memory_u64(heap->memory, address + heap->layout->interp_next, &address))
			break;
	}
	if (!found->len) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_UNKNOWN, "the interpreter is starting, or has finished",
			  "try again", "there is no interpreter state in this CPython %s", heap->python->version_text);
		return false;
	}
	heap->n_interpreters = found->len;
	heap->interpreters = (struct heap_interpreter *)g_array_free(g_steal_pointer(&found), FALSE);
	return true;
}

/* neighbours that touch are one run */
struct run {
	uint64_t start, end, longest;
};

static void run_add(struct run *run, uint64_t start, uint64_t end)
{
	if (start != run->end)
		run->start = start;
	run->end = end;
	run->longest = MAX(run->longest, end - run->start);
}

/* The bytes of the longest run of memory: what there is in the process, and what is there for us; a core file may lack some. */
static uint64_t longest_run(const struct memory *memory, const struct maps *maps)
{
	struct run ours = {0}, its = {0};
	for (size_t i = 0; i < memory->n_regions; i++)
		run_add(&ours, memory->regions[i].start, memory->regions[i].start + memory->regions[i].size);
	for (size_t i = 0; maps && i < maps->n; i++) {
		if (maps->mappings[i].readable)
			run_add(&its, maps->mappings[i].start, maps->mappings[i].end);
	}
	return MAX(ours.longest, its.longest);
}

heap_t *heap_open(const struct memory *memory, const struct maps *maps, const interpreter_t *python, GError **error)
{
	g_autoptr(heap_t) heap = g_new0(heap_t, 1);
	heap->memory = memory;
	heap->maps = maps;
	heap->python = python;
	heap->layout = &python->layout;
	heap->types = type_table_new();
	heap->largest = longest_run(memory, maps);
	if (!interpreters_read(heap, error) || !collectors_read(heap, error))
		return NULL;
	return g_steal_pointer(&heap);
}

void heap_free(heap_t *heap)
{
	if (!heap)
		return;
	type_table_free(heap->types);
	g_free(heap->interpreters);
	g_free(heap);
}
