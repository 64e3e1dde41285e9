/* The head of the screen: which process, what it holds, what watching it costs; and the bottom line. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tui/screens/replay.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

/* a line being filled from left to right: "Label value", three blanks apart; an item that doesn't fit is left away */
struct line {
	struct frame *frame;
	int y, x;
	int end; /* the first column that isn't ours; 0: all are */
};

static void line_item(struct line *line, const char *label, enum role role, const char *value)
{
	int gap = line->x > 1 ? 3 : 0, columns = text_columns(value) + (*label ? text_columns(label) + 1 : 0);
	if (!*value || line->x + gap + columns > (line->end ? line->end : line->frame->width - 1))
		return;
	line->x += gap;
	if (*label)
		line->x += frame_text(line->frame, line->y, line->x, 40, ROLE_LABEL, label) + 1;
	line->x += frame_text(line->frame, line->y, line->x, line->frame->width, role, value);
}

static void line_format(struct line *line, const char *label, enum role role, const char *format, ...)
	G_GNUC_PRINTF(4, 5);

static void line_format(struct line *line, const char *label, enum role role, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *value = g_strdup_vprintf(format, args);
	va_end(args);
	line_item(line, label, role, value);
}

/* "2d 04:12:55", "04:12:55" */
static char *words_uptime(gint64 us)
{
	if (us < 0)
		return g_strdup("-");
	gint64 seconds = us / G_USEC_PER_SEC;
	g_autofree char *days =
		seconds >= 86400 ? g_strdup_printf("%" G_GINT64_FORMAT "d ", seconds / 86400) : g_strdup("");
	return g_strdup_printf("%s%02d:%02d:%02d", days, (int)(seconds / 3600 % 24), (int)(seconds / 60 % 60),
			       (int)(seconds % 60));
}

static char *command_words(const sample_t *sample)
{
	const char *const *cmdline = sample->target.cmdline;
	if (!cmdline || !*cmdline)
		return g_path_get_basename(sample->target.exe);
	/* where the interpreter lies is nobody's question here */
	g_autofree char *program = g_path_get_basename(cmdline[0]), *rest = g_strjoinv(" ", (char **)cmdline + 1);
	return g_strconcat(program, " ", rest, NULL);
}

static char *python_words(const struct sample_target *target)
{
	return g_strdup_printf("CPython %s%s%s", *target->python ? target->python : "?",
			       target->free_threaded ? " free-threaded" : "", target->debug ? " debug" : "");
}

static char *state_words(const struct view *view, enum role *role)
{
	g_autofree char *every = words_interval(view->options.interval_us);
	if (view->replay && !view->ended_us && !view->trouble)
		return replay_state(view, role);
	*role = ROLE_WARNING;
	if (view->ended_us)
		return g_strdup(view->recording ? "end of recording" : "ended");
	if (view->paused)
		return g_strdup("paused");
	if (view->trouble)
		return g_strdup("no sample");
	*role = ROLE_VALUE;
	g_autofree char *really =
		view->stretched_us > view->options.interval_us ? words_interval(view->stretched_us) : NULL;
	if (really) /* the budget of pauses */
		return g_strdup_printf("● every %s, not %s", really, every);
	return g_strdup_printf("● every %s", every);
}

/* How many processes, how many of them could not be read, and what the first one is. */
static void draw_sum(const struct view *view, struct frame *frame, int y, int room, const sample_t *sample)
{
	size_t n = members_there(view->members), unread = members_unread(view->members);
	struct line line = {frame, y, 1, room};
	line_format(&line, "", ROLE_VALUE,
		    n                ? "sum of %zu process%s"
		    : view->ended_us ? "no process any more"
				     : "no process yet",
		    n, n == 1 ? "" : "es");
	if (unread)
		line_format(&line, "", ROLE_WARNING, "%zu not read", unread);
	if (*sample->target.python)
		line_format(&line, "", ROLE_TEXT, "CPython %s", sample->target.python);
	if (!n || room - line.x < 12)
		return;
	g_autofree char *fitting = text_cut(words_command(sample->parts[0].command), room - line.x - 3);
	frame_text(frame, y, line.x + 3, room - line.x - 3, ROLE_DIM, fitting);
}

