/* What a person does on every screen: keys, clicks, prompts and the sort menu. */
#include <string.h>

#include "daemon/store/json.h"
#include "tui/screens/replay.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

static struct list *top_list(struct view *view)
{
	struct screen *screen = screen_top(view);
	return screen->ops->list ? screen->ops->list(screen) : NULL;
}

/* ---- search and filter: of the list that is shown, or of the types ---- */

static void search_again(struct view *view, int step)
{
	struct list *list = top_list(view);
	const char *search = list ? list->search : view->search;
	if (!search)
		view_say(view, g_strdup("nothing to search for yet: / asks"));
	else if (!(list ? list_find(list, list->selection + step, step)
			: view_search_from(view, view->selection + step, step)))
		view_say(view, g_strdup_printf("nothing contains \"%s\"", search));
}

/* Where there is nothing to search or sort: go to where there is. */
static void find_rows(struct view *view)
{
	while (screen_top(view)->ops != &screen_types && !top_list(view) && screen_pop(view))
		;
}

static void prompt_begin(struct view *view, enum view_mode mode)
{
	find_rows(view);
	struct list *list = top_list(view);
	const char *filter = list ? list->filter : view->filter;
	view->mode = mode;
	g_free(view->before_prompt);
	view->before_prompt = g_strdup(view->selected);
	view->selection_before = list ? list->selection : 0;
	g_free(view->filter_before);
	view->filter_before = g_strdup(filter);
	g_string_assign(view->prompt, mode == VIEW_FILTERING && filter ? filter : "");
}

/* The prompt's text changed: show what it means at once. */
static void prompt_apply(struct view *view)
{
	struct list *list = top_list(view);
	const char *text = view->prompt->len ? view->prompt->str : NULL;
	if (view->mode == VIEW_FILTERING) {
		if (list) {
			list_set_filter(list, text);
			return;
		}
		g_free(view->filter);
		view->filter = g_strdup(text);
		view_rebuild(view);
		return;
	}
	if (list) {
		list_set_search(list, text);
		list_find(list, list->selection, 1);
		return;
	}
	g_free(view->search);
	view->search = g_strdup(text);
	view_search_from(view, view->selection, 1);
}

static void prompt_cancel(struct view *view)
{
	struct list *list = top_list(view);
	if (list) {
		if (view->mode == VIEW_FILTERING)
			list_set_filter(list, view->filter_before);
		else
			list_set_search(list, NULL);
		list_select(list, view->selection_before);
		return;
	}
	if (view->mode == VIEW_FILTERING) {
		g_free(view->filter);
		view->filter = g_steal_pointer(&view->filter_before);
	} else {
		g_clear_pointer(&view->search, g_free);
	}
	g_free(view->selected);
	view->selected = g_steal_pointer(&view->before_prompt);
	view_rebuild(view);
}

static void prompt_end(struct view *view)
{
	struct list *list = top_list(view);
	const char *search = list ? list->search : view->search;
	if (view->mode == VIEW_SEARCHING && search &&
	    !(list ? list_find(list, list->selection, 1) : view_search_from(view, view->selection, 1)))
		view_say(view, g_strdup_printf("nothing contains \"%s\"", search));
	view->mode = VIEW_NORMAL;
}

static void prompt_key(struct view *view, int key)
{
	switch (key) {
	case KEY_OF_ENTER:
	case '\r':
		prompt_end(view);
		return;
	case KEY_OF_ESCAPE:
		prompt_cancel(view);
		view->mode = VIEW_NORMAL;
		return;
	case KEY_OF_BACKSPACE:
	case 0x08:
		if (view->prompt->len) {
			char *last = g_utf8_find_prev_char(view->prompt->str, view->prompt->str + view->prompt->len);
			g_string_truncate(view->prompt, last ? (gsize)(last - view->prompt->str) : 0);
		}
		break;
	case 0x15: /* ^U */
		g_string_truncate(view->prompt, 0);
		break;
	case KEY_OF_UP:
	case KEY_OF_DOWN:
		search_again(view, key == KEY_OF_DOWN ? 1 : -1);
		return;
	default:
		if (key >= 0x110000 || !g_unichar_isprint((gunichar)key) || view->prompt->len > 200)
			return;
		g_string_append_unichar(view->prompt, (gunichar)key);
	}
	prompt_apply(view);
}

/* ---- the sort menu: the default order, then every column that can be sorted by ---- */

static const struct table_column *sortable(struct view *view, size_t *n)
{
	struct list *list = top_list(view);
	*n = list ? *list->ops->n_columns : view_columns_size;
	return list ? list->ops->columns : view_columns;
}

