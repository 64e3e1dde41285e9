#include "daemon/heap/references.h"

#include "base/text.h"
#include "daemon/heap/references_private.h"

#define MAX_BASES            256
#define MAX_SLOTS            4096
#define MAX_NAME             256
#define T_OBJECT_EX          16 /* CPython Include/descrobject.h: a member made by __slots__ */
#define MAX_ITEMS            (1ull << 40)
#define MANAGED_VALUES_BELOW 8 /* 3.11: the values' pointer is one word below the dict's */

const char *const reference_kind_names[REFERENCE_KINDS] = {
	[REFERENCE_DICT_KEY] = "dict key",
	[REFERENCE_DICT_VALUE] = "dict value",
	[REFERENCE_LIST_ITEM] = "list item",
	[REFERENCE_TUPLE_ITEM] = "tuple item",
	[REFERENCE_SET_ITEM] = "set item",
	[REFERENCE_ATTRIBUTE] = "attribute",
	[REFERENCE_SLOT] = "slot",
	[REFERENCE_BOUND_METHOD] = "bound method",
	[REFERENCE_CELL] = "closure cell",
	[REFERENCE_MODULE_GLOBAL] = "module global",
	[REFERENCE_FRAME_LOCAL] = "frame local",
	[REFERENCE_FRAME_STACK] = "frame stack",
	[REFERENCE_GENERATOR_FRAME] = "generator frame",
	[REFERENCE_TYPE] = "type",
	[REFERENCE_TYPE_ATTRIBUTE] = "type attribute",
	[REFERENCE_WEAKREF_CALLBACK] = "weakref callback",
	[REFERENCE_EXCEPTION] = "exception",
	[REFERENCE_INTERPRETER] = "interpreter",
	[REFERENCE_EXTENSION_OBJECT] = "extension object",
	[REFERENCE_STATIC_DATA] = "static data",
	[REFERENCE_THREAD_STACK] = "thread stack",
	[REFERENCE_REGISTER] = "register",
	[REFERENCE_MEMORY_BLOCK] = "memory block",
};

/* ---- plans ---- */

static uint64_t type_word(const heap_t *heap, uint64_t type, uint32_t offset)
{
	uint64_t word = 0;
	if (heap_has(offset))
		memory_u64(heap->memory, type + offset, &word);
	return word;
}

/*
 * tp_traverse of the classes made in Python is subtype_traverse, a static function: the one most heap types share that have an
 * instance dict.
 */
static uint64_t find_subtype_traverse(heap_t *heap)
{
	const struct py_layout *layout = heap->layout;
	g_autoptr(GHashTable) votes = g_hash_table_new(NULL, NULL);
	uint64_t best = 0;
	size_t best_votes = 0;
	for (size_t i = 0; i < type_count(heap); i++) {
		const struct type *type = type_nth(heap, i);
		bool has_dict = type_word(heap, type->address, layout->tp_dictoffset) != 0 ||
				type->flags & PY_FLAG_MANAGED_DICT;
		uint64_t traverse = type_word(heap, type->address, layout->tp_traverse);
		if (!(type->flags & PY_FLAG_HEAPTYPE) || !has_dict || !traverse)
			continue;
		size_t n = GPOINTER_TO_SIZE(g_hash_table_lookup(votes, (gpointer)traverse)) + 1;
		g_hash_table_insert(votes, (gpointer)traverse, GSIZE_TO_POINTER(n));
		if (n > best_votes) {
			best_votes = n;
			best = traverse;
		}
	}
	return best;
}

/* A class made by a class statement or type(): its structure is its base's, and what Python added is known. */
static bool made_in_python(const references_t *references, const struct type *type)
{
	if (!(type->flags & PY_FLAG_HEAPTYPE))
		return false;
	uint64_t traverse = type_word(references->heap, type->address, references->heap->layout->tp_traverse);
	if (type->flags & PY_FLAG_HAVE_GC)
		return traverse == references->subtype_traverse;
	/* without the collector there is no traverse to go by; such a class adds nothing to its base */
	const struct type *base = type->base ? type_get(references->heap, type->base) : NULL;
	return base && base->basicsize == type->basicsize && base->itemsize == type->itemsize;
}

