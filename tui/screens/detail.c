/* One type: its numbers now, since the baseline and over the history, and the help screen. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tui/graph.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

static const char *const metric_names[] = {
	[TREND_COUNT] = "Objects", [TREND_BYTES] = "Bytes", [TREND_REFS] = "References"};

static void value_words(char out[TABLE_CELL], enum trend_metric metric, gint64 value)
{
	if (metric == TREND_BYTES)
		table_bytes(out, value);
	else
		table_count(out, 15, value);
}

static void change_words(char out[TABLE_CELL], enum trend_metric metric, gint64 value)
{
	if (metric == TREND_BYTES)
		table_bytes_change(out, value);
	else
		table_change(out, 15, value);
}

static char *judgement(const struct trend_row *row, enum trend_metric metric)
{
	const struct growth *growth = &row->growth[metric];
	if (growth->verdict == GROWTH_WAITING)
		return g_strdup("too few samples for a verdict");
	if (growth->verdict == GROWTH_NONE)
		return g_strdup("no steady growth");
	g_autofree char *rate = words_rate(growth->rate, metric == TREND_BYTES);
	g_autofree char *time = words_duration(growth->until_us - growth->since_us, FALSE);
	return g_strdup_printf("%s steadily for %s", rate, time);
}

/* A metric: a line of numbers and, if there is room, a graph of `lines` below it. */
static int draw_metric(struct view *view, struct frame *frame, int y, int lines, const struct trend_row *row,
		       enum trend_metric metric)
{
	char now[TABLE_CELL], by[TABLE_CELL] = "-", low_text[TABLE_CELL], high_text[TABLE_CELL];
	gboolean grows = row->growth[metric].verdict == GROWTH_STEADY;
	value_words(now, metric, row->last[metric]);
	if (row->last[metric] != SAMPLE_UNKNOWN && row->baseline[metric] != SAMPLE_UNKNOWN)
		change_words(by, metric, row->last[metric] - row->baseline[metric]);
	g_autofree char *words = judgement(row, metric);
	int x = 1;
	x += frame_text(frame, y, x, 12, ROLE_LABEL, metric_names[metric]);
	x = MAX(x + 1, 12);
	x += frame_text(frame, y, x, frame->width - x - 1, ROLE_VALUE, now) + 2;
	g_autofree char *since = g_strdup_printf(frame->width < 60 ? "%s" : "%s since the baseline", by);
	x += frame_text(frame, y, x, frame->width - x - 1, ROLE_TEXT, since) + 3;
	if (x + text_columns(words) < frame->width)
		frame_text(frame, y, x, frame->width - x - 1, grows ? ROLE_GROWS : ROLE_DIM, words);
	if (lines < 2)
		return y + 1;

	size_t room = trend_ticks(view->trend);
	g_autofree int64_t *times = g_new(int64_t, room), *values = g_new(int64_t, room);
	struct series series = {times, values, 0, trend_first_time(view->trend), trend_last(view->trend)->time_us};
	series.n = trend_series(view->trend, row, metric, times, values);
	int64_t low, high;
	int margin = 9, graph = lines - 1;
	graph_box(frame, y + 1, margin + 1, graph, frame->width - margin - 2, grows ? ROLE_GROWS : ROLE_GRAPH, &series,
		  &low, &high);
	if (!series.n)
		return y + lines;
	if (metric == TREND_BYTES) {
		table_bytes(low_text, low);
		table_bytes(high_text, high);
	} else {
		table_count(low_text, margin - 1, low);
		table_count(high_text, margin - 1, high);
	}
	frame_printf(frame, y + 1, 0, margin, ROLE_DIM, "%*s", margin, high_text);
	if (graph > 1)
		frame_printf(frame, y + graph, 0, margin, ROLE_DIM, "%*s", margin, low_text);
	return y + lines;
}

static void draw_facts(struct view *view, struct frame *frame, int y, const struct trend_row *row)
{
	char max[TABLE_CELL], immortal[TABLE_CELL], gc[TABLE_CELL], rate[TABLE_CELL] = "-";
	table_count(max, 15, row->refs_max);
	table_count(immortal, 15, row->immortal);
	table_count(gc, 15, row->gc_count);
	if (isfinite(row->rate))
		table_change(rate, 15, (gint64)llround(row->rate));
	struct {
		const char *label;
		const char *value;
	} facts[] = {{"Rate/min", rate}, {"Max refs", max}, {"In gc lists", gc}, {"Immortal", immortal}};
	int x = 1;
	for (size_t i = 0; i < G_N_ELEMENTS(facts); i++) {
		int columns = text_columns(facts[i].label) + 1 + text_columns(facts[i].value);
		if (x + columns > frame->width - 1)
			break;
		x += frame_text(frame, y, x, 20, ROLE_LABEL, facts[i].label) + 1;
		x += frame_text(frame, y, x, 20, ROLE_TEXT, facts[i].value) + 3;
	}
	if (x + 22 < frame->width)
		frame_printf(frame, y, x, frame->width - x - 1, ROLE_DIM, "type object 0x%" G_GINT64_MODIFIER "x",
			     row->address);
}

static void draw_axis(struct view *view, struct frame *frame, int y)
{
	gint64 span = trend_last(view->trend)->time_us - trend_first_time(view->trend);
	g_autofree char *ago = words_duration(span, FALSE);
	const char *now = view->ended_us ? "the end" : "now";
	frame_text(frame, y, frame->width - 1 - text_columns(now), 10, ROLE_DIM, now);
	frame_printf(frame, y, 10, frame->width - 20, ROLE_DIM, "%s ago", ago);
}