const struct table_column *menu_column(struct view *view, int entry)
{
	size_t n;
	const struct table_column *columns = sortable(view, &n);
	for (size_t i = 0; i < n; i++)
		if (columns[i].compare && entry-- == 1)
			return &columns[i];
	return NULL;
}

int menu_entries(struct view *view)
{
	size_t n;
	const struct table_column *columns = sortable(view, &n);
	int entries = 1;
	for (size_t i = 0; i < n; i++)
		entries += columns[i].compare != NULL;
	return entries;
}

static void menu_choose(struct view *view, int entry)
{
	struct screen *screen = screen_top(view);
	struct list *list = top_list(view);
	const struct table_column *column = menu_column(view, entry);
	view->mode = VIEW_NORMAL;
	if (!list) {
		view_sort_by(view, column);
		return;
	}
	list_sort_by(list, column);
	if (screen->ops->sorted)
		screen->ops->sorted(screen);
}

static void menu_key(struct view *view, int key)
{
	int n = menu_entries(view);
	switch (key_action(key)) {
	case ACTION_UP:
		view->menu = (view->menu + n - 1) % n;
		break;
	case ACTION_DOWN:
	case ACTION_SORT:
		view->menu = (view->menu + (key == '<' ? n - 1 : 1)) % n;
		break;
	case ACTION_HOME:
	case ACTION_PAGE_UP:
		view->menu = 0;
		break;
	case ACTION_END:
	case ACTION_PAGE_DOWN:
		view->menu = n - 1;
		break;
	case ACTION_ENTER:
		menu_choose(view, view->menu);
		break;
	case ACTION_BACK:
		view->mode = VIEW_NORMAL;
		break;
	case ACTION_QUIT:
		view->quit = TRUE;
		break;
	default:
		break;
	}
}

static void menu_open(struct view *view)
{
	find_rows(view);
	struct list *list = top_list(view);
	view->mode = VIEW_SORTING;
	view->menu = 0;
	for (int i = 1; i < menu_entries(view); i++)
		if (menu_column(view, i) == (list ? list->sort : view->sort))
			view->menu = i;
}

/* ---- what keys do everywhere ---- */

/* The next longer or shorter of the intervals a person would choose. */
static void change_interval(struct view *view, int step)
{
	static const gint64 ms[] = {100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000, 600000};
	int n = (int)G_N_ELEMENTS(ms), at = step > 0 ? 0 : n - 1;
	gint64 now = view->options.interval_us / 1000;
	while (at >= 0 && at < n && (step > 0 ? ms[at] <= now : ms[at] >= now))
		at += step;
	view->options.interval_us = ms[CLAMP(at, 0, n - 1)] * 1000;
	g_autofree char *time = words_interval(view->options.interval_us);
	if (view->replay)
		replay_pace(view);
	view_say(view, g_strdup_printf("a sample every %s", time));
}

static void save(struct view *view)
{
	const sample_t *sample = trend_last(view->trend);
	if (!sample) {
		view_say(view, g_strdup("there is no sample yet"));
		return;
	}
	if (view->members) {
		view_say(view, g_strdup("a sum is not saved: Enter on a type, then on a process"));
		return;
	}
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(sample->time_us / G_USEC_PER_SEC);
	g_autofree char *stamp = g_date_time_format(time, "%Y%m%dT%H%M%S");
	g_autofree char *name = g_strdup_printf("reftop-%" G_GINT64_FORMAT "-%s.%03dZ.json", sample->target.pid, stamp,
						(int)(sample->time_us / 1000 % 1000));
	g_autofree char *path = view->options.save_directory
					? g_build_filename(view->options.save_directory, name, NULL)
					: g_strdup(name);
	GString *json = json_sample(sample, NULL, 0);
	g_autoptr(GError) error = NULL;
	if (g_file_set_contents_full(path, json->str, (gssize)json->len, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error))
		view_say(view, g_strdup_printf("saved sample #%zu to %s", trend_samples(view->trend), path));
	else
		view_say(view, g_strdup_printf("not saved: %s", error->message));
	g_string_free(json, TRUE);
}

static void go_back(struct view *view)
{
	struct list *list = top_list(view);
	if (list && (list->filter || list->search)) {
		list_set_filter(list, NULL);
		list_set_search(list, NULL);
		return;
	}
	if (screen_pop(view) || view->alone)
		return;
	if (screen_top(view)->ops != &screen_types) {
		/* from a tab Esc leads to the first one */
		screen_drop(view);
		screen_push(view, &screen_types, NULL);
		return;
	}
	if (!view->search && !view->filter) {
		/* further back than the types there is the view before, or the list this one could have been chosen from */
		view->leave = view->nested;
		if (!view->nested && view->machine)
			screen_go(view, screen_processes.name);
		return;
	}
	g_clear_pointer(&view->search, g_free);
	g_clear_pointer(&view->filter, g_free);
	view_rebuild(view);
}

