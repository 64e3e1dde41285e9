/*
 * The Python processes of this machine: a tree, or a list by any column, with how they grow. Enter opens one, S the sum of several.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/text.h"
#include "tui/graph.h"
#include "tui/screens/top.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

struct processes_screen {
	struct screen screen;
	struct list list;
	size_t looks; /* of the roster, when the list was made */
	int ranks[TABLE_MAX_COLUMNS];
};

/* ---- cells ---- */

#define NOW(row) (((const struct roster_row *)(row))->now)

static void pid_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	snprintf(out, TABLE_CELL, "%" G_GINT64_FORMAT, NOW(row)->pid);
}

#define CELL_TEXT(function, expression)                                                                                \
	static void function(const void *row, const void *context, int width, char out[TABLE_CELL])                    \
	{                                                                                                              \
		const char *text = expression;                                                                         \
		g_autofree char *fitting = text_cut(text ? text : "-", width);                                         \
		g_strlcpy(out, fitting, TABLE_CELL);                                                                   \
	}
CELL_TEXT(user_text, NOW(row)->user)
CELL_TEXT(python_text, NOW(row)->python)
CELL_TEXT(state_text, NOW(row)->state)
CELL_TEXT(why_text, NOW(row)->why ? NOW(row)->why : "")

static void rss_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_bytes(out, NOW(row)->rss);
}

static void rss_rate_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct roster_row *row = data;
	if (isfinite(row->rss_rate))
		table_bytes_change(out, (gint64)llround(row->rss_rate));
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static void objects_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, NOW(row)->objects);
}

static void objects_rate_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct roster_row *row = data;
	if (isfinite(row->objects_rate))
		table_change(out, width, (gint64)llround(row->objects_rate));
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

/* "app.Session +12/s"; "-": nothing grows; "": nobody looks */
static char *growing_words(const struct roster_process *process)
{
	if (!process->growing)
		return g_strdup(process->watched ? "-" : "");
	g_autofree char *rate = words_rate(process->growing_rate / 60, process->growing_bytes);
	return g_strdup_printf("%s %s", process->growing, rate);
}

static void growing_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	g_autofree char *words = growing_words(NOW(row)), *fitting = text_elide(words, width);
	g_strlcpy(out, fitting, TABLE_CELL);
}

static gboolean is_tree(const struct processes_screen *self)
{
	return !self->screen.view->machine->flat && !self->list.sort;
}

static void command_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct roster_row *row = data;
	int depth = is_tree(context) ? MIN(row->depth, 12) : 0;
	g_autofree char *branch = g_strnfill((gsize)MAX(2 * depth - 2, 0), ' ');
	g_autofree char *text = g_strconcat(branch, depth ? "\\_ " : "", words_command(row->now->command), NULL);
	g_autofree char *fitting = text_cut(text, width);
	g_strlcpy(out, fitting, TABLE_CELL);
}

static void trend_draw(struct frame *frame, int y, int x, int width, const void *data, const void *context)
{
	const struct roster_row *row = data;
	const struct roster_series *shown = row->objects.n ? &row->objects : &row->rss;
	if (!shown->n)
		return;
	struct series series = {shown->times_us, shown->values, shown->n, shown->times_us[0],
				shown->times_us[shown->n - 1]};
	graph_row(frame, y, x, width, row->steady ? ROLE_GROWS : ROLE_GRAPH, &series);
}

/* ---- roles and order ---- */

static enum role readable_role(const void *row, const void *context)
{
	return NOW(row)->why ? ROLE_DIM : ROLE_TEXT;
}

static enum role why_role(const void *row, const void *context)
{
	return ROLE_WARNING;
}

static enum role rate_role(const struct roster_row *row, double rate, gboolean judged)
{
	if (row->steady && judged)
		return ROLE_GROWS;
	return !isfinite(rate) || llround(rate) == 0 ? ROLE_DIM : rate < 0 ? ROLE_SHRINKS : ROLE_TEXT;
}

