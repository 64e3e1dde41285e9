/*
 * The built-in tables: complete, sane, the right one chosen, and equal to the debug information of every interpreter at hand.
 */
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "symbols/debug_offsets.h"
#include "symbols/dwarf.h"
#include "symbols/version.h"

#define RELEASE(minor, micro) (3u << 24 | (minor) << 16 | (micro) << 8 | 0xf0)

static uint32_t member(const struct py_layout *layout, size_t field)
{
	return *(const uint32_t *)(const void *)((const char *)layout + py_layout_fields[field].position);
}

static uint32_t member_named(const struct py_layout *layout, const char *name)
{
	for (size_t i = 0; i < py_layout_n_fields; i++)
		if (!strcmp(py_layout_fields[i].name, name))
			return member(layout, i);
	g_assert_not_reached();
}

/* what the heap can't do without, for each version */
static void test_complete(void)
{
	static const char *const needed[] = {"object_size",    "ob_refcnt|ob_ref_local",
					     "ob_type",        "ob_size",
					     "tp_name",        "tp_flags",
					     "tp_basicsize",   "tp_dict",
					     "ma_keys",        "dk_usable",
					     "list_ob_item",   "tuple_ob_item",
					     "str_state",      "long_digit",
					     "interp_sysdict", "interp_builtins",
					     "interp_next",    "interp_tstate_head",
					     "tstate_interp",  "gc_head_size",
					     "set_table",      "func_code",
					     "co_name",        "md_dict",
					     "wr_object",      "prop_get",
					     "cell_ref",       "deque_leftblock",
					     "d_type"};
	size_t n;
	const struct py_builtin *all = py_builtin_all(&n);
	g_assert_cmpuint(n, >=, 40);
	for (size_t i = 0; i < n; i++) {
		const struct py_layout *layout = all[i].layout;
		g_test_message("3.%u: %s", all[i].minor, all[i].origin);
		for (size_t k = 0; k < G_N_ELEMENTS(needed); k++) {
			g_auto(GStrv) names = g_strsplit(needed[k], "|", -1);
			bool found = false;
			for (char **name = names; *name; name++)
				found |= member_named(layout, *name) != PY_ABSENT;
			if (!found)
				g_test_message("%s is missing", needed[k]);
			g_assert_true(found);
		}
		g_assert_cmpuint(all[i].version >> 16 & 0xff, ==, all[i].minor);
		bool long_header = all[i].free_threaded || all[i].trace_refs;
		g_assert_cmpuint(layout->object_size, ==, long_header ? 32 : 16);
		g_assert_cmpuint(layout->ob_type, ==, long_header ? 24 : 8);
		g_assert_cmpuint(layout->tp_name, ==, layout->object_size + 8);
		g_assert_cmpuint(layout->list_ob_item, ==, layout->object_size + 8);
		g_assert_cmpuint(layout->ob_tid != PY_ABSENT, ==, all[i].free_threaded);
		g_assert_cmpuint(layout->shape.gc == PY_GC_NONE, ==, all[i].free_threaded);
	}
}

/* a field of a structure lies inside it */
static void test_inside(void)
{
	size_t n;
	const struct py_builtin *all = py_builtin_all(&n);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < py_layout_n_fields; k++) {
			uint32_t offset = member(all[i].layout, k);
			if (py_layout_fields[k].is_size || offset == PY_ABSENT)
				continue;
			g_assert_cmpuint(offset, <, 1u << 20);
			/* the size of the structure that the first alternative names */
			size_t length = strcspn(py_layout_fields[k].path, ".");
			for (size_t s = 0; s < py_layout_n_fields; s++) {
				uint32_t size = member(all[i].layout, s);
				if (py_layout_fields[s].is_size && size != PY_ABSENT &&
				    strlen(py_layout_fields[s].path) == length &&
				    !strncmp(py_layout_fields[s].path, py_layout_fields[k].path, length))
					g_assert_cmpuint(offset, <=, size);
			}
		}
	}
}

static void test_choice(void)
{
	const struct py_builtin *old = py_builtin_find(RELEASE(13, 0), false, false, false);
	const struct py_builtin *middle = py_builtin_find(RELEASE(13, 7), false, false, false);
	const struct py_builtin *new = py_builtin_find(RELEASE(13, 40), false, false, false);
	g_assert_cmphex(old->version, ==, RELEASE(13, 0));
	g_assert_cmphex(middle->version, ==, RELEASE(13, 5));
	g_assert_cmphex(new->version, ==, RELEASE(13, 15));
	g_assert_cmpuint(old->layout->gc_generations, ==, 24);
	g_assert_cmpuint(middle->layout->gc_generations, ==, 20);
	g_assert_cmpuint(py_builtin_find(RELEASE(7, 3), false, false, false)->layout->gc_head_size, ==, 24);
	g_assert_cmpuint(py_builtin_find(RELEASE(7, 4), false, false, false)->layout->gc_head_size, ==, 32);
	g_assert_cmpuint(py_builtin_find(RELEASE(14, 4), false, false, false)->layout->gc_size, ==, 240);
	g_assert_cmpuint(py_builtin_find(RELEASE(14, 5), false, false, false)->layout->gc_size, ==, 264);
	/* a release candidate is one of its release, not of the one before */
	g_assert_cmpuint(py_builtin_find(RELEASE(14, 5) - 0x2f, false, false, false)->layout->gc_size, ==, 264);
	g_assert_nonnull(py_builtin_find(RELEASE(9, 2), true, false, true));
	g_assert_null(py_builtin_find(RELEASE(9, 2), false, true, false));
	g_assert_null(py_builtin_find(RELEASE(5, 2), false, false, false));
	g_assert_null(py_builtin_find(RELEASE(99, 0), false, false, false));
	g_assert_null(py_builtin_find(0x02071200, false, false, false));
}

