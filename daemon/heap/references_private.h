/* What the files of references.h share: the plan of a type, and how its rules speak. */
#pragma once
#include "daemon/heap/dict.h"
#include "daemon/heap/references.h"

struct plan;

/* visit what instances own by this structure */
typedef void references_rule(references_t *references, const struct object *object, const struct plan *plan);

/* one owned field of a structure whose fields are all there is to it */
struct owned_field {
	uint16_t position; /* in struct py_layout */
	enum reference_kind kind;
	const char *name;
};

/* how to visit the instances of a type */
struct plan {
	const struct type *type;
	const struct type
		*solid; /* the base, or itself, whose C code made the structure; those above it were made in Python */
	references_rule *rule; /* for the structure of solid; NULL: its fields */
	const struct owned_field *fields;
	size_t n_fields;
	struct plan_slot {
		uint32_t offset;
		char *name; /* escaped */
	} * slots;          /* __slots__ of the classes made in Python */
	size_t n_slots;
	int64_t dictoffset;    /* of the instance dict that such a class added; 0: none. Negative: from the end */
	bool managed;          /* dict or values in front of the object or behind it */
	bool counts_type;      /* an instance owns a reference to its type */
	uint32_t weaklists[2]; /* offsets that are lists of weak references; 0: none */
	uint32_t hidden_items; /* of a struct sequence: fields beyond ob_size */
	struct dict_keys keys; /* of the instances' values; keys.address 0: none */
};

struct plan *references_plan(references_t *references, const struct type *type);

/* The rule for a type, by its name or flags; fills fields where there are some. */
void references_find_rule(references_t *references, struct plan *plan);

static inline bool references_room(const struct object *object, uint64_t offset, uint64_t size)
{
	return offset <= object->available && size <= object->available - offset;
}

static inline void references_emit(references_t *references, const struct reference *reference)
{
	if (reference->target)
		references->visit(references->context, reference);
}

/* one word of the object's struct; absent fields are none */
static inline void references_word(references_t *references, const struct object *object, uint32_t offset,
				   enum reference_kind kind, const char *field)
{
	if (offset == PY_ABSENT || !references_room(object, offset, 8))
		return;
	struct reference reference = {.kind = kind,
				      .target = load_u64(object->bytes, offset),
				      .word = object->address + offset,
				      .index = offset,
				      .field = field};
	references_emit(references, &reference);
}

static inline void references_extent(references_t *references, uint64_t start, uint64_t size, bool whole)
{
	if (references->extent && start && size && size < 1ull << 46)
		references->extent(references->context, start, start + size, whole);
}

/* words of the object from `from` to `to` that may be references */
void references_scan(references_t *references, const struct object *object, const struct plan *plan, uint64_t from,
		     uint64_t to);

/* an array of `n` references at `address` */
void references_array(references_t *references, uint64_t address, uint64_t n, enum reference_kind kind, bool probable);

/* keys of a table that several dicts share */
void references_shared_keys(references_t *references, const struct dict_keys *keys);

/* the interpreter frame at `frame`: in a generator, a frame object or a thread's stack */
void references_interpreter_frame(references_t *references, uint64_t frame, bool generator);

references_rule references_dict, references_list, references_tuple, references_set, references_deque,
	references_ordered_dict, references_type, references_unknown, references_nothing, references_exception,
	references_code, references_frame, references_generator, references_builtin, references_lru_wrapper,
	references_lru_link, references_context_variable, references_tee, references_enumerate,
	references_dict_subclass, references_list_subclass, references_bytearray, references_buffered, references_slice,
	references_foreign_function;

/* what a thread of an interpreter owns */
void references_thread(references_t *references, uint64_t thread);
