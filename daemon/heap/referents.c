#include "daemon/heap/referents.h"

#include "daemon/heap/dict.h"
#include "daemon/heap/size.h"
#include "daemon/heap/type.h"

#define DEQUE_BLOCK_ITEMS 64
#define MAX_ITEMS         (1ull << 40)
#define WINDOW_WORDS      4096

struct walk {
	heap_t *heap;
	const struct allocator *blocks;
	struct allocator_hint hint;
	referent_visit *visit;
	void *context;
};

static bool in_blocks(struct walk *walk, uint64_t address)
{
	return walk->blocks && allocator_owns(walk->blocks, &walk->hint, address);
}

/* Of a memory that isn't kept: a large array goes by in pieces. */
static void visit_fetched(const struct walk *walk, uint64_t address, uint64_t n, uint64_t stride)
{
	const struct memory *memory = walk->heap->memory;
	uint64_t words[WINDOW_WORDS];
	uint64_t most = stride > sizeof(words) - 8 ? 1 : (sizeof(words) - 8) / stride + 1;
	while (n) {
		uint64_t piece = MIN(n, most);
		if (!memory->window->fetch(memory, address, words, (piece - 1) * stride + 8))
			return;
		walk->visit(walk->context, (const uint8_t *)words, piece, stride);
		address += piece * stride;
		n -= piece;
	}
}

/* `n` words in the target at `address`, piecewise: an array may be larger than a region's contiguous part */
static void visit_words(struct walk *walk, uint64_t address, uint64_t n, uint64_t stride)
{
	const struct memory *memory = walk->heap->memory;
	if (!n || n > MAX_ITEMS || in_blocks(walk, address))
		return;
	if (memory->window && n * stride > sizeof(uint64_t) * WINDOW_WORDS) {
		visit_fetched(walk, address, n, stride);
		return;
	}
	const uint8_t *words = memory_at(memory, address, (n - 1) * stride + 8);
	if (words)
		walk->visit(walk->context, words, n, stride);
}

static void visit_body(struct walk *walk, const struct object *object, uint64_t from, uint64_t to)
{
	to = MIN(to, object->available);
	/* of an object outside of blocks only the beginning may have been read */
	if (from + 8 <= to && walk->heap->memory->window && object->outside)
		visit_words(walk, object->address + from, (to - from) / 8, 8);
	else if (from + 8 <= to)
		walk->visit(walk->context, object->bytes + from, (to - from) / 8, 8);
}

static void visit_dict(struct walk *walk, const struct object *object)
{
	const struct py_layout *layout = walk->heap->layout;
	struct dict_keys keys;
	uint64_t address = load_u64(object->bytes, layout->ma_keys);
	uint64_t values = load_u64(object->bytes, layout->ma_values);
	/* values take less room than their keys, and are in a block when those are */
	if (in_blocks(walk, address) || !dict_keys_read(walk->heap, address, &keys))
		return;
	visit_words(walk, keys.entries + keys.key_offset, keys.n_entries, keys.entry_size);
	if (values)
		visit_words(walk, values + (heap_has(layout->dict_values_values) ? layout->dict_values_values : 0),
			    keys.n_entries, 8);
	else
		visit_words(walk, keys.entries + keys.value_offset, keys.n_entries, keys.entry_size);
}

static void visit_set(struct walk *walk, const struct object *object)
{
	const struct py_layout *layout = walk->heap->layout;
	uint64_t table = load_u64(object->bytes, layout->set_table), mask = load_u64(object->bytes, layout->set_mask);
	if (table != object->address + layout->set_smalltable && mask < MAX_ITEMS)
		visit_words(walk, table + layout->set_entry_key, mask + 1, layout->set_entry_size);
}

/* blocks of {left, data[64], right} (CPython Modules/_collectionsmodule.c); every word of them, the links harm nobody
 */
