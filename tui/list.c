#include "tui/list.h"

#include <string.h>

void list_init(struct list *list, const struct list_ops *ops, const void *context)
{
	memset(list, 0, sizeof(*list));
	list->ops = ops;
	list->context = context;
	list->all = g_ptr_array_new();
	list->rows = g_ptr_array_new();
	list->descending = TRUE;
}

void list_clear(struct list *list)
{
	g_ptr_array_unref(list->all);
	g_ptr_array_unref(list->rows);
	g_free(list->search);
	g_free(list->filter);
}

gboolean list_matches(const struct list *list, const void *row, const char *text)
{
	if (!text || !*text)
		return TRUE;
	g_autofree char *words = list->ops->words(row);
	g_autofree char *folded = g_utf8_casefold(words, -1), *wanted = g_utf8_casefold(text, -1);
	return strstr(folded, wanted) != NULL;
}

static int compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct list *list = data;
	void *const *x = a, *const *y = b;
	int order = list->sort->compare(*x, *y, list->context);
	if (order)
		return list->descending ? -order : order;
	guint64 p = list->ops->identity(*x), q = list->ops->identity(*y);
	return (p > q) - (p < q);
}

static void rebuild(struct list *list)
{
	if (list->sort)
		g_ptr_array_sort_with_data(list->all, compare, list);
	g_ptr_array_set_size(list->rows, 0);
	int at = list->chosen ? -1 : 0;
	for (guint i = 0; i < list->all->len; i++) {
		void *row = list->all->pdata[i];
		if (!list_matches(list, row, list->filter))
			continue;
		if (at < 0 && list->ops->identity(row) == list->selected)
			at = (int)list->rows->len;
		g_ptr_array_add(list->rows, row);
	}
	list->selection = CLAMP(at < 0 ? list->selection : at, 0, MAX((int)list->rows->len - 1, 0));
}

void list_set(struct list *list, void *const *rows, size_t n)
{
	g_ptr_array_set_size(list->all, 0);
	for (size_t i = 0; i < n; i++)
		g_ptr_array_add(list->all, rows[i]);
	rebuild(list);
}

void *list_selected(const struct list *list)
{
	return list->selection < (int)list->rows->len ? list->rows->pdata[list->selection] : NULL;
}

void list_select(struct list *list, int index)
{
	if (!list->rows->len)
		return;
	list->selection = CLAMP(index, 0, (int)list->rows->len - 1);
	list->selected = list->ops->identity(list->rows->pdata[list->selection]);
	list->chosen = TRUE;
}

gboolean list_act(struct list *list, enum action action)
{
	int page = MAX(list->page, 1);
	switch (action) {
	case ACTION_UP:
	case ACTION_DOWN:
		list_select(list, list->selection + (action == ACTION_UP ? -1 : 1));
		return TRUE;
	case ACTION_PAGE_UP:
	case ACTION_PAGE_DOWN:
		list_select(list, list->selection + (action == ACTION_PAGE_UP ? -page : page));
		return TRUE;
	case ACTION_HOME:
		list_select(list, 0);
		return TRUE;
	case ACTION_END:
		list_select(list, G_MAXINT / 2);
		return TRUE;
	case ACTION_LEFT:
		list->skip = MAX(list->skip - 1, 0);
		return TRUE;
	case ACTION_RIGHT:
		list->skip += list->layout.hidden > 0;
		return TRUE;
	case ACTION_INVERT:
		list->descending = !list->descending;
		rebuild(list);
		return TRUE;
	default:
		return FALSE;
	}
}

void list_sort_by(struct list *list, const struct table_column *column)
{
	if (column && !column->compare)
		return;
	if (column && list->sort == column)
		list->descending = !list->descending;
	else
		list->descending = column ? !column->ascending : TRUE;
	list->sort = column;
	rebuild(list);
}

void list_set_filter(struct list *list, const char *text)
{
	char *copy = text && *text ? g_strdup(text) : NULL;
	g_free(list->filter);
	list->filter = copy;
	rebuild(list);
}

void list_set_search(struct list *list, const char *text)
{
	char *copy = text && *text ? g_strdup(text) : NULL;
	g_free(list->search);
	list->search = copy;
}

gboolean list_find(struct list *list, int start, int step)
{
	int n = (int)list->rows->len;
	if (!list->search)
		return FALSE;
	for (int i = 0; i < n; i++) {
		int at = ((start + i * step) % n + n) % n;
		if (list_matches(list, list->rows->pdata[at], list->search)) {
			list_select(list, at);
			return TRUE;
		}
	}
	return FALSE;
}

static void draw_row(struct list *list, struct frame *frame, int y, int index, gboolean focus)
{
	const void *row = list->rows->pdata[index];
	if (!list->ops->draw || !list->ops->draw(frame, y, list->x + 1, list->width - 1, row, list->context))
		table_draw_row(frame, y, &list->layout, row, list->context);
	if (list->search && list_matches(list, row, list->search))
		frame_paint(frame, y, list->layout.places[0].x, list->layout.places[0].width, ROLE_MATCH);
	gboolean tagged = list->ops->tagged && list->ops->tagged(row, list->context);
	if (tagged) {
		frame_paint(frame, y, list->x, list->width, ROLE_TAGGED);
		frame_put(frame, y, list->x, ROLE_TAGGED, '*');
	}
	if (index == list->selection && focus)
		frame_paint(frame, y, list->x + tagged, list->width - tagged, ROLE_SELECTED);
}

void list_draw(struct list *list, struct frame *frame, int y, int x, int height, int width, gboolean focus)
{
	int n = (int)list->rows->len;
	table_arrange(&list->layout, list->ops->columns, *list->ops->n_columns, list->ranks, x + 1, width - 1, G_MAXINT,
		      list->skip);
	list->title_y = y;
	list->table_y = y + 1;
	list->x = x;
	list->width = width;
	list->page = MAX(height - 1, 0);
	frame_fill(frame, y, x, width, ROLE_TITLE);
	table_draw_titles(frame, y, &list->layout, list->sort, list->descending);
	if (list->selection < list->first_row)
		list->first_row = list->selection;
	if (list->selection >= list->first_row + list->page)
		list->first_row = list->selection - list->page + 1;
	list->first_row = CLAMP(list->first_row, 0, MAX(n - list->page, 0));
	for (int i = 0; i < list->page && list->first_row + i < n; i++)
		draw_row(list, frame, list->table_y + i, list->first_row + i, focus);
	if (n || !list->page)
		return;
	if (list->filter)
		frame_printf(frame, y + 1, x + 1, width - 2, ROLE_DIM, "nothing contains \"%s\": Esc shows all",
			     list->filter);
	else
		frame_text(frame, y + 1, x + 1, width - 2, ROLE_DIM, list->ops->none);
}

gboolean list_click(struct list *list, int y, int x)
{
	if (x < list->x || x >= list->x + list->width)
		return FALSE;
	if (y == list->title_y) {
		list_sort_by(list, table_column_at(&list->layout, x));
		return FALSE;
	}
	int row = y - list->table_y;
	if (row < 0 || row >= list->page || list->first_row + row >= (int)list->rows->len)
		return FALSE;
	list_select(list, list->first_row + row);
	return TRUE;
}
