/* What a person does: keys, clicks, prompts and the sort menu. */
#include <string.h>

#include "daemon/store/json.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

static void select_row(struct view *view, int index)
{
	if (!view->rows->len)
		return;
	view->selection = CLAMP(index, 0, (int)view->rows->len - 1);
	g_free(view->selected);
	view->selected = view_identity(view->rows->pdata[view->selection]);
}

/* Go to the next row that the search finds, from `start` on in `step`s; false: there is none. */
static gboolean search_from(struct view *view, int start, int step)
{
	int n = (int)view->rows->len;
	if (!view->search || !*view->search)
		return FALSE;
	for (int i = 0; i < n; i++) {
		int at = ((start + i * step) % n + n) % n;
		if (view_matches(view->rows->pdata[at], view->search)) {
			select_row(view, at);
			return TRUE;
		}
	}
	return FALSE;
}

static void search_again(struct view *view, int step)
{
	if (!view->search)
		view_say(view, g_strdup("nothing to search for yet: / asks"));
	else if (!search_from(view, view->selection + step, step))
		view_say(view, g_strdup_printf("no type's name contains \"%s\"", view->search));
}

static void prompt_begin(struct view *view, enum view_mode mode)
{
	view->mode = mode;
	view->screen = VIEW_TYPES;
	g_free(view->before_prompt);
	view->before_prompt = g_strdup(view->selected);
	g_free(view->filter_before);
	view->filter_before = g_strdup(view->filter);
	g_string_assign(view->prompt, mode == VIEW_FILTERING && view->filter ? view->filter : "");
}

/* The prompt's text changed: show what it means at once. */
static void prompt_apply(struct view *view)
{
	if (view->mode == VIEW_FILTERING) {
		g_free(view->filter);
		view->filter = view->prompt->len ? g_strdup(view->prompt->str) : NULL;
		view_rebuild(view);
		return;
	}
	g_free(view->search);
	view->search = view->prompt->len ? g_strdup(view->prompt->str) : NULL;
	search_from(view, view->selection, 1);
}

