/*
 * Who owns each word of a process's memory, as far as references are concerned.
 *
 * What is accounted for exactly (objects, their tables, frames) and what owns nothing (free blocks, freed chunks, dead stack, caches
 * of borrowed pointers) is covered; what is left are the words that may hold a reference nobody told us about: C static data, thread stacks,
 * the blocks of C code. Each word is counted once, whoever it seems to belong to.
 *
 * Pure. What a process is beyond its memory comes in as an owners_view.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "daemon/analysis/cover.h"
#include "daemon/heap/allocator.h"
#include "daemon/heap/glibc.h"
#include "daemon/heap/references.h"
#include "daemon/heap/table.h"
#include "symbols/maps.h"

struct owners_thread {
	int tid;
	uint64_t stack_pointer;    /* 0: not known; the whole stack counts then */
	const uint64_t *registers; /* general ones */
	size_t n_registers;
	char name[16];
};

struct owners_view {
	const struct memory *memory;
	const struct maps *maps;
	const struct owners_thread *threads;
	size_t n_threads;
};

/* an ELF file in memory, its .bss included */
struct owners_image {
	uint64_t start, end;
	const char *path; /* raw bytes, owned by the maps */
};

struct owners {
	const struct owners_view *view;
	heap_t *heap;
	const struct table *table;
	struct allocator allocator;
	struct allocator_hint hint;
	struct cover cover;
	struct glibc glibc;
	struct owners_image *images; /* sorted by start */
	size_t n_images;
	struct addresses tables; /* starts of accounted tables outside the allocator's blocks */
};

/* what a word not covered lies in */
enum owners_class { OWNERS_STATIC, OWNERS_STACK, OWNERS_BLOCK, OWNERS_CHUNK, OWNERS_OTHER, OWNERS_CLASSES };

/* Begin: objects and free memory are covered. False with *error: not enough memory, or an allocator that makes no sense. */
bool owners_init(struct owners *owners, heap_t *heap, const struct table *table, references_t *references,
		 const struct owners_view *view, GError **error);
/* [start, end) is accounted for (extent_visit of daemon/heap/references.h). */
void owners_account(struct owners *owners, uint64_t start, uint64_t end, bool whole);
/* All is accounted for that ever will be: cover the rest of the chunks it lies in. */
void owners_finish(struct owners *owners);
void owners_clear(struct owners *owners);

/* free_lists.c: cover the interpreter's static arrays of dead objects (up to 3.9); owners_finish() does */
void owners_cover_free_lists(struct owners *owners);

/* The image that holds `address`, or NULL. */
const struct owners_image *owners_image_at(const struct owners *owners, uint64_t address);
/* The thread on whose stack `address` lies, or NULL. */
const struct owners_thread *owners_thread_at(const struct owners *owners, uint64_t address);
/* [*start, *end): the allocated block (of pymalloc, mimalloc, malloc) that holds `address`. False: it lies in none. */
bool owners_block_at(const struct owners *owners, uint64_t address, uint64_t *start, uint64_t *end);
enum owners_class owners_class_of(const struct owners *owners, uint64_t address);
