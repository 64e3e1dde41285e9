/*
 * interpreter_find() on every CPython at hand: pyenv's, Debian's, and those of other Debian suites under .cache/ (run
 * by chroot). The interpreter prints its own truth: the version, the build, id(type).
 *
 * Each is looked at three times: as it is; as if it were stripped of its debug information; and as if it had no symbols
 * and no sections at all. For that the process runs the real file, and we are given a doctored copy of it.
 */
#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "symbols/interpreter.h"
#include "symbols/probe.h"
#include "symbols/validate.h"

static const char truth[] =
	"import sys, sysconfig\n"
	"sys.stdout.write('%d %d %d %d %d %d\\n' % (sys.hexversion, hasattr(sys, 'gettotalrefcount'),\n"
	"      bool(sysconfig.get_config_var('Py_GIL_DISABLED')),\n"
	"      hasattr(sys, 'getobjects') and sys.version_info < (3, 13), id(type), id(sys.__dict__)))\n"
	"sys.stdout.flush()\n"
	"sys.stdin.read()\n";

enum disguise { AS_IS, STRIPPED, BARE, DISGUISES, FUTURE };
static const char *const disguise_names[] = {"as it is", "stripped", "bare", "", "of a future version"};

struct child {
	pid_t pid;
	enum disguise disguise;
	int in; /* close to end it */
	unsigned version, debug, free_threaded, trace_refs;
	uint64_t type, sysdict;
	uint64_t unlinked; /* a word that reads as 0; 0: none */
};

static bool child_start(struct child *child, const char *root, const char *python)
{
	int in[2], out[2];
	g_assert_cmpint(pipe2(in, O_CLOEXEC), ==, 0);
	g_assert_cmpint(pipe2(out, O_CLOEXEC), ==, 0);
	child->pid = fork();
	if (!child->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (root && (chroot(root) || chdir("/")))
			_exit(126);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl(python, python, "-E", "-s", "-S", "-c", truth, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	child->in = in[1];
	FILE *stream = fdopen(out[0], "r");
	int n = fscanf(stream, "%u %u %u %u %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &child->version, &child->debug,
		       &child->free_threaded, &child->trace_refs, &child->type, &child->sysdict);
	fclose(stream);
	return n == 6;
}

static void child_end(struct child *child)
{
	close(child->in);
	g_assert_cmpint(waitpid(child->pid, NULL, 0), ==, child->pid);
}

static bool child_read(void *context, uint64_t address, void *out, uint64_t size)
{
	struct iovec to = {out, size}, from = {(void *)(uintptr_t)address, size};
	const struct child *child = context;
	if (process_vm_readv(child->pid, &to, 1, &from, 1, 0) != (ssize_t)size)
		return false;
	if (child->unlinked >= address && child->unlinked + 8 <= address + size && child->unlinked)
		memset((uint8_t *)out + (child->unlinked - address), 0, 8);
	if (child->disguise == FUTURE && size >= 16 && !memcmp(out, "xdebugpy", 8))
		((uint8_t *)out)[10] = 99; /* the minor of PY_VERSION_HEX behind the cookie */
	return true;
}

static bool sections_edit(uint8_t *bytes, size_t size, enum disguise disguise)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)bytes;
	if (size < sizeof(*header) || memcmp(bytes, ELFMAG, SELFMAG) || header->e_shoff > size)
		return false;
	if (disguise == BARE) {
		header->e_shoff = header->e_shnum = header->e_shstrndx = 0;
	} else {
		Elf64_Shdr *sections = (Elf64_Shdr *)(void *)(bytes + header->e_shoff);
		const char *names = (const char *)bytes + sections[header->e_shstrndx].sh_offset;
		for (int i = 0; i < header->e_shnum; i++)
			if (!strncmp(names + sections[i].sh_name, ".debug_", 7) || sections[i].sh_type == SHT_SYMTAB ||
			    !strcmp(names + sections[i].sh_name, ".gnu_debuglink"))
				sections[i].sh_type = SHT_NULL, sections[i].sh_name = 0;
	}
	/* the build-id leads to separate debug files: whatever notes there are, they aren't its any more */
	for (size_t i = 0; i + 16 <= size && i < 65536; i += 4)
		if (!memcmp(bytes + i, "\3\0\0\0GNU", 8))
			bytes[i] = 0x7f;
	return true;
}

