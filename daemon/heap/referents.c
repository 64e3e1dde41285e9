#include "daemon/heap/referents.h"

#include "daemon/heap/dict.h"
#include "daemon/heap/size.h"
#include "daemon/heap/type.h"

#define DEQUE_BLOCK_ITEMS 64
#define MAX_ITEMS         (1ull << 40)
#define WINDOW_WORDS      4096

/* Of a memory that isn't kept: a large array goes by in pieces. */
static void visit_fetched(const heap_t *heap, uint64_t address, uint64_t n, uint64_t stride, referent_visit *visit,
			  void *context)
{
	uint64_t words[WINDOW_WORDS];
	uint64_t most = stride > sizeof(words) - 8 ? 1 : (sizeof(words) - 8) / stride + 1;
	while (n) {
		uint64_t piece = MIN(n, most);
		if (!heap->memory->window->fetch(heap->memory, address, words, (piece - 1) * stride + 8))
			return;
		visit(context, (const uint8_t *)words, piece, stride);
		address += piece * stride;
		n -= piece;
	}
}

/* `n` words in the target at `address`, piecewise: an array may be larger than a region's contiguous part */
static void visit_words(const heap_t *heap, uint64_t address, uint64_t n, uint64_t stride, referent_visit *visit,
			void *context)
{
	if (!n || n > MAX_ITEMS)
		return;
	if (heap->memory->window && n * stride > sizeof(uint64_t) * WINDOW_WORDS) {
		visit_fetched(heap, address, n, stride, visit, context);
		return;
	}
	const uint8_t *words = memory_at(heap->memory, address, (n - 1) * stride + 8);
	if (!words)
		return;
	visit(context, words, n, stride);
}

static void visit_body(const heap_t *heap, const struct object *object, uint64_t from, uint64_t to,
		       referent_visit *visit, void *context)
{
	to = MIN(to, object->available);
	/* of an object outside of blocks only the beginning may have been read */
	if (from + 8 <= to && heap->memory->window)
		visit_words(heap, object->address + from, (to - from) / 8, 8, visit, context);
	else if (from + 8 <= to)
		visit(context, object->bytes + from, (to - from) / 8, 8);
}

static void visit_dict(heap_t *heap, const struct object *object, referent_visit *visit, void *context)
{
	const struct py_layout *layout = heap->layout;
	struct dict_keys keys;
	uint64_t values = load_u64(object->bytes, layout->ma_values);
	if (!dict_keys_read(heap, load_u64(object->bytes, layout->ma_keys), &keys))
		return;
	visit_words(heap, keys.entries + keys.key_offset, keys.n_entries, keys.entry_size, visit, context);
	if (values)
		visit_words(heap, values + (heap_has(layout->dict_values_values) ? layout->dict_values_values : 0),
			    keys.n_entries, 8, visit, context);
	else
		visit_words(heap, keys.entries + keys.value_offset, keys.n_entries, keys.entry_size, visit, context);
}

static void visit_set(heap_t *heap, const struct object *object, referent_visit *visit, void *context)
{
	const struct py_layout *layout = heap->layout;
	uint64_t table = load_u64(object->bytes, layout->set_table), mask = load_u64(object->bytes, layout->set_mask);
	if (table != object->address + layout->set_smalltable && mask < MAX_ITEMS)
		visit_words(heap, table + layout->set_entry_key, mask + 1, layout->set_entry_size, visit, context);
}

/* blocks of {left, data[64], right} (CPython Modules/_collectionsmodule.c); every word of them, the links harm nobody
 */
static void visit_deque(heap_t *heap, const struct object *object, referent_visit *visit, void *context)
{
	uint64_t block = load_u64(object->bytes, heap->layout->object_size + 8);
	uint64_t items = load_u64(object->bytes, heap->layout->ob_size);
	for (uint64_t n = 0; block && n <= items / DEQUE_BLOCK_ITEMS + 1; n++) {
		visit_words(heap, block + 8, DEQUE_BLOCK_ITEMS, 8, visit, context);
		if (!memory_u64(heap->memory, block + 8 * (DEQUE_BLOCK_ITEMS + 1), &block))
			return;
	}
}

/* Attributes outside the struct: the managed dict, or the values in its place. */
static void visit_attributes(heap_t *heap, const struct object *object, referent_visit *visit, void *context)
{
	const struct py_shape *shape = &heap->layout->shape;
	uint64_t word, values = 0;
	if (!(object->type->flags & PY_FLAG_MANAGED_DICT) || !shape->managed_dict_offset)
		return;
	if (!memory_u64(heap->memory, object->address + (uint64_t)(int64_t)shape->managed_dict_offset, &word))
		return;
	switch (shape->attributes) {
	case PY_ATTRIBUTES_DICTOFFSET:
		return;
	case PY_ATTRIBUTES_VALUES:
		/* the values' pointer is one word below the dict's */
		memory_u64(heap->memory, object->address + (uint64_t)(int64_t)shape->managed_dict_offset - 8, &values);
		break;
	case PY_ATTRIBUTES_TAGGED:
		if (word & 1) {
			values = word + 1;
			word = 0;
		}
		break;
	case PY_ATTRIBUTES_INLINE:
		if (object->type->flags & PY_FLAG_INLINE_VALUES)
			values = object->address + object->type->basicsize + heap->layout->dict_values_values;
		break;
	}
	if (word)
		visit(context, (const uint8_t *)&word, 1, 8);
	if (values)
		visit_words(heap, values, object->type->attribute_slots, 8, visit, context);
}

void object_referents(heap_t *heap, const struct object *object, referent_visit *visit, void *context)
{
	const struct py_layout *layout = heap->layout;
	const struct type *type = object->type;
	uint64_t start = layout->object_size, end = type->basicsize;
	int64_t measured;
	switch (type->kind) {
	case TYPE_ATOM:
		break;
	case TYPE_DICT:
		visit_dict(heap, object, visit, context);
		start = layout->ma_values + 8ull; /* before that are numbers and its tables */
		break;
	case TYPE_LIST:
		visit_words(heap, load_u64(object->bytes, layout->list_ob_item),
			    load_u64(object->bytes, layout->ob_size), 8, visit, context);
		start = layout->list_ob_item + 8ull;
		break;
	case TYPE_SET:
		visit_set(heap, object, visit, context);
		break;
	case TYPE_DEQUE:
		visit_deque(heap, object, visit, context);
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
		visit_body(heap, object, start, end, visit, context);
	if (type->flags & PY_FLAG_HEAPTYPE)
		visit_attributes(heap, object, visit, context);
}
