#include "daemon/analysis/diff.h"

#include <string.h>

static guint row_hash(gconstpointer data)
{
	const struct diff_row *row = data;
	return g_int64_hash(&row->address) ^ g_str_hash(row->qualname);
}

static gboolean row_equal(gconstpointer a, gconstpointer b)
{
	const struct diff_row *x = a, *y = b;
	return x->address == y->address && !strcmp(x->qualname, y->qualname) && !strcmp(x->module, y->module);
}

static bool same_process(const sample_t *a, const sample_t *b)
{
	int64_t apart = a->target.start_time_us - b->target.start_time_us;
	/* start times are computed from the boot time, which is known to the second */
	return a->target.pid == b->target.pid && apart <= 2 * G_USEC_PER_SEC && apart >= -2 * G_USEC_PER_SEC;
}

static int64_t plus(int64_t sum, int64_t value)
{
	return diff_known(sum, value) ? sum + value : SAMPLE_UNKNOWN;
}

/* add a sample's types to the rows */
static void add_side(const sample_t *sample, bool is_b, bool by_address, GHashTable *rows)
{
	for (size_t i = 0; i < sample->n_types; i++) {
		const struct sample_type *type = &sample->types[i];
		struct diff_row key = {
			.address = by_address ? type->address : 0, .module = type->module, .qualname = type->qualname};
		struct diff_row *row = g_hash_table_lookup(rows, &key);
		if (!row) {
			row = g_memdup2(&key, sizeof(key));
			g_hash_table_add(rows, row);
		}
		struct diff_side *side = is_b ? &row->b : &row->a;
		side->count = plus(side->count, type->count);
		side->bytes = plus(side->bytes, type->bytes);
		side->refs = plus(side->refs, type->refs);
	}
}

diff_t *diff_new(sample_t *a, sample_t *b)
{
	diff_t *diff = g_new0(diff_t, 1);
	diff->a = sample_ref(a);
	diff->b = sample_ref(b);
	bool by_address = same_process(a, b);
	g_autoptr(GHashTable) rows = g_hash_table_new_full(row_hash, row_equal, g_free, NULL);
	add_side(a, false, by_address, rows);
	add_side(b, true, by_address, rows);
	diff->rows = g_new(struct diff_row, g_hash_table_size(rows) + 1);
	GHashTableIter iter;
	gpointer row;
	g_hash_table_iter_init(&iter, rows);
	while (g_hash_table_iter_next(&iter, &row, NULL))
		diff->rows[diff->n++] = *(struct diff_row *)row;
	return diff;
}

void diff_free(diff_t *diff)
{
	if (!diff)
		return;
	sample_unref(diff->a);
	sample_unref(diff->b);
	g_free(diff->rows);
	g_free(diff);
}

int64_t diff_change(int64_t a, int64_t b)
{
	return diff_known(a, b) ? b - a : SAMPLE_UNKNOWN;
}