static void test_shapes(void)
{
	struct py_shape shape;
	for (unsigned minor = 6; minor <= 15; minor++) {
		g_assert_true(py_shape_find(RELEASE(minor, 1), false, &shape));
		g_assert_cmpuint(shape.gc, !=, PY_GC_NONE);
		g_assert_cmpuint(shape.pool_bytes, ==, minor < 10 ? 4096 : 16384);
		g_assert_cmpuint(shape.arena_bytes % shape.pool_bytes, ==, 0);
		g_assert_cmpint(py_shape_find(RELEASE(minor, 1), true, &shape), ==, minor >= 13);
		if (minor >= 13)
			g_assert_cmpuint(shape.gc, ==, PY_GC_NONE);
	}
	g_assert_false(py_shape_find(RELEASE(5, 2), false, &shape));
	g_assert_false(py_shape_find(RELEASE(16, 0), false, &shape));
	g_assert_false(py_shape_find(0x02071200, false, &shape));
	g_assert_true(py_shape_find(RELEASE(11, 1), false, &shape) && !shape.int_zero_has_digit);
	g_assert_true(py_shape_find(RELEASE(11, 2), false, &shape) && shape.int_zero_has_digit);
}

static void test_versions(void)
{
	static const struct {
		const char *text;
		uint32_t version;
		const char *again;
	} good[] = {
		{"3.8.18 (default, Nov", 0x030812f0, "3.8.18"}, {"3.15.0b2 (main", 0x030f00b2, "3.15.0b2"},
		{"3.14.5rc1+ (heads", 0x030e05c1, "3.14.5rc1"}, {"2.7.18 (default", 0x020712f0, "2.7.18"},
		{"3.15.0a0 x", 0x030f00a0, "3.15.0a0"},         {"3.11.2+ (main", 0x030b02f0, "3.11.2"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		char text[VERSION_TEXT_MAX];
		g_assert_cmphex(version_parse(good[i].text, strlen(good[i].text)), ==, good[i].version);
		version_format(good[i].version, text);
		g_assert_cmpstr(text, ==, good[i].again);
	}
	static const char *const bad[] = {"",       "3",       "3.",     "3.8",      "3.8.",
					  "x3.8.1", "3.999.1", "33.8.1", "3.8.1b99", "3.8.b"};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_cmphex(version_parse(bad[i], strlen(bad[i])), ==, 0);
	g_assert_cmphex(version_from_name("/usr/lib/libpython3.8.so.1.0"), ==, RELEASE(8, 0));
	g_assert_cmphex(version_from_name("/usr/bin/python3.12d"), ==, RELEASE(12, 0));
	g_assert_cmphex(version_from_name("/x/math.cpython-313t-x86_64-linux-gnu.so"), ==, RELEASE(13, 0));
	g_assert_cmphex(version_from_name("/x/math.cpython-38-x86_64-linux-gnu.so"), ==, RELEASE(8, 0));
	g_assert_cmphex(version_from_name("/usr/bin/python3"), ==, 0);
	g_assert_cmphex(version_from_name("/usr/lib/libc.so.6"), ==, 0);
	bool debug, free_threaded;
	version_flags_from_name("/x/math.cpython-313td-x86_64-linux-gnu.so", &debug, &free_threaded);
	g_assert_true(debug && free_threaded);
	version_flags_from_name("/usr/lib/libpython3.8d.so.1.0", &debug, &free_threaded);
	g_assert_true(debug && !free_threaded);
	version_flags_from_name("/usr/bin/python3.11-dbg", &debug, &free_threaded);
	g_assert_true(debug);
	version_flags_from_name("/usr/lib/libpython3.6m.so.1.0", &debug, &free_threaded);
	g_assert_false(debug || free_threaded);
}

/* _Py_DebugOffsets of 3.13.0, as its table has them, and everything that can be wrong with one */
static void test_debug_offsets(void)
{
	uint8_t bytes[DEBUG_OFFSETS_BYTES] = "xdebugpy";
	uint64_t version = RELEASE(13, 0);
	uint32_t read;
	bool free_threaded;
	unsigned changed = 0;
	const struct py_layout *table = py_builtin_find((uint32_t)version, false, false, false)->layout;
	struct py_layout layout = *table;
	memcpy(bytes + 8, &version, 8);
	g_assert_true(debug_offsets_version(bytes, sizeof(bytes), &read, &free_threaded));
	g_assert_cmphex(read, ==, version);
	g_assert_false(free_threaded);
	/* sizes of 0 make it void, and nothing is changed */
	g_assert_false(debug_offsets_apply(bytes, sizeof(bytes), &layout, &changed));
	g_assert_cmpmem(&layout, sizeof(layout), table, sizeof(*table));
	/* whatever stands in it: inside the structures, or void */
	g_autoptr(GRand) random = g_rand_new_with_seed(3);
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 24; i + 8 <= sizeof(bytes); i += 8) {
			uint64_t value = (uint64_t)g_rand_int(random) >> g_rand_int_range(random, 0, 32);
			memcpy(bytes + i, &value, 8);
		}
		if (debug_offsets_apply(bytes, sizeof(bytes), &layout, &changed)) {
			g_assert_cmpuint(layout.interp_gc, <=, layout.interp_size);
			g_assert_cmpuint(layout.tp_name, <=, layout.type_size);
		}
	}
	for (size_t size = 0; size < 584; size++)
		g_assert_false(debug_offsets_apply(bytes, size, &layout, NULL));
	version = RELEASE(16, 0);
	memcpy(bytes + 8, &version, 8);
	g_assert_true(debug_offsets_version(bytes, sizeof(bytes), &read, &free_threaded));
	g_assert_false(debug_offsets_apply(bytes, sizeof(bytes), &layout, NULL));
	version = RELEASE(12, 0);
	memcpy(bytes + 8, &version, 8);
	g_assert_false(debug_offsets_version(bytes, sizeof(bytes), &read, &free_threaded));
	bytes[0] = 'y';
	g_assert_false(debug_offsets_version(bytes, sizeof(bytes), &read, &free_threaded));
}

