/* The references of dicts, lists, tuples, sets, deques and ordered dicts. */
#include "daemon/heap/candidate.h"
#include "daemon/heap/references_private.h"

#define MAX_ITEMS          (1ull << 40)
#define DEQUE_BLOCK_ITEMS  64
#define DEQUE_SPARE_BLOCKS 16
#define MAX_DEQUE_BLOCKS   (1ull << 34)

/* ---- dict ---- */

static void emit_key(references_t *references, const struct dict_keys *keys, uint64_t i, uint64_t key)
{
	struct reference reference = {.kind = REFERENCE_DICT_KEY,
				      .target = key,
				      .index = i,
				      .word = keys->entries + i * keys->entry_size + keys->key_offset};
	references_emit(references, &reference);
}

void references_shared_keys(references_t *references, const struct dict_keys *keys)
{
	if (!addresses_add(&references->keys_seen, keys->address))
		return;
	references_extent(references, keys->address, keys->bytes, true);
	for (uint64_t i = 0; i < keys->n_entries; i++) {
		uint64_t key;
		if (!memory_u64(references->heap->memory, keys->entries + i * keys->entry_size + keys->key_offset,
				&key))
			return;
		emit_key(references, keys, i, key);
	}
}

static void combined(references_t *references, const struct dict_keys *keys)
{
	const struct memory *memory = references->heap->memory;
	references_extent(references, keys->address, keys->bytes, true);
	const uint8_t *entries =
		keys->n_entries ? memory_at(memory, keys->entries, keys->n_entries * keys->entry_size) : NULL;
	for (uint64_t i = 0; i < keys->n_entries; i++) {
		uint64_t at = i * keys->entry_size, key = 0, value = 0;
		if (entries) {
			key = load_u64(entries, at + keys->key_offset);
			value = load_u64(entries, at + keys->value_offset);
		} else if (!memory_u64(memory, keys->entries + at + keys->key_offset, &key) ||
			   !memory_u64(memory, keys->entries + at + keys->value_offset, &value)) {
			return;
		}
		if (!value)
			continue;
		emit_key(references, keys, i, key);
		struct reference reference = {.kind = REFERENCE_DICT_VALUE,
					      .target = value,
					      .name = key,
					      .index = i,
					      .word = keys->entries + at + keys->value_offset};
		references_emit(references, &reference);
	}
}

/* Where the block of a split table's values begins. */
static uint64_t values_block(const heap_t *heap, uint64_t values)
{
	uint8_t before;
	switch (heap->layout->shape.attributes) {
	case PY_ATTRIBUTES_VALUES:
	case PY_ATTRIBUTES_TAGGED:
		return memory_u8(heap->memory, values - 1, &before) ? values - before : values;
	case PY_ATTRIBUTES_DICTOFFSET:
	case PY_ATTRIBUTES_INLINE:
		break;
	}
	return values;
}

static void split(references_t *references, const struct dict_keys *keys, uint64_t values)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	uint8_t embedded = 0;
	references_shared_keys(references, keys);
	/* values inside an instance are its own (references.c, visit_inline_values()) */
	if (heap_has(layout->dict_values_embedded) &&
	    memory_u8(heap->memory, values + layout->dict_values_embedded, &embedded) && embedded)
		return;
	uint64_t first = values + (heap_has(layout->dict_values_values) ? layout->dict_values_values : 0);
	uint64_t block = values_block(heap, values);
	references_extent(references, block, first - block + 8 * keys->n_entries, true);
	for (uint64_t i = 0; i < keys->n_entries; i++) {
		struct reference reference = {.kind = REFERENCE_DICT_VALUE, .word = first + 8 * i, .index = i};
		if (!memory_u64(heap->memory, first + 8 * i, &reference.target))
			return;
		if (!reference.target)
			continue;
		memory_u64(heap->memory, keys->entries + i * keys->entry_size + keys->key_offset, &reference.name);
		references_emit(references, &reference);
	}
}

void references_dict(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	struct dict_keys keys;
	(void)plan;
	if (!dict_keys_read(references->heap, load_u64(object->bytes, layout->ma_keys), &keys))
		return;
	uint64_t values = load_u64(object->bytes, layout->ma_values);
	if (values)
		split(references, &keys, values);
	else
		combined(references, &keys);
}

