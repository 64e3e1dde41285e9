#include <inttypes.h>

#include "daemon/heap/gc.h"
#include "tests/unit/world.h"

#define N 20

/* N lists in generation 0, newest last */
static void fill(struct world *world, uint64_t *objects)
{
	for (int i = 0; i < N; i++)
		objects[i] = object_new(world, world->list_type, world->python.layout.list_size);
}

static uint64_t head_of(struct world *world, uint64_t object)
{
	return object - world->python.layout.gc_head_size;
}

/* both ways of counting, and what they say of the first generation */
static void check(struct world *world, int64_t all, int64_t listed, int64_t unreadable)
{
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->list_type, true), ==, all);
	found_clear(&found);
	look(world, CENSUS_GC, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->list_type, true), ==, listed);
	g_assert_cmpint(found.census.lists[0], ==, listed);
	g_assert_cmpint(found.census.unreadable, ==, unreadable);
	found_clear(&found);
}

static void test_generations(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t objects[N], old[3];
	fill(world, objects);
	for (int i = 0; i < 3; i++) {
		old[i] = block_new(world, 16 + world->python.layout.list_size);
		object_init(world, old[i] + 16, world->list_type, 1);
		link_head(world, 2, old[i]);
	}
	struct found found;
	for (enum census_coverage coverage = CENSUS_GC; coverage <= CENSUS_ALL; coverage++) {
		look(world, coverage, &found);
		g_assert_cmpint(count(&found, world->list_type, true), ==, N + 3);
		g_assert_cmpint(found.census.lists[0], ==, N);
		g_assert_cmpint(found.census.lists[1], ==, 0);
		g_assert_cmpint(found.census.lists[2], ==, 3);
		g_assert_cmpint(found.census.permanent[0], ==, 0);
		found_clear(&found);
	}
}

/* gc.freeze(): listed nowhere, but there */
static void test_permanent(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t objects[N], permanent = world->interp + layout->interp_gc + layout->gc_permanent;
	fill(world, objects);
	uint64_t list = list_head(world, 0), first = get64(world, list), last = get64(world, list + 8);
	put64(world, permanent, first);
	put64(world, permanent + 8, last);
	put64(world, first + 8, permanent);
	put64(world, last, permanent);
	put64(world, list, list);
	put64(world, list + 8, list);
	struct found found;
	for (enum census_coverage coverage = CENSUS_GC; coverage <= CENSUS_ALL; coverage++) {
		look(world, coverage, &found);
		g_assert_cmpint(count(&found, world->list_type, false), ==, N);
		g_assert_cmpint(count(&found, world->list_type, true), ==, 0);
		g_assert_cmpint(found.census.permanent[0], ==, N);
		g_assert_cmpint(found.census.lists[0], ==, 0);
		found_clear(&found);
	}
}

/* nobody refers to them but each other */
static void test_garbage_in_circles(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t objects[N];
	fill(world, objects);
	for (int i = 0; i < N; i++) {
		uint64_t items = block_new(world, 16);
		put64(world, items, objects[(i + 1) % N]);
		put64(world, items + 8, objects[i]); /* and itself */
		put64(world, objects[i] + world->python.layout.list_ob_item, items);
		put64(world, objects[i] + world->python.layout.ob_size, 2);
	}
	check(world, N, N, 0);
}

/* _PyObject_GC_TRACK(): last->next = new; new->prev = last; new->next = list; list->prev = new. Stopped before each store. */
static void test_half_made_link(void)
{
	for (int stores = 0; stores < 4; stores++) {
		g_autoptr(world_t) world = world_new();
		uint64_t objects[N];
		fill(world, objects);
		uint64_t new = block_new(world, 16 + world->python.layout.list_size);
		memset(at(world, new), 0, 16 + world->python.layout.list_size);
		object_init(world, new + 16, world->list_type, 1);
		uint64_t list = list_head(world, 0), last = get64(world, list + 8);
		const uint64_t places[][2] = {{last, new}, {new + 8, last}, {new, list}, {list + 8, new}};
		for (int i = 0; i < stores; i++)
			put64(world, places[i][0], places[i][1]);
		struct found found;
		look(world, CENSUS_ALL, &found);
		/* the others are all there whatever was stored; that one is, once its own links are made */
		for (int i = 0; i < N; i++)
			g_assert_true(find(&found, objects[i]) && find(&found, objects[i])->tracked);
		g_assert_true(!find(&found, new + 16) == (stores < 3));
		g_assert_cmpint(count(&found, world->list_type, true), ==, stores < 3 ? N : N + 1);
		found_clear(&found);
		look(world, CENSUS_GC, &found);
		g_assert_true(found.taken);
		for (int i = 0; i < N; i++)
			g_assert_nonnull(find(&found, objects[i]));
		g_assert_cmpint(found.census.lists[0], ==, stores ? N + 1 : N);
		found_clear(&found);
	}
}