static enum role rss_rate_role(const void *data, const void *context)
{
	const struct roster_row *row = data;
	return rate_role(row, row->rss_rate, !row->objects.n);
}

static enum role objects_rate_role(const void *data, const void *context)
{
	const struct roster_row *row = data;
	return rate_role(row, row->objects_rate, row->objects.n > 0);
}

static enum role growing_role(const void *row, const void *context)
{
	return NOW(row)->growing ? ROLE_GROWS : ROLE_DIM;
}

#define COMPARE(function, expression)                                                                                  \
	static int function(const void *a, const void *b, const void *context)                                         \
	{                                                                                                              \
		const struct roster_row *row = a;                                                                      \
		double x = (double)(expression);                                                                       \
		row = b;                                                                                               \
		double y = (double)(expression);                                                                       \
		return (x > y) - (x < y);                                                                              \
	}
COMPARE(pid_compare, row->now->pid)
COMPARE(rss_compare, row->now->rss)
COMPARE(rss_rate_compare, isfinite(row->rss_rate) ? row->rss_rate : -HUGE_VAL)
COMPARE(objects_compare, row->now->objects)
COMPARE(objects_rate_compare, isfinite(row->objects_rate) ? row->objects_rate : -HUGE_VAL)

#define COMPARE_TEXT(function, field)                                                                                  \
	static int function(const void *a, const void *b, const void *context)                                         \
	{                                                                                                              \
		return g_strcmp0(NOW(a)->field, NOW(b)->field);                                                        \
	}
COMPARE_TEXT(user_compare, user)
COMPARE_TEXT(python_compare, python)
COMPARE_TEXT(state_compare, state)
COMPARE_TEXT(why_compare, why)
COMPARE_TEXT(command_compare, command)

/* clang-format off */
static const struct table_column columns[] = {
	{ .id = "pid", .title = "PID", .help = "its number", .min = 7, .want = 7, .ascending = TRUE, .text = pid_text,
	  .role = readable_role, .compare = pid_compare },
	{ .id = "user", .title = "USER", .help = "whose it is", .min = 6, .want = 6, .max = 10, .left = TRUE, .ascending = TRUE, .text = user_text,
	  .compare = user_compare },
	{ .id = "python", .title = "PYTHON", .help = "the version, as far as that is known", .min = 6, .want = 6, .max = 7, .left = TRUE,
	  .ascending = TRUE, .text = python_text, .compare = python_compare },
	{ .id = "rss", .title = "RSS", .help = "resident memory", .min = 6, .want = 6, .text = rss_text, .compare = rss_compare },
	{ .id = "drss", .title = "RSS/min", .help = "how it changes, a minute", .min = 7, .want = 7, .text = rss_rate_text,
	  .role = rss_rate_role, .compare = rss_rate_compare },
	{ .id = "objects", .title = "OBJECTS", .help = "as a daemon counted them last", .min = 7, .want = 9, .text = objects_text,
	  .compare = objects_compare },
	{ .id = "rate", .title = "OBJ/min", .help = "how they change, a minute", .min = 7, .want = 8, .text = objects_rate_text,
	  .role = objects_rate_role, .compare = objects_rate_compare },
	{ .id = "trend", .title = "TREND", .help = "the history of its objects; of its memory where they aren't known", .min = 6,
	  .ease = 8, .want = 6, .max = 24, .left = TRUE, .draw = trend_draw },
	{ .id = "state", .title = "STATE", .help = "of its main thread", .min = 8, .want = 8, .rank = 2, .left = TRUE, .text = state_text,
	  .compare = state_compare },
	{ .id = "growing", .title = "GROWS", .help = "the type that grows most steadily, where a daemon watches", .min = 12, .ease = 20,
	  .want = 24, .max = 40, .rank = 3, .left = TRUE, .text = growing_text, .role = growing_role },
	{ .id = "why", .title = "WHY NOT", .help = "why it can't be read", .min = 9, .want = 9, .max = 13, .left = TRUE, .text = why_text,
	  .role = why_role, .compare = why_compare },
	{ .id = "command", .title = "COMMAND", .help = "its command line", .min = 14, .ease = 24, .want = 60, .max = 200, .left = TRUE,
	  .ascending = TRUE, .text = command_text, .role = readable_role, .compare = command_compare },
};
static const size_t columns_size = G_N_ELEMENTS(columns);
/* clang-format on */

