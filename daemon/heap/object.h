/*
 * One object of the target, and what every object has: a type and a reference count (CPython Include/object.h,
 * Include/refcount.h; free-threaded Include/cpython/object.h).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "daemon/heap/heap.h"

struct type;

struct object {
	uint64_t address;     /* of the PyObject */
	const uint8_t *bytes; /* the same place in our copy */
	uint64_t available;   /* readable bytes from there on */
	struct type *type;
	bool tracked; /* in the lists of the collector */
	bool common; /* like most: candidate_few_references(), and of a str candidate_str_common(); if false it wasn't asked */
	bool outside; /* not in a block of the allocator: larger than 512 bytes, or static */
};

/* Objects that are alike, and lie in one piece of memory. */
struct objects {
	struct object first;     /* each is like this one, which is that at offset 0, if there is one */
	const uint32_t *offsets; /* of the i-th one: bytes from there */
	size_t n;                /* at least one */
	int64_t refs;            /* to all of them; not counted unless they are common */
	int64_t refs_max;        /* to the one with most; the same */
	uint64_t characters;     /* in all of them, where they are str; the same */
};

/* Offsets may be those of words before `bytes`, as the collector's header is: negative ones come as large numbers. */
static inline uint64_t load_u64(const uint8_t *bytes, uint64_t offset)
{
	uint64_t value;
	memcpy(&value, bytes + (int64_t)offset, sizeof(value));
	return value;
}

static inline int64_t load_i64(const uint8_t *bytes, uint64_t offset)
{
	return (int64_t)load_u64(bytes, offset);
}

static inline uint32_t load_u32(const uint8_t *bytes, uint64_t offset)
{
	uint32_t value;
	memcpy(&value, bytes + (int64_t)offset, sizeof(value));
	return value;
}

static inline struct object objects_nth(const struct objects *objects, size_t i)
{
	struct object object = objects->first;
	object.address += objects->offsets[i];
	object.bytes += objects->offsets[i];
	return object;
}

/* A reference count as the target would report it; the argument of sys.getrefcount() is not included. */
struct refcount {
	int64_t count; /* undefined when immortal */
	bool immortal;
};

/* What ob_ref_shared holds for a deferred object: CPython Include/internal/pycore_gc.h, _Py_REF_DEFERRED (3.14+
 * free-threaded). */
#define PY_REF_DEFERRED    (INT64_MAX / 8)
#define PY_GC_BIT_DEFERRED 64

static inline struct refcount object_refcount(const struct py_layout *layout, const uint8_t *object)
{
	uint64_t word;
	switch (layout->shape.refcount) {
	case PY_REFCOUNT_PLAIN: {
		int64_t count = load_i64(object, layout->ob_refcnt), frozen = layout->shape.frozen_refcount;
		/* references come and go around the number they started with */
		return (struct refcount){.count = count,
					 .immortal = frozen && count > frozen - frozen / 10 &&
						     count < frozen + frozen / 10};
	}
	case PY_REFCOUNT_LOW32:
		word = load_u64(object, layout->ob_refcnt);
		return (struct refcount){.count = (int64_t)word, .immortal = (int32_t)(uint32_t)word < 0};
	case PY_REFCOUNT_FLAGS:
		word = load_u64(object, layout->ob_refcnt);
		return (struct refcount){.count = (uint32_t)word, .immortal = (int32_t)(uint32_t)word < 0};
	case PY_REFCOUNT_SPLIT:
	case PY_REFCOUNT_DEFERRED:
		break;
	}
	uint32_t local = load_u32(object, layout->ob_ref_local);
	int64_t count = local + (load_i64(object, layout->ob_ref_shared) >> 2);
	if (object[layout->ob_gc_bits] & PY_GC_BIT_DEFERRED)
		count -= layout->shape.refcount == PY_REFCOUNT_SPLIT ? 1 : PY_REF_DEFERRED;
	return (struct refcount){.count = count, .immortal = local == UINT32_MAX};
}

static inline uint64_t object_type_address(const struct py_layout *layout, const uint8_t *object)
{
	return load_u64(object, layout->ob_type);
}

/*
 * Fill *object with the object at `address`; false when there is none that makes sense: not readable, or its type is no
 * type. `tracked` is false until somebody knows better.
 */
bool object_at(heap_t *heap, uint64_t address, struct object *object);
