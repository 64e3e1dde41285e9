#include "daemon/heap/attributes.h"

#include "daemon/heap/dict.h"
#include "daemon/heap/str.h"

#define MANAGED_VALUES_BELOW                                                                                           \
	8 /* 3.11: the values pointer stands right below the dict's (pycore_object.h, managed_dict_t) */
#define MAX_BASES  64
#define MAX_ITEMS  (1ull << 32)
#define DIGIT_BITS 30 /* CPython Include/cpython/longintrepr.h */
#define SIGN_BITS  3  /* of lv_tag, 3.12+: sign and two flags below the number of digits */

struct type *type_of(heap_t *heap, uint64_t address)
{
	struct object object;
	return address && address % 8 == 0 && object_at(heap, address, &object) ? object.type : NULL;
}

static bool type_named(const struct type *type, const char *module, const char *qualname)
{
	return strcmp(type->qualname, qualname) == 0 && (!module || strcmp(type->module, module) == 0);
}

bool object_is(heap_t *heap, uint64_t address, const char *module, const char *qualname)
{
	const struct type *type = type_of(heap, address);
	return type && type_named(type, module, qualname);
}

bool object_is_a(heap_t *heap, uint64_t address, const char *module, const char *qualname)
{
	const struct type *type = type_of(heap, address);
	for (int i = 0; type && i < MAX_BASES; i++) {
		if (type_named(type, module, qualname))
			return true;
		type = type->base ? type_get(heap, type->base) : NULL;
	}
	return false;
}

/* ---- the places attributes may be ---- */

/* the instance's dict and its values, where it has them; 0: not */
struct storage {
	uint64_t dict, values;
	uint64_t capacity; /* of values */
};

static void inline_values(heap_t *heap, uint64_t object, const struct type *type, struct storage *storage)
{
	const struct py_layout *layout = heap->layout;
	uint64_t values = object + type->basicsize;
	uint8_t valid, capacity;
	if (!(type->flags & PY_FLAG_INLINE_VALUES) || !heap_has(layout->dict_values_valid) ||
	    !heap_has(layout->dict_values_capacity) ||
	    !memory_u8(heap->memory, values + layout->dict_values_valid, &valid) ||
	    !memory_u8(heap->memory, values + layout->dict_values_capacity, &capacity) || !valid)
		return;
	storage->values = values + layout->dict_values_values;
	storage->capacity = capacity;
}

static void managed_storage(heap_t *heap, uint64_t object, const struct type *type, struct storage *storage)
{
	const struct py_shape *shape = &heap->layout->shape;
	uint64_t at = object + (uint64_t)(int64_t)shape->managed_dict_offset;
	if (!memory_u64(heap->memory, at, &storage->dict))
		return;
	storage->capacity = UINT64_MAX;
	switch (shape->attributes) {
	case PY_ATTRIBUTES_DICTOFFSET:
		break;
	case PY_ATTRIBUTES_VALUES:
		memory_u64(heap->memory, at - MANAGED_VALUES_BELOW, &storage->values);
		break;
	case PY_ATTRIBUTES_TAGGED:
		if (storage->dict & 1) {
			storage->values = storage->dict + 1;
			storage->dict = 0;
		}
		break;
	case PY_ATTRIBUTES_INLINE:
		/* a dict made of the values shows the same ones */
		if (!storage->dict)
			inline_values(heap, object, type, storage);
		break;
	}
}

static void find_storage(heap_t *heap, uint64_t object, const struct type *type, struct storage *storage)
{
	const struct py_layout *layout = heap->layout;
	uint64_t word = 0;
	if (type->flags & PY_FLAG_MANAGED_DICT) {
		managed_storage(heap, object, type, storage);
		return;
	}
	if (!memory_u64(heap->memory, type->address + layout->tp_dictoffset, &word))
		return;
	int64_t offset = (int64_t)word;
	if (offset < 0 && memory_u64(heap->memory, object + layout->ob_size, &word)) {
		/* from the end of the items (CPython Objects/object.c, _PyObject_GetDictPtr()) */
		uint64_t n = (int64_t)word < 0 ? 0 - word : word;
		if (type->flags & PY_FLAG_LONG || n > MAX_ITEMS)
			return;
		offset += (int64_t)((type->basicsize + type->itemsize * n + 7) & ~7ull);
	}
	if (offset > 0)
		memory_u64(heap->memory, object + (uint64_t)offset, &storage->dict);
}