static void detail_draw(struct screen *screen, struct frame *frame)
{
	struct view *view = screen->view;
	const struct trend_row *row = view_selected(view);
	int height = frame->height, y = 1;
	if (row && view->selected && height >= 6)
		y = draw_head(screen, frame, NULL);
	else
		draw_header(view, frame, 1);
	draw_bottom(view, frame);
	if (!row || !view->selected || height < 6)
		return;
	if (height >= 14)
		draw_facts(view, frame, y++, row);
	/* the last lines: time axis and the keys */
	int room = height - y - 2, lines = room / TREND_METRICS;
	for (enum trend_metric metric = 0; metric < TREND_METRICS && y < height - 1; metric++)
		y = draw_metric(view, frame, y, lines, row, metric);
	if (lines >= 2)
		draw_axis(view, frame, height - 2);
}

static char *detail_title(const struct screen *screen)
{
	const struct trend_row *row = view_selected(screen->view);
	/* above the objects of a type its name stands already */
	gboolean named = screen->view->stack->len > 2;
	return g_strdup(named ? "graphs" : row ? row->name : "?");
}

static gboolean no_offers(const struct screen *screen, enum action action)
{
	return action != ACTION_ENTER && action != ACTION_SORT && action != ACTION_WATCH && action != ACTION_AGAIN &&
	       action != ACTION_GRAPHS;
}

const struct screen_ops screen_detail = {
	.name = "detail",
	.size = sizeof(struct screen),
	.title = detail_title,
	.draw = detail_draw,
	.offers = no_offers,
};

/* ---- help ---- */

static const char help_columns[] =
	"▲ before a name: it grows steadily. Steady means: up, evenly, still going on, over the noise. A warm-up that ended, a saw-tooth and "
	"a single step are not steady.";

/* A key or column and what is said of it, wrapped to the frame; lines outside of the window fall away. Returns the line below. */
static int help_entry(struct frame *frame, int line, int page, const char *name, const char *text)
{
	int left = *name ? 13 : 2;
	size_t room = (size_t)MAX(frame->width - left - 1, 10);
	for (const char *at = text; *at; line++) {
		size_t length = strlen(at);
		if (g_utf8_strlen(at, -1) > (glong)room) {
			const char *end = g_utf8_offset_to_pointer(at, (glong)room);
			while (end > at && *end != ' ')
				end--;
			length = end > at ? (size_t)(end - at) : length;
		}
		g_autofree char *piece = g_strndup(at, length);
		int y = line >= 0 && line < page ? line + 1 : -1;
		if (at == text)
			frame_text(frame, y, 2, 10, ROLE_KEY, name);
		frame_text(frame, y, left, (int)room, ROLE_TEXT, piece);
		at += length;
		while (*at == ' ')
			at++;
	}
	return line;
}

/* All entries from `line` on. Returns the line below the last. */
static int help_entries(struct frame *frame, int line, int page)
{
	for (size_t i = 0; i < key_table_size; i++)
		line = help_entry(frame, line, page, key_table[i].names, key_table[i].help);
	line++;
	for (size_t i = 0; i < view_columns_size; i++)
		line = help_entry(frame, line, page, view_columns[i].title, view_columns[i].help);
	return help_entry(frame, line + 1, page, "", help_columns);
}

static void help_draw(struct screen *screen, struct frame *frame)
{
	struct view *view = screen->view;
	int lines = help_entries(frame, G_MININT / 2, 0) - G_MININT / 2;
	view->page = frame->height - 2;
	view->help_line = CLAMP(view->help_line, 0, MAX(lines - view->page, 0));
	frame_fill(frame, 0, 0, frame->width, ROLE_TITLE);
	frame_text(frame, 0, 1, frame->width - 2, ROLE_TITLE, "reftop: keys and columns");
	help_entries(frame, -view->help_line, view->page);
	const char *more = view->help_line + view->page < lines ? "PgDn: more   Esc: back" : "Esc: back";
	frame_text(frame, frame->height - 1, 1, frame->width - 2, ROLE_KEY_TEXT, more);
}

static char *help_title(const struct screen *screen)
{
	return g_strdup("Help");
}

static void help_wheel(struct screen *screen, int rows)
{
	screen->view->help_line = MAX(screen->view->help_line + rows, 0);
}

static void help_init(struct screen *screen, gconstpointer what)
{
	screen->view->help_line = 0;
}

static gboolean help_act(struct screen *screen, enum action action)
{
	int page = MAX(screen->view->page, 1), *line = &screen->view->help_line;
	switch (action) {
	case ACTION_UP:
	case ACTION_DOWN:
		*line += action == ACTION_UP ? -1 : 1;
		break;
	case ACTION_PAGE_UP:
	case ACTION_PAGE_DOWN:
		*line += action == ACTION_PAGE_UP ? -page : page;
		break;
	case ACTION_HOME:
	case ACTION_END:
		*line = action == ACTION_HOME ? 0 : G_MAXINT / 2;
		break;
	case ACTION_HELP:
	case ACTION_TAB:
	case ACTION_BACK:
		screen_pop(screen->view);
		return TRUE;
	default:
		return FALSE;
	}
	*line = MAX(*line, 0); /* drawing knows the end */
	return TRUE;
}

const struct screen_ops screen_help = {
	.name = "help",
	.size = sizeof(struct screen),
	.init = help_init,
	.title = help_title,
	.draw = help_draw,
	.act = help_act,
	.wheel = help_wheel,
};
