/*
 * Every reference an object owns, exactly: what Py_DECREFs would follow if it died, whether the collector is told of it or not
 * (CPython's tp_traverse, tp_clear and tp_dealloc of each type). And the memory that is thereby accounted for: tables outside the object's own
 * struct (keys, items, blocks), whose words must not be counted again by who looks for words elsewhere.
 *
 * What an object holds without owning is not visited: weakly referred objects, lists of weak references, f_globals of interpreter frames,
 * tagged stack slots, free-list links. A keys table shared by several dicts is visited once, with the first dict or type that leads to it.
 * The table of interned strings owns nothing.
 *
 * Types of no known layout (extension modules', and those of CPython that need no rule of their own): every aligned word of the struct
 * that isn't known to be borrowed is visited as `probable`; the visitor sees whether it is the address of an object.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/addresses.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

enum reference_kind {
	REFERENCE_DICT_KEY,
	REFERENCE_DICT_VALUE,
	REFERENCE_LIST_ITEM,
	REFERENCE_TUPLE_ITEM,
	REFERENCE_SET_ITEM,
	REFERENCE_ATTRIBUTE, /* of an instance: in its values or its slots; `name` */
	REFERENCE_SLOT,      /* a field of a struct: `field` */
	REFERENCE_BOUND_METHOD,
	REFERENCE_CELL,
	REFERENCE_MODULE_GLOBAL,   /* a dict value, seen from the module; never visited */
	REFERENCE_FRAME_LOCAL,     /* `name`, `code` */
	REFERENCE_FRAME_STACK,     /* value stack and fields of a frame; `code` */
	REFERENCE_GENERATOR_FRAME, /* the same, in a generator; `name`, `code` */
	REFERENCE_TYPE,            /* an instance's of its type */
	REFERENCE_TYPE_ATTRIBUTE,  /* a type's own: bases, dict, name … `field` */
	REFERENCE_WEAKREF_CALLBACK,
	REFERENCE_EXCEPTION,
	REFERENCE_INTERPRETER,
	REFERENCE_EXTENSION_OBJECT, /* a word of a struct of no known layout; `index` is its offset */
	REFERENCE_STATIC_DATA,
	REFERENCE_THREAD_STACK,
	REFERENCE_REGISTER,
	REFERENCE_MEMORY_BLOCK,
	REFERENCE_KINDS,
};

/* the kind as INTERFACE and the manual name it */
extern const char *const reference_kind_names[REFERENCE_KINDS];

struct reference {
	enum reference_kind kind;
	bool probable;
	uint64_t target;   /* the word: the address of an object, or of anything when probable */
	uint64_t word;     /* where it lies */
	uint64_t index;    /* of an item; offset in a struct */
	uint64_t name;     /* a str: name of an attribute or local variable; the key of a dict value; 0: none */
	const char *field; /* "func_globals"; NULL: none */
	uint64_t code;     /* of a frame; 0: none */
};

typedef void reference_visit(void *context, const struct reference *reference);
/*
 * [start, end) is accounted for. `whole`: it begins a block of its own (of pymalloc, malloc), all of which is then no owner, the slack behind
 * what is used included.
 */
typedef void extent_visit(void *context, uint64_t start, uint64_t end, bool whole);

typedef struct references {
	heap_t *heap;
	reference_visit *visit;
	extent_visit *extent; /* may be NULL */
	void *context;
	/* private */
	GPtrArray *plans;           /* struct plan *, by type index */
	struct addresses keys_seen; /* shared keys already visited in this pass */
	uint64_t subtype_traverse;  /* tp_traverse of classes made in Python */
	uint64_t interned;          /* the dict of interned strings */
} references_t;

/* After a census, when the types are known. */
references_t *references_new(heap_t *heap);
void references_free(references_t *references);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(references_t, references_free)

/* Begin a pass over the objects: tables shared by several are visited again, once. */
void references_begin(references_t *references, reference_visit *visit, extent_visit *extent, void *context);

/* Visit what one object owns. */
void references_of_object(references_t *references, const struct object *object);

/* Visit what interpreters and threads own where that is known: frames; and what of their memory owns nothing. */
void references_of_runtime(references_t *references);

/* The bytes of the object's own struct, from its address on: items that lie in it included. */
uint64_t references_object_size(references_t *references, const struct object *object);

/* Tell which dict is the one of interned strings where only its look says so: call for every dict before the first pass. */
void references_consider_interned(references_t *references, const struct object *dict);
