/* Snapshots of children of our own, whose memory we know. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/process.h"
#include "daemon/target/snapshot.h"

#define PAGE 4096ul

/* a child that runs a function; it says "ready" by closing its end of a pipe, or by writing to it */
struct child {
	pid_t pid;
	int ready; /* read end of what the child writes */
};

static struct child child_start(void (*body)(int ready, void *data), void *data)
{
	int ends[2];
	g_assert_cmpint(pipe(ends), ==, 0);
	struct child child = {fork(), ends[0]};
	g_assert_cmpint(child.pid, >=, 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		body(ends[1], data);
		_exit(0);
	}
	close(ends[1]);
	return child;
}

static void child_ready(struct child *child)
{
	char byte;
	g_assert_cmpint(read(child->ready, &byte, 1), ==, 1);
}

static void child_end(struct child *child)
{
	kill(child->pid, SIGKILL);
	g_assert_cmpint(waitpid(child->pid, NULL, 0), ==, child->pid);
	close(child->ready);
}

static void say_ready(int ready)
{
	if (write(ready, "r", 1) != 1)
		_exit(1);
}

static snapshot_t *snapshot_of(target_t *target, enum snapshot_extent extent)
{
	g_autoptr(GError) error = NULL;
	struct snapshot_options options = {.extent = extent};
	snapshot_t *snapshot = target_snapshot(target, &options, &error);
	g_assert_no_error(error);
	return snapshot;
}

/* memory with a known pattern: some pages written, in runs of different lengths, others never touched */
static uint64_t *pattern;
#define PATTERN_PAGES 5000ul

static bool page_written(uint64_t page)
{
	return page % 7 < 3 || (page > 1000 && page < 3000) || page % 512 == 5;
}

static void pattern_make(uint64_t seed)
{
	for (uint64_t page = 0; page < PATTERN_PAGES; page++) {
		for (uint64_t i = 0; i < PAGE / 8 && page_written(page); i++)
			pattern[page * PAGE / 8 + i] = (page * 1000003 + i) ^ seed;
	}
}

static void pattern_check(const snapshot_t *snapshot, uint64_t seed)
{
	g_autofree uint64_t *copy = g_malloc(PATTERN_PAGES * PAGE);
	g_assert_true(memory_read(&snapshot->memory, (uintptr_t)pattern, copy, PATTERN_PAGES * PAGE));
	for (uint64_t page = 0; page < PATTERN_PAGES; page++) {
		for (uint64_t i = 0; i < PAGE / 8; i++) {
			uint64_t want = page_written(page) ? (page * 1000003 + i) ^ seed : 0;
			g_assert_cmphex(copy[page * PAGE / 8 + i], ==, want);
		}
	}
}

static void pattern_child(int ready, void *data)
{
	pattern_make(1);
	say_ready(ready);
	for (;;)
		pause();
}

static void test_pattern(void)
{
	pattern = mmap(NULL, PATTERN_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	g_assert_true(pattern != MAP_FAILED);
	struct child child = child_start(pattern_child, NULL);
	child_ready(&child);
	g_autoptr(GError) error = NULL;
	g_autoptr(target_t) target = target_open_any(child.pid, &error);
	g_assert_no_error(error);
	for (int i = 0; i < 3; i++) {
		g_autoptr(snapshot_t) snapshot = snapshot_of(target, i == 1 ? SNAPSHOT_ALL : SNAPSHOT_HEAP);
		pattern_check(snapshot, 1);
		g_assert_true(snapshot->consistent);
		g_test_message("mode %d pause %" G_GINT64_FORMAT " us, copied %" G_GUINT64_FORMAT, (int)snapshot->mode,
			       snapshot->pause_us, snapshot->bytes_copied);
		if (i == 1) {
			g_assert_cmpint(snapshot->mode, ==, SNAPSHOT_STOP);
			g_assert_true(snapshot->threads[0].has_registers);
		}
		/* what we share with the child as code and constants comes from the file */
		char text[32];
		static const char constant[] = "a constant text";
		g_assert_true(memory_string(&snapshot->memory, (uintptr_t)constant, text, sizeof(text)));
		g_assert_cmpstr(text, ==, constant);
	}
	child_end(&child);
	munmap(pattern, PATTERN_PAGES * PAGE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/target/copy/pattern", test_pattern);
	return g_test_run();
}
