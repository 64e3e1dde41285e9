/*
 * A synthetic process for tests of daemon/heap: an interpreter with its collector, types, and a pymalloc arena that objects are made in, as
 * CPython 3.12's layout says (or another's, where a test asks for it). Each region is an allocation of its own, exactly as large as the
 * region: under AddressSanitizer a reader that goes beyond one is caught.
 *
 *   STATICS   runtime, interpreter, static types, what a test wants to keep apart
 *   ARENA     one arena of pymalloc
 *   HEAP      what malloc gave: tables and objects of more than 512 bytes
 */
#pragma once
#include <glib.h>
#include <string.h>

#include "daemon/heap/census.h"
#include "daemon/heap/object.h"
#include "daemon/heap/type.h"
#include "symbols/interpreter.h"

#define STATICS       0x500000ull
#define STATICS_BYTES (1u << 20)
#define ARENA         0x10000000ull
#define ARENA_BYTES   (1u << 20)
#define HEAP          0x20000000ull
#define HEAP_BYTES    (256u << 10)
#define POOL_HEADER   48
#define IMMORTAL      0xffffffffull

struct world {
	uint8_t *bytes[3];
	struct memory_region regions[3];
	struct memory memory;
	interpreter_t python;
	uint64_t next[3];   /* first address of each region nobody has */
	uint64_t pools[32]; /* where blocks of a size class come from; 0: no pool yet */
	uint64_t interp, arenas;
	uint64_t type_type, object_type, str_type, dict_type, tuple_type, list_type, int_type, float_type;
	heap_t *heap; /* once opened */
};

G_GNUC_UNUSED static uint8_t *at(struct world *world, uint64_t address)
{
	for (int i = 0; i < 3; i++)
		if (address - world->regions[i].start < world->regions[i].size)
			return world->bytes[i] + (address - world->regions[i].start);
	g_assert_not_reached();
}

G_GNUC_UNUSED static void put64(struct world *world, uint64_t address, uint64_t value)
{
	memcpy(at(world, address), &value, sizeof(value));
}

G_GNUC_UNUSED static void put32(struct world *world, uint64_t address, uint32_t value)
{
	memcpy(at(world, address), &value, sizeof(value));
}

G_GNUC_UNUSED static uint64_t get64(struct world *world, uint64_t address)
{
	return load_u64(at(world, address), 0);
}

/* room in region `i` */
G_GNUC_UNUSED static uint64_t take(struct world *world, int i, uint64_t size)
{
	uint64_t address = world->next[i];
	world->next[i] += (size + 15) & ~15ull;
	g_assert_cmpuint(world->next[i], <=, world->regions[i].start + world->regions[i].size);
	return address;
}

G_GNUC_UNUSED static uint64_t take_text(struct world *world, const char *text)
{
	uint64_t address = take(world, 0, strlen(text) + 1);
	memcpy(at(world, address), text, strlen(text) + 1);
	return address;
}

/* ---- blocks of pymalloc ---- */

G_GNUC_UNUSED static uint64_t block_new(struct world *world, uint64_t size)
{
	const struct py_shape *shape = &world->python.layout.shape;
	uint32_t class = (uint32_t)((size + shape->block_alignment - 1) / shape->block_alignment) - 1;
	uint32_t rounded = (class + 1) * shape->block_alignment;
	uint64_t pool = world->pools[class];
	if (pool && load_u32(at(world, pool), 40) + rounded > shape->pool_bytes && !get64(world, pool + 8))
		pool = 0;
	if (!pool) {
		pool = world->pools[class] = take(world, 1, shape->pool_bytes);
		put32(world, pool + 36, class);
		put32(world, pool + 40, POOL_HEADER);
		put64(world, world->arenas + 8, world->next[1]);
	}
	put32(world, pool, load_u32(at(world, pool), 0) + 1);
	uint64_t block = get64(world, pool + 8);
	if (block) {
		put64(world, pool + 8, get64(world, block));
		return block;
	}
	uint32_t offset = load_u32(at(world, pool), 40);
	put32(world, pool + 40, offset + rounded);
	return pool + offset;
}

G_GNUC_UNUSED static uint64_t pool_of(struct world *world, uint64_t block)
{
	return block & ~(uint64_t)(world->python.layout.shape.pool_bytes - 1);
}

