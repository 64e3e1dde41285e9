/* What objects hold, whether their counts agree with it, and how they are printed: on a memory written by hand. */
#include "daemon/heap/references.h"

#include <string.h>

#include "base/error.h"
#include "daemon/analysis/audit.h"
#include "daemon/analysis/explain.h"
#include "daemon/analysis/leaks.h"
#include "daemon/heap/values.h"
#include "tests/unit/heap_image.h"

struct fixture {
	struct heap_image image;
	references_t *references;
	GArray *seen;    /* struct reference */
	GArray *extents; /* pairs of uint64_t */
};

static void fixture_init(struct fixture *fixture, gconstpointer unused)
{
	image_init(&fixture->image);
	fixture->seen = g_array_new(FALSE, FALSE, sizeof(struct reference));
	fixture->extents = g_array_new(FALSE, FALSE, 16);
	fixture->references = references_new(&fixture->image.heap);
}

static void fixture_clear(struct fixture *fixture, gconstpointer unused)
{
	references_free(fixture->references);
	g_array_unref(fixture->seen);
	g_array_unref(fixture->extents);
	image_clear(&fixture->image);
}

static void note(void *context, const struct reference *reference)
{
	g_array_append_vals(((struct fixture *)context)->seen, reference, 1);
}

static void note_extent(void *context, uint64_t start, uint64_t end, bool whole)
{
	uint64_t pair[2] = {start, end};
	g_array_append_vals(((struct fixture *)context)->extents, pair, 1);
}

/* visit one object; how many references it holds */
static guint visit(struct fixture *fixture, uint64_t address)
{
	struct object object;
	g_assert_true(object_at(&fixture->image.heap, address, &object));
	g_array_set_size(fixture->seen, 0);
	g_array_set_size(fixture->extents, 0);
	references_begin(fixture->references, note, note_extent, fixture);
	references_of_object(fixture->references, &object);
	return fixture->seen->len;
}

static const struct reference *nth(const struct fixture *fixture, guint i)
{
	return &g_array_index(fixture->seen, struct reference, i);
}

static bool accounted(const struct fixture *fixture, uint64_t address)
{
	for (guint i = 0; i < fixture->extents->len; i++) {
		const uint64_t *pair = (const uint64_t *)(void *)(fixture->extents->data + 16 * i);
		if (address >= pair[0] && address < pair[1])
			return true;
	}
	return false;
}

#define ITEMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static void test_list(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	uint64_t one = image_int(image, 2, 1), text = image_str(image, 1, "two");
	uint64_t list = image_list(image, 1, ITEMS(one, text, one));
	uint64_t array = image_get(image, list + image->python.layout.list_ob_item);
	/* behind the items lies what was there before */
	image_put(image, array + 24, text);
	g_assert_cmpuint(visit(fixture, list), ==, 3);
	for (guint i = 0; i < 3; i++) {
		g_assert_cmpint(nth(fixture, i)->kind, ==, REFERENCE_LIST_ITEM);
		g_assert_cmpuint(nth(fixture, i)->index, ==, i);
		g_assert_cmpuint(nth(fixture, i)->target, ==, i == 1 ? text : one);
		g_assert_cmpuint(nth(fixture, i)->word, ==, array + 8 * i);
		g_assert_false(nth(fixture, i)->probable);
	}
	g_assert_true(accounted(fixture, array));
	/* an array that isn't there, and a size from nowhere, end nothing */
	image_put(image, list + image->python.layout.list_ob_item, 0x1000);
	g_assert_cmpuint(visit(fixture, list), ==, 0);
	image_put(image, list + image->python.layout.list_ob_item, array);
	image_put(image, list + image->python.layout.ob_size, UINT64_MAX / 2);
	visit(fixture, list);
	g_assert_cmpuint(fixture->seen->len, <, IMAGE_BYTES);
}

