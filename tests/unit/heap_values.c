#include "daemon/heap/dict.h"
#include "daemon/heap/referents.h"
#include "daemon/heap/size.h"
#include "daemon/heap/str.h"
#include "tests/unit/world.h"

static heap_t *opened(struct world *world)
{
	g_autoptr(GError) error = NULL;
	heap_free(world->heap);
	world->heap = heap_open(&world->memory, NULL, &world->python, &error);
	g_assert_no_error(error);
	return world->heap;
}

/* sys.getsizeof() of the object; -1: unreadable */
static int64_t size_of(struct world *world, uint64_t address)
{
	heap_t *heap = opened(world);
	struct object object;
	int64_t bytes;
	g_assert_true(object_at(heap, address, &object));
	return object_getsizeof(heap, &object, &bytes) ? bytes : -1;
}

/* ---- str ---- */

static uint64_t str_of(struct world *world, unsigned kind, bool ascii, const void *units, uint64_t length)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t header = ascii ? layout->ascii_size : layout->compact_size;
	uint64_t str = take(world, 2, header + (length + 1) * kind);
	object_init(world, str, world->str_type, 1);
	put64(world, str + layout->str_length, length);
	put32(world, str + layout->str_state,
	      kind << layout->shape.str_kind_shift | 1u << layout->shape.str_compact_shift |
		      (uint32_t)ascii << layout->shape.str_ascii_shift);
	memcpy(at(world, str + header), units, length * kind);
	return str;
}

static void check_text(struct world *world, uint64_t str, const char *text, int64_t size)
{
	g_autofree char *found = str_text(opened(world), str, 1000);
	g_assert_cmpstr(found, ==, text);
	g_assert_cmpint(size_of(world, str), ==, size);
}

static void test_str_kinds(void)
{
	g_autoptr(world_t) world = world_new();
	static const uint16_t two[] = {0x1234, 0x41, 0xd800};
	static const uint32_t four[] = {0x1f600, 0x42};
	check_text(world, str_of(world, 1, true, "plain", 5), "plain", 40 + 6);
	check_text(world, str_of(world, 1, true, "", 0), "", 40 + 1);
	check_text(world, str_of(world, 1, false, "caf\xe9", 4), "caf\u00e9", 56 + 5);
	/* a lone surrogate is nothing that UTF-8 can say */
	check_text(world, str_of(world, 2, false, two, 3), "\u1234A\ufffd", 56 + 8);
	check_text(world, str_of(world, 4, false, four, 2), "\U0001f600B", 56 + 12);
	uint64_t name = str_of(world, 1, true, "name", 4);
	heap_t *heap = opened(world);
	g_assert_true(str_equals(heap, name, "name"));
	g_assert_false(str_equals(heap, name, "names"));
	g_assert_false(str_equals(heap, name, "Name"));
	g_autofree char *cut = str_text(heap, name, 2);
	g_assert_cmpstr(cut, ==, "na");
}

static void test_corrupt_str(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t str = str_of(world, 1, true, "text", 4);
	heap_t *heap = opened(world);
	struct str read;
	g_assert_true(str_read(heap, str, &read));
	g_assert_false(str_read(heap, str + 4, &read)); /* not aligned */
	g_assert_false(str_read(heap, 0, &read));
	g_assert_false(str_read(heap, HEAP + HEAP_BYTES - 8, &read)); /* its end isn't there */
	g_assert_false(str_read(heap, world->list_type, &read));      /* something else */
	put64(world, str + layout->str_length, 1ull << 39);
	g_assert_null(str_text(heap, str, UINT64_MAX)); /* neither the room for it nor the characters */
	put64(world, str + layout->str_length, UINT64_MAX);
	g_assert_false(str_read(heap, str, &read));
	put64(world, str + layout->str_length, 4);
	put32(world, str + layout->str_state, 3u << layout->shape.str_kind_shift);
	g_assert_false(str_read(heap, str, &read)); /* there is no such kind */
	put32(world, str + layout->str_state, 7u << layout->shape.str_kind_shift);
	g_assert_false(str_read(heap, str, &read));
	put64(world, str + layout->ob_type, 0x7777777777777778ull);
	g_assert_false(str_read(heap, str, &read));
}