struct place {
	char *path;
	uint32_t version;
};

/* the table of an interpreter's version says what its debug information does */
static void test_dwarf(const void *data)
{
	const struct place *place = data;
	g_autoptr(GError) error = NULL;
	const struct py_builtin *builtin = py_builtin_find(place->version, false, false, false);
	g_autoptr(elf_file_t) elf = elf_open(open(place->path, O_RDONLY | O_CLOEXEC), place->path, &error);
	struct dwarf_layout all, quick;
	if (!elf || !builtin || !dwarf_layout_read(elf, DWARF_ALL, &all, &error)) {
		g_test_skip(error ? error->message : "no table of it");
		return;
	}
	g_assert_true(dwarf_layout_read(elf, DWARF_QUICK, &quick, &error));
	unsigned compared = 0, wrong = 0;
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		uint32_t ours = member(builtin->layout, i);
		/* sizes of the large states grow at their end within a minor version */
		if (!all.known[i] || g_str_has_prefix(py_layout_fields[i].name, "runtime_") ||
		    !strcmp(py_layout_fields[i].name, "interp_size"))
			continue;
		compared++;
		if (ours != member(&all.layout, i)) {
			g_test_message("%s is %u, not %u", py_layout_fields[i].name, ours, member(&all.layout, i));
			wrong++;
		}
		/* the quick way may know less, and nothing else */
		if (quick.known[i])
			g_assert_cmpuint(member(&quick.layout, i), ==, member(&all.layout, i));
	}
	g_test_message("%u fields compared, %zu known at once, %zu in all", compared, quick.n_known, all.n_known);
	g_assert_cmpuint(compared, >, 250);
	if (builtin->version >> 8 == place->version >> 8)
		g_assert_cmpuint(wrong, ==, 0);
	g_assert_cmpuint(quick.n_known, ==, all.n_known);
	dwarf_layout_clear(&all);
	dwarf_layout_clear(&quick);
}

static void add(const char *pattern)
{
	glob_t found;
	if (glob(pattern, GLOB_TILDE, NULL, &found)) {
		g_test_message("no %s here", pattern);
		return;
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct place *place = g_new0(struct place, 1);
		const char *version = strstr(found.gl_pathv[i], "/versions/");
		place->path = g_strdup(found.gl_pathv[i]);
		place->version = version ? version_parse(version + 10, strcspn(version + 10, "/")) : 0;
		g_autofree char *name = g_strdup_printf("/symbols/layouts/dwarf%s", place->path);
		g_test_add_data_func(name, place, test_dwarf);
	}
	globfree(&found);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/symbols/layouts/complete", test_complete);
	g_test_add_func("/symbols/layouts/inside", test_inside);
	g_test_add_func("/symbols/layouts/choice", test_choice);
	g_test_add_func("/symbols/layouts/shapes", test_shapes);
	g_test_add_func("/symbols/layouts/versions", test_versions);
	g_test_add_func("/symbols/layouts/debug offsets", test_debug_offsets);
	add("~/.pyenv/versions/3.*/lib/libpython3.*.so.1.0");
	return g_test_run();
}