static void prompt_cancel(struct view *view)
{
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

static void prompt_key(struct view *view, int key)
{
	switch (key) {
	case KEY_OF_ENTER:
	case '\r':
		if (view->mode == VIEW_SEARCHING && view->search && !search_from(view, view->selection, 1))
			view_say(view, g_strdup_printf("no type's name contains \"%s\"", view->search));
		view->mode = VIEW_NORMAL;
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

/* Entries of the sort menu: the default order, then every column that can be sorted by. */
const struct table_column *menu_column(int entry)
{
	for (size_t i = 0; i < view_columns_size; i++)
		if (view_columns[i].compare && entry-- == 1)
			return &view_columns[i];
	return NULL;
}

int menu_entries(void)
{
	int n = 1;
	for (size_t i = 0; i < view_columns_size; i++)
		n += view_columns[i].compare != NULL;
	return n;
}

static void menu_choose(struct view *view, int entry)
{
	view->mode = VIEW_NORMAL;
	view_sort_by(view, menu_column(entry));
}

static void menu_key(struct view *view, int key)
{
	int n = menu_entries();
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
	view->screen = VIEW_TYPES;
	view->mode = VIEW_SORTING;
	view->menu = 0;
	for (int i = 1; i < menu_entries(); i++)
		if (menu_column(i) == view->sort)
			view->menu = i;
}

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
	view_say(view, g_strdup_printf("a sample every %s", time));
}

static void save(struct view *view)
{
	const sample_t *sample = trend_last(view->trend);
	if (!sample) {
		view_say(view, g_strdup("there is no sample yet"));
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

static void toggle_tag(struct view *view)
{
	const struct trend_row *row = view_selected(view);
	if (!row)
		return;
	char *identity = view_identity(row);
	if (!g_hash_table_remove(view->tagged, identity))
		g_hash_table_add(view->tagged, identity);
	else
		g_free(identity);
	select_row(view, view->selection + 1);
}

static void go_back(struct view *view)
{
	if (view->screen != VIEW_TYPES) {
		view->screen = VIEW_TYPES;
		return;
	}
	g_clear_pointer(&view->search, g_free);
	g_clear_pointer(&view->filter, g_free);
	view_rebuild(view);
}

static void move(struct view *view, enum action action)
{
	int page = MAX(view->page, 1);
	int *line = view->screen == VIEW_HELP ? &view->help_line : &view->selection;
	int to = *line;
	if (action == ACTION_UP || action == ACTION_DOWN)
		to += action == ACTION_UP ? -1 : 1;
	else if (action == ACTION_PAGE_UP || action == ACTION_PAGE_DOWN)
		to += action == ACTION_PAGE_UP ? -page : page;
	else
		to = action == ACTION_HOME ? 0 : G_MAXINT / 2;
	if (view->screen == VIEW_HELP)
		view->help_line = MAX(to, 0); /* drawing knows the end */
	else
		select_row(view, to);
}

static void act(struct view *view, enum action action)
{
	switch (action) {
	case ACTION_UP:
	case ACTION_DOWN:
	case ACTION_PAGE_UP:
	case ACTION_PAGE_DOWN:
	case ACTION_HOME:
	case ACTION_END:
		move(view, action);
		break;
	case ACTION_LEFT:
		view->skip = MAX(view->skip - 1, 0);
		break;
	case ACTION_RIGHT:
		if (view->layout.hidden)
			view->skip++;
		break;
	case ACTION_ENTER:
		if (view->screen == VIEW_TYPES && view_selected(view)) {
			select_row(view, view->selection);
			view->screen = VIEW_DETAIL;
		}
		break;
	case ACTION_BACK:
		go_back(view);
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
	case ACTION_INVERT:
		view_invert(view);
		break;
	case ACTION_TAG:
		toggle_tag(view);
		break;
	case ACTION_UNTAG:
		g_hash_table_remove_all(view->tagged);
		break;
	case ACTION_PAUSE:
		view->paused = !view->paused;
		view_say(view, g_strdup(view->paused ? "paused: the process is left alone until z" : "watching again"));
		break;
	case ACTION_BASELINE:
		trend_set_baseline(view->trend);
		g_ptr_array_set_size(view->order, 0);
		view_rebuild(view);
		view_say(view, g_strdup_printf("changes count from sample #%zu", trend_baseline_number(view->trend)));
		break;
	case ACTION_SAVE:
		save(view);
		break;
	case ACTION_SLOWER:
	case ACTION_FASTER:
		change_interval(view, action == ACTION_SLOWER ? 1 : -1);
		break;
	case ACTION_REDRAW:
		view->redraw = TRUE;
		break;
	case ACTION_HELP:
		view->screen = view->screen == VIEW_HELP ? VIEW_TYPES : VIEW_HELP;
		view->help_line = 0;
		break;
	case ACTION_QUIT:
		view->quit = TRUE;
		break;
	case ACTION_NONE:
		break;
	}
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

void view_click(struct view *view, int y, int x, gboolean twice)
{
	g_clear_pointer(&view->message, g_free);
	if (view->mode == VIEW_SORTING) {
		int entry = y - view->menu_y - 1 + view->menu_first;
		gboolean inside = x > view->menu_x && x < view->menu_x + view->menu_width - 1;
		if (inside && y > view->menu_y && y < view->menu_y + view->menu_height - 1 && entry < menu_entries())
			menu_choose(view, entry);
		else
			view->mode = VIEW_NORMAL;
		return;
	}
	if (view->screen != VIEW_TYPES)
		return;
	if (y == view->title_y) {
		const struct table_column *column = table_column_at(&view->layout, x);
		if (column && column->compare)
			view_sort_by(view, column);
		return;
	}
	int row = y - view->table_y;
	if (row < 0 || row >= view->page || view->first_row + row >= (int)view->rows->len)
		return;
	select_row(view, view->first_row + row);
	if (twice)
		act(view, ACTION_ENTER);
}

void view_wheel(struct view *view, int rows)
{
	if (view->mode != VIEW_NORMAL)
		return;
	if (view->screen == VIEW_HELP)
		view->help_line = MAX(view->help_line + rows, 0);
	else
		select_row(view, view->selection + rows);
}
