#include "tui/rows.h"

#include <stddef.h>
#include <string.h>

/* clang-format off */
#define BY(member, title, bytes) {#member, offsetof(struct sample_type, member), title, bytes}
static const struct rows_key keys[] = {
	BY(bytes, NULL, true),
	BY(count, NULL, false),
	BY(gc_count, "GC COUNT", false),
	BY(refs, NULL, false),
	BY(refs_max, NULL, false),
	BY(immortal, "IMMORTAL", false),
	BY(owned, "OWNED", true),
	{"name", SIZE_MAX, NULL, false},
};
/* clang-format on */

const struct rows_key *rows_key(const char *name)
{
	if (!name)
		return &keys[0];
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

char *rows_key_names(void)
{
	GString *text = g_string_new(NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		g_string_append_printf(text, "%s\n", keys[i].name);
	return g_string_free(text, FALSE);
}

static gint compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct sample_type *x = *(const struct sample_type *const *)a, *y = *(const struct sample_type *const *)b;
	const struct rows_key *key = data;
	if (key->position != SIZE_MAX) {
		int64_t p = *(const int64_t *)((const char *)x + key->position);
		int64_t q = *(const int64_t *)((const char *)y + key->position);
		if (p != q)
			return p < q ? 1 : -1;
		/* the sample's own order, by bytes and then name */
		return (x > y) - (x < y);
	}
	g_autofree char *name = sample_type_name(x), *other = sample_type_name(y);
	int order = strcmp(name, other);
	return order ? order : (x > y) - (x < y);
}

void rows_init(struct rows *rows, const sample_t *sample, const struct rows_key *key, size_t limit)
{
	rows->types = g_new(const struct sample_type *, sample->n_types + 1);
	for (size_t i = 0; i < sample->n_types; i++)
		rows->types[i] = &sample->types[i];
	g_qsort_with_data(rows->types, (gint)sample->n_types, sizeof(*rows->types), compare, (gpointer)key);
	rows->n = MIN(limit, sample->n_types);
}

void rows_clear(struct rows *rows)
{
	g_free(rows->types);
}