void references_dict_subclass(references_t *references, const struct object *object, const struct plan *plan)
{
	references_dict(references, object, plan);
	references_scan(references, object, plan, references->heap->layout->dict_size, plan->solid->basicsize);
}

/* The dict of interned strings maps each to itself; its references aren't counted (CPython Objects/unicodeobject.c, PyUnicode_InternInPlace()). */
void references_consider_interned(references_t *references, const struct object *object)
{
	heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	struct dict_iter iter;
	struct dict_item item;
	uint64_t best = 0;
	if (heap_has(layout->interp_interned) || object->type->flags & PY_FLAG_HEAPTYPE ||
	    strcmp(object->type->qualname, "dict") != 0)
		return;
	uint64_t used = load_u64(object->bytes, layout->ma_used);
	if (references->interned)
		memory_u64(heap->memory, references->interned + layout->ma_used, &best);
	if (used < 100 || used <= best || !dict_iter_init(&iter, heap, object->address))
		return;
	for (uint64_t i = 0; i < used; i++) {
		uint32_t state;
		if (!dict_iter_next(&iter, &item) || item.key != item.value ||
		    !memory_u32(heap->memory, item.key + layout->str_state, &state) ||
		    !(state & ((1u << layout->shape.str_interned_bits) - 1)))
			return;
	}
	references->interned = object->address;
}

/* ---- list, tuple, set ---- */

void references_list(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	uint64_t items = load_u64(object->bytes, layout->list_ob_item), n = load_u64(object->bytes, layout->ob_size);
	(void)plan;
	if (!items || n > MAX_ITEMS)
		return;
	uint64_t allocated = heap_has(layout->list_allocated) ? load_u64(object->bytes, layout->list_allocated) : n;
	references_extent(references, items, 8 * (allocated < MAX_ITEMS ? MAX(allocated, n) : n), true);
	references_array(references, items, n, REFERENCE_LIST_ITEM, false);
}

void references_list_subclass(references_t *references, const struct object *object, const struct plan *plan)
{
	references_list(references, object, plan);
	references_scan(references, object, plan, references->heap->layout->list_size, plan->solid->basicsize);
}

