#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "symbols/maps.h"

static const char good[] =
	"00400000-0041f000 r--p 00000000 fe:01 1234                               /usr/bin/python3.11\n"
	"0041f000-00800000 r-xp 0001f000 fe:01 1234                               /usr/bin/python3.11\n"
	"01cb2000-01d0b000 rw-p 00000000 00:00 0                                  [heap]\n"
	"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
	"7f0000001000-7f0000002000 rw-s 00003000 00:1c 77                         /a dir/two  spaces.so (deleted)\n"
	"7f0000002000-7f0000003000 r--p 00000000 fe:01 78                         /odd\\012name\\134x\n"
	"7f0000004000-7f0000005000 ---p 00000000 00:00 0                          [anon:glibc: x (deleted)]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]";

static void test_parse(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(maps_t) maps = maps_parse(good, strlen(good), &error);
	g_assert_no_error(error);
	g_assert_cmpuint(maps->n, ==, 8);
	const struct mapping *m = maps->mappings;
	g_assert_cmphex(m[1].start, ==, 0x41f000);
	g_assert_cmphex(m[1].end, ==, 0x800000);
	g_assert_cmphex(m[1].offset, ==, 0x1f000);
	g_assert_cmpuint(m[1].inode, ==, 1234);
	g_assert_cmphex(m[1].device_major, ==, 0xfe);
	g_assert_cmphex(m[1].device_minor, ==, 1);
	g_assert_true(m[1].readable && m[1].executable && !m[1].writable && !m[1].shared && !m[1].deleted);
	g_assert_cmpstr(m[1].path, ==, "/usr/bin/python3.11");
	g_assert_cmpstr(m[2].path, ==, "[heap]");
	g_assert_cmpstr(m[3].path, ==, "");
	g_assert_cmpstr(m[4].path, ==, "/a dir/two  spaces.so");
	g_assert_true(m[4].deleted && m[4].shared && m[4].writable);
	g_assert_cmpstr(m[5].path, ==, "/odd\nname\\134x");
	g_assert_cmpstr(m[6].path, ==, "[anon:glibc: x (deleted)]");
	g_assert_false(m[6].deleted || m[6].readable);
	g_assert_cmpstr(m[7].path, ==, "[vsyscall]");
}

static void test_find(void)
{
	g_autoptr(maps_t) maps = maps_parse(good, strlen(good), NULL);
	g_assert_null(maps_find(maps, 0));
	g_assert_null(maps_find(maps, 0x3fffff));
	g_assert_true(maps_find(maps, 0x400000) == &maps->mappings[0]);
	g_assert_true(maps_find(maps, 0x41efff) == &maps->mappings[0]);
	g_assert_true(maps_find(maps, 0x41f000) == &maps->mappings[1]);
	g_assert_null(maps_find(maps, 0x800000));
	g_assert_true(maps_find(maps, 0xffffffffff600fff) == &maps->mappings[7]);
	g_assert_null(maps_find(maps, UINT64_MAX));
	g_autoptr(maps_t) none = maps_parse("", 0, NULL);
	g_assert_nonnull(none);
	g_assert_null(maps_find(none, 0x400000));
}

static void test_malformed(void)
{
	static const char *const bad[] = {
		"x",
		"\n",
		"00400000",
		"00400000-",
		"00400000-0041f000",
		"00400000-0041f000 r--p",
		"00400000-0041f000 r-- 00000000 00:00 0",
		"00400000-0041f000 q--p 00000000 00:00 0",
		"00400000-0041f000 r--p 00000000 0000 0",
		"00400000-0041f000 r--p 00000000 00:00 x",
		"0041f000-00400000 r--p 00000000 00:00 0",
		"00400000-00400000 r--p 00000000 00:00 0",
		"10000000000000000-10000000000000001 r--p 00000000 00:00 0",
		"00400000-0041f000 r--p 00000000 100000000:00 0",
		"00400000-0041f000 r--p 00000000 00:00 99999999999999999999",
		"00400000-00600000 r--p 00000000 00:00 0\n00480000-00600000 r--p 00000000 00:00 0\n",
		"00500000-00600000 r--p 00000000 00:00 0\n00400000-00500000 r--p 00000000 00:00 0\n",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(maps_t) maps = maps_parse(bad[i], strlen(bad[i]), &error);
		g_assert_null(maps);
		g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_FAILED);
	}
	static const char nul[] = "00400000-0041f000 r--p 00000000 00:00 5 /a\0b\n";
	g_assert_null(maps_parse(nul, sizeof(nul) - 1, NULL));
}

/* a mapping that grew while the kernel wrote is there twice: what was said last holds, and nothing lies in two */
static void test_grown(void)
{
	static const char text[] = "00400000-00500000 r--p 00000000 00:00 0\n"
				   "00600000-00700000 rw-p 00000000 00:00 0\n"
				   "00600000-00710000 rw-p 00000000 00:00 0\n"
				   "00720000-00730000 rw-p 00000000 00:00 0\n"
				   "00730000-00740000 r--p 00000000 00:00 0\n"
				   "00718000-00750000 rw-p 00000000 00:00 0\n"
				   "00748000-00760000 r--p 00000000 00:00 0\n";
	static const uint64_t expected[][2] = {
		{0x400000, 0x500000}, {0x600000, 0x710000}, {0x718000, 0x748000}, {0x748000, 0x760000}};
	g_autoptr(maps_t) maps = maps_parse(text, strlen(text), NULL);
	g_assert_nonnull(maps);
	g_assert_cmpuint(maps->n, ==, G_N_ELEMENTS(expected));
	for (size_t i = 0; i < maps->n; i++) {
		g_assert_cmphex(maps->mappings[i].start, ==, expected[i][0]);
		g_assert_cmphex(maps->mappings[i].end, ==, expected[i][1]);
	}
}