static int child_open(void *context, const struct mapping *mapping)
{
	const struct child *child = context;
	int fd = maps_open(child->pid, mapping);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	if (child->disguise == AS_IS || child->disguise == FUTURE || size <= 0)
		return fd;
	int copy = memfd_create("disguise", MFD_CLOEXEC);
	g_autofree uint8_t *bytes = g_malloc((gsize)size);
	g_assert_cmpint(pread(fd, bytes, (size_t)size, 0), ==, size);
	if (sections_edit(bytes, (size_t)size, child->disguise))
		g_assert_cmpint(write(copy, bytes, (size_t)size), ==, size);
	close(fd);
	return copy;
}

static int child_open_path(void *context, const char *path)
{
	return maps_open_path(((const struct child *)context)->pid, path);
}

static const char *origin_name(enum layout_origin origin)
{
	return origin == LAYOUT_DWARF ? "dwarf" : origin == LAYOUT_DEBUG_OFFSETS ? "debug offsets" : "builtin";
}

static const uint32_t *member(const struct py_layout *layout, size_t field)
{
	return (const uint32_t *)(const void *)((const char *)layout + py_layout_fields[field].position);
}

/* a layout found without debug information says what that says, wherever both say something */
static void check_layout(const struct interpreter *found, const struct py_layout *expected)
{
	unsigned wrong = 0, compared = 0;
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		uint32_t ours = *member(&found->layout, i), theirs = *member(expected, i);
		const char *name = py_layout_fields[i].name;
		/* whole sizes grow at the end within a minor version, and nothing is read by them */
		if (ours == PY_ABSENT || theirs == PY_ABSENT || !strcmp(name, "runtime_size") ||
		    !strcmp(name, "interp_size") || !strcmp(name, "runtime_main_interpreter"))
			continue;
		compared++;
		if (ours != theirs) {
			g_test_message("%s is %u, not %u", name, ours, theirs);
			wrong++;
		}
	}
	g_test_message("%u fields compared", compared);
	g_assert_cmpuint(wrong, ==, 0);
	g_assert_cmpuint(compared, >, 200);
	g_assert_cmpmem(&found->layout.shape, sizeof(expected->shape), &expected->shape, sizeof(expected->shape));
}

static void check_arenas(const struct interpreter *found, struct interpreter_access *access)
{
	uint64_t arenas;
	uint32_t maxarenas;
	if (found->layout.shape.obmalloc != PY_OBMALLOC_STATIC)
		return;
	g_assert_true(found->arenas && access_u64(access, found->arenas, &arenas) && arenas);
	g_assert_true(found->maxarenas && access_u32(access, found->maxarenas, &maxarenas));
	g_assert_cmpuint(maxarenas, >=, 16);
	g_assert_cmpuint(maxarenas & (maxarenas - 1), ==, 0);
}

static uint64_t interpreter_head(const struct interpreter *found, struct interpreter_access *access)
{
	uint64_t interp = 0;
	if (found->layout.shape.gc == PY_GC_GLOBAL)
		g_assert_true(access_u64(access, found->interp_head, &interp));
	else
		g_assert_true(access_u64(access, found->runtime + found->layout.runtime_interpreters_head, &interp));
	return interp;
}

