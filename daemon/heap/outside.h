/*
 * Where objects may lie that are in no block of Python's allocator: too large for it (more than 512 bytes), laid down by the compiler in the
 * interpreter's image, or all of them where there is no such allocator (PYTHONMALLOC=malloc). Addresses and blocks that may be objects;
 * who is told looks for himself.
 *
 * References from other objects are not followed here. What none of this finds is a large object that the collector doesn't track, that no
 * object or frame refers to, and that lies in memory of another malloc than glibc's.
 */
#pragma once
#include <stdint.h>

#include "daemon/heap/allocator.h"
#include "daemon/heap/glibc.h"
#include "daemon/heap/heap.h"

typedef void outside_visit(void *context, uint64_t address);

/* What the running frames hold: locals, value stacks, functions. Up to 3.10 frames are objects, and nothing is visited. */
void outside_frames(heap_t *heap, outside_visit *visit, void *context);

/*
 * The immortal objects in the writable data of the interpreter's image: small ints, one-character strings, the interpreter's identifiers,
 * frozen modules' code (CPython Include/internal/pycore_global_objects.h, Python/deepfreeze/ of 3.11 and 3.12). Not types: those
 * that nobody has made ready are no objects yet. They are listed one by one because references to them come and go.
 */
void outside_static(heap_t *heap, outside_visit *visit, void *context);

/* Those of glibc's chunks that are in use and may hold an object, debug hooks stepped over. */
void outside_chunks(heap_t *heap, const struct allocator *allocator, const struct glibc *glibc, block_visit *visit,
		    void *context);
