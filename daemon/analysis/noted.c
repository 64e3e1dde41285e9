#include "daemon/analysis/noted.h"

/* the most that a type grew by, and its count then */
struct note {
	struct growth growth;
	int64_t count;
};

noted_t *noted_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

void noted_take(noted_t *noted, const trend_t *trend)
{
	const GPtrArray *rows = trend_rows(trend);
	for (guint i = 0; i < rows->len; i++) {
		const struct trend_row *row = rows->pdata[i];
		const struct growth *growth = &row->growth[TREND_COUNT];
		if (growth->verdict != GROWTH_STEADY)
			continue;
		const struct note *before = g_hash_table_lookup(noted, row->name);
		if (before && before->growth.amount >= growth->amount)
			continue;
		const struct note now = {*growth, row->last[TREND_COUNT]};
		g_hash_table_replace(noted, g_strdup(row->name), g_memdup2(&now, sizeof(now)));
	}
}

void noted_report(noted_t *noted, const trend_t *trend, pid_t pid, const char *command, GArray *grown)
{
	const GPtrArray *rows = trend_rows(trend);
	for (guint i = 0; i < rows->len; i++) {
		const struct trend_row *row = rows->pdata[i];
		const struct note *note = g_hash_table_lookup(noted, row->name);
		/* what was let go again was no leak */
		if (!note || row->last[TREND_COUNT] < note->count - note->growth.amount / 5)
			continue;
		const struct grown found = {
			.pid = pid,
			.command = (char *)command,
			.type = row->name,
			.rate = note->growth.rate,
			.amount = note->growth.amount,
			.since_us = note->growth.since_us,
			.until_us = note->growth.until_us,
			.builtin = row->builtin,
		};
		grown_add(grown, &found);
	}
}

static void grown_clear(gpointer data)
{
	struct grown *grown = data;
	g_free(grown->command);
	g_free(grown->type);
}

GArray *grown_new(void)
{
	GArray *grown = g_array_new(FALSE, TRUE, sizeof(struct grown));
	g_array_set_clear_func(grown, grown_clear);
	return grown;
}

void grown_add(GArray *to, const struct grown *grown)
{
	struct grown copy = *grown;
	copy.command = g_strdup(grown->command);
	copy.type = g_strdup(grown->type);
	g_array_append_val(to, copy);
}

static int compare(gconstpointer a, gconstpointer b)
{
	const struct grown *x = a, *y = b;
	if (x->builtin != y->builtin)
		return x->builtin - y->builtin;
	return (x->rate < y->rate) - (x->rate > y->rate);
}

void grown_sort(GArray *grown)
{
	g_array_sort(grown, compare);
}
