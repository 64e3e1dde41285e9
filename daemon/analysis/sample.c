#include "daemon/analysis/sample.h"

#include <string.h>

const struct sample_memory_part sample_memory_parts[SAMPLE_MEMORY_PARTS] = {
	{"objects", "objects", offsetof(struct sample_memory, objects)},
	{"blocks", "other blocks", offsetof(struct sample_memory, blocks)},
	{"free_blocks", "free blocks", offsetof(struct sample_memory, free_blocks)},
	{"free_pools", "free pools", offsetof(struct sample_memory, free_pools)},
	{"malloc_heap", "malloc heap", offsetof(struct sample_memory, malloc_heap)},
	{"anonymous", "anonymous", offsetof(struct sample_memory, anonymous)},
	{"file", "files", offsetof(struct sample_memory, file)},
	{"other", "other", offsetof(struct sample_memory, other)},
};

const char *const sample_watched_states[] = {"alive", "dead", "reused"};

sample_t *sample_new(void)
{
	sample_t *sample = g_new0(sample_t, 1);
	sample->references = 1;
	sample->strings = g_string_chunk_new(4096);
	struct sample_target *target = &sample->target;
	target->pid = target->start_time_us = target->rss = SAMPLE_UNKNOWN;
	target->exe = target->python = target->layout = "";
	target->cmdline = (const char *const *)g_new0(char *, 1);
	struct sample_snapshot *snapshot = &sample->snapshot;
	snapshot->mode = snapshot->coverage = "";
	snapshot->pause_us = snapshot->elapsed_us = snapshot->bytes_copied = snapshot->walk_us = SAMPLE_UNKNOWN;
	snapshot->torn = SAMPLE_UNKNOWN;
	sample->totals.allocated_blocks = SAMPLE_UNKNOWN;
	return sample;
}

const char *sample_text(sample_t *sample, const char *text)
{
	return g_string_chunk_insert_const(sample->strings, text);
}

void sample_cmdline(sample_t *sample, const char *const *cmdline)
{
	size_t n = g_strv_length((char **)cmdline);
	const char **copy = g_new0(const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		copy[i] = sample_text(sample, cmdline[i]);
	g_free((gpointer)sample->target.cmdline);
	sample->target.cmdline = copy;
}

static int type_compare(const void *a, const void *b)
{
	const struct sample_type *x = a, *y = b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	int order = strcmp(x->module, y->module);
	if (!order)
		order = strcmp(x->qualname, y->qualname);
	return order ? order : (x->address > y->address) - (x->address < y->address);
}

void sample_seal(sample_t *sample)
{
	if (sample->n_types)
		qsort(sample->types, sample->n_types, sizeof(*sample->types), type_compare);
}

sample_t *sample_repeat(sample_t *sample, int64_t time_us)
{
	sample_t *again = g_memdup2(sample, sizeof(*sample));
	again->references = 1;
	again->time_us = time_us;
	again->origin = sample_ref(sample->origin ? sample->origin : sample);
	again->strings = NULL;
	again->snapshot.mode = "quiet";
	again->snapshot.consistent = true;
	again->snapshot.pause_us = again->snapshot.elapsed_us = again->snapshot.bytes_copied = 0;
	again->snapshot.walk_us = SAMPLE_UNKNOWN;
	guint words = g_strv_length((char **)sample->target.cmdline);
	again->target.cmdline = g_memdup2(sample->target.cmdline, (words + 1) * sizeof(char *));
	again->gc = g_memdup2(sample->gc, sample->n_gc * sizeof(*sample->gc));
	again->types = g_memdup2(sample->types, sample->n_types * sizeof(*sample->types));
	again->watched = g_memdup2(sample->watched, sample->n_watched * sizeof(*sample->watched));
	again->parts = NULL; /* of sums, which are never repeated */
	again->n_parts = 0;
	/* that none were is known, whether or not they are counted */
	again->has_turnover = true;
	for (size_t i = 0; i < again->n_types; i++)
		again->types[i].born = again->types[i].died = 0;
	return again;
}

sample_t *sample_ref(sample_t *sample)
{
	g_atomic_int_inc(&sample->references);
	return sample;
}

void sample_unref(sample_t *sample)
{
	if (!sample || !g_atomic_int_dec_and_test(&sample->references))
		return;
	g_free((gpointer)sample->target.cmdline);
	g_free(sample->gc);
	g_free(sample->types);
	g_free(sample->watched);
	for (size_t i = 0; i < sample->n_parts; i++)
		sample_unref(sample->parts[i].sample);
	g_free(sample->parts);
	if (sample->strings)
		g_string_chunk_free(sample->strings);
	sample_unref(sample->origin);
	g_free(sample);
}

char *sample_type_name(const struct sample_type *type)
{
	if (!*type->module || !strcmp(type->module, "builtins"))
		return g_strdup(type->qualname);
	return g_strconcat(type->module, ".", type->qualname, NULL);
}