/* Process and state; the state is at the right and always there. */
static void draw_process(const struct view *view, struct frame *frame, int y, const sample_t *sample)
{
	enum role role;
	g_autofree char *state = state_words(view, &role);
	g_autofree char *right =
		view->replay ? g_steal_pointer(&state) : g_strdup_printf("%s  #%zu", state, trend_samples(view->trend));
	int right_columns = text_columns(right), width = frame->width;
	frame_text(frame, y, width - 1 - right_columns, right_columns, role, right);
	if (!sample)
		return;
	if (view->members) {
		draw_sum(view, frame, y, width - 1 - right_columns - 2, sample);
		return;
	}
	g_autofree char *python = python_words(&sample->target);
	gint64 up = sample->target.start_time_us > 0 ? sample->time_us - sample->target.start_time_us : SAMPLE_UNKNOWN;
	g_autofree char *uptime = words_uptime(up);
	g_autofree char *middle = g_strdup_printf("%s  up %s", python, uptime);
	g_autofree char *command = command_words(sample);
	g_autofree char *left = g_strdup_printf("%" G_GINT64_FORMAT " %s", sample->target.pid, command);

	int room = width - 1 - right_columns - 2, middle_columns = text_columns(middle);
	gboolean whole = room - middle_columns - 3 >= MIN(text_columns(left), 20);
	if (whole) {
		frame_text(frame, y, room - middle_columns, middle_columns, ROLE_TEXT, middle);
		room -= middle_columns + 2;
	}
	g_autofree char *fitting = text_cut(left, room - 1);
	frame_text(frame, y, 1, room - 1, ROLE_VALUE, fitting);
}

/* " +92,914" since the baseline, or nothing when one of both isn't known */
static char *words_since(gint64 last, gint64 baseline, gboolean bytes)
{
	char text[TABLE_CELL];
	if (last < 0 || baseline < 0)
		return g_strdup("");
	if (bytes)
		table_bytes_change(text, last - baseline);
	else
		table_change(text, 12, last - baseline);
	return g_strdup_printf(" (%s)", last == baseline ? "±0" : text);
}

/* As exact as there is room for. */
static void draw_refs(struct line *line, gint64 now, gint64 then)
{
	static const int widths[] = {15, 4, 4};
	for (size_t i = 0; i < G_N_ELEMENTS(widths); i++) {
		char text[TABLE_CELL], by[TABLE_CELL];
		int before = line->x;
		table_count(text, widths[i], now);
		table_change(by, widths[i] + 1, now - then);
		if (now < 0 || then < 0 || i == 2)
			line_item(line, "Refs", ROLE_VALUE, text);
		else
			line_format(line, "Refs", ROLE_VALUE, "%s (%s)", text, now == then ? "±0" : by);
		if (line->x != before)
			return;
	}
}

static void draw_totals(const struct view *view, struct frame *frame, int y, const sample_t *sample)
{
	struct line line = {frame, y, 1, 0};
	const struct sample_totals *now = &sample->totals, *then = trend_baseline_totals(view->trend);
	char text[TABLE_CELL];
	table_bytes(text, sample->target.rss);
	line_item(&line, "RSS", ROLE_VALUE, text);
	table_count(text, 15, now->objects);
	g_autofree char *objects = words_since(now->objects, then->objects, FALSE);
	line_format(&line, "Objects", ROLE_VALUE, "%s%s", text, objects);
	table_bytes(text, now->bytes);
	g_autofree char *bytes = words_since(now->bytes, then->bytes, TRUE);
	line_format(&line, "Bytes", ROLE_VALUE, "%s%s", text, bytes);
	draw_refs(&line, now->refs, then->refs);
	if (now->unreadable > 0)
		line_format(&line, "Unreadable", ROLE_WARNING, "%s", text_count(text, now->unreadable));
	if (now->immortal >= 0)
		line_format(&line, "Immortal", ROLE_TEXT, "%s", text_count(text, now->immortal));
}