G_GNUC_UNUSED static void block_free(struct world *world, uint64_t block)
{
	uint64_t pool = pool_of(world, block);
	put64(world, block, get64(world, pool + 8));
	put64(world, pool + 8, block);
	put32(world, pool, load_u32(at(world, pool), 0) - 1);
}

/* ---- types and objects ---- */

G_GNUC_UNUSED static void object_init(struct world *world, uint64_t address, uint64_t type, uint64_t refcount)
{
	if (heap_has(world->python.layout.ob_refcnt))
		put64(world, address + world->python.layout.ob_refcnt, refcount);
	else
		put32(world, address + world->python.layout.ob_ref_local, (uint32_t)refcount);
	put64(world, address + world->python.layout.ob_type, type);
}

G_GNUC_UNUSED static uint64_t type_new(struct world *world, const char *name, uint64_t flags, uint64_t basicsize,
				       uint64_t itemsize, uint64_t base)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t type = take(world, 0, layout->heap_type_size);
	object_init(world, type, world->type_type ? world->type_type : type, IMMORTAL);
	put64(world, type + layout->tp_name, take_text(world, name));
	put64(world, type + layout->tp_flags, flags | PY_FLAG_READY);
	put64(world, type + layout->tp_basicsize, basicsize);
	put64(world, type + layout->tp_itemsize, itemsize);
	put64(world, type + layout->tp_base, base);
	return type;
}

/* a compact ASCII str in region `i` */
G_GNUC_UNUSED static uint64_t str_new(struct world *world, int i, const char *text)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t size = layout->ascii_size + strlen(text) + 1;
	uint64_t str = i == 1 ? block_new(world, size) : take(world, i, size);
	object_init(world, str, world->str_type, 1);
	put64(world, str + layout->str_length, strlen(text));
	put32(world, str + layout->str_state,
	      1u << layout->shape.str_kind_shift | 1u << layout->shape.str_compact_shift |
		      1u << layout->shape.str_ascii_shift);
	memcpy(at(world, str + layout->ascii_size), text, strlen(text) + 1);
	return str;
}

G_GNUC_UNUSED static uint64_t tuple_new(struct world *world, int i, const uint64_t *items, uint64_t n)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t tuple = take(world, i, layout->tuple_ob_item + 8 * n);
	object_init(world, tuple, world->tuple_type, 1);
	put64(world, tuple + layout->ob_size, n);
	for (uint64_t k = 0; k < n; k++)
		put64(world, tuple + layout->tuple_ob_item + 8 * k, items[k]);
	return tuple;
}

/* a table of 8 slots with general entries: hash, key, value */
G_GNUC_UNUSED static uint64_t keys_new(struct world *world, int i, const uint64_t *items, uint64_t n)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t size = layout->dk_indices + 8 + 5 * 24;
	uint64_t keys = i == 1 ? block_new(world, size) : take(world, i, size);
	put64(world, keys + layout->dk_refcnt, 1);
	*at(world, keys + layout->dk_log2_size) = 3;
	*at(world, keys + layout->dk_log2_index_bytes) = 3;
	*at(world, keys + layout->dk_kind) = 0;
	put64(world, keys + layout->dk_usable, 5 - n);
	put64(world, keys + layout->dk_nentries, n);
	for (uint64_t k = 0; k < n; k++) {
		put64(world, keys + layout->dk_indices + 8 + 24 * k + 8, items[2 * k]);
		put64(world, keys + layout->dk_indices + 8 + 24 * k + 16, items[2 * k + 1]);
	}
	return keys;
}

/* a dict outside the blocks with one item */
G_GNUC_UNUSED static uint64_t dict_static(struct world *world, const char *key, uint64_t value)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t dict = take(world, 0, layout->dict_size);
	object_init(world, dict, world->dict_type, 1);
	put64(world, dict + layout->ma_used, 1);
	put64(world, dict + layout->ma_keys, keys_new(world, 0, (const uint64_t[]){str_new(world, 0, key), value}, 1));
	return dict;
}

/* the type gets an attribute dict with one name in it, and a method resolution order of itself alone */
G_GNUC_UNUSED static void type_define(struct world *world, uint64_t type, const char *name, uint64_t value)
{
	put64(world, type + world->python.layout.tp_dict, dict_static(world, name, value));
	put64(world, type + world->python.layout.tp_mro, tuple_new(world, 0, &type, 1));
}