static interpreter_t *find(struct child *child, enum disguise disguise, const char *name, GError **error)
{
	struct interpreter_access access = {child, child_read, child_open, disguise == AS_IS ? child_open_path : NULL};
	g_autoptr(maps_t) maps = maps_read(child->pid, error);
	g_assert_nonnull(maps);
	child->disguise = disguise;
	gint64 before = g_get_monotonic_time();
	interpreter_t *found = interpreter_find(maps, &access, error);
	long took = (long)(g_get_monotonic_time() - before);
	if (found)
		g_test_message("%s, %s: CPython %s%s%s%s, %s, %s, bias %#lx, runtime %#lx, arenas %#lx %#lx, %ld us",
			       name, disguise_names[disguise], found->version_text, found->debug ? " debug" : "",
			       found->free_threaded ? " free-threaded" : "", found->trace_refs ? " trace refs" : "",
			       origin_name(found->origin), found->path, found->bias, found->runtime, found->arenas,
			       found->maxarenas, took);
	return found;
}

static void check_found(struct child *child, const struct interpreter *found)
{
	struct interpreter_access access = {child, child_read, child_open, child_open_path};
	g_assert_cmphex(found->version, ==, child->version);
	g_assert_cmpuint(found->debug, ==, child->debug);
	g_assert_cmpuint(found->free_threaded, ==, child->free_threaded);
	g_assert_cmpuint(found->trace_refs, ==, child->trace_refs);
	g_assert_cmphex(found->type_type, ==, child->type);
	g_assert_true(access_is_a(&access, &found->layout, child->sysdict, "dict"));
	check_arenas(found, &access);
	uint64_t sysdict, interp = interpreter_head(found, &access);
	g_assert_true(access_u64(&access, interp + found->layout.interp_sysdict, &sysdict));
	g_assert_cmphex(sysdict, ==, child->sysdict);
}

/* a table that is a few words off, as that of another micro release may be, is put right */
static void check_probe(struct child *child, const struct interpreter *found)
{
	struct interpreter_access access = {child, child_read, child_open, child_open_path};
	struct interpreter off = *found;
	off.layout.interp_obmalloc += 16;
	off.layout.interp_static_types -= 24;
	off.layout.interp_extension_types -= 24;
	if (found->layout.shape.obmalloc == PY_OBMALLOC_STATIC)
		return;
	layout_probe(&off, &access);
	g_assert_cmpuint(off.layout.interp_static_types, ==, found->layout.interp_static_types);
	if (found->layout.interp_extension_types != PY_ABSENT)
		g_assert_cmpuint(off.layout.interp_extension_types, ==, found->layout.interp_extension_types);
	/* free-threaded builds don't use it */
	if (!found->free_threaded)
		g_assert_cmpuint(off.layout.interp_obmalloc, ==, found->layout.interp_obmalloc);
}

/* it stands still where the last object of a list isn't linked to the list's end yet */
static void check_half_linked(struct child *child, const struct interpreter *found, const char *name)
{
	struct interpreter_access access = {child, child_read, child_open, child_open_path};
	if (found->layout.shape.gc != PY_GC_INTERPRETER)
		return;
	uint64_t head = interpreter_head(found, &access) + found->layout.interp_gc + found->layout.gc_generations;
	for (int i = 0; i < 3; i++, head += found->layout.gc_generation_size) {
		g_autoptr(GError) error = NULL;
		uint64_t last;
		g_assert_true(access_u64(&access, head + 8, &last));
		last &= ~3ull;
		if (last == head)
			continue;
		child->unlinked = last;
		g_autoptr(interpreter_t) again = find(child, AS_IS, name, &error);
		child->unlinked = 0;
		g_assert_no_error(error);
		check_found(child, again);
	}
}

