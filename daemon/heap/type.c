#include "daemon/heap/type.h"

#include <stdatomic.h>

#include "base/text.h"
#include "daemon/heap/buffer.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/object.h"
#include "daemon/heap/size.h"
#include "daemon/heap/str.h"

#define MAX_NAME       1024 /* code points of a name that are kept */
#define MAX_METATYPES  32   /* type of a type of a type … */
#define MAX_MRO        4096
#define MAX_LOADING    256 /* of types met while another is looked at; only a corrupt heap nests deeper */
#define FIRST_SLOTS    1024
#define MISSES         4096 /* remembered addresses that are no types */
#define MAX_TYPE_BYTES (1u << 30)

struct slot {
	_Atomic uint64_t address; /* 0: empty; written last */
	struct type *type;
};

struct slots {
	size_t mask;
	struct slot at[];
};

/*
 * Open addressing over addresses; types are few and looked up for every object, by several threads at once. Looking up
 * takes no lock: a slot is filled once and never changes, and a table that has become too small stays until the end.
 */
struct type_table {
	struct slots *_Atomic slots;
	GRecMutex lock;      /* to add a type; adding one may need others */
	GPtrArray *outgrown; /* tables */
	GPtrArray *types;    /* owns struct type, in the order of discovery */
	GStringChunk *strings;
	GPtrArray *pending;              /* types being looked at, not yet in the table */
	_Atomic uint64_t misses[MISSES]; /* a cache: the last address seen there that is no type */
};

static inline size_t hash_address(uint64_t address)
{
	return (size_t)((address >> 4) * 0x9e3779b97f4a7c15ull >> 20);
}

static struct slots *slots_new(size_t n)
{
	struct slots *slots = g_malloc0(sizeof(*slots) + n * sizeof(struct slot));
	slots->mask = n - 1;
	return slots;
}

struct type_table *type_table_new(void)
{
	struct type_table *table = g_new0(struct type_table, 1);
	atomic_store(&table->slots, slots_new(FIRST_SLOTS));
	g_rec_mutex_init(&table->lock);
	table->outgrown = g_ptr_array_new_with_free_func(g_free);
	table->types = g_ptr_array_new_with_free_func(g_free);
	table->pending = g_ptr_array_new();
	table->strings = g_string_chunk_new(4096);
	return table;
}

void type_table_free(struct type_table *table)
{
	if (!table)
		return;
	g_free(atomic_load(&table->slots));
	g_rec_mutex_clear(&table->lock);
	g_ptr_array_unref(table->outgrown);
	g_ptr_array_unref(table->types);
	g_ptr_array_unref(table->pending);
	g_string_chunk_free(table->strings);
	g_free(table);
}

static struct type *slots_find(const struct slots *slots, uint64_t address)
{
	for (size_t i = hash_address(address) & slots->mask;; i = (i + 1) & slots->mask) {
		uint64_t at = atomic_load_explicit(&slots->at[i].address, memory_order_acquire);
		if (at == address)
			return slots->at[i].type;
		if (!at)
			return NULL;
	}
}

static void slots_add(struct slots *slots, struct type *type)
{
	size_t i = hash_address(type->address) & slots->mask;
	while (atomic_load_explicit(&slots->at[i].address, memory_order_relaxed))
		i = (i + 1) & slots->mask;
	slots->at[i].type = type;
	atomic_store_explicit(&slots->at[i].address, type->address, memory_order_release);
}

/* Make a type visible to all; it is complete. */
static void table_add(struct type_table *table, struct type *type)
{
	struct slots *slots = atomic_load(&table->slots);
	type->index = table->types->len;
	g_ptr_array_add(table->types, type);
	if (table->types->len * 2 > slots->mask) {
		struct slots *larger = slots_new((slots->mask + 1) * 2);
		for (size_t i = 0; i < table->types->len; i++)
			slots_add(larger, g_ptr_array_index(table->types, i));
		g_ptr_array_add(table->outgrown, slots);
		atomic_store_explicit(&table->slots, larger, memory_order_release);
		return;
	}
	slots_add(slots, type);
}

size_t type_count(const heap_t *heap)
{
	return heap->types->types->len;
}

struct type *type_nth(const heap_t *heap, size_t index)
{
	return g_ptr_array_index(heap->types->types, index);
}