/* the list head of generation `i` */
G_GNUC_UNUSED static uint64_t list_head(struct world *world, int i)
{
	const struct py_layout *layout = &world->python.layout;
	return world->interp + layout->interp_gc + layout->gc_generations + (uint64_t)i * layout->gc_generation_size;
}

/* at the end of generation `i` */
G_GNUC_UNUSED static void link_head(struct world *world, int i, uint64_t head)
{
	uint64_t list = list_head(world, i), last = get64(world, list + 8);
	put64(world, last, head);
	put64(world, head, list);
	put64(world, head + 8, last);
	put64(world, list + 8, head);
}

/* an object in a block of its own, `size` bytes behind the collector's head if it has one; tracked in generation 0 */
G_GNUC_UNUSED static uint64_t object_new(struct world *world, uint64_t type, uint64_t size)
{
	const struct py_layout *layout = &world->python.layout;
	bool gc = get64(world, type + layout->tp_flags) & PY_FLAG_HAVE_GC;
	uint64_t prefix = gc ? layout->gc_head_size : 0, block = block_new(world, prefix + size);
	memset(at(world, block), 0, prefix + size);
	object_init(world, block + prefix, type, 1);
	if (gc)
		link_head(world, 0, block);
	return block + prefix;
}

/* ---- the process ---- */

G_GNUC_UNUSED static void world_types(struct world *world)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t one = 1; /* something that isn't NULL */
	world->type_type = type_new(world, "type", PY_FLAG_TYPE | PY_FLAG_HAVE_GC, layout->heap_type_size, 40, 0);
	world->python.type_type = world->type_type;
	world->object_type = type_new(world, "object", 0, layout->object_size, 0, 0);
	put64(world, world->type_type + layout->tp_base, world->object_type);
	world->str_type = type_new(world, "str", PY_FLAG_UNICODE, layout->unicode_size, 0, world->object_type);
	world->dict_type =
		type_new(world, "dict", PY_FLAG_DICT | PY_FLAG_HAVE_GC, layout->dict_size, 0, world->object_type);
	world->tuple_type =
		type_new(world, "tuple", PY_FLAG_TUPLE | PY_FLAG_HAVE_GC, layout->tuple_ob_item, 8, world->object_type);
	world->list_type =
		type_new(world, "list", PY_FLAG_LIST | PY_FLAG_HAVE_GC, layout->list_size, 0, world->object_type);
	world->int_type = type_new(world, "int", PY_FLAG_LONG, layout->long_digit, 4, world->object_type);
	world->float_type = type_new(world, "float", 0, layout->object_size + 8, 0, world->object_type);
	const uint64_t sized[] = {world->str_type, world->dict_type, world->list_type, world->int_type,
				  world->type_type};
	for (size_t i = 0; i < G_N_ELEMENTS(sized); i++)
		type_define(world, sized[i], "__sizeof__", one);
}

G_GNUC_UNUSED static void world_init(struct world *world, uint32_t version, bool free_threaded)
{
	static const struct memory_region places[] = {
		{.start = STATICS, .size = STATICS_BYTES, .mapping = MEMORY_NO_MAPPING},
		{.start = ARENA, .size = ARENA_BYTES, .mapping = MEMORY_NO_MAPPING},
		{.start = HEAP, .size = HEAP_BYTES, .mapping = MEMORY_NO_MAPPING},
	};
	memset(world, 0, sizeof(*world));
	for (int i = 0; i < 3; i++) {
		world->bytes[i] = g_malloc0(places[i].size);
		world->regions[i] = places[i];
		world->regions[i].bytes = world->bytes[i];
		world->next[i] = places[i].start;
	}
	memory_init(&world->memory, world->regions, 3);
	const struct py_builtin *builtin = py_builtin_find(version, false, free_threaded, false);
	g_assert_nonnull(builtin);
	world->python.layout = *builtin->layout;
	world->python.version = version;
	world->python.free_threaded = free_threaded;
	const struct py_layout *layout = &world->python.layout;
	world->python.runtime = take(world, 0, layout->runtime_interpreters_head + 64);
	world->interp = take(world, 0, layout->interp_size);
	put64(world, world->python.runtime + layout->runtime_interpreters_head, world->interp);
	if (free_threaded) {
		world_types(world);
		return;
	}
	put32(world, world->interp + layout->interp_gc + layout->gc_enabled, 1);
	if (heap_has(layout->gc_generation0))
		put64(world, world->interp + layout->interp_gc + layout->gc_generation0, list_head(world, 0));
	for (int i = 0; i < HEAP_MAX_GENERATIONS; i++) {
		put64(world, list_head(world, i), list_head(world, i));
		put64(world, list_head(world, i) + 8, list_head(world, i));
	}
	uint64_t permanent = world->interp + layout->interp_gc + layout->gc_permanent;
	put64(world, permanent, permanent);
	put64(world, permanent + 8, permanent);
	/* the arena_object array */
	world->arenas = take(world, 0, 48);
	put64(world, world->arenas, ARENA);
	put64(world, world->arenas + 8, ARENA);
	put32(world, world->arenas + 20, ARENA_BYTES / layout->shape.pool_bytes);
	uint64_t state = world->interp + layout->interp_obmalloc;
	put64(world, state + layout->obmalloc_arenas, world->arenas);
	put32(world, state + layout->obmalloc_maxarenas, 1);
	world_types(world);
}