static void test_dict(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	uint64_t key = image_str(image, 1, "key"), value = image_int(image, 1, 7), other = image_int(image, 2, 8);
	uint64_t dict = image_dict(image, 1, ITEMS(key, value, other, other));
	g_assert_cmpuint(visit(fixture, dict), ==, 4);
	unsigned keys = 0, values = 0;
	for (guint i = 0; i < 4; i++) {
		const struct reference *reference = nth(fixture, i);
		keys += reference->kind == REFERENCE_DICT_KEY &&
			(reference->target == key || reference->target == other);
		values += reference->kind == REFERENCE_DICT_VALUE &&
			  reference->target == (reference->name == key ? value : other);
	}
	g_assert_cmpuint(keys, ==, 2);
	g_assert_cmpuint(values, ==, 2);
	g_assert_true(accounted(fixture, image_get(image, dict + image->python.layout.ma_keys)));
}

static void test_tuple_and_atoms(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	uint64_t text = image_str(image, 1, "text"), tuple = image_tuple(image, 1, ITEMS(text, text));
	g_assert_cmpuint(visit(fixture, tuple), ==, 2);
	g_assert_cmpint(nth(fixture, 1)->kind, ==, REFERENCE_TUPLE_ITEM);
	g_assert_cmpuint(visit(fixture, text), ==, 0);
	g_assert_cmpuint(visit(fixture, image_int(image, 1, 5)), ==, 0);
}

/* a struct of no known layout: all its words but those that are known to be borrowed, and only as probable */
static void test_unknown(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	uint64_t text = image_str(image, 1, "kept"), weak = image_str(image, 1, "weak");
	uint64_t box = image_object(image, image->box, 1, 40);
	image_put(image, box + 16, text);
	image_put(image, box + 24, 0x1234);
	image_put(image, box + 32, weak);
	g_assert_cmpuint(visit(fixture, box), ==, 2);
	g_assert_true(nth(fixture, 0)->probable && nth(fixture, 1)->probable);
	g_assert_cmpint(nth(fixture, 0)->kind, ==, REFERENCE_EXTENSION_OBJECT);
	g_assert_cmpuint(nth(fixture, 0)->target, ==, text);
	g_assert_cmpuint(nth(fixture, 0)->index, ==, 16);
	g_assert_cmpuint(nth(fixture, 1)->target, ==, 0x1234);
}

/* ---- what a free-threaded build frees later ---- */

#define THREAD_BYTES 24576

/* a chunk of the queue at `chunk` with items from `read` to `write` */
static void put_chunk(struct heap_image *image, uint64_t chunk, uint64_t next, uint64_t read, uint64_t write,
		      const uint64_t *items)
{
	image_put(image, chunk, next);
	image_put(image, chunk + 16, read);
	image_put(image, chunk + 24, write);
	for (uint64_t i = read; i < write && items; i++)
		image_put(image, chunk + 32 + 16 * i, items[i - read]);
}

static void test_delayed_frees(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image image = {0};
	const struct py_builtin *builtin = py_builtin_find(0x030d0ff0, false, true, false);
	g_assert_nonnull(builtin);
	const struct py_layout *layout = builtin->layout;
	struct memory_region region = {
		.start = IMAGE_BASE, .size = IMAGE_BYTES, .bytes = image.bytes, .mapping = MEMORY_NO_MAPPING};
	memory_init(&image.memory, &region, 1);
	image.python.layout = *layout;
	/* the interpreter's state is larger than the image: only where its threads begin can be read, at its end */
	uint64_t thread = image_room(&image, THREAD_BYTES), list_of_threads = image_room(&image, 16);
	image.interpreter.address = list_of_threads - layout->interp_tstate_head;
	image_put(&image, list_of_threads, thread);
	image.heap = (heap_t){.memory = &image.memory,
			      .layout = layout,
			      .python = &image.python,
			      .interpreters = &image.interpreter,
			      .n_interpreters = 1,
			      .types = type_table_new()};
	g_autoptr(references_t) references = references_new(&image.heap);
	uint64_t queue = thread + layout->tstate_mem_free_queue, first = image_room(&image, 4096),
		 second = image_room(&image, 4096);
	image_put(&image, queue, first);
	/* two blocks and an object; what was there before and after is no item any more */
	put_chunk(&image, first, second, 1, 4, ITEMS(0x5000, 0x6000, 0x7001));
	put_chunk(&image, second, queue, 0, 0, NULL);
	references_begin(references, note, note_extent, fixture);
	references_of_runtime(references);
	g_assert_true(accounted(fixture, 0x5000) && accounted(fixture, 0x6000));
	g_assert_false(accounted(fixture, 0x7000));
	g_assert_cmpuint(fixture->seen->len, ==, 1);
	g_assert_cmpuint(nth(fixture, 0)->target, ==, 0x7000);
	/* the chunks own nothing, nor do the free lists */
	g_assert_true(accounted(fixture, first + 32) && accounted(fixture, second + 32));
	g_assert_true(accounted(fixture, thread + layout->tstate_freelists) &&
		      accounted(fixture, thread + layout->tstate_freelists_end - 8));
	g_assert_false(accounted(fixture, thread + layout->tstate_freelists_end));
	/* a queue that ends nowhere is walked no further than there are chunks to believe in */
	put_chunk(&image, second, second, 0, 0, NULL);
	references_begin(references, note, note_extent, fixture);
	references_of_runtime(references);
	put_chunk(&image, second, queue, 0, UINT64_MAX, NULL);
	references_begin(references, note, note_extent, fixture);
	references_of_runtime(references);
	type_table_free(image.heap.types);
}

