/* What is watched: a row and a graph an object, and a large graph of the selected one where there is room. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tui/graph.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"
#include "tui/screens/watches.h"

struct watched_screen {
	struct screen screen;
	struct list list;
};

static void address_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	snprintf(out, TABLE_CELL, "0x%" G_GINT64_MODIFIER "x", ((const struct watch *)row)->address);
}

static void type_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	g_autofree char *name = text_elide(((const struct watch *)row)->name, width);
	g_strlcpy(out, name, TABLE_CELL);
}

static void refs_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct watch *watch = row;
	if (watch->ended)
		g_strlcpy(out, watch->reused ? "reused" : watch->began_us ? "died" : "none", TABLE_CELL);
	else
		table_count(out, width, watch->last);
}

static gint64 change(const struct watch *watch)
{
	return watch->first < 0 || watch->last < 0 ? 0 : watch->last - watch->first;
}

static void change_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct watch *watch = row;
	if (watch->first < 0 || watch->last < 0)
		g_strlcpy(out, "-", TABLE_CELL);
	else
		table_change(out, width, change(watch));
}

static void explained_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct watch *watch = row;
	table_count(out, width, watch->exact < 0 ? SAMPLE_UNKNOWN : watch->exact + watch->probable);
}

static void unexplained_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, watch_unexplained(row));
}

static void for_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct watch *watch = row;
	gint64 to = watch->ended ? watch->ended_us : watch->last_us;
	g_autofree char *time = watch->began_us ? words_duration(to - watch->began_us, TRUE) : g_strdup("-");
	g_strlcpy(out, time, TABLE_CELL);
}

static void value_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct watch *watch = row;
	g_autofree char *text = text_cut(watch->ended ? watch->ended : watch->value, width);
	g_strlcpy(out, text, TABLE_CELL);
}

static enum role value_role(const void *row, const void *context)
{
	return ((const struct watch *)row)->ended ? ROLE_WARNING : ROLE_TEXT;
}

static enum role change_role(const void *row, const void *context)
{
	gint64 by = change(row);
	return by > 0 ? ROLE_GROWS : by < 0 ? ROLE_SHRINKS : ROLE_DIM;
}

static enum role unexplained_role(const void *row, const void *context)
{
	return watch_unexplained(row) > 0 ? ROLE_GROWS : ROLE_DIM;
}

static struct series series_of(const struct watch *watch, const struct view *view)
{
	gint64 last = trend_last(view->trend) ? trend_last(view->trend)->time_us : watch->last_us;
	return (struct series){watch->times_us, watch->values, watch->n, watch->began_us,
			       watch->ended ? watch->ended_us : last};
}

static void graph_draw(struct frame *frame, int y, int x, int width, const void *row, const void *context)
{
	const struct watched_screen *self = context;
	struct series series = series_of(row, self->screen.view);
	graph_row(frame, y, x, width, change(row) > 0 ? ROLE_GROWS : ROLE_GRAPH, &series);
}

#define COMPARE(function, expression)                                                                                  \
	static int function(const void *a, const void *b, const void *context)                                         \
	{                                                                                                              \
		const struct watch *watch = a;                                                                         \
		gint64 x = expression;                                                                                 \
		watch = b;                                                                                             \
		gint64 y = expression;                                                                                 \
		return (x > y) - (x < y);                                                                              \
	}
COMPARE(refs_compare, watch->last)
COMPARE(change_compare, change(watch))
COMPARE(unexplained_compare, watch_unexplained(watch))

/* clang-format off */
static const struct table_column columns[] = {
	{ .id = "address", .title = "ADDRESS", .help = "of the object", .min = 14, .want = 14, .left = TRUE, .text = address_text },
	{ .id = "type", .title = "TYPE", .help = "its type", .min = 10, .want = 16, .max = 40, .left = TRUE, .text = type_text },
	{ .id = "refs", .title = "REFS", .help = "its reference count", .min = 6, .want = 9, .text = refs_text, .role = value_role,
	  .compare = refs_compare },
	{ .id = "drefs", .title = "ΔREFS", .help = "change since it is watched", .min = 6, .want = 9, .text = change_text,
	  .role = change_role, .compare = change_compare },
	{ .id = "explained", .title = "SEEN", .help = "references found at the last look (key u)", .min = 6, .want = 9, .rank = 1, .text = explained_text },
	{ .id = "unexplained", .title = "UNEXPL", .help = "of these, references that nobody holds", .min = 6, .want = 9, .text = unexplained_text,
	  .role = unexplained_role, .compare = unexplained_compare },
	{ .id = "for", .title = "FOR", .help = "how long it is watched", .min = 6, .want = 7, .rank = 1, .text = for_text },
	{ .id = "value", .title = "VALUE", .help = "as Python would print it, or how it ended", .min = 10, .ease = 24, .want = 40, .max = 80, .left = TRUE,
	  .text = value_text, .role = value_role },
	{ .id = "trend", .title = "TREND", .help = "its reference count since it is watched", .min = 8, .ease = 12, .want = 16, .max = 60, .left = TRUE,
	  .draw = graph_draw },
};
static const size_t columns_size = G_N_ELEMENTS(columns);
/* clang-format on */

