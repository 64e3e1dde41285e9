/* The types screen with its sort menu, and which screen is drawn. */
#include <string.h>

#include "base/text.h"
#include "tui/screens/types.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

static int longest_name(const struct view *view)
{
	int longest = 4;
	for (guint i = 0; i < view->rows->len && longest < 60; i++)
		longest = MAX(longest, text_columns(((struct trend_row *)view->rows->pdata[i])->name));
	return longest;
}

/* Scroll so that the selected row is on the screen, and nothing empty below the last one. */
static void table_scroll(struct view *view)
{
	int n = (int)view->rows->len;
	if (view->selection < view->first_row)
		view->first_row = view->selection;
	if (view->selection >= view->first_row + view->page)
		view->first_row = view->selection - view->page + 1;
	view->first_row = CLAMP(view->first_row, 0, MAX(n - view->page, 0));
}

static void draw_row(struct view *view, struct frame *frame, int y, int index)
{
	const struct trend_row *row = view->rows->pdata[index];
	g_autofree char *identity = view_identity(row);
	gboolean tagged = g_hash_table_contains(view->tagged, identity);
	table_draw_row(frame, y, &view->layout, row, view);
	if (row->leaks != TREND_METRICS)
		frame_put(frame, y, 0, ROLE_GROWS, 0x25b2);
	if (view->search && view_matches(row, view->search))
		frame_paint(frame, y, view->layout.places[0].x, view->layout.places[0].width, ROLE_MATCH);
	if (tagged) {
		frame_paint(frame, y, 0, frame->width, ROLE_TAGGED);
		frame_put(frame, y, 0, ROLE_TAGGED, '*');
	}
	/* the mark keeps its colour: the selected row is often the one that leaks */
	if (index == view->selection)
		frame_paint(frame, y, 1, frame->width - 1, ROLE_SELECTED);
}

/* Of a sum it is of interest in which process a type grows; what only one process can tell isn't there. */
static int sum_rank(const struct table_column *column)
{
	static const char *const none[] = {"unexplained", "born", "address", NULL};
	static const char *const later[] = {"refs", "refs_max", NULL};
	if (!strcmp(column->id, "worst"))
		return 0;
	return g_strv_contains(none, column->id) ? TABLE_NEVER : column->rank + g_strv_contains(later, column->id);
}

/* When somebody asks for lost references, their column comes before the change of the bytes. */
static void column_ranks(const struct view *view, int *ranks)
{
	for (size_t i = 0; i < view_columns_size; i++) {
		ranks[i] = view->members ? sum_rank(&view_columns[i]) : view_columns[i].rank;
		if (view->assess && !g_strcmp0(view_columns[i].id, "unexplained"))
			ranks[i] = 0;
		if (view->assess && !g_strcmp0(view_columns[i].id, "dbytes"))
			ranks[i] = 1;
	}
}

static void draw_table(struct view *view, struct frame *frame, int y, int lines)
{
	int ranks[TABLE_MAX_COLUMNS];
	column_ranks(view, ranks);
	table_arrange(&view->layout, view_columns, view_columns_size, ranks, 1, frame->width - 1, longest_name(view),
		      view->skip);
	view->title_y = y;
	view->table_y = y + 1;
	view->page = MAX(lines - 1, 0);
	frame_fill(frame, y, 0, frame->width, ROLE_TITLE);
	/* the default order is the growth of the count: its title says so */
	const struct table_column *sorted = view->sort;
	for (size_t i = 0; !sorted && i < view_columns_size; i++)
		if (!g_strcmp0(view_columns[i].id, "dcount"))
			sorted = &view_columns[i];
	table_draw_titles(frame, y, &view->layout, sorted, view->descending);
	table_scroll(view);
	for (int i = 0; i < view->page && view->first_row + i < (int)view->rows->len; i++)
		draw_row(view, frame, view->table_y + i, view->first_row + i);
	if (!view->rows->len && view->filter)
		frame_printf(frame, y + 2, 1, frame->width - 2, ROLE_DIM,
			     "no type's name contains \"%s\": Esc shows all", view->filter);
}

