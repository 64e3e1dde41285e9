/*
 * The types of the target, by address. A type is looked at once: what it is, how its instances lie in memory, what it
 * is called (CPython Include/cpython/object.h, Objects/typeobject.c).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/heap/heap.h"

/* tp_flags (CPython Include/object.h) */
#define PY_FLAG_STATIC_BUILTIN  (1ull << 1) /* 3.12+ */
#define PY_FLAG_INLINE_VALUES   (1ull << 2) /* 3.13+ */
#define PY_FLAG_MANAGED_WEAKREF (1ull << 3) /* 3.12+ */
#define PY_FLAG_MANAGED_DICT    (1ull << 4) /* 3.11+ */
#define PY_FLAG_HEAPTYPE        (1ull << 9)
#define PY_FLAG_READY           (1ull << 12)
#define PY_FLAG_HAVE_GC         (1ull << 14)
#define PY_FLAG_VERSION_TAG     (1ull << 18) /* of every type up to 3.11 */
#define PY_FLAG_LONG            (1ull << 24)
#define PY_FLAG_LIST            (1ull << 25)
#define PY_FLAG_TUPLE           (1ull << 26)
#define PY_FLAG_BYTES           (1ull << 27)
#define PY_FLAG_UNICODE         (1ull << 28)
#define PY_FLAG_DICT            (1ull << 29)
#define PY_FLAG_EXCEPTION       (1ull << 30)
#define PY_FLAG_TYPE            (1ull << 31)

/* which of CPython's own structures an instance begins with, as far as it matters for finding what it refers to */
enum type_kind { TYPE_PLAIN, TYPE_ATOM, TYPE_DICT, TYPE_LIST, TYPE_TUPLE, TYPE_SET, TYPE_DEQUE, TYPE_TYPE };

/* Words before an object for its dict and its weak references (CPython 3.11+, Include/internal/pycore_object.h, _PyType_PreHeaderSize()). */
#define TYPE_MANAGED_BYTES 16

struct type {
	uint64_t address;
	uint32_t index; /* 0, 1, … in the order of discovery: a column of counters can stand beside the table */
	uint64_t flags;
	uint32_t basicsize; /* bytes */
	uint32_t least; /* bytes of the smallest instance: basicsize, but a compact str or a static type is shorter */
	uint32_t tail;  /* bytes at the end of basicsize that an instance may be without (type_struct_size()) */
	uint32_t itemsize; /* bytes */
	uint32_t prefix;   /* bytes before the object in its block: GC head and managed dict */
	uint64_t base;     /* tp_base, 0: none */
	enum type_kind kind;
	bool always_listed; /* its instances are in the collector's lists from birth to death: what isn't there is being made, or dead */
	const char *module;               /* type.__module__, escaped; "" when it has none */
	const char *qualname;             /* type.__qualname__, escaped */
	const struct buffer_rule *buffer; /* how its instances own a buffer (daemon/heap/buffer.h); NULL: they don't */
	const struct size_rule *size;     /* what its __sizeof__ does (daemon/heap/size.h) */
	uint64_t attribute_slots; /* how many attributes instances may keep as values in place of a dict: its shared
					 keys */
};

struct type_table *type_table_new(void);
void type_table_free(struct type_table *table);

/* The type at `address`, or NULL when what is there is no type. Stays valid as long as the heap. Safe from several
 * threads at once. */
struct type *type_get(heap_t *heap, uint64_t address);

/*
 * Bytes of the struct of the instance at `bytes`, type->least of which can be read; items don't count. A datetime or time without tzinfo has no
 * room for one (CPython Include/datetime.h, _PyDateTime_BaseTime; Modules/_datetimemodule.c, time_alloc()).
 */
uint32_t type_struct_size(const heap_t *heap, const struct type *type, const uint8_t *bytes);

/* Number of types found so far; the n-th of them in the order of discovery. */
size_t type_count(const heap_t *heap);
struct type *type_nth(const heap_t *heap, size_t index);

/* The address of a type's attribute dict; 0: none. Static types of 3.12+ keep it in the interpreter. */
uint64_t type_dict(heap_t *heap, const struct type *type);