static void add_slots(references_t *references, struct plan *plan, const struct type *class)
{
	heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	const struct type *meta = type_get(heap, type_word(heap, class->address, layout->ob_type));
	uint64_t n = type_word(heap, class->address, layout->ob_size);
	uint32_t entry = heap_has(layout->member_def_size) ? layout->member_def_size : 40;
	uint32_t type_at = heap_has(layout->member_def_type) ? layout->member_def_type : 8;
	uint32_t offset_at = heap_has(layout->member_def_offset) ? layout->member_def_offset : 16;
	if (!meta || !n || n > MAX_SLOTS)
		return;
	const uint8_t *members = memory_at(heap->memory, class->address + meta->basicsize, n * entry);
	if (!members)
		return;
	plan->slots = g_renew(struct plan_slot, plan->slots, plan->n_slots + n);
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *member = members + i * entry;
		uint64_t offset = load_u64(member, offset_at);
		char name[MAX_NAME] = "";
		if (load_u32(member, type_at) != T_OBJECT_EX || offset >= UINT32_MAX)
			continue;
		memory_string(heap->memory, load_u64(member, 0), name, sizeof(name));
		plan->slots[plan->n_slots++] = (struct plan_slot){(uint32_t)offset, text_escape(name, sizeof(name))};
	}
}

static void find_solid(references_t *references, struct plan *plan)
{
	heap_t *heap = references->heap;
	const struct type *class = plan->type;
	for (size_t i = 0; i < MAX_BASES && made_in_python(references, class); i++) {
		add_slots(references, plan, class);
		const struct type *base = type_get(heap, class->base);
		if (!base)
			break;
		class = base;
	}
	plan->solid = class;
}

static void find_attributes(references_t *references, struct plan *plan)
{
	heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	const struct type *type = plan->type;
	plan->managed = type->flags & PY_FLAG_MANAGED_DICT && layout->shape.managed_dict_offset;
	if (type != plan->solid && !plan->managed) {
		int64_t own = (int64_t)type_word(heap, type->address, layout->tp_dictoffset);
		int64_t inherited = (int64_t)type_word(heap, plan->solid->address, layout->tp_dictoffset);
		plan->dictoffset = own != inherited ? own : 0;
	}
	plan->weaklists[0] = (uint32_t)type_word(heap, type->address, layout->tp_weaklistoffset);
	plan->weaklists[1] = (uint32_t)type_word(heap, plan->solid->address, layout->tp_weaklistoffset);
	if (type->flags & PY_FLAG_HEAPTYPE && heap_has(layout->ht_cached_keys)) {
		uint64_t keys = type_word(heap, type->address, layout->ht_cached_keys);
		if (!keys || !dict_keys_read(heap, keys, &plan->keys))
			plan->keys.address = 0;
	}
}

/* A struct sequence has n_fields words of which ob_size (n_sequence_fields) are its items (CPython Objects/structseq.c). */
static uint32_t hidden_items(heap_t *heap, const struct type *type)
{
	uint64_t dict = type_dict(heap, type);
	uint64_t all = dict_get(heap, dict, "n_fields"), visible = dict_get(heap, dict, "n_sequence_fields");
	uint32_t n = 0, m = 0;
	if (!all || !visible || !memory_u32(heap->memory, all + heap->layout->long_digit, &n) ||
	    !memory_u32(heap->memory, visible + heap->layout->long_digit, &m) || n < m || n > 1000)
		return 0;
	return n - m;
}

struct plan *references_plan(references_t *references, const struct type *type)
{
	GPtrArray *plans = references->plans;
	if (type->index >= plans->len)
		g_ptr_array_set_size(plans, (gint)MAX(type_count(references->heap), type->index + 1));
	struct plan *plan = g_ptr_array_index(plans, type->index);
	if (plan)
		return plan;
	plan = g_new0(struct plan, 1);
	plan->type = type;
	g_ptr_array_index(plans, type->index) = plan;
	find_solid(references, plan);
	find_attributes(references, plan);
	plan->counts_type = type->flags & PY_FLAG_HEAPTYPE &&
			    (references->heap->layout->shape.heap_types_counted || plan->solid != type);
	references_find_rule(references, plan);
	if (type->kind == TYPE_TUPLE && strcmp(plan->solid->qualname, "tuple") != 0)
		plan->hidden_items = hidden_items(references->heap, plan->solid);
	return plan;
}

static void plan_free(void *data)
{
	struct plan *plan = data;
	for (size_t i = 0; plan && i < plan->n_slots; i++)
		g_free(plan->slots[i].name);
	if (plan)
		g_free(plan->slots);
	g_free(plan);
}

/* ---- lifecycle ---- */

static uint64_t known_interned(const heap_t *heap)
{
	uint64_t dict = 0;
	if (heap_has(heap->layout->interp_interned))
		memory_u64(heap->memory, heap->interpreters[0].address + heap->layout->interp_interned, &dict);
	return dict;
}