/*
 * The entry of a static type in an interpreter's table of them: {type, …, tp_dict, tp_subclasses, tp_weaklist}. 3.12
 * has entries of 40 bytes with the dict at 16; from 3.13 one more word precedes it (CPython
 * Include/internal/pycore_typeobject.h, managed_static_type_state).
 */
static uint64_t static_type_dict(const heap_t *heap, uint64_t table, uint64_t index, uint64_t type)
{
	const struct py_layout *layout = heap->layout;
	uint64_t entry = table + index * layout->static_type_entry_size;
	uint64_t owner, dict;
	if (!memory_u64(heap->memory, entry + layout->static_type_type, &owner) || owner != type ||
	    !memory_u64(heap->memory, entry + layout->static_type_dict, &dict))
		return 0;
	return dict;
}

uint64_t type_dict(heap_t *heap, const struct type *type)
{
	const struct py_layout *layout = heap->layout;
	uint64_t dict = 0, index;
	if (!memory_u64(heap->memory, type->address + layout->tp_dict, &dict))
		return 0;
	if (dict || !(type->flags & PY_FLAG_STATIC_BUILTIN) || !layout->shape.static_builtin_dicts)
		return dict;
	/* tp_subclasses holds the index + 1 of the type's state */
	if (!memory_u64(heap->memory, type->address + layout->tp_subclasses, &index) || !index || index > 10000)
		return 0;
	uint64_t interpreter = heap->interpreters[0].address;
	if (heap_has(layout->interp_static_types))
		dict = static_type_dict(heap, interpreter + layout->interp_static_types, index - 1, type->address);
	if (!dict && heap_has(layout->interp_extension_types))
		dict = static_type_dict(heap, interpreter + layout->interp_extension_types, index - 1, type->address);
	return dict;
}

/* Entries of the shared keys of a type's instances. */
static uint64_t attribute_slots(const heap_t *heap, const struct type *type)
{
	struct dict_keys keys;
	uint64_t address;
	if (!(type->flags & PY_FLAG_HEAPTYPE) || !heap_has(heap->layout->ht_cached_keys) ||
	    !memory_u64(heap->memory, type->address + heap->layout->ht_cached_keys, &address) ||
	    !dict_keys_read(heap, address, &keys))
		return 0;
	return keys.n_entries;
}

/*
 * Instances of a class made in Python are listed from birth on (CPython Objects/typeobject.c, PyType_GenericAlloc()) until they
 * die. Such a class has keys its instances share, or slots.
 */
static bool made_in_python(const heap_t *heap, const struct type *type)
{
	const struct py_layout *layout = heap->layout;
	uint64_t keys = 0, slots = 0;
	if (!(type->flags & PY_FLAG_HEAPTYPE))
		return false;
	if (heap_has(layout->ht_cached_keys))
		memory_u64(heap->memory, type->address + layout->ht_cached_keys, &keys);
	if (heap_has(layout->ht_slots))
		memory_u64(heap->memory, type->address + layout->ht_slots, &slots);
	return keys || slots;
}

static const char *intern_escaped(struct type_table *table, const char *raw)
{
	g_autofree char *escaped = text_escape(raw, strlen(raw));
	return g_string_chunk_insert_const(table->strings, escaped);
}

/* type.__module__ and type.__qualname__ (CPython typeobject.c, type_module() and type_qualname()) */
static void name_type(heap_t *heap, struct type *type)
{
	const struct py_layout *layout = heap->layout;
	char raw[MAX_NAME] = "";
	uint64_t name = 0;
	memory_u64(heap->memory, type->address + layout->tp_name, &name);
	memory_string(heap->memory, name, raw, sizeof(raw));
	if (!(type->flags & PY_FLAG_HEAPTYPE)) {
		char *dot = strrchr(raw, '.');
		if (dot)
			*dot = '\0';
		type->module = intern_escaped(heap->types, dot ? raw : "builtins");
		type->qualname = intern_escaped(heap->types, dot ? dot + 1 : raw);
		return;
	}
	uint64_t qualname = 0;
	g_autofree char *qualname_text = NULL, *module_text = NULL;
	if (heap_has(layout->ht_qualname) && memory_u64(heap->memory, type->address + layout->ht_qualname, &qualname))
		qualname_text = str_text(heap, qualname, MAX_NAME);
	uint64_t module = dict_get(heap, type_dict(heap, type), "__module__");
	if (module)
		module_text = str_text(heap, module, MAX_NAME);
	type->qualname = intern_escaped(heap->types, qualname_text ? qualname_text : raw);
	type->module = intern_escaped(heap->types, module_text ? module_text : "");
}

