/*
 * Bytes of the process flipped at random, thousands of times: whatever is there, everything that reads a heap comes to an end, within the
 * memory there is, and its sums stay sums. Run under AddressSanitizer and UBSan by `make check`. G_TEST_SLOW or -m slow: a hundred times as
 * many rounds.
 */
#include "daemon/analysis/histogram.h"
#include "daemon/heap/references.h"
#include "daemon/heap/table.h"
#include "daemon/heap/threads.h"
#include "daemon/heap/values.h"
#include "tests/unit/world.h"

#define ROUNDS 300

/* a bit of everything */
static void populate(struct world *world)
{
	const struct py_layout *layout = &world->python.layout;
	uint64_t class = type_new(world, "Thing", PY_FLAG_HEAPTYPE | PY_FLAG_HAVE_GC, 32, 0, world->object_type);
	put64(world, class + layout->ht_qualname, str_new(world, 1, "Outer.Thing"));
	type_define(world, class, "__module__", str_new(world, 1, "app"));
	g_autofree char *text = g_strnfill(700, 't');
	uint64_t last = str_new(world, 2, text);
	for (int i = 0; i < 40; i++) {
		uint64_t number = object_new(world, world->int_type, 32);
		put64(world, number + layout->long_tag, 2 << 3);
		uint64_t list = object_new(world, world->list_type, layout->list_size);
		uint64_t items = i % 2 ? block_new(world, 64) : take(world, 2, 600);
		put64(world, items, last);
		put64(world, items + 8, list);
		put64(world, list + layout->list_ob_item, items);
		put64(world, list + layout->ob_size, 2);
		put64(world, list + layout->list_allocated, 8);
		uint64_t dict = object_new(world, world->dict_type, layout->dict_size);
		const uint64_t pairs[] = {str_new(world, 1, "key"), list, str_new(world, 1, "other"), number};
		put64(world, dict + layout->ma_keys, keys_new(world, i % 2 + 1, pairs, 2));
		put64(world, dict + layout->ma_used, 2);
		uint64_t tuple = object_new(world, world->tuple_type, layout->tuple_ob_item + 16);
		put64(world, tuple + layout->ob_size, 2);
		put64(world, tuple + layout->tuple_ob_item, dict);
		put64(world, tuple + layout->tuple_ob_item + 8, class);
		uint64_t thing = object_new(world, class, 32);
		put64(world, thing + 16, tuple);
		object_new(world, world->float_type, 24);
		last = thing;
		if (i % 5 == 0)
			block_free(world, block_new(world, 32));
	}
}

/* what a histogram, a list of objects and a look at them read; how many objects it found */
static size_t read_all(struct world *world)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(heap_t) heap = heap_open(&world->memory, NULL, &world->python, &error);
	if (!heap) {
		g_assert_nonnull(error);
		return 0;
	}
	for (enum census_coverage coverage = CENSUS_GC; coverage <= CENSUS_ALL; coverage++) {
		g_autoptr(sample_t) sample = sample_new();
		struct histogram_memory memory;
		g_clear_error(&error);
		if (!histogram_take(heap, coverage, sample, &memory, NULL, &error)) {
			g_assert_nonnull(error);
			continue;
		}
		int64_t objects = 0, bytes = 0;
		for (size_t i = 0; i < sample->n_types; i++) {
			const struct sample_type *type = &sample->types[i];
			g_assert_cmpint(type->count, >, 0);
			g_assert_cmpint(type->gc_count, <=, type->count);
			g_assert_cmpint(type->bytes, >=, 0);
			objects += type->count;
			bytes += type->bytes;
		}
		g_assert_cmpint(objects, ==, sample->totals.objects);
		g_assert_cmpint(bytes, ==, sample->totals.bytes);
		g_assert_cmpint(sample->totals.unreadable, >=, 0);
		g_assert_cmpint(objects, <=, (STATICS_BYTES + ARENA_BYTES + HEAP_BYTES) / 8);
		histogram_memory_clear(&memory);
	}
	struct table table;
	g_clear_error(&error);
	if (!table_take(heap, &table, &error))
		return 0;
	g_autoptr(references_t) references = references_new(heap);
	for (size_t i = 0; i < table.n; i += 7) {
		g_autofree char *value = value_text(references, table.objects[i].address, 60);
		g_assert_nonnull(value);
		g_assert_true(g_utf8_validate(value, -1, NULL));
	}
	size_t n = table.n;
	table_clear(&table);
	g_autoptr(GArray) threads = threads_read(heap);
	g_assert_nonnull(threads);
	return n;
}

/* where something is; what was never written to isn't worth a flip */
static uint64_t somewhere(struct world *world, GRand *chance)
{
	int i = g_rand_int_range(chance, 0, 3);
	uint64_t used = world->next[i] - world->regions[i].start;
	return world->regions[i].start + ((uint64_t)g_rand_int(chance) % used & ~7ull);
}

static uint64_t odd(struct world *world, GRand *chance, uint64_t before)
{
	switch (g_rand_int_range(chance, 0, 7)) {
	case 0:
		return before ^ 1ull << g_rand_int_range(chance, 0, 64);
	case 1:
		return somewhere(world, chance); /* a link to anywhere */
	case 2:
		return UINT64_MAX - (g_rand_int(chance) & 15);
	case 3:
		return 0;
	case 4:
		return (uint64_t)g_rand_int(chance) << 32 | g_rand_int(chance);
	case 5:
		return 1ull << g_rand_int_range(chance, 0, 64);
	default:
		return before + (uint64_t)g_rand_int_range(chance, -64, 64);
	}
}