/* Where no daemon counts objects there is more to be seen of the rest; where all can be read nobody needs to be told why not. */
static void choose_columns(struct processes_screen *self)
{
	const GPtrArray *rows = roster_rows(self->screen.view->machine->roster);
	gboolean counted = FALSE, refused = FALSE;
	for (guint i = 0; i < rows->len; i++) {
		counted |= NOW(rows->pdata[i])->watched;
		refused |= NOW(rows->pdata[i])->why != NULL;
	}
	for (size_t i = 0; i < columns_size; i++) {
		const char *id = columns[i].id;
		gboolean objects = !strcmp(id, "objects") || !strcmp(id, "rate") || !strcmp(id, "growing");
		self->ranks[i] = columns[i].rank;
		if ((objects && !counted) || (!strcmp(id, "why") && !refused))
			self->ranks[i] = TABLE_NEVER;
		else if (!strcmp(id, "state") && !counted)
			self->ranks[i] = refused;
		else if ((!strcmp(id, "trend") || !strcmp(id, "user")) && counted)
			self->ranks[i] = 1;
	}
}

/* ---- the list ---- */

static guint64 identity(const void *row)
{
	return (guint64)NOW(row)->pid;
}

static char *words(const void *row)
{
	const struct roster_process *process = NOW(row);
	return g_strdup_printf("%" G_GINT64_FORMAT " %s %s %s %s %s", process->pid, process->user,
			       process->python ? process->python : "", process->command,
			       process->growing ? process->growing : "", process->why ? process->why : "");
}

static gboolean is_tagged(const void *row, const void *context)
{
	const struct processes_screen *self = context;
	return g_hash_table_contains(self->screen.view->machine->tagged, GINT_TO_POINTER((int)NOW(row)->pid));
}

static const struct list_ops list_ops = {.columns = columns,
					 .n_columns = &columns_size,
					 .identity = identity,
					 .words = words,
					 .tagged = is_tagged,
					 .none = "looking for Python processes…"};

static int by_pid(gconstpointer a, gconstpointer b)
{
	const struct roster_row *x = *(struct roster_row *const *)a, *y = *(struct roster_row *const *)b;
	return (x->now->pid > y->now->pid) - (x->now->pid < y->now->pid);
}

/* A look frees the rows of those that are gone: before anything is done with the list it is made of those that are there. */
static void renew(struct processes_screen *self, gboolean anyway)
{
	const struct machine_view *machine = self->screen.view->machine;
	const GPtrArray *rows = roster_rows(machine->roster);
	if (!anyway && self->looks == roster_looks(machine->roster))
		return;
	self->looks = roster_looks(machine->roster);
	choose_columns(self);
	if (!machine->flat) {
		list_set(&self->list, rows->pdata, rows->len);
		return;
	}
	g_autoptr(GPtrArray) flat = g_ptr_array_new();
	for (guint i = 0; i < rows->len; i++)
		g_ptr_array_add(flat, rows->pdata[i]);
	g_ptr_array_sort(flat, by_pid);
	list_set(&self->list, flat->pdata, flat->len);
}

static void processes_init(struct screen *screen, gconstpointer what)
{
	struct processes_screen *self = (struct processes_screen *)screen;
	list_init(&self->list, &list_ops, self);
	self->list.ranks = self->ranks;
	renew(self, TRUE);
}

static void processes_clear(struct screen *screen)
{
	list_clear(&((struct processes_screen *)screen)->list);
}

static void processes_sampled(struct screen *screen)
{
	renew((struct processes_screen *)screen, FALSE);
}

static struct list *processes_list(struct screen *screen)
{
	renew((struct processes_screen *)screen, FALSE);
	return &((struct processes_screen *)screen)->list;
}