/* The first class of the MRO that has a __sizeof__ of its own decides, as in an attribute look-up. */
static void find_size_rule(heap_t *heap, struct type *type)
{
	uint64_t mro = 0, length = 0, item, items;
	type->size = &size_of_object;
	if (!memory_u64(heap->memory, type->address + heap->layout->tp_mro, &mro) || !mro ||
	    !memory_u64(heap->memory, mro + heap->layout->ob_size, &length))
		return;
	items = mro + heap->layout->tuple_ob_item;
	length = MIN(length, MAX_MRO);
	/* the roots first: each class then finds its own bases known, and nothing recurses far */
	for (uint64_t i = length; i-- > 0;) {
		if (memory_u64(heap->memory, items + 8 * i, &item) && item != type->address)
			type_get(heap, item);
	}
	for (uint64_t i = 0; i < length; i++) {
		if (!memory_u64(heap->memory, items + 8 * i, &item))
			return;
		struct type *class = item == type->address ? type : type_get(heap, item);
		if (!class)
			return;
		if (class != type && class->size && class->size != &size_of_object) {
			type->size = class->size;
			return;
		}
		if (class != type || !dict_get(heap, type_dict(heap, class), "__sizeof__"))
			continue;
		const struct size_rule *rule = size_rule_find(class->module, class->qualname);
		if (!rule)
			rule = class->base ? &size_unknown : &size_of_object;
		type->size = rule;
		return;
	}
}

static enum type_kind find_kind(heap_t *heap, const struct type *type)
{
	static const struct {
		uint64_t flag;
		enum type_kind kind;
	} by_flag[] = {
		{PY_FLAG_DICT, TYPE_DICT},    {PY_FLAG_LIST, TYPE_LIST}, {PY_FLAG_TUPLE, TYPE_TUPLE},
		{PY_FLAG_UNICODE, TYPE_ATOM}, {PY_FLAG_LONG, TYPE_ATOM}, {PY_FLAG_BYTES, TYPE_ATOM},
		{PY_FLAG_TYPE, TYPE_TYPE},
	};
	static const struct {
		const char *module, *qualname;
		enum type_kind kind;
	} by_name[] = {
		{"builtins", "set", TYPE_SET},         {"builtins", "frozenset", TYPE_SET},
		{"builtins", "frozendict", TYPE_DICT}, {"builtins", "float", TYPE_ATOM},
		{"builtins", "complex", TYPE_ATOM},    {"collections", "deque", TYPE_DEQUE},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(by_flag); i++) {
		if (type->flags & by_flag[i].flag)
			return by_flag[i].kind;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(by_name); i++) {
		if (strcmp(type->qualname, by_name[i].qualname) == 0 && strcmp(type->module, by_name[i].module) == 0)
			return by_name[i].kind;
	}
	const struct type *base = type->base ? type_get(heap, type->base) : NULL;
	return base ? base->kind : TYPE_PLAIN;
}

/*
 * Bytes of the smallest instance. Whoever reads a field that all instances of a kind have relies on it: what says that it is of the kind,
 * but is smaller than its struct, is corrupt, and treated as a plain object.
 */
static void find_least(const struct py_layout *layout, struct type *type)
{
	uint64_t least = layout->object_size;
	switch (type->kind) {
	case TYPE_DICT:
		least = layout->ma_values + 8ull;
		break;
	case TYPE_LIST:
		least = layout->list_ob_item + 8ull;
		break;
	case TYPE_SET:
		least = layout->set_smalltable;
		break;
	case TYPE_DEQUE:
		least = layout->ob_size + 16ull;
		break;
	case TYPE_TYPE:
		least = layout->tp_flags + 8ull;
		break;
	case TYPE_TUPLE:
	case TYPE_ATOM:
	case TYPE_PLAIN:
		break;
	}
	if (type->basicsize < least)
		type->kind = TYPE_PLAIN;
	if (type->itemsize)
		type->least = MAX(type->least, layout->ob_size + 8);
}