/* ---- the audit ---- */

static audit_t *take(struct fixture *fixture, const struct owners_view *view)
{
	g_autoptr(GError) error = NULL;
	audit_t *audit = audit_take(&fixture->image.heap, view, &error);
	g_assert_no_error(error);
	return audit;
}

static const struct table_object *entry(const audit_t *audit, uint64_t address)
{
	uint32_t index = table_find(&audit->table, address);
	g_assert_cmpuint(index, !=, TABLE_NONE);
	return &audit->table.objects[index];
}

static void check_entry(const audit_t *audit, uint64_t address, uint32_t exact, uint32_t probable, int64_t unexplained,
			int64_t deficit)
{
	const struct table_object *object = entry(audit, address);
	g_assert_cmpuint(object->exact, ==, exact);
	g_assert_cmpuint(object->probable, ==, probable);
	g_assert_cmpint(audit_unexplained(object), ==, unexplained);
	g_assert_cmpint(audit_deficit(object), ==, deficit);
}

struct story {
	uint64_t even, lost, short_of, boxed, stacked, spared, orphan, in_text, list, box, stray;
};

/* a list, a box of an extension's, and a word of somebody's memory hold what they hold; the counts tell something else */
static struct story tell(struct heap_image *image)
{
	struct story story = {
		.even = image_str(image, 2, "even"),
		.lost = image_str(image, 5, "lost"),
		.short_of = image_str(image, 1, "short of"),
		.boxed = image_str(image, 1, "boxed"),
		.stacked = image_str(image, 2, "in a register"),
		.spared = image_str(image, 1, "spared"),
		.in_text = image_str(image, 2, "its text is pointed to"),
	};
	const struct py_layout *layout = &image->python.layout;
	story.list = image_list(image, 1,
				ITEMS(story.even, story.even, story.lost, story.short_of, story.short_of, story.spared,
				      story.in_text, story.stacked));
	story.box = image_object(image, image->box, 1, 40);
	image_put(image, story.box + 16, story.boxed);
	story.orphan = image_list(image, 1, ITEMS(story.box));
	story.stray = image_room(image, 32);
	image_put(image, story.stray, story.list);
	/* more words than its count has room for */
	image_put(image, story.stray + 8, story.spared);
	image_put(image, story.stray + 16, story.in_text + layout->ascii_size);
	return story;
}

static void test_audit(struct fixture *fixture, gconstpointer unused)
{
	struct story story = tell(&fixture->image);
	const uint64_t registers[] = {0, story.stacked, 3};
	const struct owners_thread thread = {.tid = 1, .registers = registers, .n_registers = 3};
	const struct owners_view view = {.memory = &fixture->image.memory, .threads = &thread, .n_threads = 1};
	g_autoptr(audit_t) audit = take(fixture, &view);
	check_entry(audit, story.even, 2, 0, 0, 0);
	check_entry(audit, story.lost, 1, 0, 4, 0);
	check_entry(audit, story.short_of, 2, 0, 0, 1);
	check_entry(audit, story.boxed, 0, 1, 0, 0);
	check_entry(audit, story.stacked, 1, 1, 0, 0);
	check_entry(audit, story.spared, 1, 0, 0, 0);
	check_entry(audit, story.in_text, 1, 1, 0, 0);
	check_entry(audit, story.list, 0, 1, 0, 0);
	check_entry(audit, story.orphan, 0, 0, 1, 0);
	g_assert_true(audit_orphan(entry(audit, story.orphan)));
	g_assert_false(audit_orphan(entry(audit, story.lost)));
	g_assert_cmpint(audit->totals.deficit, ==, 1);
	g_assert_cmpint(audit->totals.spare_words, >=, 1);
	/* what is accounted for isn't searched: the list's array, the box's words */
	g_assert_true(cover_has(&audit->owners.cover, story.box + 16));
	g_assert_false(cover_has(&audit->owners.cover, story.stray));
}