static guint64 identity(const void *row)
{
	return ((const struct watch *)row)->address ^ (guint64)((const struct watch *)row)->began_us << 20;
}

static char *words(const void *row)
{
	const struct watch *watch = row;
	return g_strdup_printf("0x%" G_GINT64_MODIFIER "x %s %s", watch->address, watch->name, watch->value);
}

static const struct list_ops list_ops = {.columns = columns,
					 .n_columns = &columns_size,
					 .identity = identity,
					 .words = words,
					 .none = "no object is watched: w on one in a list of objects begins to"};

static void watched_sampled(struct screen *screen)
{
	struct watched_screen *self = (struct watched_screen *)screen;
	list_set(&self->list, screen->view->watches->pdata, screen->view->watches->len);
}

static void watched_init(struct screen *screen, gconstpointer what)
{
	struct watched_screen *self = (struct watched_screen *)screen;
	list_init(&self->list, &list_ops, self);
	watched_sampled(screen);
}

static void watched_clear(struct screen *screen)
{
	list_clear(&((struct watched_screen *)screen)->list);
}

static char *watched_title(const struct screen *screen)
{
	return g_strdup("Watched");
}

/* The selected one's history, `height` lines from y on. */
static void draw_graph(struct watched_screen *self, struct frame *frame, int y, int height)
{
	const struct watch *watch = list_selected(&self->list);
	char low_text[TABLE_CELL], high_text[TABLE_CELL];
	gint64 low, high;
	int margin = 9;
	if (!watch || !watch->n)
		return;
	g_autofree char *what = g_strdup_printf("%s  %s", watch->name, watch->ended ? watch->ended : watch->value);
	g_autofree char *fitting = text_cut(what, frame->width - 2);
	frame_text(frame, y, 1, frame->width - 2, watch->ended ? ROLE_WARNING : ROLE_VALUE, fitting);
	struct series series = series_of(watch, self->screen.view);
	graph_box(frame, y + 1, margin + 1, height - 1, frame->width - margin - 2,
		  change(watch) > 0 ? ROLE_GROWS : ROLE_GRAPH, &series, &low, &high);
	table_count(low_text, margin - 1, low);
	table_count(high_text, margin - 1, high);
	frame_printf(frame, y + 1, 0, margin, ROLE_DIM, "%*s", margin, high_text);
	frame_printf(frame, y + height - 1, 0, margin, ROLE_DIM, "%*s", margin, low_text);
}

static void watched_draw(struct screen *screen, struct frame *frame)
{
	struct watched_screen *self = (struct watched_screen *)screen;
	int y = draw_head(screen, frame, NULL), height = frame->height - y - 1;
	draw_bottom(screen->view, frame);
	if (height < 2)
		return;
	int graph = height >= 16 ? height / 2 : height >= 10 ? 5 : 0;
	list_draw(&self->list, frame, y, 0, height - graph, frame->width, TRUE);
	if (graph)
		draw_graph(self, frame, y + height - graph, graph);
}

static gboolean watched_act(struct screen *screen, enum action action)
{
	struct watched_screen *self = (struct watched_screen *)screen;
	struct watch *watch = list_selected(&self->list);
	guint64 address = watch ? watch->address : 0;
	if (action != ACTION_ENTER && action != ACTION_WATCH)
		return FALSE;
	if (!watch)
		return TRUE;
	if (action == ACTION_ENTER && watch->ended)
		view_say(screen->view, g_strdup(watch->ended));
	else if (action == ACTION_ENTER)
		screen_push(screen->view, &screen_object, &address);
	else if (watch->ended)
		g_ptr_array_remove(screen->view->watches, watch);
	else
		view_watch(screen->view, address, watch->name, FALSE);
	watched_sampled(screen);
	return TRUE;
}

static struct list *watched_list(struct screen *screen)
{
	return &((struct watched_screen *)screen)->list;
}

static gboolean watched_offers(const struct screen *screen, enum action action)
{
	return action != ACTION_BASELINE && action != ACTION_SAVE && action != ACTION_GRAPHS && action != ACTION_AGAIN;
}

const struct screen_ops screen_watched = {
	.name = "watched",
	.size = sizeof(struct watched_screen),
	.init = watched_init,
	.clear = watched_clear,
	.title = watched_title,
	.draw = watched_draw,
	.act = watched_act,
	.sampled = watched_sampled,
	.list = watched_list,
	.offers = watched_offers,
};