static void draw_cost(const struct view *view, struct frame *frame, int y, const sample_t *sample)
{
	if (view->replay && replay_draw(view, frame, y))
		return;
	struct line line = {frame, y, 1, 0};
	const struct sample_snapshot *snapshot = &sample->snapshot;
	g_autofree char *last = words_pause(view->pause_last_us), *max = words_pause(view->pause_max_us);
	line_format(&line, "Pause", ROLE_VALUE, "%s max %s", last, max);
	gint64 wall = sample->time_us - trend_first_time(view->trend);
	if (view->pause_sum_us >= 0 && wall > 0)
		line_format(&line, "Cost", ROLE_VALUE, "%.2f%% of wall",
			    100.0 * (double)view->pause_sum_us / (double)wall);
	else
		line_item(&line, "Cost", ROLE_VALUE, "- of wall");
	line_format(&line, "Mode", snapshot->consistent ? ROLE_TEXT : ROLE_WARNING, "%s%s", snapshot->mode,
		    snapshot->consistent ? ", consistent" : ", NOT consistent");
	char text[TABLE_CELL];
	table_bytes(text, snapshot->bytes_copied);
	g_autofree char *took = words_pause(snapshot->elapsed_us);
	line_format(&line, "Copied", ROLE_TEXT, "%s in %s", text, took);
	line_item(&line, "Layout", ROLE_TEXT, sample->target.layout);
}

/* References nobody holds, and how long ago that was found out. */
static void draw_lost(const struct view *view, struct line *line, const sample_t *sample)
{
	if (!view->leaks) {
		line_item(line, "Unexpl", ROLE_TEXT, "looking…");
		return;
	}
	char text[TABLE_CELL];
	gboolean found = leaks_found(view->leaks);
	table_count(text, 15, view->leaks->totals.unexplained);
	g_autofree char *age = words_duration(MAX(sample->time_us - view->leaks->origin->time_us, 0), TRUE);
	line_format(line, "Unexpl", found ? ROLE_WARNING : ROLE_TEXT, "%s, %s ago%s", text, age,
		    view->assess ? "" : ", off");
}

static void draw_scope(const struct view *view, struct frame *frame, int y, const sample_t *sample)
{
	struct line line = {frame, y, 1, 0};
	if (view->members) {
		enum role role;
		g_autofree char *news = sum_news(view, frame->width - 2, &role);
		line_item(&line, "", role, news);
	}
	g_autofree char *age = words_duration(sample->time_us - trend_baseline_time(view->trend), TRUE);
	if (view->replay)
		line_format(&line, "Baseline", ROLE_TEXT, "%s before", age);
	else
		line_format(&line, "Baseline", ROLE_TEXT, "#%zu %s ago", trend_baseline_number(view->trend), age);
	if (view->assess || view->leaks)
		draw_lost(view, &line, sample);
	if (view->filter)
		line_format(&line, "Types", ROLE_WARNING, "%u of %u \"%s\"", view->rows->len, view->order->len,
			    view->filter);
	else
		line_format(&line, "Types", ROLE_TEXT, "%u", view->order->len);
	line_item(&line, "Coverage", ROLE_TEXT, sample->snapshot.coverage);
	line_format(&line, "Sort", ROLE_TEXT, "%s%s", view->sort ? view->sort->title : "growth",
		    view->descending == !(view->sort && view->sort->ascending) ? "" : ", inverted");
	if (sample->n_gc) {
		const struct sample_gc *gc = &sample->gc[0];
		g_autoptr(GString) text = g_string_new(gc->enabled ? "" : "off ");
		for (size_t i = 0; i < gc->n_generations && i < SAMPLE_MAX_GENERATIONS; i++) {
			const struct sample_generation *generation = &gc->generations[i];
			g_string_append_printf(text, "%s%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT, i ? " " : "",
					       generation->count, generation->threshold);
		}
		if (gc->collecting)
			g_string_append(text, " collecting");
		line_item(&line, "GC", gc->enabled ? ROLE_TEXT : ROLE_WARNING, text->str);
	}
}

static int part_columns(const struct sample_memory *memory, size_t part)
{
	char text[TABLE_CELL];
	table_bytes(text, *sample_memory_at((struct sample_memory *)memory, part));
	return 3 + text_columns(sample_memory_parts[part].label) + 1 + text_columns(text);
}

/* Where the memory is: the largest parts that fit, in their usual order. */
static void draw_memory(struct frame *frame, int y, const struct sample_memory *memory)
{
	struct line line = {frame, y, 1, 0};
	gboolean shown[SAMPLE_MEMORY_PARTS] = {FALSE};
	int room = frame->width - 2 - (int)strlen("Memory");
	line_item(&line, "Memory", ROLE_TEXT, " ");
	line.x -= 2;
	for (size_t round = 0; round < SAMPLE_MEMORY_PARTS; round++) {
		size_t largest = SAMPLE_MEMORY_PARTS;
		for (size_t part = 0; part < SAMPLE_MEMORY_PARTS; part++) {
			gint64 size = *sample_memory_at((struct sample_memory *)memory, part);
			if (shown[part] || size < 0 || part_columns(memory, part) > room)
				continue;
			if (largest == SAMPLE_MEMORY_PARTS ||
			    size > *sample_memory_at((struct sample_memory *)memory, largest))
				largest = part;
		}
		if (largest == SAMPLE_MEMORY_PARTS)
			break;
		shown[largest] = TRUE;
		room -= part_columns(memory, largest);
	}
	for (size_t part = 0; part < SAMPLE_MEMORY_PARTS; part++) {
		char text[TABLE_CELL];
		if (!shown[part])
			continue;
		table_bytes(text, *sample_memory_at((struct sample_memory *)memory, part));
		line_item(&line, sample_memory_parts[part].label, ROLE_TEXT, text);
	}
}