/* a list that leads nowhere, into itself, or to what is no object: bounded, and told */
static void test_corrupt_links(void)
{
	const uint64_t nowhere[] = {0x7777777777777770ull, 0, 8};
	for (size_t i = 0; i < G_N_ELEMENTS(nowhere); i++) {
		g_autoptr(world_t) world = world_new();
		uint64_t objects[N];
		fill(world, objects);
		put64(world, head_of(world, objects[9]), nowhere[i]);
		struct found found;
		look(world, CENSUS_GC, &found);
		g_assert_true(found.taken);
		/* forwards to the tenth, backwards to the eleventh */
		g_assert_cmpint(found.census.lists[0] - found.census.unreadable, ==, N);
		found_clear(&found);
	}
	g_autoptr(world_t) world = world_new();
	uint64_t objects[N];
	fill(world, objects);
	put64(world, head_of(world, objects[9]), head_of(world, objects[9]));
	struct found found;
	look(world, CENSUS_GC, &found);
	g_assert_true(found.taken);
	uint64_t bytes = STATICS_BYTES + ARENA_BYTES + HEAP_BYTES;
	g_assert_cmpint(found.census.lists[0], <=, (int64_t)bytes / 32 + 1);
	found_clear(&found);
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_cmpint(count(&found, world->list_type, false), <=, N);
	found_clear(&found);
}

static void test_no_object_in_a_list(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t objects[N];
	fill(world, objects);
	put64(world, objects[3] + world->python.layout.ob_type, STATICS); /* no type */
	check(world, N - 1, N - 1, 1);
}

/* while it works, the collector keeps counts in the back links */
static void test_collecting(void)
{
	g_autoptr(world_t) world = world_new();
	const struct py_layout *layout = &world->python.layout;
	uint64_t objects[N];
	fill(world, objects);
	for (int i = 0; i < N; i++)
		put64(world, head_of(world, objects[i]) + 8, (uint64_t)i << 2 | 2);
	put32(world, world->interp + layout->interp_gc + layout->gc_collecting, 1);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(world->heap->collecting);
	g_assert_cmpint(count(&found, world->list_type, true), ==, N);
	/* what the lists hold can't be told now */
	g_assert_cmpint(found.census.lists[0], ==, -1);
	found_clear(&found);
}

/* The first object of a list, of which the list's head is told first: nothing leads back to the list. */
static void test_first_link(void)
{
	g_autoptr(world_t) world = world_new();
	uint64_t new = block_new(world, 16 + world->python.layout.dict_size);
	memset(at(world, new), 0, 16 + world->python.layout.dict_size);
	object_init(world, new + 16, world->dict_type, 1);
	put64(world, list_head(world, 0), new);
	struct found found;
	look(world, CENSUS_ALL, &found);
	g_assert_true(found.taken);
	g_assert_nonnull(find(&found, new + 16));
	g_assert_false(find(&found, new + 16)->tracked);
	found_clear(&found);
}

/* the layout is of another process */
static void test_no_lists(void)
{
	g_autoptr(world_t) world = world_new();
	g_autoptr(GError) error = NULL;
	for (int i = 1; i < 3; i++) {
		put64(world, list_head(world, i), HEAP);
		put64(world, list_head(world, i) + 8, HEAP + 64);
	}
	g_assert_null(heap_open(&world->memory, NULL, &world->python, &error));
	g_autofree char *place = g_strdup_printf("0x%" PRIx64, list_head(world, 1));
	g_assert_nonnull(strstr(error->message, place));
	g_clear_error(&error);
	put64(world, world->python.runtime + world->python.layout.runtime_interpreters_head, 0);
	g_assert_null(heap_open(&world->memory, NULL, &world->python, &error));
	g_assert_nonnull(error);
}

/* interpreters in a circle end somewhere */
static void test_interpreters_in_a_circle(void)
{
	g_autoptr(world_t) world = world_new();
	g_autoptr(GError) error = NULL;
	put64(world, world->interp + world->python.layout.interp_next, world->interp);
	g_autoptr(heap_t) heap = heap_open(&world->memory, NULL, &world->python, &error);
	g_assert_true(!heap || heap->n_interpreters <= HEAP_MAX_INTERPRETERS);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/heap/gc/generations", test_generations);
	g_test_add_func("/heap/gc/permanent", test_permanent);
	g_test_add_func("/heap/gc/garbage-in-circles", test_garbage_in_circles);
	g_test_add_func("/heap/gc/half-made-link", test_half_made_link);
	g_test_add_func("/heap/gc/corrupt-links", test_corrupt_links);
	g_test_add_func("/heap/gc/no-object-in-a-list", test_no_object_in_a_list);
	g_test_add_func("/heap/gc/collecting", test_collecting);
	g_test_add_func("/heap/gc/first-link", test_first_link);
	g_test_add_func("/heap/gc/no-lists", test_no_lists);
	g_test_add_func("/heap/gc/interpreters-in-a-circle", test_interpreters_in_a_circle);
	return g_test_run();
}