struct told {
	explanation_t *explanation[3];
	size_t n;
};

static bool keep(void *context, uint64_t address, explanation_t *explanation, const GError *problem, GError **error)
{
	struct told *told = context;
	g_assert_true(!explanation == (problem != NULL));
	told->explanation[told->n++] = explanation;
	return true;
}

static void test_explain(struct fixture *fixture, gconstpointer unused)
{
	struct story story = tell(&fixture->image);
	const struct owners_view view = {.memory = &fixture->image.memory};
	g_autoptr(audit_t) audit = take(fixture, &view);
	g_autoptr(sample_t) origin = sample_new();
	struct told told = {0};
	g_assert_true(
		explain_objects(audit, ITEMS(story.lost, 0x10, story.in_text), 3, origin, NULL, keep, &told, NULL));
	g_assert_cmpuint(told.n, ==, 3);
	g_assert_null(told.explanation[1]);
	g_autoptr(explanation_t) lost = told.explanation[0], in_text = told.explanation[2];
	g_assert_cmpuint(lost->n_holders, ==, 1);
	g_assert_cmpint(lost->holders[0].kind, ==, REFERENCE_LIST_ITEM);
	g_assert_cmpuint(lost->holders[0].address, ==, story.list);
	g_assert_cmpstr(lost->holders[0].label, ==, "[2]");
	g_assert_cmpint(lost->object.unexplained, ==, 4);
	g_assert_cmpuint(lost->n_path, ==, 2);
	g_assert_cmpuint(lost->path[0].address, ==, story.list);
	g_assert_cmpuint(in_text->n_holders, ==, 2);
	g_assert_true(in_text->holders[1].probable);
	g_assert_cmpuint(in_text->holders[1].address, ==, story.stray + 16);
}

/* both looks have to find it, and what grew comes first */
static void test_verdict(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	struct story story = tell(image);
	const struct owners_view view = {.memory = &image->memory};
	g_autoptr(audit_t) first = take(fixture, &view);
	g_autoptr(leaks_look_t) look = leaks_look_new(first);
	image_put(image, story.lost, 9);
	image_put(image, story.short_of, 2);
	g_autoptr(audit_t) second = take(fixture, &view);
	leaks_t *leaks = leaks_judge(second, look, sample_new(), 100);
	g_assert_true(leaks_found(leaks));
	g_assert_cmpstr(leaks->types[0].qualname, ==, "str");
	g_assert_cmpint(leaks->types[0].kind, ==, LEAK_GROWING);
	g_assert_cmpint(leaks->types[0].growth, ==, 4);
	g_assert_cmpuint(leaks->objects[0].address, ==, story.lost);
	g_assert_cmpint(leaks->objects[0].unexplained, ==, 8);
	g_assert_cmpstr(leaks->objects[0].value, ==, "'lost'");
	/* the deficit of the first look is no more */
	g_assert_cmpint(leaks->totals.deficit, ==, 0);
	leaks_suppress(leaks, (const char *const[]){"builtins.st?", NULL});
	g_assert_false(leaks_found(leaks));
	leaks_free(leaks);
}