static void visit_deque(struct walk *walk, const struct object *object)
{
	const struct py_layout *layout = walk->heap->layout;
	uint64_t block = load_u64(object->bytes, layout->object_size + 8);
	uint64_t items = load_u64(object->bytes, layout->ob_size);
	for (uint64_t n = 0; block && n <= items / DEQUE_BLOCK_ITEMS + 1; n++) {
		visit_words(walk, block + 8, DEQUE_BLOCK_ITEMS, 8);
		if (!memory_u64(walk->heap->memory, block + 8 * (DEQUE_BLOCK_ITEMS + 1), &block))
			return;
	}
}

/* Values right behind the struct. */
static void visit_inline(struct walk *walk, const struct object *object)
{
	uint64_t from = (uint64_t)object->type->basicsize + walk->heap->layout->dict_values_values;
	if (object->outside)
		visit_words(walk, object->address + from, object->type->attribute_slots, 8);
	else
		visit_body(walk, object, from, from + 8 * MIN(object->type->attribute_slots, MAX_ITEMS));
}

/* Attributes outside the struct: the managed dict, or the values in its place. */
static void visit_attributes(struct walk *walk, const struct object *object)
{
	const struct py_layout *layout = walk->heap->layout;
	const struct memory *memory = walk->heap->memory;
	const struct py_shape *shape = &layout->shape;
	uint64_t word, values = 0;
	if (!(object->type->flags & PY_FLAG_MANAGED_DICT) || !shape->managed_dict_offset)
		return;
	if (!memory_u64(memory, object->address + (uint64_t)(int64_t)shape->managed_dict_offset, &word))
		return;
	switch (shape->attributes) {
	case PY_ATTRIBUTES_DICTOFFSET:
		return;
	case PY_ATTRIBUTES_VALUES:
		/* the values' pointer is one word below the dict's */
		memory_u64(memory, object->address + (uint64_t)(int64_t)shape->managed_dict_offset - 8, &values);
		break;
	case PY_ATTRIBUTES_TAGGED:
		if (word & 1) {
			values = word + 1;
			word = 0;
		}
		break;
	case PY_ATTRIBUTES_INLINE:
		if (object->type->flags & PY_FLAG_INLINE_VALUES)
			visit_inline(walk, object);
		break;
	}
	if (word)
		walk->visit(walk->context, (const uint8_t *)&word, 1, 8);
	if (values)
		visit_words(walk, values, object->type->attribute_slots, 8);
}

void object_referents(heap_t *heap, const struct object *object, const struct allocator *blocks, referent_visit *visit,
		      void *context)
{
	struct walk walk = {.heap = heap, .blocks = blocks, .visit = visit, .context = context};
	const struct py_layout *layout = heap->layout;
	const struct type *type = object->type;
	uint64_t start = object_referents_begin(layout, type), end = type->basicsize;
	int64_t measured;
	switch (type->kind) {
	case TYPE_ATOM:
		break;
	case TYPE_DICT:
		visit_dict(&walk, object);
		break;
	case TYPE_LIST:
		visit_words(&walk, load_u64(object->bytes, layout->list_ob_item),
			    load_u64(object->bytes, layout->ob_size), 8);
		break;
	case TYPE_SET:
		visit_set(&walk, object);
		break;
	case TYPE_DEQUE:
		visit_deque(&walk, object);
		break;
	case TYPE_TYPE:
		/* a static type is shorter than its metatype's instances are */
		end = load_u64(object->bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE ? type->basicsize
										   : layout->type_size;
		break;
	case TYPE_TUPLE:
	case TYPE_PLAIN:
		/* ob_size isn't the number of items in every such type: what __sizeof__ says is */
		if (type->itemsize == 8 && type->size->measure(heap, object, &measured))
			end = (uint64_t)measured;
		break;
	}
	/* an atom's own struct holds none, what a subclass adds may */
	if (type->kind != TYPE_ATOM || type->flags & PY_FLAG_HEAPTYPE)
		visit_body(&walk, object, start, end);
	if (type->flags & PY_FLAG_HEAPTYPE)
		visit_attributes(&walk, object);
}
