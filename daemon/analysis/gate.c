#include "daemon/analysis/gate.h"

#include <stdlib.h>
#include <string.h>

#define TOTAL "total"

struct named {
	const char *module, *qualname;
	struct diff_side a, b;
};

static guint named_hash(gconstpointer data)
{
	const struct named *named = data;
	return g_str_hash(named->qualname) ^ g_str_hash(named->module);
}

static gboolean named_equal(gconstpointer a, gconstpointer b)
{
	const struct named *x = a, *y = b;
	return !strcmp(x->qualname, y->qualname) && !strcmp(x->module, y->module);
}

static int64_t plus(int64_t sum, int64_t count)
{
	return diff_known(sum, count) ? sum + count : SAMPLE_UNKNOWN;
}

/* The types by name: set of struct named. */
static GHashTable *by_name(const diff_t *diff)
{
	GHashTable *names = g_hash_table_new_full(named_hash, named_equal, g_free, NULL);
	for (size_t i = 0; i < diff->n; i++) {
		const struct diff_row *row = &diff->rows[i];
		struct named key = {.module = row->module, .qualname = row->qualname};
		struct named *named = g_hash_table_lookup(names, &key);
		if (!named) {
			named = g_memdup2(&key, sizeof(key));
			g_hash_table_add(names, named);
		}
		named->a.count = plus(named->a.count, row->a.count);
		named->b.count = plus(named->b.count, row->b.count);
	}
	return names;
}

static bool matches(const struct named *named, const char *type, const GPatternSpec *glob)
{
	g_autofree char *full = g_strdup_printf("%s.%s", named->module, named->qualname);
	return glob ? g_pattern_spec_match_string((GPatternSpec *)glob, full)
		    : !strcmp(full, type) || !strcmp(named->qualname, type);
}

static void judge(GArray *rows, gate_t *gate, char *name, int64_t a, int64_t b, int64_t more_than)
{
	struct gate_row row = {name, a, b};
	if (!diff_known(a, b))
		gate->unknown++;
	else if (b > a && b - a > more_than) {
		g_array_append_val(rows, row);
		return;
	}
	g_free(name);
}

static gint compare(gconstpointer a, gconstpointer b)
{
	const struct gate_row *x = a, *y = b;
	int64_t p = x->b - x->a, q = y->b - y->a;
	return p != q ? (p < q ? 1 : -1) : strcmp(x->name, y->name);
}

gate_t *gate_new(const diff_t *diff, const char *type, int64_t more_than)
{
	gate_t *gate = g_new0(gate_t, 1);
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct gate_row));
	if (!strcmp(type, TOTAL)) {
		gate->matched = true;
		judge(rows, gate, g_strdup(TOTAL), diff->a->totals.objects, diff->b->totals.objects, more_than);
	} else {
		g_autoptr(GHashTable) names = by_name(diff);
		g_autoptr(GPatternSpec) glob = strpbrk(type, "*?") ? g_pattern_spec_new(type) : NULL;
		GHashTableIter iter;
		gpointer at;
		g_hash_table_iter_init(&iter, names);
		while (g_hash_table_iter_next(&iter, &at, NULL)) {
			const struct named *named = at;
			if (!matches(named, type, glob))
				continue;
			struct sample_type shown = {.module = named->module, .qualname = named->qualname};
			gate->matched = true;
			judge(rows, gate, sample_type_name(&shown), named->a.count, named->b.count, more_than);
		}
	}
	g_array_sort(rows, compare);
	gate->n = rows->len;
	gate->rows = (struct gate_row *)(void *)g_array_free(rows, FALSE);
	return gate;
}

void gate_free(gate_t *gate)
{
	if (!gate)
		return;
	for (size_t i = 0; i < gate->n; i++)
		g_free(gate->rows[i].name);
	g_free(gate->rows);
	g_free(gate);
}