/* ---- int and what has items ---- */

static void test_int(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	/* digits | sign in the lowest 3 bits (3.12); zero still has one */
	const struct {
		uint64_t tag;
		int64_t size;
	} cases[] = {{1, 28}, {1 << 3, 28}, {1 << 3 | 2, 28}, {2 << 3, 32}, {100 << 3, 24 + 400}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint64_t number = take(world, 2, 24 + 400);
		object_init(world, number, world->int_type, 1);
		put64(world, number + layout->long_tag, cases[i].tag);
		g_assert_cmpint(size_of(world, number), ==, cases[i].size);
	}
}

/* met between its header and its size: what is there is left over, and may be anything */
static void test_half_made_int(void)
{
	g_autoptr(world_t) world = world_new();
	static const uint64_t left_over[] = {0xcdcdcdcdcdcdcdcdull, ARENA + 64, 1ull << 20, 3 << 3, UINT64_MAX};
	uint64_t number = object_new(world, world->int_type, 32), other = object_new(world, world->int_type, 32);
	put64(world, other + world->python.layout.long_tag, 2 << 3);
	for (size_t i = 0; i < G_N_ELEMENTS(left_over); i++) {
		put64(world, number + world->python.layout.long_tag, left_over[i]);
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_cmpint(count(&found, world->int_type, false), ==, 2);
		int64_t bytes = 0;
		g_assert_false(object_getsizeof(world->heap, find(&found, number), &bytes));
		g_assert_true(object_getsizeof(world->heap, find(&found, other), &bytes));
		g_assert_cmpint(bytes, ==, 32);
		found_clear(&found);
	}
}

static void test_list(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t list = object_new(world, world->list_type, layout->list_size);
	g_assert_cmpint(size_of(world, list), ==, 56); /* with the collector's head */
	put64(world, list + layout->list_allocated, 10);
	g_assert_cmpint(size_of(world, list), ==, 56 + 80);
	put64(world, list + layout->list_allocated, UINT64_MAX / 4);
	g_assert_cmpint(size_of(world, list), ==, -1);
}

/* ---- dict ---- */

static void test_dict(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t dict = object_new(world, world->dict_type, layout->dict_size);
	uint64_t a = str_new(world, 1, "a"), b = str_new(world, 1, "b"), gone = str_new(world, 1, "gone");
	const uint64_t items[] = {a, ARENA + 16, gone, 0, b, ARENA + 32};
	uint64_t keys = keys_new(world, 1, items, 3);
	put64(world, dict + layout->ma_keys, keys);
	put64(world, dict + layout->ma_used, 2);
	heap_t *heap = opened(world);
	g_assert_cmpuint(dict_get(heap, dict, "a"), ==, ARENA + 16);
	g_assert_cmpuint(dict_get(heap, dict, "b"), ==, ARENA + 32);
	g_assert_cmpuint(dict_get(heap, dict, "gone"), ==, 0);
	g_assert_cmpuint(dict_get(heap, dict, "c"), ==, 0);
	struct dict_keys read;
	g_assert_true(dict_keys_read(heap, keys, &read));
	g_assert_cmpuint(read.slots, ==, 8);
	g_assert_cmpuint(read.bytes, ==, layout->dict_keys_size + 8 + 5 * 24);
	g_assert_cmpint(size_of(world, dict), ==, 16 + (int64_t)(layout->dict_size + read.bytes));
	/* entries of str keys have no hash */
	*at(world, keys + layout->dk_kind) = 1;
	g_assert_true(dict_keys_read(world->heap, keys, &read));
	g_assert_cmpuint(read.entry_size, ==, 16);
	g_assert_cmpint(size_of(world, dict), ==,
			16 + (int64_t)(layout->dict_size + layout->dict_keys_size + 8 + 5 * 16));
	/* the keys are another's too */
	put64(world, keys + layout->dk_refcnt, 2);
	g_assert_cmpint(size_of(world, dict), ==, 16 + (int64_t)layout->dict_size);
}

