/*
 * ELF and DWARF: the right answers on a small library made here, and an answer or an error, never a crash, on any
 * corruption of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "symbols/dwarf.h"
#include "symbols/elf.h"

/* a CPython of a few lines: structures with the names we look for */
static const char source[] =
	"typedef struct _object { union { long ob_refcnt; int split[2]; }; struct _typeobject *ob_type; } PyObject;\n"
	"typedef struct { PyObject ob_base; long ob_size; } PyVarObject;\n"
	"typedef struct { unsigned long _gc_next, _gc_prev; } PyGC_Head;\n"
	"typedef struct _typeobject { PyVarObject ob_base; const char *tp_name; long tp_basicsize; } PyTypeObject;\n"
	"struct _dictkeysobject { long dk_refcnt; unsigned char dk_log2_size, dk_log2_index_bytes, dk_kind; };\n"
	"typedef struct _dictkeysobject PyDictKeysObject;\n"
	"typedef struct { PyObject ob_base; long ma_used; PyDictKeysObject *ma_keys; } PyDictObject;\n"
	"struct state { int before; struct { PyGC_Head head; int threshold; } generations[3]; };\n"
	"typedef struct _is { struct _is *next; int pad : 3, id : 5; struct { long x; struct _ts *head; } threads;\n"
	"  const struct { volatile int a; struct { void *modules; } imports; }; } PyInterpreterState;\n"
	"typedef struct _ts { struct _ts *prev, *next; PyInterpreterState *interp; } PyThreadState;\n"
	"PyObject o; PyVarObject v; PyGC_Head g; PyTypeObject t; PyDictKeysObject k; PyDictObject d; "
	"PyInterpreterState _PyRuntime;\n"
	"PyThreadState s; static int arenas = 5; int *use(void) { return &arenas; }\n";

static char *directory, *library;
static char *bytes;
static gsize size;

static bool library_make(void)
{
	directory = g_dir_make_tmp("reftop-elf-XXXXXX", NULL);
	g_autofree char *file = g_build_filename(directory, "small.c", NULL);
	library = g_build_filename(directory, "small.so", NULL);
	g_assert_true(g_file_set_contents(file, source, -1, NULL));
	const char *argv[] = {"cc", "-g", "-shared", "-fPIC", "-nostdlib", "-Wl,--build-id", "-o", library, file, NULL};
	int status = -1;
	bool made =
		g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL) &&
		!status && g_file_get_contents(library, &bytes, &size, NULL);
	unlink(file);
	return made;
}

static int bytes_open(const char *from, gsize length)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(write(fd, from, length), ==, (gssize)length);
	return fd;
}

static void test_symbols(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(elf_file_t) elf = elf_open(bytes_open(bytes, size), "small.so", &error);
	g_assert_no_error(error);
	struct elf_symbol symbols[] = {
		{.name = "_PyRuntime"}, {.name = "arenas"}, {.name = "use"}, {.name = "nothing"}};
	g_assert_cmpuint(elf_symbols_find(elf, symbols, 4), ==, 3);
	g_assert_true(symbols[0].found && symbols[1].found && symbols[2].found && !symbols[3].found);
	uint32_t value = 0;
	g_assert_true(elf_read(elf, symbols[1].value, &value, sizeof(value)));
	g_assert_cmpuint(value, ==, 5);
	/* .bss reads as zeros, and nothing beyond the segment reads at all */
	uint64_t zero = 1;
	g_assert_true(elf_read(elf, symbols[0].value, &zero, sizeof(zero)));
	g_assert_cmpuint(zero, ==, 0);
	g_assert_false(elf_read(elf, UINT64_MAX - 3, &zero, sizeof(zero)));
	g_assert_false(elf_read(elf, symbols[0].value, &zero, UINT64_MAX));
	g_autofree char *id = elf_build_id(elf);
	g_assert_nonnull(id);
	g_assert_cmpuint(strlen(id), ==, 40);
	struct elf_section section;
	g_assert_true(elf_section_find(elf, ".debug_info", &section));
	g_assert_false(elf_section_find(elf, ".PyRuntime", &section));
}

static uint32_t field(const struct dwarf_layout *read, const char *name)
{
	for (size_t i = 0; i < py_layout_n_fields; i++)
		if (!strcmp(py_layout_fields[i].name, name))
			return *(const uint32_t *)(const void *)((const char *)&read->layout +
								 py_layout_fields[i].position);
	g_assert_not_reached();
}