/* What is to be said under the table: the end, trouble, or the verdict. */
static void draw_verdict(struct view *view, struct frame *frame, int y)
{
	int width = frame->width - 2;
	enum role role = ROLE_WARNING;
	g_autofree char *words = NULL;
	if (view->trouble) {
		words = g_strdup(view->trouble);
	} else if (trend_last(view->trend)) {
		words = view->members ? sum_words(view, width, &role) : lost_words(view, width, &role);
	} else if (!view->ended_us) {
		words = g_strdup("taking the first sample…");
		role = ROLE_DIM;
	}
	if (!words)
		return;
	g_strdelimit(words, "\n", ' ');
	g_autofree char *fitting = text_elide(words, width);
	frame_text(frame, y, 1, width, role, fitting);
}

static void draw_end(struct view *view, struct frame *frame, int y)
{
	const sample_t *last = trend_last(view->trend);
	int width = frame->width - 2;
	if (view->recording) {
		frame_text(frame, y, 1, width, ROLE_WARNING, "the recording ends here");
		return;
	}
	g_autofree char *ago = words_duration(view_now(view) - view->ended_us, FALSE);
	if (view->members) {
		frame_printf(frame, y, 1, width, ROLE_WARNING,
			     "all ended %s ago%s%s; this is what was last seen of them", ago, view->ended ? ": " : "",
			     view->ended ? view->ended : "");
		return;
	}
	g_autofree char *pid = last ? g_strdup_printf(" %" G_GINT64_FORMAT, last->target.pid) : g_strdup("");
	/* an exec is an end, too, but nobody would call it so */
	if (!view->ended && view->ended_cause && !g_str_has_prefix(view->ended_cause, "it ended")) {
		frame_printf(frame, y, 1, width, ROLE_WARNING, "process%s, %s ago: %s", pid, ago, view->ended_cause);
		return;
	}
	frame_printf(frame, y, 1, width, ROLE_WARNING, "process%s ended %s ago%s%s; this is what was last seen of it",
		     pid, ago, view->ended ? ": " : "", view->ended ? view->ended : "");
}

void types_draw(struct screen *screen, struct frame *frame)
{
	struct view *view = screen->view;
	int height = frame->height, lines = height >= 20   ? 5
					    : height >= 16 ? 4
					    : height >= 12 ? 3
					    : height >= 7  ? 2
							   : 1;
	int top = draw_header(view, frame, lines);
	int bottom = 2 + (view->ended_us != 0);
	if (height - top - bottom < 2) {
		draw_bottom(view, frame);
		return;
	}
	if (trend_last(view->trend))
		draw_table(view, frame, top, height - top - bottom);
	if (view->ended_us)
		draw_end(view, frame, height - 3);
	draw_verdict(view, frame, height - 2);
	draw_bottom(view, frame);
}

/* Over the table: the menu to choose a column from. */
static void draw_menu(struct view *view, struct frame *frame)
{
	int n = menu_entries(view), help = 0;
	gboolean types = screen_top(view)->ops == &screen_types;
	for (int i = 1; i < n; i++)
		help = MAX(help, text_columns(menu_column(view, i)->help));
	view->menu_width = MIN(frame->width, help + 16);
	view->menu_height = MIN(frame->height, n + 2);
	view->menu_x = MAX(0, (frame->width - view->menu_width) / 2);
	view->menu_y = MAX(0, MIN(5, frame->height - view->menu_height));
	frame_box(frame, view->menu_y, view->menu_x, view->menu_height, view->menu_width, "Sort by");
	int shown = MAX(view->menu_height - 2, 1);
	view->menu_first = CLAMP(view->menu - shown + 1, 0, MAX(n - shown, 0));
	for (int i = view->menu_first; i < view->menu_first + shown && i < n; i++) {
		int y = view->menu_y + 1 + i - view->menu_first, x = view->menu_x + 1, width = view->menu_width - 2;
		const struct table_column *column = menu_column(view, i);
		const char *otherwise = types ? "what grew, the program's own classes first" : "as they were found";
		const char *words = column ? column->help : otherwise;
		frame_text(frame, y, x + 1, width - 1, ROLE_VALUE, column ? column->title : types ? "growth" : "none");
		frame_text(frame, y, x + 12, width - 12, ROLE_TEXT, words);
		if (i == view->menu)
			frame_paint(frame, y, x, width, ROLE_SELECTED);
	}
}

void view_draw(struct view *view, struct frame *frame)
{
	frame_resize(frame, frame->width, frame->height);
	screen_top(view)->ops->draw(screen_top(view), frame);
	if (view->mode == VIEW_SORTING)
		draw_menu(view, frame);
}
