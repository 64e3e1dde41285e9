/* The first screen: the types. What it does with keys and clicks; draw.c draws it. */
#include <string.h>

#include "tui/screens/types.h"
#include "tui/screens/view.h"

void view_select(struct view *view, int index)
{
	if (!view->rows->len)
		return;
	view->selection = CLAMP(index, 0, (int)view->rows->len - 1);
	g_free(view->selected);
	view->selected = view_identity(view->rows->pdata[view->selection]);
}

/* Go to the next row that the search finds, from `start` on in `step`s; false: there is none. */
gboolean view_search_from(struct view *view, int start, int step)
{
	int n = (int)view->rows->len;
	if (!view->search || !*view->search)
		return FALSE;
	for (int i = 0; i < n; i++) {
		int at = ((start + i * step) % n + n) % n;
		if (view_matches(view->rows->pdata[at], view->search)) {
			view_select(view, at);
			return TRUE;
		}
	}
	return FALSE;
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
	view_select(view, view->selection + 1);
}

static void move(struct view *view, enum action action)
{
	int page = MAX(view->page, 1), to = view->selection;
	if (action == ACTION_UP || action == ACTION_DOWN)
		to += action == ACTION_UP ? -1 : 1;
	else if (action == ACTION_PAGE_UP || action == ACTION_PAGE_DOWN)
		to += action == ACTION_PAGE_UP ? -page : page;
	else
		to = action == ACTION_HOME ? 0 : G_MAXINT / 2;
	view_select(view, to);
}

static void open_type(struct view *view, gboolean graphs)
{
	const struct trend_row *row = view_selected(view);
	if (!row)
		return;
	view_select(view, view->selection);
	if (view->members && !graphs) {
		screen_push(view, &screen_members, row->name);
		return;
	}
	if (graphs || !view->options.ask) {
		screen_push(view, &screen_detail, NULL);
		return;
	}
	struct instances_of what = {row->address, row->name, view_unexplained(view, row) > 0};
	screen_push(view, &screen_instances, &what);
}

static gboolean types_act(struct screen *screen, enum action action)
{
	struct view *view = screen->view;
	switch (action) {
	case ACTION_UP:
	case ACTION_DOWN:
	case ACTION_PAGE_UP:
	case ACTION_PAGE_DOWN:
	case ACTION_HOME:
	case ACTION_END:
		move(view, action);
		return TRUE;
	case ACTION_LEFT:
		view->skip = MAX(view->skip - 1, 0);
		return TRUE;
	case ACTION_RIGHT:
		view->skip += view->layout.hidden > 0;
		return TRUE;
	case ACTION_ENTER:
	case ACTION_GRAPHS:
		open_type(view, action == ACTION_GRAPHS);
		return TRUE;
	case ACTION_INVERT:
		view_invert(view);
		return TRUE;
	case ACTION_TAG:
		toggle_tag(view);
		return TRUE;
	case ACTION_UNTAG:
		g_hash_table_remove_all(view->tagged);
		return TRUE;
	case ACTION_WATCH:
		view_say(view, g_strdup("w watches one object: Enter lists those of the type"));
		return TRUE;
	default:
		return FALSE;
	}
}

static void types_click(struct screen *screen, int y, int x, gboolean twice)
{
	struct view *view = screen->view;
	if (y == view->title_y) {
		const struct table_column *column = table_column_at(&view->layout, x);
		if (column && column->compare)
			view_sort_by(view, column);
		return;
	}
	int row = y - view->table_y;
	if (row < 0 || row >= view->page || view->first_row + row >= (int)view->rows->len)
		return;
	view_select(view, view->first_row + row);
	if (twice)
		open_type(view, FALSE);
}

static void types_wheel(struct screen *screen, int rows)
{
	view_select(screen->view, screen->view->selection + rows);
}

static char *types_title(const struct screen *screen)
{
	return g_strdup("Types");
}

static gboolean types_offers(const struct screen *screen, enum action action)
{
	const struct view *view = screen->view;
	if (action == ACTION_BACK)
		return view->nested || view->machine;
	if (view->members && (action == ACTION_SAVE || action == ACTION_ASSESS))
		return FALSE;
	return action != ACTION_WATCH && action != ACTION_AGAIN;
}

const struct screen_ops screen_types = {
	.name = "types",
	.size = sizeof(struct screen),
	.title = types_title,
	.draw = types_draw,
	.act = types_act,
	.click = types_click,
	.wheel = types_wheel,
	.offers = types_offers,
};