static char *processes_title(const struct screen *screen)
{
	return g_strdup("Processes");
}

/* ---- drawing ---- */

static void draw_summary(const struct processes_screen *self, struct frame *frame)
{
	const struct machine_view *machine = self->screen.view->machine;
	const GPtrArray *rows = roster_rows(machine->roster);
	guint refused = 0, watched = 0, tagged = 0;
	gint64 rss = 0;
	for (guint i = 0; i < rows->len; i++) {
		const struct roster_process *process = NOW(rows->pdata[i]);
		refused += process->why != NULL;
		watched += process->watched;
		tagged += is_tagged(rows->pdata[i], self);
		rss += MAX(process->rss, 0);
	}
	const char *state = machine->paused ? "paused" : "● every 2s";
	int state_width = text_columns(state), room = frame->width - state_width - 3;
	frame_text(frame, 0, frame->width - 1 - state_width, state_width, machine->paused ? ROLE_WARNING : ROLE_VALUE,
		   state);
	char bytes[TABLE_CELL];
	table_bytes(bytes, rss);
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_printf(text, "%u Python process%s", rows->len, rows->len == 1 ? "" : "es");
	if (rows->len)
		g_string_append_printf(text, "   RSS %s", bytes);
	if (refused)
		g_string_append_printf(text, "   %u can't be read", refused);
	if (tagged)
		g_string_append_printf(text, "   %u tagged", tagged);
	if (watched)
		g_string_append_printf(text, "   daemon watches %u", watched);
	if (self->list.filter)
		g_string_append_printf(text, "   %u of %u \"%s\"", self->list.rows->len, rows->len, self->list.filter);
	g_autofree char *fitting = text_cut(text->str, room);
	frame_text(frame, 0, 1, room, ROLE_VALUE, fitting);
}

/* What is to be said about the selected one. */
static void draw_selected(const struct processes_screen *self, struct frame *frame, int y)
{
	const struct roster_row *row = list_selected(&self->list);
	int width = frame->width - 2;
	if (!row)
		return;
	const struct roster_process *process = row->now;
	enum role role = ROLE_DIM;
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_printf(text, "%" G_GINT64_FORMAT ": ", process->pid);
	if (process->why) {
		role = ROLE_WARNING;
		g_string_append_printf(text, "%s%s%s", process->cause ? process->cause : process->why,
				       process->fix ? "; " : "", process->fix ? process->fix : "");
	} else if (process->growing) {
		g_autofree char *grows = growing_words(process);
		role = ROLE_ALARM;
		g_string_append_printf(text, "%s steadily", grows);
	} else if (process->watched) {
		role = ROLE_CALM;
		g_string_append(text, "nothing grows steadily, says the daemon");
	} else if (row->steady && isfinite(row->rss_rate)) {
		g_autofree char *rate = words_rate(row->rss_rate / 60, TRUE);
		role = ROLE_ALARM;
		g_string_append_printf(text, "memory %s steadily; Enter shows of what", rate);
	} else {
		g_string_append(text, "Enter shows its types and what grows");
	}
	g_strdelimit(text->str, "\n", ' ');
	g_autofree char *fitting = text_elide(text->str, width);
	frame_text(frame, y, 1, width, role, fitting);
}

static void processes_draw(struct screen *screen, struct frame *frame)
{
	struct processes_screen *self = (struct processes_screen *)screen;
	renew(self, FALSE);
	draw_summary(self, frame);
	draw_bottom(screen->view, frame);
	int height = frame->height - 2, said = height >= 6;
	if (height < 2)
		return;
	list_draw(&self->list, frame, 1, 0, height - said, frame->width, TRUE);
	if (said)
		draw_selected(self, frame, frame->height - 2);
}

/* ---- keys ---- */