static void test_corrupt_dict(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t dict = object_new(world, world->dict_type, layout->dict_size);
	uint64_t keys = keys_new(world, 2, (const uint64_t[]){str_new(world, 1, "a"), dict}, 1);
	put64(world, dict + layout->ma_keys, keys);
	heap_t *heap = opened(world);
	struct dict_keys read;
	g_assert_cmpuint(dict_get(heap, dict, "a"), ==, dict); /* it holds itself */
	const struct {
		uint64_t offset, value;
	} cases[] = {{layout->dk_nentries, 9}, {layout->dk_nentries, UINT64_MAX}, {layout->dk_usable, 1ull << 60}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint64_t before = get64(world, keys + cases[i].offset);
		put64(world, keys + cases[i].offset, cases[i].value);
		g_assert_false(dict_keys_read(heap, keys, &read));
		g_assert_cmpuint(dict_get(heap, dict, "a"), ==, 0);
		g_assert_cmpint(size_of(world, dict), ==, -1);
		heap = world->heap;
		put64(world, keys + cases[i].offset, before);
	}
	*at(world, keys + layout->dk_log2_size) = 200;
	g_assert_false(dict_keys_read(heap, keys, &read));
	/* a table larger than what is there */
	*at(world, keys + layout->dk_log2_size) = 40;
	*at(world, keys + layout->dk_log2_index_bytes) = 40;
	g_assert_false(dict_keys_read(heap, keys, &read));
	g_assert_cmpuint(dict_get(heap, dict, "a"), ==, 0);
	put64(world, dict + layout->ma_keys, dict + 8);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_cmpint(count(&found, world->dict_type, true), ==, 1);
	found_clear(&found);
}

/* up to 3.10 the table says how many slots it has, and how wide its indexes are follows from that */
static void test_older_dict(void)
{
	const struct py_layout *layout = py_builtin_find(0x030812f0, false, false, false)->layout;
	const struct {
		uint64_t slots, index_bytes;
	} cases[] = {{8, 8}, {256, 512}, {65536, 65536 * 4}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		/* as large as that table is */
		const uint64_t bytes = layout->dict_keys_size + cases[i].index_bytes + cases[i].slots * 2 / 3 * 24;
		g_autofree uint64_t *keys = g_malloc0(bytes);
		struct memory memory;
		struct memory_region region = {
			.start = HEAP, .size = bytes, .bytes = (uint8_t *)keys, .mapping = MEMORY_NO_MAPPING};
		memory_init(&memory, &region, 1);
		heap_t heap = {.memory = &memory, .layout = layout};
		struct dict_keys read;
		uint64_t *slots = keys + layout->dk_size / 8;
		keys[layout->dk_refcnt / 8] = 1;
		*slots = cases[i].slots;
		g_assert_true(dict_keys_read(&heap, HEAP, &read));
		g_assert_cmpuint(read.index_bytes, ==, cases[i].index_bytes);
		g_assert_cmpuint(read.entries, ==, HEAP + layout->dk_indices + cases[i].index_bytes);
		g_assert_cmpuint(read.bytes, ==, bytes);
		region.size--; /* its end isn't there */
		g_assert_false(dict_keys_read(&heap, HEAP, &read));
		region.size++;
		*slots = 0;
		g_assert_false(dict_keys_read(&heap, HEAP, &read));
		*slots = 1ull << 50;
		g_assert_false(dict_keys_read(&heap, HEAP, &read));
	}
}

/* ---- types ---- */

static struct type *type_of(struct world *world, uint64_t address)
{
	return type_get(opened(world), address);
}

static void check_name(struct world *world, uint64_t address, const char *module, const char *qualname)
{
	struct type *type = type_of(world, address);
	g_assert_nonnull(type);
	g_assert_cmpstr(type->module, ==, module);
	g_assert_cmpstr(type->qualname, ==, qualname);
}