static void toggle_assess(struct view *view)
{
	if (!view->options.ask) {
		view_say(
			view,
			g_strdup(view->members
					 ? "references are looked at in one process: Enter on a type, then on a process"
					 : "references can be looked at in a living process only"));
		return;
	}
	view->assess = !view->assess;
	view_say(view, g_strdup(view->assess ? "looking for references that nobody holds, now and then"
					     : "references are no longer looked at"));
}

static void set_baseline(struct view *view)
{
	trend_set_baseline(view->trend);
	if (view->members)
		members_set_baseline(view->members);
	g_ptr_array_set_size(view->order, 0);
	view_rebuild(view);
	if (view->replay)
		replay_baseline(view);
	else
		view_say(view, g_strdup_printf("changes count from sample #%zu", trend_baseline_number(view->trend)));
}

static void act_everywhere(struct view *view, enum action action)
{
	if (replay_act(view, action))
		return;
	switch (action) {
	case ACTION_BACK:
		go_back(view);
		break;
	case ACTION_TAB:
		screen_next_tab(view);
		break;
	case ACTION_SEARCH:
		prompt_begin(view, VIEW_SEARCHING);
		break;
	case ACTION_NEXT:
		search_again(view, 1);
		break;
	case ACTION_PREVIOUS:
		search_again(view, -1);
		break;
	case ACTION_FILTER:
		prompt_begin(view, VIEW_FILTERING);
		break;
	case ACTION_SORT:
		menu_open(view);
		break;
	case ACTION_PAUSE:
		view->paused = !view->paused;
		view_say(view, g_strdup(view->paused ? "paused: the process is left alone until z" : "watching again"));
		break;
	case ACTION_BASELINE:
		set_baseline(view);
		break;
	case ACTION_SAVE:
		save(view);
		break;
	case ACTION_SLOWER:
	case ACTION_FASTER:
		change_interval(view, action == ACTION_SLOWER ? 1 : -1);
		break;
	case ACTION_ASSESS:
		toggle_assess(view);
		break;
	case ACTION_REDRAW:
		view->redraw = TRUE;
		break;
	case ACTION_HELP:
		screen_push(view, &screen_help, NULL);
		break;
	case ACTION_QUIT:
		view->quit = TRUE;
		break;
	default:
		break;
	}
}

static void act(struct view *view, enum action action)
{
	struct screen *screen = screen_top(view);
	struct list *list = top_list(view);
	if (screen->ops->act && screen->ops->act(screen, action))
		return;
	if (list && list_act(list, action))
		return;
	act_everywhere(view, action);
}

void view_key(struct view *view, int key)
{
	g_clear_pointer(&view->message, g_free);
	if (view->mode == VIEW_SORTING)
		menu_key(view, key);
	else if (view->mode != VIEW_NORMAL)
		prompt_key(view, key);
	else
		act(view, key_action(key));
}

static void click_menu(struct view *view, int y, int x)
{
	int entry = y - view->menu_y - 1 + view->menu_first;
	gboolean inside = x > view->menu_x && x < view->menu_x + view->menu_width - 1;
	if (inside && y > view->menu_y && y < view->menu_y + view->menu_height - 1 && entry < menu_entries(view))
		menu_choose(view, entry);
	else
		view->mode = VIEW_NORMAL;
}

void view_click(struct view *view, int y, int x, gboolean twice)
{
	struct screen *screen = screen_top(view);
	struct list *list = top_list(view);
	g_clear_pointer(&view->message, g_free);
	if (view->mode == VIEW_SORTING) {
		click_menu(view, y, x);
		return;
	}
	if (screen->ops->click) {
		screen->ops->click(screen, y, x, twice);
		return;
	}
	const struct table_column *sort = list ? list->sort : NULL;
	if (list && list_click(list, y, x) && twice)
		act(view, ACTION_ENTER);
	else if (list && list->sort != sort && screen->ops->sorted)
		screen->ops->sorted(screen);
}

void view_wheel(struct view *view, int rows)
{
	struct screen *screen = screen_top(view);
	struct list *list = top_list(view);
	if (view->mode != VIEW_NORMAL)
		return;
	if (screen->ops->wheel)
		screen->ops->wheel(screen, rows);
	else if (list)
		list_select(list, list->selection + rows);
}