static void open_selected(struct processes_screen *self)
{
	const struct roster_row *row = list_selected(&self->list);
	struct view *view = self->screen.view;
	if (!row)
		return;
	if (row->now->why) {
		view_say(view, g_strdup_printf("%" G_GINT64_FORMAT " can't be read: %s", row->now->pid,
					       row->now->cause ? row->now->cause : row->now->why));
		return;
	}
	pid_t pid = (pid_t)row->now->pid;
	view_choose(view, choice_new(FALSE, FALSE, &pid, 1));
}

/* The tagged ones, or the selected one and all below it. */
static void open_sum(struct processes_screen *self)
{
	struct view *view = self->screen.view;
	const GPtrArray *rows = roster_rows(view->machine->roster);
	const struct roster_row *selected = list_selected(&self->list);
	g_autoptr(GArray) pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
	for (guint i = 0; i < rows->len; i++) {
		pid_t pid = (pid_t)NOW(rows->pdata[i])->pid;
		if (is_tagged(rows->pdata[i], self))
			g_array_append_val(pids, pid);
	}
	if (pids->len) {
		view_choose(view, choice_new(TRUE, FALSE, (pid_t *)(gpointer)pids->data, pids->len));
		return;
	}
	pid_t pid = selected ? (pid_t)selected->now->pid : 0;
	if (pid)
		view_choose(view, choice_new(TRUE, TRUE, &pid, 1));
}

static void toggle_tag(struct processes_screen *self)
{
	const struct roster_row *row = list_selected(&self->list);
	if (!row)
		return;
	gpointer key = GINT_TO_POINTER((int)row->now->pid);
	if (!g_hash_table_remove(self->screen.view->machine->tagged, key))
		g_hash_table_add(self->screen.view->machine->tagged, key);
	list_select(&self->list, self->list.selection + 1);
}

static void toggle_tree(struct processes_screen *self)
{
	struct machine_view *machine = self->screen.view->machine;
	/* sorted by a column there is no tree: the key leads back to it */
	machine->flat = !machine->flat && !self->list.sort;
	list_sort_by(&self->list, NULL);
	renew(self, TRUE);
	view_say(self->screen.view, g_strdup(machine->flat ? "by number; t: as a tree" : "as a tree; t: by number"));
}

static gboolean processes_act(struct screen *screen, enum action action)
{
	struct processes_screen *self = (struct processes_screen *)screen;
	struct view *view = screen->view;
	renew(self, FALSE);
	switch (action) {
	case ACTION_ENTER:
		open_selected(self);
		return TRUE;
	case ACTION_SUM:
		open_sum(self);
		return TRUE;
	case ACTION_GRAPHS:
		toggle_tree(self);
		return TRUE;
	case ACTION_TAG:
		toggle_tag(self);
		return TRUE;
	case ACTION_UNTAG:
		g_hash_table_remove_all(view->machine->tagged);
		return TRUE;
	case ACTION_PAUSE:
		view->machine->paused = !view->machine->paused;
		return TRUE;
	case ACTION_BASELINE:
	case ACTION_SAVE:
	case ACTION_ASSESS:
	case ACTION_WATCH:
	case ACTION_SLOWER:
	case ACTION_FASTER:
		view_say(view, g_strdup("that is for one process: Enter opens it"));
		return TRUE;
	default:
		return FALSE;
	}
}

static gboolean processes_offers(const struct screen *screen, enum action action)
{
	static const enum action none[] = {ACTION_BASELINE, ACTION_SAVE,   ACTION_GRAPHS, ACTION_AGAIN,
					   ACTION_WATCH,    ACTION_ASSESS, ACTION_LOCALS};
	for (size_t i = 0; i < G_N_ELEMENTS(none); i++)
		if (action == none[i])
			return FALSE;
	return action != ACTION_BACK || !screen->view->alone;
}

const struct screen_ops screen_processes = {
	.name = "processes",
	.size = sizeof(struct processes_screen),
	.init = processes_init,
	.clear = processes_clear,
	.title = processes_title,
	.draw = processes_draw,
	.act = processes_act,
	.sampled = processes_sampled,
	.list = processes_list,
	.offers = processes_offers,
};