static bool is_tracked(const heap_t *heap, const struct object *object)
{
	struct object asked = *object;
	const struct py_layout *layout = heap->layout;
	bool static_type =
		object->type->flags & PY_FLAG_TYPE && !(load_u64(object->bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE);
	return object->type->flags & PY_FLAG_HAVE_GC && !static_type &&
	       memory_at(heap->memory, object->address - object->type->prefix, object->type->prefix + 1) &&
	       candidate_head(heap, &asked) && asked.tracked;
}

/*
 * property() keeps the tuple with the argument of its getter for the next call, untracked, and gives the argument's reference back (CPython 3.6,
 * 3.7, Objects/descrobject.c, cached_args in property_descr_get()). A tuple that was untracked for what is in it has no tracked item.
 */
static bool is_cached_argument(const references_t *references, const struct object *tuple)
{
	heap_t *heap = references->heap;
	uint64_t address;
	struct object item;
	return heap_has(heap->layout->gc_head_refs) && !is_tracked(heap, tuple) &&
	       memory_u64(heap->memory, tuple->address + heap->layout->tuple_ob_item, &address) &&
	       object_at(heap, address, &item) && is_tracked(heap, &item);
}

void references_tuple(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	uint64_t n = load_u64(object->bytes, layout->ob_size) + plan->hidden_items;
	if (n == 1 && is_cached_argument(references, object))
		return;
	if (n <= MAX_ITEMS)
		references_array(references, object->address + layout->tuple_ob_item, n, REFERENCE_TUPLE_ITEM, false);
}

void references_set(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	const struct memory *memory = references->heap->memory;
	uint64_t table = load_u64(object->bytes, layout->set_table), mask = load_u64(object->bytes, layout->set_mask);
	(void)plan;
	if (!table || mask > MAX_ITEMS)
		return;
	if (table != object->address + layout->set_smalltable)
		references_extent(references, table, (mask + 1) * layout->set_entry_size, true);
	for (uint64_t i = 0; i <= mask; i++) {
		uint64_t entry = table + i * layout->set_entry_size, hash;
		struct reference reference = {
			.kind = REFERENCE_SET_ITEM, .word = entry + layout->set_entry_key, .index = i};
		if (!memory_u64(memory, reference.word, &reference.target))
			return;
		/* a removed entry has hash -1, and the dummy in place of its key */
		if (reference.target && memory_u64(memory, entry + layout->set_entry_hash, &hash) && hash != UINT64_MAX)
			references_emit(references, &reference);
	}
}

/* ---- deque: blocks of {left, data[64], right} (CPython Modules/_collectionsmodule.c) ---- */

static void deque_spare(references_t *references, const struct object *object, uint32_t leftblock)
{
	const struct py_layout *layout = references->heap->layout;
	/* leftblock, rightblock, leftindex, rightindex, state, maxlen, numfreeblocks, freeblocks[16]: from 3.9 on */
	uint32_t count = heap_has(layout->deque_numfreeblocks) ? layout->deque_numfreeblocks : PY_ABSENT;
	uint32_t blocks = heap_has(layout->deque_freeblocks) ? layout->deque_freeblocks : PY_ABSENT;
	if (!heap_has(count) && object->type->basicsize >= leftblock + 56 + 8 * DEQUE_SPARE_BLOCKS) {
		count = leftblock + 48;
		blocks = leftblock + 56;
	}
	if (!heap_has(count) || !heap_has(blocks) || !references_room(object, blocks, 8 * DEQUE_SPARE_BLOCKS))
		return;
	uint64_t n = MIN(load_u64(object->bytes, count), DEQUE_SPARE_BLOCKS);
	for (uint64_t i = 0; i < n; i++)
		references_extent(references, load_u64(object->bytes, blocks + 8 * i), 8 * (DEQUE_BLOCK_ITEMS + 2),
				  true);
}

void references_deque(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	const struct memory *memory = references->heap->memory;
	uint32_t at = heap_has(layout->deque_leftblock) ? layout->deque_leftblock : layout->ob_size + 8;
	(void)plan;
	if (!references_room(object, at, 32))
		return;
	uint64_t block = load_u64(object->bytes, at), last = load_u64(object->bytes, at + 8);
	uint64_t i = load_u64(object->bytes, at + 16), end = load_u64(object->bytes, at + 24), index = 0;
	deque_spare(references, object, at);
	uint64_t blocks = MIN(load_u64(object->bytes, layout->ob_size), MAX_ITEMS) / DEQUE_BLOCK_ITEMS + 2;
	for (uint64_t n = 0; block && n < blocks; n++) {
		references_extent(references, block, 8 * (DEQUE_BLOCK_ITEMS + 2), true);
		uint64_t stop = block == last ? end + 1 : DEQUE_BLOCK_ITEMS;
		for (; i < stop && i < DEQUE_BLOCK_ITEMS; i++, index++) {
			struct reference reference = {
				.kind = REFERENCE_LIST_ITEM, .word = block + 8 * (i + 1), .index = index};
			if (memory_u64(memory, reference.word, &reference.target))
				references_emit(references, &reference);
		}
		i = 0;
		if (block == last || !memory_u64(memory, block + 8 * (DEQUE_BLOCK_ITEMS + 1), &block))
			return;
	}
}

/* ---- OrderedDict (CPython Objects/odictobject.c) ---- */

void references_ordered_dict(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	const struct memory *memory = references->heap->memory;
	references_dict(references, object, plan);
	if (!heap_has(layout->odict_first) || !heap_has(layout->odict_node_key) || !heap_has(layout->odict_node_next)) {
		references_scan(references, object, plan, layout->dict_size, plan->solid->basicsize);
		return;
	}
	references_word(references, object, layout->od_inst_dict, REFERENCE_SLOT, "__dict__");
	if (heap_has(layout->od_fast_nodes) && heap_has(layout->odict_fast_nodes_size))
		references_extent(references, load_u64(object->bytes, layout->od_fast_nodes),
				  8 * load_u64(object->bytes, layout->odict_fast_nodes_size), true);
	uint64_t node = load_u64(object->bytes, layout->odict_first);
	uint64_t used = load_u64(object->bytes, layout->ma_used);
	uint32_t node_size = heap_has(layout->odict_node_size) ? layout->odict_node_size : 32;
	for (uint64_t i = 0; node && i <= used; i++) {
		struct reference reference = {
			.kind = REFERENCE_DICT_KEY, .word = node + layout->odict_node_key, .index = i};
		references_extent(references, node, node_size, true);
		if (memory_u64(memory, reference.word, &reference.target))
			references_emit(references, &reference);
		if (!memory_u64(memory, node + layout->odict_node_next, &node))
			return;
	}
}