int draw_header(struct view *view, struct frame *frame, int lines)
{
	const sample_t *sample = trend_last(view->trend);
	draw_process(view, frame, 0, sample);
	if (!sample)
		return 1;
	if (lines > 1)
		draw_totals(view, frame, 1, sample);
	if (lines > 2)
		draw_cost(view, frame, 2, sample);
	if (lines > 3)
		draw_scope(view, frame, 3, sample);
	if (lines <= 4 || !sample->totals.has_memory)
		return MIN(lines, 4);
	draw_memory(frame, 4, &sample->totals.memory);
	return lines;
}

static gboolean hint_shown(const struct view *view, enum action action)
{
	const struct screen *screen = screen_top(view);
	if (action == ACTION_SUM || action == ACTION_TREE)
		return screen->ops == &screen_processes;
	if (action == ACTION_EARLIER || action == ACTION_LATER)
		return view->replay != NULL;
	/* elsewhere the one is of no use, the other not worth the room */
	if (action == ACTION_LOCALS || action == ACTION_NEXT)
		return screen->ops == &screen_threads;
	return !screen->ops->offers || screen->ops->offers(screen, action);
}

static void draw_key_hints(const struct view *view, struct frame *frame, int y)
{
	/* every third narrow terminal has no room for all: the way out is always there */
	int x = 1, end = frame->width - (int)strlen("q Quit") - 2;
	for (size_t i = 0; i < key_table_size; i++) {
		const struct key_entry *key = &key_table[i];
		if (!key->hint || !hint_shown(view, key->action))
			continue;
		gboolean last = key->action == ACTION_QUIT;
		int columns = text_columns(key->hint_key) + 1 + text_columns(key->hint);
		if (!last && x + columns > end)
			continue;
		x += frame_text(frame, y, x, frame->width, ROLE_KEY, key->hint_key) + 1;
		x += frame_text(frame, y, x, frame->width, ROLE_KEY_TEXT, key->hint) + 2;
	}
}

static gboolean nothing_found(const struct view *view)
{
	struct screen *screen = screen_top(view);
	const struct list *list = screen->ops->list ? screen->ops->list(screen) : NULL;
	if (view->mode == VIEW_FILTERING)
		return (list ? list->rows->len : view->rows->len) == 0;
	if (list)
		return !list_selected(list) || !list_matches(list, list_selected(list), list->search);
	return !view_selected(view) || !view_matches(view_selected(view), view->search);
}

void draw_bottom(struct view *view, struct frame *frame)
{
	int y = frame->height - 1, width = frame->width;
	if (view->mode == VIEW_SEARCHING || view->mode == VIEW_FILTERING) {
		const char *label = view->mode == VIEW_SEARCHING ? "/" : "filter: ";
		frame_fill(frame, y, 0, width, ROLE_PROMPT);
		int x = frame_text(frame, y, 0, width, ROLE_PROMPT, label);
		/* the end of what is typed matters */
		const char *typed = view->prompt->str;
		while (*typed && text_columns(typed) > width - x - 1)
			typed = g_utf8_next_char(typed);
		x += frame_text(frame, y, x, width - x, ROLE_PROMPT, typed);
		frame_text(frame, y, x, 1, ROLE_SELECTED, " ");
		if (view->prompt->len && width - x > 30) {
			if (nothing_found(view))
				frame_text(frame, y, x + 3, width - x - 3, ROLE_WARNING, "no match");
		}
		return;
	}
	if (view->message) {
		g_autofree char *fitting = text_elide(view->message, width - 2);
		frame_text(frame, y, 1, width - 2, ROLE_PROMPT, fitting);
		return;
	}
	draw_key_hints(view, frame, y);
}
