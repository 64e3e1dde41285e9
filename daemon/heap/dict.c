#include "daemon/heap/dict.h"

#include "daemon/heap/object.h"
#include "daemon/heap/str.h"

#define MAX_SLOTS    (1ull << 40)
#define LEAST_SLOTS  8 /* Objects/dictobject.c, PyDict_MINSIZE */
#define AMBIGUOUS    UINT16_MAX
#define KIND_SPLIT   2
#define KIND_GENERAL 0

bool dict_keys_read(const heap_t *heap, uint64_t address, struct dict_keys *keys)
{
	const struct py_layout *layout = heap->layout;
	const uint8_t *bytes = address ? memory_at(heap->memory, address, layout->dict_keys_size) : NULL;
	if (!bytes)
		return false;
	memset(keys, 0, sizeof(*keys));
	keys->address = address;
	keys->refcount = load_i64(bytes, layout->dk_refcnt);
	keys->usable = load_u64(bytes, layout->dk_usable);
	keys->n_entries = load_u64(bytes, layout->dk_nentries);
	keys->entry_size = 24;
	if (layout->shape.dict_keys == PY_DICT_KEYS_SIZE) {
		keys->slots = load_u64(bytes, layout->dk_size);
		uint64_t width = keys->slots <= 0xff         ? 1
				 : keys->slots <= 0xffff     ? 2
				 : keys->slots <= 0xffffffff ? 4
							     : 8;
		keys->index_bytes = width * keys->slots;
	} else {
		uint8_t log2_size = bytes[layout->dk_log2_size], log2_index = bytes[layout->dk_log2_index_bytes];
		if (log2_size > 40 || log2_index > 43)
			return false;
		keys->slots = 1ull << log2_size;
		keys->index_bytes = 1ull << log2_index;
		keys->entry_size = bytes[layout->dk_kind] == KIND_GENERAL ? 24 : 16;
		keys->split = bytes[layout->dk_kind] == KIND_SPLIT;
	}
	if (!keys->slots || keys->slots > MAX_SLOTS || keys->n_entries > keys->slots || keys->usable > keys->slots)
		return false;
	keys->key_offset = keys->entry_size == 24 ? 8 : 0;
	keys->value_offset = keys->key_offset + 8;
	keys->entries = address + layout->dk_indices + keys->index_bytes;
	keys->bytes = layout->dict_keys_size + keys->index_bytes + dict_usable_fraction(keys->slots) * keys->entry_size;
	return memory_spans(heap->memory, address, keys->bytes);
}

void dict_blocks_init(struct dict_blocks *blocks, const struct py_layout *layout, const struct pymalloc *pymalloc)
{
	const uint32_t unit = layout->shape.block_alignment;
	memset(blocks, 0, sizeof(*blocks));
	/* a debug hook's block is larger than what was asked for */
	if (pymalloc && !pymalloc->debug_hooks)
		blocks->pymalloc = pymalloc;
	for (uint64_t slots = LEAST_SLOTS; slots < PYMALLOC_LARGEST; slots *= 2) {
		/* up to 3.10 every entry has its hash */
		uint64_t smallest = layout->shape.dict_keys == PY_DICT_KEYS_SIZE ? 24 : 16;
		for (uint64_t entry = smallest; entry <= 24; entry += 8) {
			uint64_t bytes = layout->dict_keys_size + slots + dict_usable_fraction(slots) * entry;
			uint64_t block = (bytes + unit - 1) / unit * unit;
			if (block <= PYMALLOC_LARGEST)
				blocks->bytes[block] = blocks->bytes[block] ? AMBIGUOUS : (uint16_t)bytes;
		}
	}
	for (size_t i = 0; i <= PYMALLOC_LARGEST; i++)
		if (blocks->bytes[i] == AMBIGUOUS)
			blocks->bytes[i] = 0;
}

bool dict_iter_init(struct dict_iter *iter, const heap_t *heap, uint64_t dict)
{
	const struct py_layout *layout = heap->layout;
	uint64_t keys, values;
	if (!dict || !memory_u64(heap->memory, dict + layout->ma_keys, &keys) ||
	    !memory_u64(heap->memory, dict + layout->ma_values, &values) || !dict_keys_read(heap, keys, &iter->keys))
		return false;
	iter->heap = heap;
	iter->position = 0;
	iter->values = values ? values + (heap_has(layout->dict_values_values) ? layout->dict_values_values : 0) : 0;
	return true;
}

bool dict_iter_next(struct dict_iter *iter, struct dict_item *item)
{
	const struct memory *memory = iter->heap->memory;
	while (iter->position < iter->keys.n_entries) {
		uint64_t i = iter->position++;
		uint64_t entry = iter->keys.entries + i * iter->keys.entry_size;
		uint64_t value_at = iter->values ? iter->values + 8 * i : entry + iter->keys.value_offset;
		if (!memory_u64(memory, entry + iter->keys.key_offset, &item->key) ||
		    !memory_u64(memory, value_at, &item->value))
			return false;
		if (item->value)
			return true;
	}
	return false;
}

uint64_t dict_get(const heap_t *heap, uint64_t dict, const char *key)
{
	struct dict_iter iter;
	struct dict_item item;
	if (!dict_iter_init(&iter, heap, dict))
		return 0;
	while (dict_iter_next(&iter, &item)) {
		if (str_equals(heap, item.key, key))
			return item.value;
	}
	return 0;
}
