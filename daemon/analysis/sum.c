#include "daemon/analysis/sum.h"

#include <string.h>

static guint type_hash(gconstpointer key)
{
	const struct sample_type *type = key;
	return g_str_hash(type->qualname) * 31 + g_str_hash(type->module);
}

static gboolean type_equal(gconstpointer a, gconstpointer b)
{
	const struct sample_type *x = a, *y = b;
	return !strcmp(x->qualname, y->qualname) && !strcmp(x->module, y->module);
}

/* What isn't known of one isn't known of both. */
static void add(int64_t *sum, int64_t value)
{
	*sum = *sum == SAMPLE_UNKNOWN || value == SAMPLE_UNKNOWN ? SAMPLE_UNKNOWN : *sum + value;
}

static void add_type(sample_t *sum, GHashTable *index, size_t capacity, const struct sample_type *type)
{
	struct sample_type *row = g_hash_table_lookup(index, type);
	if (!row) {
		g_assert(sum->n_types < capacity);
		row = &sum->types[sum->n_types++];
		*row = (struct sample_type){.module = sample_text(sum, type->module),
					    .qualname = sample_text(sum, type->qualname),
					    .owned = SAMPLE_UNKNOWN};
		g_hash_table_add(index, row);
	}
	add(&row->count, type->count);
	add(&row->gc_count, type->gc_count);
	add(&row->bytes, type->bytes);
	add(&row->refs, type->refs);
	add(&row->immortal, type->immortal);
	row->refs_max = row->refs_max == SAMPLE_UNKNOWN || type->refs_max == SAMPLE_UNKNOWN
				? SAMPLE_UNKNOWN
				: MAX(row->refs_max, type->refs_max);
	/* unknown says here that the type owns nothing */
	if (type->owned != SAMPLE_UNKNOWN)
		row->owned = MAX(row->owned, 0) + type->owned;
	add(&row->born, type->born);
	add(&row->died, type->died);
}

static void add_totals(sample_t *sum, const sample_t *sample)
{
	struct sample_totals *to = &sum->totals;
	const struct sample_totals *from = &sample->totals;
	add(&to->objects, from->objects);
	add(&to->gc_objects, from->gc_objects);
	add(&to->bytes, from->bytes);
	add(&to->refs, from->refs);
	add(&to->immortal, from->immortal);
	add(&to->unreadable, from->unreadable);
	add(&to->allocated_blocks, from->allocated_blocks);
	add(&sum->target.rss, sample->target.rss);
	to->has_memory &= from->has_memory;
	for (size_t part = 0; part < SAMPLE_MEMORY_PARTS; part++)
		add(sample_memory_at(&to->memory, part),
		    *sample_memory_at((struct sample_memory *)&from->memory, part));
}

static void add_snapshot(sample_t *sum, const sample_t *sample, bool fresh)
{
	struct sample_snapshot *to = &sum->snapshot;
	const struct sample_snapshot *from = &sample->snapshot;
	to->consistent &= from->consistent;
	if (!*to->coverage)
		to->coverage = sample_text(sum, from->coverage);
	else if (strcmp(to->coverage, from->coverage))
		to->coverage = "mixed";
	if (!fresh)
		return;
	to->pause_us = MAX(to->pause_us, from->pause_us);
	to->elapsed_us = MAX(to->elapsed_us, 0) + MAX(from->elapsed_us, 0);
	to->bytes_copied = MAX(to->bytes_copied, 0) + MAX(from->bytes_copied, 0);
}

static void add_sample(sample_t *sum, GHashTable *index, size_t capacity, const struct sample_part *part, bool first)
{
	const sample_t *sample = part->sample;
	add_totals(sum, sample);
	add_snapshot(sum, sample, part->fresh);
	sum->has_turnover &= sample->has_turnover && part->fresh;
	if (first)
		sum->target.python = sample_text(sum, sample->target.python);
	else if (strcmp(sum->target.python, sample->target.python))
		sum->target.python = "";
	for (size_t i = 0; i < sample->n_types; i++)
		add_type(sum, index, capacity, &sample->types[i]);
}

static void copy_parts(sample_t *sum, const struct sample_part *parts, size_t n)
{
	sum->n_parts = n;
	sum->parts = g_new0(struct sample_part, n);
	for (size_t i = 0; i < n; i++) {
		struct sample_part *part = &sum->parts[i];
		*part = parts[i];
		part->command = sample_text(sum, part->command);
		part->why = part->why ? sample_text(sum, part->why) : NULL;
		if (part->sample)
			sample_ref(part->sample);
	}
}

sample_t *sum_make(const struct sample_part *parts, size_t n, int64_t time_us)
{
	sample_t *sum = sample_new();
	size_t read = 0, capacity = 0;
	for (size_t i = 0; i < n; i++) {
		read += parts[i].sample != NULL;
		capacity += parts[i].sample ? parts[i].sample->n_types : 0;
	}
	sum->time_us = time_us;
	sum->snapshot.mode = "sum";
	sum->snapshot.consistent = true;
	sum->target.rss = 0;
	sum->totals.allocated_blocks = 0;
	sum->totals.has_memory = sum->has_turnover = read > 0;
	sum->types = g_new0(struct sample_type, capacity);
	g_autoptr(GHashTable) index = g_hash_table_new(type_hash, type_equal);
	for (size_t i = 0, done = 0; i < n; i++)
		if (parts[i].sample)
			add_sample(sum, index, capacity, &parts[i], done++ == 0);
	copy_parts(sum, parts, n);
	sample_seal(sum);
	return sum;
}
