/*
 * A process's memory written by hand, after the layout of CPython 3.8: a few types and what a test puts there. No allocator's arenas: all
 * objects are met through what refers to them and through the collector's list.
 */
#pragma once
#include <glib.h>

#include "daemon/heap/heap.h"
#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

#define IMAGE_BASE  0x7f0000100000
#define IMAGE_BYTES 65536

struct heap_image {
	uint8_t bytes[IMAGE_BYTES];
	uint64_t used;
	struct memory_region region;
	struct memory memory;
	interpreter_t python;
	struct heap_interpreter interpreter;
	heap_t heap;
	uint64_t head; /* of the collector's list */
	uint64_t type, object, integer, string, list, tuple, dict, floating, box, bytes_type;
};

static inline void image_put(struct heap_image *image, uint64_t address, uint64_t word)
{
	memcpy(image->bytes + (address - IMAGE_BASE), &word, 8);
}

static inline uint64_t image_get(const struct heap_image *image, uint64_t address)
{
	return load_u64(image->bytes, address - IMAGE_BASE);
}

/* Room for `size` bytes of zeros, at a multiple of 16. */
static inline uint64_t image_room(struct heap_image *image, uint64_t size)
{
	uint64_t address = IMAGE_BASE + image->used;
	image->used += (size + 15) & ~15ull;
	g_assert_cmpuint(image->used, <, IMAGE_BYTES);
	return address;
}

static inline uint64_t image_object(struct heap_image *image, uint64_t type, uint64_t count, uint64_t size)
{
	const struct py_layout *layout = &image->python.layout;
	bool gc = image_get(image, type + layout->tp_flags) & PY_FLAG_HAVE_GC;
	uint64_t start = image_room(image, size + (gc ? layout->gc_head_size : 0)), address = start;
	if (gc) {
		/* into the list, as its last */
		uint64_t last = image_get(image, image->head + 8);
		image_put(image, start, image->head);
		image_put(image, start + 8, last);
		image_put(image, last, start);
		image_put(image, image->head + 8, start);
		address += layout->gc_head_size;
	}
	image_put(image, address + layout->ob_refcnt, count);
	image_put(image, address + layout->ob_type, type);
	return address;
}

static inline uint64_t image_type(struct heap_image *image, const char *name, uint64_t base, uint64_t flags,
				  uint64_t basicsize, uint64_t itemsize)
{
	const struct py_layout *layout = &image->python.layout;
	uint64_t text = image_room(image, strlen(name) + 1), address = image_room(image, layout->type_size);
	memcpy(image->bytes + (text - IMAGE_BASE), name, strlen(name));
	image_put(image, address + layout->ob_refcnt, 1);
	image_put(image, address + layout->ob_type, image->type ? image->type : address);
	image_put(image, address + layout->tp_name, text);
	image_put(image, address + layout->tp_flags, flags | PY_FLAG_READY);
	image_put(image, address + layout->tp_basicsize, basicsize);
	image_put(image, address + layout->tp_itemsize, itemsize);
	image_put(image, address + layout->tp_base, base);
	return address;
}

static inline uint64_t image_int(struct heap_image *image, uint64_t count, int64_t value)
{
	uint64_t address = image_object(image, image->integer, count, 32);
	image_put(image, address + image->python.layout.ob_size, (uint64_t)(value < 0 ? -1 : value > 0));
	image_put(image, address + image->python.layout.long_digit, (uint64_t)(value < 0 ? -value : value));
	return address;
}

static inline uint64_t image_str(struct heap_image *image, uint64_t count, const char *text)
{
	const struct py_layout *layout = &image->python.layout;
	uint64_t address = image_object(image, image->string, count, layout->ascii_size + strlen(text) + 1);
	image_put(image, address + layout->str_length, strlen(text));
	/* one byte a character, compact, ascii, ready */
	image_put(image, address + layout->str_state,
		  1u << layout->shape.str_kind_shift | 1u << layout->shape.str_compact_shift |
			  1u << layout->shape.str_ascii_shift | 1u << 7);
	memcpy(image->bytes + (address + layout->ascii_size - IMAGE_BASE), text, strlen(text));
	return address;
}

