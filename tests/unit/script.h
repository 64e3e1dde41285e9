/*
 * A scripted process and what screens show of it: samples a second apart, a view that took them in, and the comparison of a frame with a
 * file of tests/golden/. For tests of screens. GOLDEN_UPDATE=1 writes the files anew; look at them before you commit them.
 */
#pragma once
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "tui/screens/view.h"

#define START G_GINT64_CONSTANT(1763622000000000) /* µs since the epoch */

/* ---- the scripted process ---- */

G_GNUC_UNUSED static void add_type(sample_t *sample, uint64_t address, const char *module, const char *name,
				   int64_t count, int64_t size, int64_t refs_each, int64_t refs_max)
{
	struct sample_type *type = &sample->types[sample->n_types++];
	type->address = address;
	type->module = sample_text(sample, module);
	type->qualname = sample_text(sample, name);
	type->count = type->gc_count = count;
	type->bytes = size == SAMPLE_UNKNOWN ? SAMPLE_UNKNOWN : count * size;
	type->refs = count * refs_each;
	type->refs_max = refs_max;
	type->owned = SAMPLE_UNKNOWN;
	sample->totals.objects += count;
	sample->totals.gc_objects += count;
	sample->totals.bytes += size == SAMPLE_UNKNOWN ? 0 : count * size;
	sample->totals.refs += type->refs;
}

G_GNUC_UNUSED static sample_t *script_head(int i)
{
	static const char *const cmdline[] = {"python3", "-u", "worker.py", "--queue", "orders", NULL};
	sample_t *sample = sample_new();
	sample->time_us = START + (gint64)i * G_USEC_PER_SEC;
	sample->target.pid = 4711;
	sample->target.start_time_us = START - 275000 * (gint64)G_USEC_PER_SEC;
	sample->target.exe = sample_text(sample, "/usr/bin/python3.12");
	sample_cmdline(sample, cmdline);
	sample->target.python = sample_text(sample, "3.12.1");
	sample->target.layout = sample_text(sample, "builtin");
	sample->target.rss = (int64_t)(512 + i) * 1024 * 1024;
	sample->snapshot.mode = sample_text(sample, "stop");
	sample->snapshot.consistent = true;
	sample->snapshot.coverage = sample_text(sample, "gc");
	sample->snapshot.pause_us = i == 7 ? 61000 : 3800 + 10 * (i % 9);
	sample->snapshot.elapsed_us = 8100;
	sample->snapshot.bytes_copied = 48 * 1024 * 1024;
	sample->n_gc = 1;
	sample->gc = g_new0(struct sample_gc, 1);
	sample->gc[0] = (struct sample_gc){.enabled = true, .n_generations = 3};
	for (int g = 0; g < 3; g++)
		sample->gc[0].generations[g] = (struct sample_generation){412 >> (g * 3), g ? 10 : 700, 1000, i};
	sample->totals.has_memory = i % 2; /* both kinds of sample, in every golden of an odd number */
	sample->totals.memory = (struct sample_memory){.objects = (int64_t)(310 + i) << 20,
						       .blocks = 41 << 20,
						       .free_blocks = 9 << 20,
						       .free_pools = 1 << 20,
						       .malloc_heap = 60 << 20,
						       .anonymous = 33 << 20,
						       .file = 57 << 20,
						       .other = 1 << 20};
	sample->types = g_new0(struct sample_type, 64);
	return sample;
}

/* sample number i, a second after the one before: a leak, a cache, a warm-up, noise, and what stands still */
G_GNUC_UNUSED static sample_t *script_sample(int i, gboolean leaking)
{
	static const int noise[] = {0, 3, -2, 5, 1, -4, 2, 0, -1, 4, -3};
	int jitter = noise[i % 11], leaked = leaking ? 1000 * i : 0;
	sample_t *sample = script_head(i);
	add_type(sample, 0x55d0c0a01000, "app", "Leaky", 120 + leaked, 48, 2, 3);
	add_type(sample, 0x955aa0, "builtins", "dict", 41210 + leaked + jitter, 184, 2, 907);
	add_type(sample, 0x955bc0, "builtins", "list", 8120 + 7 * jitter, 96, 1, 44);
	add_type(sample, 0x955ce0, "builtins", "tuple", 31002 + 3 * jitter, 64, 2, 1204);
	add_type(sample, 0x955de0, "builtins", "function", 21204, 152, 1, 212);
	add_type(sample, 0x955ee0, "builtins", "type", 2330, 1064, 7, 9004);
	add_type(sample, 0x955fe0, "builtins", "cell", 118, 40, 1, 9);
	add_type(sample, 0x55d0c0a02000, "app.cache", "Entry", 40 * (i % 20), 64, 2, 2);
	add_type(sample, 0x55d0c0a03000, "app.orders", "Prepared", MIN(i, 12) * 350, 72, 1, 2);
	add_type(sample, 0x55d0c0a04000, "app.orders", "Pending", 900 - 10 * i, 72, 1, 2);
	add_type(sample, 0x55d0c0a05000, "sqlalchemy.orm.state", "InstanceState", 4002, 240, 3, 4);
	add_type(sample, 0x55d0c0a06000, "商店.模型", "商品", 512, 48, 1, 1);
	add_type(sample, 0x55d0c0a07000, "_extension", "Opaque", 38, SAMPLE_UNKNOWN, 1, 2);
	for (int k = 0; k < 30; k++) {
		g_autofree char *name = g_strdup_printf("Node%02d", k);
		add_type(sample, 0x55d0c0b00000 + (uint64_t)k * 0x1000, "ast", name, 1000 - 31 * k, 56, 1, 2);
	}
	sample_seal(sample);
	return sample;
}

static gint64 fixed_now;

G_GNUC_UNUSED static gint64 now(void)
{
	return fixed_now;
}

G_GNUC_UNUSED static struct view *view_after(int samples, gboolean leaking)
{
	struct top_options options = {.interval_us = G_USEC_PER_SEC, .now = now};
	struct view *view = view_new(&options, FALSE);
	for (int i = 0; i < samples; i++) {
		g_autoptr(sample_t) sample = script_sample(i, leaking);
		view_add(view, sample);
		fixed_now = sample->time_us;
	}
	return view;
}

G_GNUC_UNUSED static void keys(struct view *view, const char *characters)
{
	for (; *characters; characters++)
		view_key(view, *characters);
}

/* ---- comparison ---- */

G_GNUC_UNUSED static void compare(const char *name, const char *text)
{
	g_autofree char *path = g_strdup_printf("tests/golden/%s.txt", name), *wanted = NULL;
	if (g_getenv("GOLDEN_UPDATE")) {
		g_assert_true(g_file_set_contents(path, text, -1, NULL));
		return;
	}
	g_autoptr(GError) error = NULL;
	g_file_get_contents(path, &wanted, NULL, &error);
	g_assert_no_error(error);
	if (!strcmp(wanted, text))
		return;
	g_printerr("--- %s: wanted\n%s--- got\n%s", path, wanted, text);
	g_test_fail();
}

G_GNUC_UNUSED static char *draw(struct view *view, int width, int height, gboolean ascii)
{
	struct frame frame;
	frame_init(&frame, width, height, ascii);
	view_draw(view, &frame);
	char *text = frame_dump(&frame);
	frame_clear(&frame);
	return text;
}

G_GNUC_UNUSED static void compare_view(struct view *view, int width, int height, const char *name)
{
	g_autofree char *text = draw(view, width, height, FALSE);
	g_autofree char *file = g_strdup_printf("%s-%dx%d", name, width, height);
	compare(file, text);
}
