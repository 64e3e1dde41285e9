/*
 * The memory of a process as CPython's heap: its interpreters, its types, its objects. Pure: reads the picture, nothing
 * else.
 *
 * A heap is opened over a memory that outlives it, and is used by one thread unless a function says otherwise.
 * Everything it reads is foreign: lists are bounded, pointers are checked, and what can't be read is counted and not
 * guessed.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "symbols/interpreter.h"

#define HEAP_MAX_GENERATIONS  3
#define HEAP_MAX_INTERPRETERS 4096
#define HEAP_MAX_THREADS      1000000

/* one list of the collector: a circular list around `head` (CPython Modules/gcmodule.c, Python/gc.c) */
struct heap_generation {
	uint64_t head;       /* address of the PyGC_Head in the gc_generation */
	int64_t count;       /* gc.get_count() */
	int64_t threshold;   /* gc.get_threshold() */
	int64_t collections; /* gc.get_stats(), -1: this version doesn't keep it here */
};

struct heap_collector {
	bool enabled, collecting;
	size_t n_generations; /* 0 in free-threaded builds, which have no lists */
	struct heap_generation generations[HEAP_MAX_GENERATIONS];
	uint64_t permanent; /* head of the permanent generation, 0: none */
};

struct heap_interpreter {
	uint64_t address; /* of the PyInterpreterState */
	int64_t id;
	struct heap_collector
		collector; /* up to 3.8 one for the process: the first interpreter has it, the others have none */
};

struct type_table;
struct dict_blocks;

typedef struct heap {
	const struct memory *memory;
	const struct maps *maps; /* what lies where; NULL: not known */
	const struct py_layout *layout;
	const interpreter_t *python;
	struct heap_interpreter *interpreters;
	size_t n_interpreters;
	struct type_table *types;
	bool collecting; /* a collection was under way in some interpreter */
	/* bytes of the longest run of memory: no table is longer, whatever an object says that is half made, or torn */
	uint64_t largest;
	const struct dict_blocks
		*dict_blocks; /* while a census goes by: where the key tables of dicts are (dict.h); or NULL */
} heap_t;

/*
 * Open the heap and check that the layout fits it. Errors, all of HEAP_ERROR: UNKNOWN when what the layout says and
 * what lies there don't agree (the cause names the place). `memory`, `maps` (or NULL) and `python` must outlive the heap.
 */
heap_t *heap_open(const struct memory *memory, const struct maps *maps, const interpreter_t *python, GError **error);
void heap_free(heap_t *heap);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(heap_t, heap_free)

/* Whether this layout has the field; offsets that are absent must never be added to an address. */
static inline bool heap_has(uint32_t offset)
{
	return offset != PY_ABSENT;
}