static void check_interpreter(struct child *child, const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(interpreter_t) found = find(child, AS_IS, name, &error);
	if (child->version >> 16 < 0x306) {
		g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN);
		g_assert_true(g_str_has_prefix(error->message, "CPython 2.7.18 is not supported"));
		return;
	}
	g_assert_no_error(error);
	check_found(child, found);
	check_probe(child, found);
	check_half_linked(child, found, name);
	for (enum disguise disguise = STRIPPED; disguise < DISGUISES; disguise++) {
		g_autoptr(interpreter_t) disguised = find(child, disguise, name, &error);
		g_assert_no_error(error);
		g_assert_cmpint(disguised->origin, !=, LAYOUT_DWARF);
		check_found(child, disguised);
		g_assert_cmphex(disguised->runtime, ==, found->runtime);
		g_assert_cmphex(disguised->bias, ==, found->bias);
		g_assert_cmphex(disguised->interp_head, ==, found->interp_head);
		g_assert_cmphex(disguised->arenas, ==, found->arenas);
		g_assert_cmphex(disguised->maxarenas, ==, found->maxarenas);
		if (found->origin == LAYOUT_DWARF)
			check_layout(disguised, &found->layout);
	}
	if (child->version >> 16 >= 0x30d) {
		g_assert_null(find(child, FUTURE, name, &error));
		g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN);
		g_assert_true(g_str_has_prefix(error->message, "CPython 3.99."));
		g_assert_nonnull(strstr(error->message, "is not supported\n  cause: "));
	}
	char minor[16];
	g_autoptr(maps_t) maps = maps_read(child->pid, NULL);
	g_snprintf(minor, sizeof(minor), "%u.%u", child->version >> 24, child->version >> 16 & 0xff);
	g_assert_cmpstr(interpreter_guess(maps), ==, minor);
}

struct place {
	char *root; /* NULL: ours */
	char *python;
};

static void test_interpreter(const void *data)
{
	const struct place *place = data;
	struct child child = {0};
	if (place->root && geteuid()) {
		g_test_skip("only root can chroot");
		return;
	}
	if (!child_start(&child, place->root, place->python)) {
		child_end(&child);
		g_test_skip("this interpreter doesn't start here");
		return;
	}
	check_interpreter(&child, place->python);
	child_end(&child);
}

static void add(const char *root, const char *pattern)
{
	g_autofree char *full = g_strconcat(root ? root : "", pattern, NULL);
	glob_t found;
	if (glob(full, GLOB_TILDE, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct place *place = g_new0(struct place, 1);
		if (g_str_has_suffix(found.gl_pathv[i], "-config") || g_str_has_suffix(found.gl_pathv[i], "m") ||
		    (root && g_str_has_suffix(found.gl_pathv[i], "-dbg"))) {
			g_free(place);
			continue;
		}
		place->root = g_strdup(root);
		place->python = g_strdup(found.gl_pathv[i] + (root ? strlen(root) : 0));
		g_autofree char *name = g_strdup_printf("/symbols/interpreter/%s", found.gl_pathv[i]);
		g_test_add_data_func(name, place, test_interpreter);
	}
	globfree(&found);
}

static void test_not_python(void)
{
	struct child child = {.pid = getpid()};
	struct interpreter_access access = {&child, child_read, child_open, child_open_path};
	g_autoptr(GError) error = NULL;
	g_autoptr(maps_t) maps = maps_read(getpid(), NULL);
	g_assert_null(interpreter_find(maps, &access, &error));
	g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN);
	g_assert_true(g_str_has_prefix(error->message, "not a Python process"));
	g_assert_null(interpreter_guess(maps));
	g_autoptr(maps_t) none = maps_parse("", 0, NULL);
	g_clear_error(&error);
	g_assert_null(interpreter_find(none, &access, &error));
	g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_UNKNOWN);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/symbols/interpreter/not python", test_not_python);
	add(NULL, "~/.pyenv/versions/*/bin/python[23].?");
	add(NULL, "~/.pyenv/versions/*/bin/python3.??");
	add(NULL, "/usr/bin/python3.[0-9]*");
	add(NULL, ".cache/freethreaded-*/bin/python3.*t");
	glob_t roots;
	g_autofree char *here = g_get_current_dir();
	g_autofree char *cache = g_build_filename(here, ".cache/rootfs-*", NULL);
	if (!glob(cache, 0, NULL, &roots)) {
		for (size_t i = 0; i < roots.gl_pathc; i++)
			if (!g_str_has_suffix(roots.gl_pathv[i], ".apt"))
				add(roots.gl_pathv[i], "/usr/bin/python3.[0-9]*");
		globfree(&roots);
	}
	return g_test_run();
}