#define PYTHON_312 0x030c01f0u

G_GNUC_UNUSED static struct world *world_new(void)
{
	struct world *world = g_new0(struct world, 1);
	world_init(world, PYTHON_312, false);
	return world;
}

G_GNUC_UNUSED static void world_free(struct world *world)
{
	heap_free(world->heap);
	for (int i = 0; i < 3; i++)
		g_free(world->bytes[i]);
	g_free(world);
}

typedef struct world world_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(world_t, world_free)

/* ---- what a census finds ---- */

struct found {
	GArray *objects; /* of struct object */
	struct census census;
	bool taken;
	int forgot; /* times it began again */
	const struct py_layout *layout;
};

G_GNUC_UNUSED static void found_add(void *context, const struct objects *objects)
{
	struct found *found = context;
	int64_t refs = 0, refs_max = 0;
	for (size_t i = 0; i < objects->n; i++) {
		struct object object = objects_nth(objects, i);
		int64_t count = object_refcount(found->layout, object.bytes).count;
		g_array_append_val(found->objects, object);
		refs += count;
		refs_max = MAX(refs_max, count);
	}
	if (objects->first.common) {
		g_assert_cmpint(objects->refs, ==, refs);
		g_assert_cmpint(objects->refs_max, ==, refs_max);
	}
}

G_GNUC_UNUSED static void found_forget(void *context)
{
	struct found *found = context;
	found->forgot++;
	g_array_set_size(found->objects, 0);
}

/* Take a census of the world, which opens its heap anew. */
G_GNUC_UNUSED static void look(struct world *world, enum census_coverage coverage, struct found *found)
{
	g_autoptr(GError) error = NULL;
	memset(found, 0, sizeof(*found));
	found->objects = g_array_new(FALSE, FALSE, sizeof(struct object));
	found->layout = &world->python.layout;
	heap_free(world->heap);
	world->heap = heap_open(&world->memory, NULL, &world->python, &error);
	if (!world->heap)
		return;
	void *contexts[] = {found};
	const struct census_visitor visitor = {found_add, found_forget, contexts, 1};
	found->taken = census_take(world->heap, coverage, &visitor, &found->census, &error);
}

G_GNUC_UNUSED static void found_clear(struct found *found)
{
	if (found->taken)
		census_clear(&found->census);
	g_array_unref(found->objects);
}

/* Objects found of the type; with `tracked` only those in the collector's lists. */
G_GNUC_UNUSED static int64_t count(const struct found *found, uint64_t type, bool tracked)
{
	int64_t n = 0;
	for (guint i = 0; i < found->objects->len; i++) {
		const struct object *object = &g_array_index(found->objects, struct object, i);
		n += object->type->address == type && (!tracked || object->tracked);
	}
	return n;
}

G_GNUC_UNUSED static const struct object *find(const struct found *found, uint64_t address)
{
	for (guint i = 0; i < found->objects->len; i++) {
		const struct object *object = &g_array_index(found->objects, struct object, i);
		if (object->address == address)
			return object;
	}
	return NULL;
}