/* `type` needs its base object, whose type it is: each is there once, whichever is met first. */
static void test_types_that_need_each_other(void)
{
	for (int i = 0; i < 2; i++) {
		g_autoptr(world_t) world = world_new();
		const uint64_t mro[] = {world->type_type, world->object_type};
		put64(world, world->type_type + world->python.layout.tp_mro, tuple_new(world, 0, mro, 2));
		heap_t *heap = opened(world);
		size_t before = type_count(heap);
		struct type *first = type_get(heap, mro[i]), *second = type_get(heap, mro[!i]);
		g_assert_true(first && second && first != second);
		g_assert_true(type_get(heap, mro[i]) == first);
		g_assert_cmpuint(type_count(heap), ==, before + 2);
	}
}

static void test_type_names(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	check_name(world, world->float_type, "builtins", "float");
	check_name(world, type_new(world, "package.module.Thing", 0, 16, 0, 0), "package.module", "Thing");
	check_name(world, type_new(world, "evil\x1b[31m\n", 0, 16, 0, 0), "builtins", "evil\\x1b[31m\\x0a");
	uint64_t heap_type = type_new(world, "Inner", PY_FLAG_HEAPTYPE, 16, 0, 0);
	check_name(world, heap_type, "", "Inner"); /* neither is there */
	put64(world, heap_type + layout->ht_qualname, str_new(world, 1, "Outer.Inner"));
	put64(world, heap_type + layout->tp_dict, dict_static(world, "__module__", str_new(world, 1, "app.things")));
	check_name(world, heap_type, "app.things", "Outer.Inner");
	g_autofree char *name = g_strnfill(5000, 'x');
	struct type *type = type_of(world, type_new(world, name, 0, 16, 0, 0));
	g_assert_nonnull(type); /* cut off */
	g_assert_cmpuint(strlen(type->qualname), <, 1100);
}

static void test_what_is_no_type(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	const struct {
		uint64_t offset, value;
	} cases[] = {
		{layout->tp_flags, 0},
		{layout->tp_basicsize, 8},
		{layout->tp_basicsize, 1ull << 40},
		{layout->tp_basicsize, UINT64_MAX},
		{layout->tp_itemsize, UINT64_MAX},
		{layout->tp_itemsize, 1ull << 40},
		{layout->tp_name, 0x7777777777777777ull},
		{layout->ob_type, world->float_type}, /* its type is no metatype */
		{layout->ob_type, STATICS},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint64_t type = type_new(world, "Thing", 0, 16, 0, world->object_type);
		g_assert_nonnull(type_of(world, type));
		put64(world, type + cases[i].offset, cases[i].value);
		g_assert_null(type_of(world, type));
	}
	g_assert_null(type_of(world, world->float_type + 4));
	g_assert_null(type_of(world, 0));
	g_assert_null(type_of(world, STATICS + STATICS_BYTES - 16));
}

/* types of types in a circle, a base that is its own, a resolution order of itself: they end */
static void test_types_in_circles(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t a = type_new(world, "A", PY_FLAG_TYPE, layout->heap_type_size, 0, 0);
	uint64_t b = type_new(world, "B", PY_FLAG_TYPE, layout->heap_type_size, 0, 0);
	put64(world, a + layout->ob_type, b);
	put64(world, b + layout->ob_type, a);
	g_assert_null(type_of(world, a));
	/* a long chain of metatypes, deeper than anybody makes */
	uint64_t meta = world->type_type;
	for (int i = 0; i < 100; i++) {
		uint64_t next = type_new(world, "Meta", PY_FLAG_TYPE, layout->heap_type_size, 0, 0);
		put64(world, next + layout->ob_type, meta);
		meta = next;
	}
	g_assert_null(type_of(world, meta));
	uint64_t based = type_new(world, "Based", 0, 16, 0, 0), other = type_new(world, "Other", 0, 16, 0, based);
	put64(world, based + layout->tp_base, other);
	put64(world, based + layout->tp_mro, tuple_new(world, 0, (const uint64_t[]){other, based}, 2));
	put64(world, other + layout->tp_mro, tuple_new(world, 0, (const uint64_t[]){based, other}, 2));
	g_assert_nonnull(type_of(world, based));
	put64(world, based + layout->tp_base, based);
	put64(world, based + layout->tp_mro, tuple_new(world, 0, NULL, 0));
	put64(world, get64(world, based + layout->tp_mro) + layout->ob_size, UINT64_MAX);
	g_assert_nonnull(type_of(world, based));
}