static const struct buffer_rule *find_buffer(heap_t *heap, const struct type *type)
{
	const struct buffer_rule *rule = buffer_rule_find(type->module, type->qualname);
	const struct type *base = !rule && type->base ? type_get(heap, type->base) : NULL;
	return base ? base->buffer : rule;
}

static uint32_t prefix_of(const struct py_layout *layout, uint64_t flags)
{
	uint32_t prefix = 0;
	if ((flags & PY_FLAG_HAVE_GC) && layout->shape.gc != PY_GC_NONE)
		prefix += layout->gc_head_size;
	uint64_t managed = 0;
	if (layout->shape.managed_dict_offset)
		managed |= PY_FLAG_MANAGED_DICT;
	if (layout->shape.managed_weakref_offset)
		managed |= PY_FLAG_MANAGED_WEAKREF;
	if (flags & managed)
		prefix += TYPE_MANAGED_BYTES;
	return prefix;
}

static struct type *load_type(heap_t *heap, uint64_t address, int depth);

/* A type that isn't in the table yet, with the lock held. */
static struct type *find_or_load(heap_t *heap, uint64_t address, int depth)
{
	struct type_table *table = heap->types;
	for (size_t i = 0; i < table->pending->len; i++) {
		struct type *type = g_ptr_array_index(table->pending, i);
		if (type->address == address)
			return type;
	}
	struct type *type = slots_find(atomic_load(&table->slots), address);
	if (type || table->pending->len > MAX_LOADING)
		return type;
	return load_type(heap, address, depth);
}

static struct type *get_type(heap_t *heap, uint64_t address, int depth)
{
	struct type_table *table = heap->types;
	struct type *type = slots_find(atomic_load_explicit(&table->slots, memory_order_acquire), address);
	if (type || !address)
		return type;
	_Atomic uint64_t *miss = &table->misses[hash_address(address) % MISSES];
	if (atomic_load_explicit(miss, memory_order_relaxed) == address)
		return NULL;
	g_rec_mutex_lock(&table->lock);
	type = find_or_load(heap, address, depth);
	g_rec_mutex_unlock(&table->lock);
	if (!type)
		atomic_store_explicit(miss, address, memory_order_relaxed);
	return type;
}

struct type *type_get(heap_t *heap, uint64_t address)
{
	return get_type(heap, address, 0);
}

/*
 * Types whose constructors list what they made when all of its fields are set, and not before: until then those are what was there before.
 * All that are made in great numbers, but for tuples and dicts, of which the collector lists those that may be in circles, and frames, which
 * it gets when they are left.
 */
static const struct {
	const char *module, *qualname;
} listed_when_made[] = {
	{"builtins", "function"},
	{"builtins", "method"},
	{"builtins", "builtin_function_or_method"},
	{"builtins", "builtin_method"},
	{"builtins", "cell"},
	{"builtins", "generator"},
	{"builtins", "coroutine"},
	{"builtins", "async_generator"},
	{"builtins", "weakref"}, /* up to 3.8 */
	{"weakref", "ReferenceType"},
	{"builtins", "list_iterator"},
	{"builtins", "tuple_iterator"},
	{"builtins", "str_iterator"},
	{"builtins", "set_iterator"},
	{"builtins", "dict_keyiterator"},
	{"builtins", "dict_valueiterator"},
	{"builtins", "dict_itemiterator"},
	{"builtins", "dict_keys"},
	{"builtins", "dict_values"},
	{"builtins", "dict_items"},
	{"builtins", "traceback"},
};

static bool always_listed(const heap_t *heap, const struct type *type)
{
	if (type->flags & PY_FLAG_LIST || made_in_python(heap, type))
		return true;
	for (size_t i = 0; i < G_N_ELEMENTS(listed_when_made) && !(type->flags & PY_FLAG_HEAPTYPE); i++) {
		if (!strcmp(type->qualname, listed_when_made[i].qualname) &&
		    !strcmp(type->module, listed_when_made[i].module))
			return true;
	}
	return false;
}

static void find_smallest(const heap_t *heap, struct type *type)
{
	type->least = type->basicsize;
	if (type->flags & PY_FLAG_TYPE) {
		/* a static type is but a PyTypeObject, and may be the last thing in its file's data */
		type->least = MIN(type->basicsize, heap->layout->type_size);
		return;
	}
	if (type->flags & PY_FLAG_HEAPTYPE)
		return;
	if (type->flags & PY_FLAG_UNICODE)
		type->least = heap->layout->ascii_size + 1;
	if (!strcmp(type->module, "datetime") &&
	    (!strcmp(type->qualname, "datetime") || !strcmp(type->qualname, "time"))) {
		type->tail = 8;
		type->least -= 8;
	}
}