void attributes_walk(heap_t *heap, uint64_t object, attribute_visit *visit, void *context)
{
	const struct type *type = type_of(heap, object);
	struct storage storage = {0};
	if (!type)
		return;
	find_storage(heap, object, type, &storage);
	struct dict_iter iter;
	struct dict_item item;
	if (storage.dict && dict_iter_init(&iter, heap, storage.dict)) {
		while (dict_iter_next(&iter, &item)) {
			if (!visit(context, item.key, item.value))
				return;
		}
	}
	uint64_t address = 0;
	struct dict_keys keys;
	if (!storage.values || !(type->flags & PY_FLAG_HEAPTYPE) ||
	    !memory_u64(heap->memory, type->address + heap->layout->ht_cached_keys, &address) ||
	    !dict_keys_read(heap, address, &keys))
		return;
	for (uint64_t i = 0; i < keys.n_entries && i < storage.capacity; i++) {
		uint64_t name = 0, value = 0;
		if (!memory_u64(heap->memory, keys.entries + i * keys.entry_size + keys.key_offset, &name) ||
		    !memory_u64(heap->memory, storage.values + 8 * i, &value))
			return;
		if (value && !visit(context, name, value))
			return;
	}
}

struct wanted {
	const heap_t *heap;
	const char *name;
	uint64_t value;
};

static bool visit_wanted(void *context, uint64_t name, uint64_t value)
{
	struct wanted *wanted = context;
	if (!str_equals(wanted->heap, name, wanted->name))
		return true;
	wanted->value = value;
	return false;
}

uint64_t attribute_get(heap_t *heap, uint64_t object, const char *name)
{
	struct wanted wanted = {heap, name, 0};
	attributes_walk(heap, object, visit_wanted, &wanted);
	return wanted.value;
}

bool int_read(heap_t *heap, uint64_t address, int64_t *value)
{
	const struct py_layout *layout = heap->layout;
	const struct type *type = type_of(heap, address);
	uint64_t size;
	if (!type || !(type->flags & PY_FLAG_LONG))
		return false;
	bool negative;
	if (heap_has(layout->long_tag)) {
		if (!memory_u64(heap->memory, address + layout->long_tag, &size))
			return false;
		negative = (size & 3) == 2;
		size >>= SIGN_BITS;
	} else {
		if (!memory_u64(heap->memory, address + layout->ob_size, &size))
			return false;
		negative = (int64_t)size < 0;
		size = negative ? 0 - size : size;
	}
	uint64_t result = 0;
	if (size > 3)
		return false;
	for (uint64_t i = 0; i < size; i++) {
		uint32_t digit;
		if (!memory_u32(heap->memory, address + layout->long_digit + 4 * i, &digit))
			return false;
		if (i == 2 && digit >= 1u << (64 - 2 * DIGIT_BITS))
			return false;
		result |= (uint64_t)digit << (i * DIGIT_BITS);
	}
	*value = negative ? -(int64_t)result : (int64_t)result;
	return true;
}

uint64_t module_globals(heap_t *heap, uint64_t interpreter, const char *name)
{
	const struct py_layout *layout = heap->layout;
	uint64_t modules = 0, dict = 0;
	if (!memory_u64(heap->memory, interpreter + layout->interp_modules, &modules))
		return 0;
	uint64_t module = dict_get(heap, modules, name);
	return module && memory_u64(heap->memory, module + layout->md_dict, &dict) ? dict : 0;
}