/* it says that it is a dict's, but is too small for one: nothing beyond an instance is read */
static void test_type_smaller_than_its_kind(void)
{
	static const uint64_t flags[] = {PY_FLAG_DICT, PY_FLAG_LIST,    PY_FLAG_TUPLE,
					 PY_FLAG_TYPE, PY_FLAG_UNICODE, PY_FLAG_LONG};
	g_autoptr(world_t) world = world_new();
	uint64_t end = HEAP + HEAP_BYTES - 16;
	for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
		uint64_t type = type_new(world, "Small", flags[i], 16, flags[i] == PY_FLAG_TUPLE ? 8 : 0, 0);
		object_init(world, end, type, 1);
		put64(world, type + world->python.layout.tp_dict, dict_static(world, "self", end));
		struct found found;
		look(world, CENSUS_ALL, &found);
		g_assert_true(found.taken);
		for (guint k = 0; k < found.objects->len; k++) {
			int64_t bytes;
			object_getsizeof(world->heap, &g_array_index(found.objects, struct object, k), &bytes);
		}
		found_clear(&found);
	}
}

/* what a long str and a large list's items are found by: nothing but references */
static void test_outside_the_blocks(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	g_autofree char *text = g_strnfill(1000, 'l');
	uint64_t longs[3], lost = str_new(world, 2, text);
	uint64_t items = take(world, 2, 8 * 200), list = object_new(world, world->list_type, layout->list_size);
	for (int i = 0; i < 3; i++)
		longs[i] = str_new(world, 2, text);
	put64(world, items + 8 * 150, longs[0]);
	put64(world, items + 8 * 151, longs[0]);
	put64(world, items + 8 * 199, longs[1]);
	put64(world, list + layout->list_ob_item, items);
	put64(world, list + layout->ob_size, 200);
	uint64_t dict = object_new(world, world->dict_type, layout->dict_size);
	put64(world, dict + layout->ma_keys, keys_new(world, 1, (const uint64_t[]){longs[2], list}, 1));
	struct found found;
	look(world, CENSUS_ALL, &found);
	for (int i = 0; i < 3; i++) {
		g_assert_nonnull(find(&found, longs[i]));
		g_assert_true(find(&found, longs[i])->outside);
		g_assert_cmpint(size_of(world, longs[i]), ==, 40 + 1001);
	}
	g_assert_null(find(&found, lost));
	int64_t all = 0;
	for (guint i = 0; i < found.objects->len; i++)
		all += g_array_index(found.objects, struct object, i).address == longs[0];
	g_assert_cmpint(all, ==, 1);
	found_clear(&found);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/heap/values/str-kinds", test_str_kinds);
	g_test_add_func("/heap/values/corrupt-str", test_corrupt_str);
	g_test_add_func("/heap/values/int", test_int);
	g_test_add_func("/heap/values/half-made-int", test_half_made_int);
	g_test_add_func("/heap/values/list", test_list);
	g_test_add_func("/heap/values/dict", test_dict);
	g_test_add_func("/heap/values/corrupt-dict", test_corrupt_dict);
	g_test_add_func("/heap/values/older-dict", test_older_dict);
	g_test_add_func("/heap/values/type-names", test_type_names);
	g_test_add_func("/heap/values/what-is-no-type", test_what_is_no_type);
	g_test_add_func("/heap/values/types-in-circles", test_types_in_circles);
	g_test_add_func("/heap/values/type-smaller-than-its-kind", test_type_smaller_than_its_kind);
	g_test_add_func("/heap/values/types-that-need-each-other", test_types_that_need_each_other);
	g_test_add_func("/heap/values/outside-the-blocks", test_outside_the_blocks);
	return g_test_run();
}