static struct type *load_type(heap_t *heap, uint64_t address, int depth)
{
	const struct py_layout *layout = heap->layout;
	if (depth > MAX_METATYPES || address % 8)
		return NULL;
	const uint8_t *bytes = memory_probe(heap->memory, address, layout->type_size);
	if (!bytes)
		return NULL;
	uint64_t flags = load_u64(bytes, layout->tp_flags);
	int64_t basicsize = load_i64(bytes, layout->tp_basicsize);
	int64_t itemsize = load_i64(bytes, layout->tp_itemsize);
	uint64_t metatype = load_u64(bytes, layout->ob_type);
	/* a static type that nobody has made ready works all the same: functools._lru_list_elem of 3.6 */
	bool ready = flags & PY_FLAG_READY || ((flags & PY_FLAG_VERSION_TAG) && !(flags & PY_FLAG_HEAPTYPE) &&
					       metatype == heap->python->type_type);
	if (!ready || basicsize < (int64_t)layout->object_size || basicsize > MAX_TYPE_BYTES || itemsize < 0 ||
	    itemsize > MAX_TYPE_BYTES)
		return NULL;
	char name[MAX_NAME];
	if (!memory_string(heap->memory, load_u64(bytes, layout->tp_name), name, sizeof(name)) &&
	    strlen(name) < MAX_NAME - 1)
		return NULL;
	if (metatype == address) {
		/* `type` itself */
		if (!(flags & PY_FLAG_TYPE) || strcmp(name, "type") != 0)
			return NULL;
	} else {
		struct type *meta = get_type(heap, metatype, depth + 1);
		if (!meta || !(meta->flags & PY_FLAG_TYPE))
			return NULL;
	}

	/* the metatype may have needed this one, as `type` needs object, its base */
	struct type *type = slots_find(atomic_load(&heap->types->slots), address);
	if (type)
		return type;
	type = g_new0(struct type, 1);
	type->address = address;
	type->flags = flags;
	type->basicsize = (uint32_t)basicsize;
	type->itemsize = (uint32_t)itemsize;
	type->base = load_u64(bytes, layout->tp_base);
	type->prefix = prefix_of(layout, flags);
	type->kind = TYPE_PLAIN;
	type->attribute_slots = attribute_slots(heap, type);
	/* what follows may come back to this type: it is found among the pending ones, and seen by others when it is
	 * complete */
	g_ptr_array_add(heap->types->pending, type);
	name_type(heap, type);
	type->always_listed = always_listed(heap, type);
	find_smallest(heap, type);
	find_size_rule(heap, type);
	type->kind = find_kind(heap, type);
	find_least(layout, type);
	type->buffer = find_buffer(heap, type);
	g_ptr_array_remove_index(heap->types->pending, heap->types->pending->len - 1);
	table_add(heap->types, type);
	return type;
}

uint32_t type_struct_size(const heap_t *heap, const struct type *type, const uint8_t *bytes)
{
	/* hashcode, hastzinfo: Include/datetime.h, _PyTZINFO_HEAD */
	return type->tail && !bytes[heap->layout->object_size + 8] ? type->basicsize - type->tail : type->basicsize;
}

bool object_at(heap_t *heap, uint64_t address, struct object *object)
{
	if (address % 8)
		return false;
	const struct memory_region *region = memory_find(heap->memory, address);
	if (!region)
		return false;
	uint64_t available = region->size - (address - region->start);
	const uint8_t *bytes = available < heap->layout->object_size
				       ? NULL
				       : memory_at(heap->memory, address, heap->layout->object_size);
	if (!bytes)
		return false;
	struct type *type = type_get(heap, object_type_address(heap->layout, bytes));
	if (!type || available < type->least)
		return false;
	if (region->lazy && !memory_at(heap->memory, address, type->least))
		return false;
	/* what is longer than the least, a heap type for one, has to be there as well */
	if (region->lazy && type->basicsize > type->least && available > type->least)
		memory_at(heap->memory, address, MIN(available, type->basicsize));
	*object = (struct object){.address = address, .bytes = bytes, .available = available, .type = type};
	return true;
}