/* items: addresses, ends with 0 */
static inline uint64_t image_list(struct heap_image *image, uint64_t count, const uint64_t *items)
{
	const struct py_layout *layout = &image->python.layout;
	uint64_t address = image_object(image, image->list, count, layout->list_size), n = 0,
		 array = image_room(image, 64);
	for (; items[n]; n++)
		image_put(image, array + 8 * n, items[n]);
	image_put(image, address + layout->ob_size, n);
	image_put(image, address + layout->list_ob_item, array);
	image_put(image, address + layout->list_allocated, 8);
	return address;
}

static inline uint64_t image_tuple(struct heap_image *image, uint64_t count, const uint64_t *items)
{
	const struct py_layout *layout = &image->python.layout;
	uint64_t address = image_object(image, image->tuple, count, layout->tuple_ob_item + 64), n = 0;
	for (; items[n]; n++)
		image_put(image, address + layout->tuple_ob_item + 8 * n, items[n]);
	image_put(image, address + layout->ob_size, n);
	return address;
}

/* pairs: key, value, ..., ends with 0 */
static inline uint64_t image_dict(struct heap_image *image, uint64_t count, const uint64_t *pairs)
{
	const struct py_layout *layout = &image->python.layout;
	uint64_t address = image_object(image, image->dict, count, layout->dict_size), n = 0;
	uint64_t keys = image_room(image, layout->dict_keys_size + 8 + 5 * 24);
	for (; pairs[2 * n]; n++) {
		image_put(image, keys + layout->dk_indices + 8 + 24 * n + 8, pairs[2 * n]);
		image_put(image, keys + layout->dk_indices + 8 + 24 * n + 16, pairs[2 * n + 1]);
	}
	image_put(image, keys + layout->dk_refcnt, 1);
	image_put(image, keys + layout->dk_size, 8);
	image_put(image, keys + layout->dk_usable, 5 - n);
	image_put(image, keys + layout->dk_nentries, n);
	image_put(image, address + layout->ma_used, n);
	image_put(image, address + layout->ma_keys, keys);
	return address;
}

static inline void image_init(struct heap_image *image)
{
	memset(image, 0, sizeof(*image));
	const struct py_builtin *builtin = py_builtin_find(0x030812f0, false, false, false);
	g_assert_nonnull(builtin);
	image->python.layout = *builtin->layout;
	image->python.version = builtin->version;
	const struct py_layout *layout = &image->python.layout;
	image->region = (struct memory_region){
		.start = IMAGE_BASE, .size = IMAGE_BYTES, .bytes = image->bytes, .mapping = MEMORY_NO_MAPPING};
	memory_init(&image->memory, &image->region, 1);
	image->interpreter.address = image_room(image, 4096);
	image->head = image_room(image, 16);
	image_put(image, image->head, image->head);
	image_put(image, image->head + 8, image->head);
	image->interpreter.collector.n_generations = 1;
	image->interpreter.collector.generations[0].head = image->head;
	/* `type` comes first; its base is made next */
	image->type = image_type(image, "type", 0, PY_FLAG_TYPE | PY_FLAG_HAVE_GC, 864, 40);
	image->python.type_type = image->type;
	image->object = image_type(image, "object", 0, 0, layout->object_size, 0);
	image_put(image, image->type + layout->tp_base, image->object);
	image->integer = image_type(image, "int", image->object, PY_FLAG_LONG, 24, 4);
	image->string = image_type(image, "str", image->object, PY_FLAG_UNICODE, 80, 0);
	image->floating = image_type(image, "float", image->object, 0, 24, 0);
	image->list = image_type(image, "list", image->object, PY_FLAG_LIST | PY_FLAG_HAVE_GC, layout->list_size, 0);
	image->tuple =
		image_type(image, "tuple", image->object, PY_FLAG_TUPLE | PY_FLAG_HAVE_GC, layout->tuple_ob_item, 8);
	image->dict = image_type(image, "dict", image->object, PY_FLAG_DICT | PY_FLAG_HAVE_GC, layout->dict_size, 0);
	/* of an extension: two words of its own, and a list of weak references */
	image->box = image_type(image, "ext.Box", image->object, PY_FLAG_HAVE_GC, 40, 0);
	image_put(image, image->box + layout->tp_weaklistoffset, 32);
	image->heap = (heap_t){.memory = &image->memory,
			       .layout = layout,
			       .python = &image->python,
			       .interpreters = &image->interpreter,
			       .n_interpreters = 1,
			       .types = type_table_new()};
	/* census and references begin with the types that were met */
	g_assert_nonnull(type_get(&image->heap, image->type));
}

static inline void image_clear(struct heap_image *image)
{
	type_table_free(image->heap.types);
}