static void test_flips(void)
{
	g_autoptr(world_t) world = world_new();
	populate(world);
	size_t all = read_all(world), deep = 0;
	g_assert_cmpuint(all, >, 40 * 7);
	uint8_t *copies[3];
	for (int i = 0; i < 3; i++)
		copies[i] = g_memdup2(world->bytes[i], world->regions[i].size);
	g_autoptr(GRand) chance = g_rand_new_with_seed(g_test_rand_int());
	int rounds = g_test_slow() ? ROUNDS * 100 : ROUNDS;
	for (int round = 0; round < rounds; round++) {
		int flips = 1 << g_rand_int_range(chance, 0, 8);
		for (int i = 0; i < flips; i++) {
			uint64_t address = somewhere(world, chance);
			put64(world, address, odd(world, chance, get64(world, address)));
		}
		deep += read_all(world) > all / 2;
		for (int i = 0; i < 3; i++)
			memcpy(world->bytes[i], copies[i], world->next[i] - world->regions[i].start);
	}
	/* most rounds came further than to the door */
	g_assert_cmpuint(deep, >, (size_t)rounds / 4);
	g_test_message("%zu of %d heaps were read", deep, rounds);
	for (int i = 0; i < 3; i++)
		g_free(copies[i]);
}

static sample_t *histogram(struct world *world)
{
	g_autoptr(heap_t) heap = heap_open(&world->memory, NULL, &world->python, NULL);
	g_autoptr(sample_t) sample = sample_new();
	struct histogram_memory memory;
	g_assert_true(histogram_take(heap, CENSUS_ALL, sample, &memory, NULL, NULL));
	histogram_memory_clear(&memory);
	return g_steal_pointer(&sample);
}

/* A list may say what another object left there: no table is longer than the memory it lies in. Not sized at all, rather than wrongly. */
static void test_wild_list(void)
{
	g_autoptr(world_t) world = world_new();
	populate(world);
	const struct py_layout *layout = &world->python.layout;
	uint64_t list = object_new(world, world->list_type, layout->list_size), items = block_new(world, 64);
	put64(world, list + layout->list_ob_item, items);
	put64(world, list + layout->ob_size, 2);
	for (int torn = 0; torn < 2; torn++) {
		world->memory.torn = torn;
		put64(world, list + layout->list_allocated, 8);
		g_autoptr(sample_t) sane = histogram(world);
		put64(world, list + layout->list_allocated, 5760432445);
		g_autoptr(sample_t) wild = histogram(world);
		g_assert_cmpint(wild->totals.objects, ==, sane->totals.objects);
		g_assert_cmpint(wild->totals.bytes, <, sane->totals.bytes);
		g_assert_cmpint(wild->totals.unreadable, ==, sane->totals.unreadable + 1);
	}
}

/* an object that isn't tracked and can't be sized: with a GIL one may be in the making, more are damaged */
static void test_unborn(void)
{
	g_autoptr(world_t) world = world_new();
	populate(world);
	const struct py_layout *layout = &world->python.layout;
	g_autoptr(sample_t) before = histogram(world);
	for (int n = 1; n <= 3; n++) {
		uint64_t block = block_new(world, 16 + layout->dict_size);
		memset(at(world, block), 0, 16 + layout->dict_size);
		object_init(world, block + 16, world->dict_type, n == 1 ? 228 : 1);
		put64(world, block + 16 + layout->ma_keys, 0x323235);
		g_autoptr(sample_t) sample = histogram(world);
		g_assert_cmpint(sample->totals.objects, ==, before->totals.objects);
		g_assert_cmpint(sample->totals.refs, ==, before->totals.refs);
		for (size_t i = 0; i < sample->n_types; i++)
			g_assert_cmpint(sample->types[i].refs_max, <, 228);
		g_assert_cmpint(sample->totals.unreadable, ==, before->totals.unreadable + n - 1);
	}
}

/* What isn't an object may have anything where a count would be; it is in nobody's sum. */
static void test_huge_counts(void)
{
	g_autoptr(world_t) world = world_new();
	populate(world);
	const struct py_layout *layout = &world->python.layout;
	uint64_t lists[4];
	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		lists[i] = object_new(world, world->list_type, layout->list_size);
	int64_t objects[2], refs[2];
	for (int huge = 0; huge < 2; huge++) {
		for (size_t i = 0; huge && i < G_N_ELEMENTS(lists); i++)
			put64(world, lists[i] + layout->ob_refcnt, INT64_MAX - i);
		g_autoptr(sample_t) sample = histogram(world);
		objects[huge] = sample->totals.objects;
		refs[huge] = sample->totals.refs;
	}
	g_assert_cmpint(objects[1], ==, objects[0] - (int)G_N_ELEMENTS(lists));
	g_assert_cmpint(refs[1], ==, refs[0] - (int)G_N_ELEMENTS(lists));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/heap/corrupt/flips", test_flips);
	g_test_add_func("/heap/corrupt/wild-list", test_wild_list);
	g_test_add_func("/heap/corrupt/unborn", test_unborn);
	g_test_add_func("/heap/corrupt/huge-counts", test_huge_counts);
	return g_test_run();
}