references_t *references_new(heap_t *heap)
{
	references_t *references = g_new0(references_t, 1);
	references->heap = heap;
	references->plans = g_ptr_array_new_with_free_func(plan_free);
	references->subtype_traverse = find_subtype_traverse(heap);
	references->interned = known_interned(heap);
	return references;
}

void references_free(references_t *references)
{
	if (!references)
		return;
	g_ptr_array_unref(references->plans);
	addresses_clear(&references->keys_seen);
	g_free(references);
}

void references_begin(references_t *references, reference_visit *visit, extent_visit *extent, void *context)
{
	references->visit = visit;
	references->extent = extent;
	references->context = context;
	addresses_clear(&references->keys_seen);
	addresses_init(&references->keys_seen);
}

/* ---- an object ---- */

void references_array(references_t *references, uint64_t address, uint64_t n, enum reference_kind kind, bool probable)
{
	const struct memory *memory = references->heap->memory;
	if (!n || n > MAX_ITEMS)
		return;
	const uint8_t *words = memory_at(memory, address, n * 8);
	struct reference reference = {.kind = kind, .probable = probable};
	for (uint64_t i = 0; i < n; i++) {
		if (words)
			reference.target = load_u64(words, i * 8);
		else if (!memory_u64(memory, address + i * 8, &reference.target))
			return;
		reference.word = address + i * 8;
		reference.index = i;
		references_emit(references, &reference);
	}
}

void references_scan(references_t *references, const struct object *object, const struct plan *plan, uint64_t from,
		     uint64_t to)
{
	struct reference reference = {.kind = REFERENCE_EXTENSION_OBJECT, .probable = true};
	to = MIN(to, object->available);
	for (uint64_t at = from; at + 8 <= to; at += 8) {
		reference.target = load_u64(object->bytes, at);
		if (!reference.target || reference.target == object->address || at == plan->weaklists[0] ||
		    at == plan->weaklists[1])
			continue;
		reference.word = object->address + at;
		reference.index = at;
		references_emit(references, &reference);
	}
}

/* The attribute of value i of an instance is the i-th key of its type's shared keys. */
static uint64_t attribute_name(const references_t *references, const struct plan *plan, uint64_t i)
{
	uint64_t name = 0;
	if (plan->keys.address && i < plan->keys.n_entries)
		memory_u64(references->heap->memory,
			   plan->keys.entries + i * plan->keys.entry_size + plan->keys.key_offset, &name);
	return name;
}

static void visit_values(references_t *references, const struct plan *plan, uint64_t values, uint64_t n)
{
	struct reference reference = {.kind = REFERENCE_ATTRIBUTE};
	for (uint64_t i = 0; i < n; i++) {
		if (!memory_u64(references->heap->memory, values + 8 * i, &reference.target))
			return;
		if (!reference.target)
			continue;
		reference.word = values + 8 * i;
		reference.index = i;
		reference.name = attribute_name(references, plan, i);
		references_emit(references, &reference);
	}
}

static void visit_inline_values(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	const struct memory *memory = references->heap->memory;
	uint64_t values = object->address + object->type->basicsize;
	uint8_t valid, capacity;
	if (!(object->type->flags & PY_FLAG_INLINE_VALUES) || !heap_has(layout->dict_values_valid) ||
	    !heap_has(layout->dict_values_capacity) || !memory_u8(memory, values + layout->dict_values_valid, &valid) ||
	    !memory_u8(memory, values + layout->dict_values_capacity, &capacity) || !valid)
		return;
	visit_values(references, plan, values + layout->dict_values_values, capacity);
}

/*
 * Attributes of a class made in Python. Where a dict was made of inline values, it shows the same ones; they are visited here, with the
 * object, and not with the dict (references_dict()).
 */
