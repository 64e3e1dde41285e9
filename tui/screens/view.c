#include "tui/screens/view.h"

#include <string.h>

#include "tui/screens/replay.h"
#include "tui/screens/watches.h"

gint64 view_now(const struct view *view)
{
	return view->options.now ? view->options.now() : g_get_real_time();
}

struct view *view_new(const struct top_options *options, gboolean recording)
{
	struct view *view = g_new0(struct view, 1);
	view->options = *options;
	view->recording = recording;
	view->trend = trend_new();
	view->order = g_ptr_array_new();
	view->rows = g_ptr_array_new();
	view->tagged = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	view->prompt = g_string_new(NULL);
	view->message = g_strdup(options->notice);
	view->pause_last_us = view->pause_max_us = view->pause_sum_us = SAMPLE_UNKNOWN;
	view->descending = TRUE;
	view->stack = g_ptr_array_new();
	view->watches = g_ptr_array_new_with_free_func(watch_free);
	if (options->sum)
		view->members = members_new();
	screen_push(view, &screen_types, NULL);
	return view;
}

void view_free(struct view *view)
{
	if (!view)
		return;
	while (view->stack->len)
		screen_drop(view);
	g_ptr_array_unref(view->stack);
	replay_free(view->replay);
	g_ptr_array_unref(view->watches);
	g_clear_pointer(&view->lost, g_hash_table_destroy);
	leaks_free(view->leaks);
	members_free(view->members);
	choice_free(view->choice);
	trend_free(view->trend);
	g_ptr_array_unref(view->order);
	g_ptr_array_unref(view->rows);
	g_hash_table_destroy(view->tagged);
	g_string_free(view->prompt, TRUE);
	g_free(view->selected);
	g_free(view->search);
	g_free(view->filter);
	g_free(view->before_prompt);
	g_free(view->filter_before);
	g_free(view->message);
	g_free(view->trouble);
	g_free(view->ended);
	g_free(view->ended_cause);
	g_free(view);
}

void view_reset(struct view *view)
{
	g_ptr_array_set_size(view->order, 0);
	g_ptr_array_set_size(view->rows, 0);
	g_ptr_array_set_size(view->watches, 0);
	trend_free(view->trend);
	view->trend = trend_new();
	view->pause_last_us = view->pause_max_us = view->pause_sum_us = SAMPLE_UNKNOWN;
}

void view_say(struct view *view, char *message)
{
	g_free(view->message);
	view->message = message;
}

char *view_identity(const struct trend_row *row)
{
	return g_strdup_printf("%" G_GINT64_MODIFIER "x %s", row->address, row->name);
}

const struct trend_row *view_selected(const struct view *view)
{
	return view->selection < (int)view->rows->len ? view->rows->pdata[view->selection] : NULL;
}

gboolean view_matches(const struct trend_row *row, const char *text)
{
	if (!text || !*text)
		return TRUE;
	g_autofree char *name = g_utf8_casefold(row->name, -1), *wanted = g_utf8_casefold(text, -1);
	return strstr(name, wanted) != NULL;
}

/* ---- order and filter ---- */

static int sorted_compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct view *view = data;
	const struct trend_row *x = *(struct trend_row *const *)a, *y = *(struct trend_row *const *)b;
	int order = view->sort->compare(x, y, view);
	if (order)
		return view->descending ? -order : order;
	if (x->last[TREND_BYTES] != y->last[TREND_BYTES])
		return x->last[TREND_BYTES] < y->last[TREND_BYTES] ? 1 : -1;
	order = strcmp(x->name, y->name);
	return order ? order : (x->address > y->address) - (x->address < y->address);
}

static void order_reverse(GPtrArray *rows)
{
	for (guint i = 0; i < rows->len / 2; i++) {
		gpointer row = rows->pdata[i];
		rows->pdata[i] = rows->pdata[rows->len - 1 - i];
		rows->pdata[rows->len - 1 - i] = row;
	}
}

/* The rows of the trend in the order they had, new ones behind. */
static gboolean order_renew(struct view *view)
{
	const GPtrArray *all = trend_rows(view->trend);
	g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL);
	gboolean fresh = view->order->len == 0;
	for (guint i = 0; i < all->len; i++)
		g_hash_table_add(there, all->pdata[i]);
	guint kept = 0;
	for (guint i = 0; i < view->order->len; i++)
		if (g_hash_table_remove(there, view->order->pdata[i]))
			view->order->pdata[kept++] = view->order->pdata[i];
	g_ptr_array_set_size(view->order, (int)kept);
	for (guint i = 0; i < all->len; i++)
		if (g_hash_table_contains(there, all->pdata[i]))
			g_ptr_array_add(view->order, all->pdata[i]);
	return fresh;
}

