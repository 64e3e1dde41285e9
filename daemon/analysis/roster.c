#include "daemon/analysis/roster.h"

#include <math.h>
#include <string.h>
#include <sys/types.h>

#include "daemon/analysis/growth.h"
#include "daemon/analysis/sample.h"

#define DEEPEST 40

struct roster {
	GHashTable *by_pid; /* pid -> struct roster_row * */
	GPtrArray *rows;    /* as a tree */
	size_t looks;
	int64_t time_us;
};

struct roster_process *roster_process_new(void)
{
	struct roster_process *process = g_new0(struct roster_process, 1);
	process->rss = process->objects = process->sampled_us = SAMPLE_UNKNOWN;
	return process;
}

void roster_process_free(gpointer data)
{
	struct roster_process *process = data;
	if (!process)
		return;
	char *texts[] = {process->user, process->python, process->command, process->state,
			 process->why,  process->cause,  process->fix,     process->growing};
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(process->history_times_us);
	g_free(process->history_objects);
	g_free(process);
}

static void series_init(struct roster_series *series)
{
	series->n = 0;
	series->times_us = g_new(int64_t, ROSTER_POINTS);
	series->values = g_new(int64_t, ROSTER_POINTS);
}

/* What isn't newer than the last value is no news. */
static void series_add(struct roster_series *series, int64_t time_us, int64_t value)
{
	if (value < 0 || (series->n && time_us <= series->times_us[series->n - 1]))
		return;
	if (series->n == ROSTER_POINTS) {
		series->n--;
		memmove(series->times_us, series->times_us + 1, series->n * sizeof(int64_t));
		memmove(series->values, series->values + 1, series->n * sizeof(int64_t));
	}
	series->times_us[series->n] = time_us;
	series->values[series->n++] = value;
}

static double series_rate(const struct roster_series *series)
{
	size_t n = MIN(series->n, ROSTER_RECENT), from = series->n - n;
	return n < 2 ? NAN : 60 * growth_slope(series->times_us + from, series->values + from, n);
}

static void row_free(gpointer data)
{
	struct roster_row *row = data;
	roster_process_free(row->now);
	g_free(row->rss.times_us);
	g_free(row->rss.values);
	g_free(row->objects.times_us);
	g_free(row->objects.values);
	g_free(row);
}

roster_t *roster_new(void)
{
	roster_t *roster = g_new0(roster_t, 1);
	roster->by_pid = g_hash_table_new_full(NULL, NULL, NULL, row_free);
	roster->rows = g_ptr_array_new();
	return roster;
}

void roster_free(roster_t *roster)
{
	if (!roster)
		return;
	g_hash_table_destroy(roster->by_pid);
	g_ptr_array_unref(roster->rows);
	g_free(roster);
}

/* ---- taking in a look ---- */

static struct roster_row *row_of(roster_t *roster, const struct roster_process *process)
{
	gpointer key = GINT_TO_POINTER((int)process->pid);
	struct roster_row *row = g_hash_table_lookup(roster->by_pid, key);
	/* the number of a dead process may be another's; the start is known to the clock tick, times of day move */
	if (row && ABS(row->now->start_time_us - process->start_time_us) < 2 * G_USEC_PER_SEC)
		return row;
	row = g_new0(struct roster_row, 1);
	series_init(&row->rss);
	series_init(&row->objects);
	g_hash_table_replace(roster->by_pid, key, row);
	return row;
}

static void row_take(struct roster_row *row, struct roster_process *process, int64_t time_us)
{
	roster_process_free(row->now);
	row->now = process;
	for (size_t i = 0; i < process->n_history; i++)
		series_add(&row->objects, process->history_times_us[i], process->history_objects[i]);
	if (process->sampled_us > 0)
		series_add(&row->objects, process->sampled_us, process->objects);
	series_add(&row->rss, time_us, process->rss);
	row->rss_rate = series_rate(&row->rss);
	row->objects_rate = series_rate(&row->objects);
	const struct roster_series *judged = row->objects.n ? &row->objects : &row->rss;
	row->steady =
		process->growing || growth_judge(judged->times_us, judged->values, judged->n).verdict == GROWTH_STEADY;
}

static gboolean is_gone(gpointer key, gpointer value, gpointer data)
{
	return !g_hash_table_contains(data, key);
}

/* ---- the tree ---- */

static int by_pid(gconstpointer a, gconstpointer b)
{
	const struct roster_row *x = *(struct roster_row *const *)a, *y = *(struct roster_row *const *)b;
	return (x->now->pid > y->now->pid) - (x->now->pid < y->now->pid);
}

static bool is_child(const struct roster_row *row, const struct roster_row *parent)
{
	return row->now->ppid == parent->now->pid && row->depth < 0;
}

static void add_family(roster_t *roster, GPtrArray *all, struct roster_row *row, int depth)
{
	row->depth = depth;
	g_ptr_array_add(roster->rows, row);
	for (guint i = 0; i < all->len && depth < DEEPEST; i++) {
		struct roster_row *child = all->pdata[i];
		if (is_child(child, row))
			add_family(roster, all, child, depth + 1);
	}
}

static void plant(roster_t *roster)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, roster->by_pid);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_ptr_array_add(all, value);
	g_ptr_array_sort(all, by_pid);
	g_ptr_array_set_size(roster->rows, 0);
	for (guint i = 0; i < all->len; i++)
		((struct roster_row *)all->pdata[i])->depth = -1; /* not planted yet */
	for (guint i = 0; i < all->len; i++) {
		struct roster_row *row = all->pdata[i];
		const struct roster_row *parent = roster_find(roster, row->now->ppid);
		if (!parent || parent == row)
			add_family(roster, all, row, 0);
	}
	/* in a circle, which old numbers of parents may make, nobody is the first; and too deep is as if without a parent */
	for (guint i = 0; i < all->len; i++)
		if (((struct roster_row *)all->pdata[i])->depth < 0)
			add_family(roster, all, all->pdata[i], 0);
}

void roster_add(roster_t *roster, GPtrArray *processes, int64_t time_us)
{
	g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL);
	roster->looks++;
	roster->time_us = time_us;
	g_ptr_array_set_free_func(processes, NULL);
	for (guint i = 0; i < processes->len; i++) {
		struct roster_process *process = processes->pdata[i];
		if (!g_hash_table_add(there, GINT_TO_POINTER((int)process->pid))) {
			roster_process_free(process);
			continue;
		}
		row_take(row_of(roster, process), process, time_us);
	}
	g_ptr_array_unref(processes);
	g_hash_table_foreach_remove(roster->by_pid, is_gone, there);
	plant(roster);
}

/* ---- questions ---- */

size_t roster_looks(const roster_t *roster)
{
	return roster->looks;
}

int64_t roster_time(const roster_t *roster)
{
	return roster->time_us;
}

const GPtrArray *roster_rows(const roster_t *roster)
{
	return roster->rows;
}

struct roster_row *roster_find(const roster_t *roster, int64_t pid)
{
	return g_hash_table_lookup(roster->by_pid, GINT_TO_POINTER((int)pid));
}

GArray *roster_below(const roster_t *roster, int64_t pid)
{
	GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
	int depth = -1;
	/* in the order of the tree all that is deeper and follows is below */
	for (guint i = 0; i < roster->rows->len; i++) {
		const struct roster_row *row = roster->rows->pdata[i];
		if (depth >= 0 && row->depth <= depth)
			break;
		if (depth < 0 && row->now->pid != pid)
			continue;
		pid_t own = (pid_t)row->now->pid;
		g_array_append_val(pids, own);
		depth = depth < 0 ? row->depth : depth;
	}
	return pids;
}