/* a few one-offs of a type don't make proof of what only the second look met */
static void test_one_offs_prove_nothing(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	uint64_t kept[2] = {image_str(image, 2, "one-off"), image_str(image, 2, "another")};
	uint64_t passing[2] = {image_str(image, 1, "passing"), image_str(image, 1, "by")};
	uint64_t list = image_list(image, 1, ITEMS(kept[0], kept[1], passing[0], passing[1]));
	image_put(image, image_room(image, 16), list);
	const struct owners_view view = {.memory = &image->memory};
	g_autoptr(audit_t) first = take(fixture, &view);
	g_autoptr(leaks_look_t) look = leaks_look_new(first);
	image_put(image, passing[0], 2);
	image_put(image, passing[1], 2);
	g_autoptr(audit_t) second = take(fixture, &view);
	leaks_t *leaks = leaks_judge(second, look, sample_new(), 100);
	g_assert_false(leaks_found(leaks));
	for (size_t i = 0; i < leaks->n_types; i++) {
		g_assert_cmpint(leaks->types[i].kind, ==, LEAK_ONE_OFF);
		g_assert_cmpint(leaks->types[i].growth, ==, 0);
		if (!strcmp(leaks->types[i].qualname, "str"))
			g_assert_cmpint(leaks->types[i].unexplained, ==, 2);
	}
	leaks_free(leaks);
}

/* ---- values ---- */

static void check_value(struct fixture *fixture, uint64_t address, size_t width, const char *expected)
{
	g_autofree char *text = value_text(fixture->references, address, width);
	g_assert_cmpstr(text, ==, expected);
}

static void test_values(struct fixture *fixture, gconstpointer unused)
{
	struct heap_image *image = &fixture->image;
	const struct py_layout *layout = &image->python.layout;
	uint64_t number = image_int(image, 1, -12345), text = image_str(image, 1, "its"),
		 half = image_object(image, image->floating, 1, 24);
	double value = 0.5;
	memcpy(image->bytes + (half + layout->float_ob_fval - IMAGE_BASE), &value, 8);
	uint64_t zero = image_int(image, 1, 0), big = image_int(image, 1, 0);
	image_put(image, big + layout->ob_size, 2);
	image_put(image, big + layout->long_digit, 1ull << 32 | 5); /* digits 5 and 1: 2^30 + 5 */
	check_value(fixture, number, 100, "-12345");
	check_value(fixture, zero, 100, "0");
	check_value(fixture, big, 100, "1073741829");
	check_value(fixture, half, 100, "0.5");
	check_value(fixture, text, 100, "'its'");
	uint64_t pair = image_tuple(image, 1, ITEMS(number, half));
	check_value(fixture, pair, 100, "(-12345, 0.5)");
	check_value(fixture, image_tuple(image, 1, ITEMS(zero)), 100, "(0,)");
	check_value(fixture, image_dict(image, 1, ITEMS(text, pair)), 100, "{'its': (-12345, 0.5)}");
	uint64_t list = image_list(image, 1, ITEMS(zero, pair));
	check_value(fixture, list, 100, "[0, (-12345, 0.5)]");
	check_value(fixture, image->list, 100, "<class list>");
	check_value(fixture, image_object(image, image->box, 1, 40), 100, "<Box>");
	check_value(fixture, IMAGE_BASE + 8, 100, "?");
	check_value(fixture, 0, 100, "?");
	/* what the target says of itself is bounded, also when it says it holds itself */
	uint64_t array = image_get(image, list + layout->list_ob_item);
	image_put(image, array, list);
	g_autofree char *own = value_text(fixture->references, list, 60);
	g_assert_cmpuint(strlen(own), <, 400);
	uint64_t foreign = image_str(image, 1, "a\x1b[2Jb");
	g_autofree char *escaped = value_text(fixture->references, foreign, 60);
	g_assert_null(strchr(escaped, '\x1b'));
	image_put(image, foreign + layout->str_length, UINT64_MAX / 16);
	g_autofree char *endless = value_text(fixture->references, foreign, 60);
	g_assert_cmpuint(strlen(endless), <, 400);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, struct fixture, NULL, fixture_init, function, fixture_clear)
	ADD("/references/list", test_list);
	ADD("/references/dict", test_dict);
	ADD("/references/tuple-and-atoms", test_tuple_and_atoms);
	ADD("/references/unknown", test_unknown);
	ADD("/references/delayed-frees", test_delayed_frees);
	ADD("/audit/counts", test_audit);
	ADD("/audit/explain", test_explain);
	ADD("/audit/verdict", test_verdict);
	ADD("/audit/one-offs-prove-nothing", test_one_offs_prove_nothing);
	ADD("/values/text", test_values);
	return g_test_run();
}