/* whatever the bytes: an answer or an error, and never a read beyond the end (the sanitizers watch that) */
static void test_noise(void)
{
	size_t size = strlen(good);
	for (size_t cut = 0; cut < size; cut++) {
		g_autofree char *piece = g_memdup2(good, cut ? cut : 1);
		g_autoptr(maps_t) maps = maps_parse(piece, cut, NULL);
		(void)maps;
	}
	g_autoptr(GRand) random = g_rand_new_with_seed(1);
	for (int i = 0; i < 20000; i++) {
		g_autofree char *text = g_memdup2(good, size);
		for (int flips = 0; flips < 3; flips++)
			text[g_rand_int_range(random, 0, (gint32)size)] = (char)g_rand_int_range(random, 0, 256);
		g_autoptr(maps_t) maps = maps_parse(text, size, NULL);
		for (size_t k = 0; maps && k < maps->n; k++) {
			g_assert_cmphex(maps->mappings[k].start, <, maps->mappings[k].end);
			g_assert_true(!k || maps->mappings[k - 1].end <= maps->mappings[k].start);
		}
	}
}

static const struct mapping *mapping_at(const struct maps *maps, const void *at)
{
	return maps_find(maps, (uint64_t)(uintptr_t)at);
}

static bool same_file(int a, int b)
{
	struct stat x, y;
	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void test_open(void)
{
	g_autofree char *directory = g_dir_make_tmp("reftop maps XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "a\nfile (deleted)", NULL);
	g_autofree char *other = g_build_filename(directory, "other", NULL);
	g_autofree char *bytes = g_malloc0(8192);
	g_assert_true(g_file_set_contents(path, bytes, 8192, NULL));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *at = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
	g_assert_true(at != MAP_FAILED);

	g_autoptr(GError) error = NULL;
	g_autoptr(maps_t) maps = maps_read(getpid(), &error);
	g_assert_no_error(error);
	const struct mapping *mapping = mapping_at(maps, at);
	g_assert_nonnull(mapping);
	/* the name ends as the kernel marks deleted files: the inode has to say that it is the one */
	int opened = maps_open(getpid(), mapping);
	if (opened >= 0) {
		g_assert_true(same_file(opened, fd));
		close(opened);
	} else {
		g_test_message("map_files isn't permitted here");
	}

	/* replaced by another file: never the other one */
	g_assert_true(g_file_set_contents(other, bytes, 8192, NULL));
	g_assert_cmpint(rename(other, path), ==, 0);
	g_autoptr(maps_t) later = maps_read(getpid(), NULL);
	mapping = mapping_at(later, at);
	g_assert_true(mapping->deleted);
	opened = maps_open(getpid(), mapping);
	if (opened >= 0) {
		g_assert_true(same_file(opened, fd));
		close(opened);
	}
	munmap(at, 8192);
	close(fd);
	unlink(path);
	rmdir(directory);
}

static void test_read_errors(void)
{
	g_autoptr(GError) error = NULL;
	/* above pid_max of any kernel */
	g_assert_null(maps_read(0x7ffffffe, &error));
	g_assert_error(error, SYMBOLS_ERROR, REFTOP_ERROR_GONE);
	struct mapping anonymous = {.start = 0x1000, .end = 0x2000, .path = "[heap]"};
	g_assert_cmpint(maps_open(getpid(), &anonymous), ==, -1);
	g_assert_cmpint(errno, ==, ENOENT);
}

/* one mapping grows page by page until its place is full, and starts again */
static void grow_for_ever(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = 256;
	char *place = mmap(NULL, page * pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (;;) {
		for (size_t i = 0; i < pages; i++)
			mmap(place + i * page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			     -1, 0);
		mmap(place, page * pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
}

static void test_read_while_it_grows(void)
{
	pid_t child = fork();
	g_assert_cmpint(child, >=, 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		grow_for_ever();
	}
	for (int i = 0; i < 3000; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(maps_t) maps = maps_read(child, &error);
		g_assert_no_error(error);
		for (size_t k = 1; k < maps->n; k++)
			g_assert_cmphex(maps->mappings[k - 1].end, <=, maps->mappings[k].start);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/symbols/maps/parse", test_parse);
	g_test_add_func("/symbols/maps/find", test_find);
	g_test_add_func("/symbols/maps/malformed", test_malformed);
	g_test_add_func("/symbols/maps/grown", test_grown);
	g_test_add_func("/symbols/maps/noise", test_noise);
	g_test_add_func("/symbols/maps/open", test_open);
	g_test_add_func("/symbols/maps/read errors", test_read_errors);
	g_test_add_func("/symbols/maps/read while it grows", test_read_while_it_grows);
	return g_test_run();
}