/* The selection follows its type; without one it is the first row. */
static void selection_find(struct view *view)
{
	for (guint i = 0; view->selected && i < view->rows->len; i++) {
		g_autofree char *identity = view_identity(view->rows->pdata[i]);
		if (!strcmp(identity, view->selected)) {
			view->selection = (int)i;
			return;
		}
	}
	if (!view->selected)
		view->selection = 0;
	view->selection = CLAMP(view->selection, 0, MAX((int)view->rows->len - 1, 0));
}

void view_rebuild(struct view *view)
{
	gboolean fresh = order_renew(view);
	if (view->sort) {
		g_ptr_array_sort_with_data(view->order, sorted_compare, view);
	} else {
		if (!view->descending && !fresh)
			order_reverse(view->order);
		order_by_growth(view->order, fresh);
		if (!view->descending)
			order_reverse(view->order);
	}
	g_ptr_array_set_size(view->rows, 0);
	for (guint i = 0; i < view->order->len; i++)
		if (view_matches(view->order->pdata[i], view->filter))
			g_ptr_array_add(view->rows, view->order->pdata[i]);
	selection_find(view);
}

void view_sort_by(struct view *view, const struct table_column *column)
{
	if (!column || !column->compare) {
		column = NULL;
		view->descending = TRUE;
	} else if (view->sort == column) {
		view->descending = !view->descending;
	} else {
		view->descending = !column->ascending;
	}
	view->sort = column;
	if (!column)
		g_ptr_array_set_size(view->order, 0);
	view_rebuild(view);
}

void view_invert(struct view *view)
{
	view->descending = !view->descending;
	if (!view->sort)
		order_reverse(view->order);
	view_rebuild(view);
}

enum trend_metric view_metric(const struct view *view, const struct trend_row *row)
{
	const char *id = view->sort ? view->sort->id : "";
	if (g_str_has_suffix(id, "bytes"))
		return TREND_BYTES;
	if (strstr(id, "refs"))
		return TREND_REFS;
	return !view->sort && row->leaks != TREND_METRICS ? row->leaks : TREND_COUNT;
}

/* ---- what comes from the source ---- */

static void add_sum(struct view *view, sample_t *sample)
{
	members_add(view->members, sample);
	trend_defer(view->trend, true);
	trend_add(view->trend, sample);
	members_move_baseline(view->members, view->trend);
	trend_defer(view->trend, false);
	members_add_rates(view->members, view->trend);
}

void view_add(struct view *view, sample_t *sample)
{
	gint64 pause = sample->snapshot.pause_us;
	view->pause_last_us = pause;
	if (pause >= 0) {
		view->pause_max_us = MAX(view->pause_max_us, pause);
		/* the first sample's pause lies before the time that is watched */
		view->pause_sum_us = trend_samples(view->trend) ? MAX(view->pause_sum_us, 0) + pause : 0;
	}
	g_clear_pointer(&view->trouble, g_free);
	if (view->members)
		add_sum(view, sample);
	else
		trend_add(view->trend, sample);
	watches_add(view, sample);
	view_rebuild(view);
	screens_renew(view);
}

void view_count_pause(struct view *view, const sample_t *origin)
{
	gint64 pause = origin->snapshot.pause_us;
	if (origin->time_us == view->picture_us || pause < 0)
		return;
	view->picture_us = origin->time_us;
	view->pause_last_us = pause;
	view->pause_max_us = MAX(view->pause_max_us, pause);
	view->pause_sum_us = MAX(view->pause_sum_us, 0) + pause;
}

void view_fail(struct view *view, char *message)
{
	g_free(view->trouble);
	view->trouble = message;
}

/* The second line of a message of error_set(), without its label; NULL: there is none. */
static char *message_cause(const char *message)
{
	static const char label[] = "\n  cause: ";
	const char *cause = strstr(message, label);
	if (!cause)
		return NULL;
	cause += strlen(label);
	return g_strndup(cause, strcspn(cause, "\n"));
}

void view_end(struct view *view, char *how, const GError *error)
{
	g_free(view->ended_cause);
	view->ended_cause = error ? message_cause(error->message) : NULL;
	view->ended_us = view_now(view);
	g_free(view->ended);
	view->ended = how;
	g_clear_pointer(&view->trouble, g_free);
}

/* ---- the list of processes ---- */

struct choice *choice_new(gboolean sum, gboolean children, const pid_t *pids, guint n)
{
	struct choice *choice = g_new0(struct choice, 1);
	choice->sum = sum;
	choice->children = children;
	choice->pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
	g_array_append_vals(choice->pids, pids, n);
	return choice;
}

void choice_free(struct choice *choice)
{
	if (!choice)
		return;
	g_array_unref(choice->pids);
	g_free(choice);
}

void view_choose(struct view *view, struct choice *choice)
{
	choice_free(view->choice);
	view->choice = choice;
}

void view_alone(struct view *view, struct machine_view *machine)
{
	view->machine = machine;
	view->alone = TRUE;
	screen_go(view, screen_processes.name);
}

void view_look(struct view *view, GPtrArray *processes, gint64 time_us)
{
	roster_add(view->machine->roster, processes, time_us);
	screens_renew(view);
}