static void visit_managed(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_shape *shape = &references->heap->layout->shape;
	const struct memory *memory = references->heap->memory;
	uint64_t dict_at = object->address + (uint64_t)(int64_t)shape->managed_dict_offset, dict, values = 0;
	if (!memory_u64(memory, dict_at, &dict))
		return;
	switch (shape->attributes) {
	case PY_ATTRIBUTES_DICTOFFSET:
		return;
	case PY_ATTRIBUTES_VALUES:
		memory_u64(memory, dict_at - MANAGED_VALUES_BELOW, &values);
		break;
	case PY_ATTRIBUTES_TAGGED:
		if (dict & 1) {
			values = dict + 1;
			dict = 0;
		}
		break;
	case PY_ATTRIBUTES_INLINE:
		visit_inline_values(references, object, plan);
		break;
	}
	if (values && plan->keys.address) {
		visit_values(references, plan, values, plan->keys.n_entries);
		/* a byte in front of the values is their size (CPython Objects/dictobject.c, new_values()): the block begins earlier */
		uint8_t before;
		if (memory_u8(memory, values - 1, &before))
			references_extent(references, values - before, before + 8 * plan->keys.n_entries, true);
	}
	struct reference reference = {.kind = REFERENCE_SLOT, .target = dict, .word = dict_at, .field = "__dict__"};
	references_emit(references, &reference);
}

static void visit_dict_slot(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	int64_t offset = plan->dictoffset;
	if (offset < 0) {
		/* from the end of the items (CPython Objects/object.c, _PyObject_GetDictPtr()) */
		int64_t n = load_i64(object->bytes, layout->ob_size);
		if (object->type->flags & PY_FLAG_LONG && heap_has(layout->long_tag))
			n = (int64_t)(load_u64(object->bytes, layout->long_tag) >> 3);
		n = n < 0 ? -n : n;
		if ((uint64_t)n > MAX_ITEMS)
			return;
		offset += (int64_t)((object->type->basicsize + object->type->itemsize * (uint64_t)n + 7) & ~7ull);
	}
	if (offset > 0 && offset < (int64_t)UINT32_MAX)
		references_word(references, object, (uint32_t)offset, REFERENCE_SLOT, "__dict__");
}

static void visit_slots(references_t *references, const struct object *object, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_slots; i++) {
		uint32_t offset = plan->slots[i].offset;
		if (!references_room(object, offset, 8))
			continue;
		struct reference reference = {.kind = REFERENCE_ATTRIBUTE,
					      .target = load_u64(object->bytes, offset),
					      .word = object->address + offset,
					      .index = offset,
					      .field = plan->slots[i].name};
		references_emit(references, &reference);
	}
}

/* Code objects and constants that the linker laid out (3.11, 3.12: Programs/_freeze_module.py, deepfreeze) took no references. */
static bool is_frozen(const references_t *references, const struct object *object)
{
	const interpreter_t *python = references->heap->python;
	return object->address >= python->image_start && object->address < python->image_end &&
	       !(object->type->flags & (PY_FLAG_HEAPTYPE | PY_FLAG_TYPE)) &&
	       strcmp(object->type->module, "builtins") == 0 &&
	       (strcmp(object->type->qualname, "code") == 0 || strcmp(object->type->qualname, "tuple") == 0);
}

void references_of_object(references_t *references, const struct object *object)
{
	const struct plan *plan = references_plan(references, object->type);
	if (object->address == references->interned || is_frozen(references, object))
		return;
	if (plan->counts_type) {
		struct reference reference = {.kind = REFERENCE_TYPE,
					      .target = object->type->address,
					      .word = object->address + references->heap->layout->ob_type};
		references_emit(references, &reference);
	}
	if (plan->n_slots)
		visit_slots(references, object, plan);
	if (plan->managed)
		visit_managed(references, object, plan);
	else if (plan->dictoffset)
		visit_dict_slot(references, object, plan);
	if (plan->rule)
		plan->rule(references, object, plan);
	for (size_t i = 0; i < plan->n_fields; i++) {
		const struct owned_field *field = &plan->fields[i];
		uint32_t offset;
		memcpy(&offset, (const uint8_t *)references->heap->layout + field->position, sizeof(offset));
		references_word(references, object, offset, field->kind, field->name);
	}
}

uint64_t references_object_size(references_t *references, const struct object *object)
{
	const struct py_layout *layout = references->heap->layout;
	const struct type *type = object->type;
	if (type->flags & PY_FLAG_TYPE && !(load_u64(object->bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE))
		return layout->type_size;
	uint64_t size = type_struct_size(references->heap, type, object->bytes);
	if (!type->itemsize || !references_room(object, layout->ob_size, 8))
		return size;
	uint64_t n;
	if (type->flags & PY_FLAG_LONG && heap_has(layout->long_tag)) {
		n = load_u64(object->bytes, layout->long_tag) >> 3;
	} else {
		int64_t signed_n = load_i64(object->bytes, layout->ob_size);
		n = (uint64_t)(signed_n < 0 ? -signed_n : signed_n);
	}
	n += references_plan(references, type)->hidden_items;
	return n > MAX_ITEMS ? size : size + n * type->itemsize;
}