static void test_dwarf(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(elf_file_t) elf = elf_open(bytes_open(bytes, size), "small.so", &error);
	struct dwarf_layout read;
	bool found = dwarf_layout_read(elf, DWARF_ALL, &read, &error);
	g_assert_no_error(error);
	g_assert_true(found);
	g_assert_cmpuint(field(&read, "object_size"), ==, 16);
	g_assert_cmpuint(field(&read, "ob_refcnt"), ==, 0); /* in an anonymous union */
	g_assert_cmpuint(field(&read, "ob_type"), ==, 8);
	g_assert_cmpuint(field(&read, "ob_size"), ==, 16);
	g_assert_cmpuint(field(&read, "tp_basicsize"), ==, 32);
	g_assert_cmpuint(field(&read, "dk_kind"), ==, 10); /* a typedef of a structure with a tag */
	g_assert_cmpuint(field(&read, "interp_tstate_head"), ==, 24);
	g_assert_cmpuint(field(&read, "interp_modules"), ==, 40);   /* const, anonymous, nested */
	g_assert_cmpuint(field(&read, "interp_id"), ==, PY_ABSENT); /* a bit field isn't an offset */
	g_assert_cmpuint(field(&read, "tp_flags"), ==, PY_ABSENT);
	g_assert_cmpuint(field(&read, "set_table"), ==, PY_ABSENT);
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		if (!strcmp(py_layout_fields[i].name, "tp_flags"))
			g_assert_true(read.known[i] && read.object[i]);
		if (!strcmp(py_layout_fields[i].name, "gc_head_next"))
			g_assert_true(read.known[i] && !read.object[i]);
		if (!strcmp(py_layout_fields[i].name, "set_table"))
			g_assert_false(read.known[i]);
	}
	dwarf_layout_clear(&read);
}

/* everything that reads the file, whatever comes of it */
static void elf_use(const char *from, gsize length)
{
	g_autoptr(elf_file_t) elf = elf_open(bytes_open(from, length), "corrupt", NULL);
	if (!elf)
		return;
	struct elf_symbol symbols[] = {{.name = "_PyRuntime"}, {.name = "arenas"}};
	struct elf_section section;
	uint32_t checksum;
	uint64_t word;
	elf_symbols_find(elf, symbols, 2);
	elf_section_find(elf, ".debug_info", &section);
	g_autofree char *id = elf_build_id(elf), *link = elf_debuglink(elf, &checksum);
	elf_read(elf, symbols[0].value, &word, sizeof(word));
	g_autoptr(maps_t) maps = maps_parse("400000-500000 r-xp 00001000 00:01 5 /x\n", 40, NULL);
	uint64_t bias, start, end;
	if (maps)
		elf_bias(elf, maps, &maps->mappings[0], &bias, &start, &end);
	struct dwarf_layout read;
	g_autoptr(GError) error = NULL;
	if (dwarf_layout_read(elf, DWARF_ALL, &read, &error))
		dwarf_layout_clear(&read);
	else
		g_assert_nonnull(error);
}

static void test_truncated(void)
{
	for (gsize length = 0; length < size; length += length < 4096 ? 61 : 509)
		elf_use(bytes, length);
}

static void test_flipped(void)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(7);
	g_autofree char *copy = g_malloc(size);
	for (int round = 0; round < 1500; round++) {
		memcpy(copy, bytes, size);
		for (int flips = g_rand_int_range(random, 1, 6); flips; flips--)
			copy[g_rand_int_range(random, 0, (gint32)size)] = (char)g_rand_int_range(random, 0, 256);
		/* headers are where it hurts most */
		if (round % 3 == 0)
			copy[g_rand_int_range(random, 16, 64 + 56 * 8)] = (char)g_rand_int_range(random, 0, 256);
		elf_use(copy, size);
	}
}

static void test_other(void)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(elf_open(bytes_open("#!/bin/sh\n", 10), "script", &error));
	g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN);
	g_clear_error(&error);
	g_autofree char *copy = g_memdup2(bytes, size);
	copy[18] = 40; /* EM_ARM */
	g_assert_null(elf_open(bytes_open(copy, size), "arm", &error));
	g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (!library_make()) {
		g_test_message("no C compiler here");
		return 77;
	}
	g_test_add_func("/symbols/elf/symbols", test_symbols);
	g_test_add_func("/symbols/elf/dwarf", test_dwarf);
	g_test_add_func("/symbols/elf/other", test_other);
	g_test_add_func("/symbols/elf/truncated", test_truncated);
	g_test_add_func("/symbols/elf/flipped", test_flipped);
	int result = g_test_run();
	unlink(library);
	rmdir(directory);
	g_free(bytes);
	g_free(library);
	g_free(directory);
	return result;
}
