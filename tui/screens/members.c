/* One type of a sum, process by process: which of eight workers grows. And what a sum says of its members elsewhere. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/text.h"
#include "tui/graph.h"
#include "tui/screens/top.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

#define NEWS_US (60 * G_USEC_PER_SEC) /* so long it is told that one joined or left */

#define NARROW    60
#define RECENT_US (5 * G_USEC_PER_SEC) /* read so long ago is read now */

/* ---- the list: a row a member ---- */

struct members_screen {
	struct screen screen;
	struct list list;
	char *type;
};

/* What the row's process holds of the type the screen is about. */
static gboolean type_of(const void *row, const void *context, struct member_type *type)
{
	return member_type(row, ((const struct members_screen *)context)->type, type);
}

static void pid_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	snprintf(out, TABLE_CELL, "%" G_GINT64_FORMAT, ((const struct member *)row)->pid);
}

static gint64 last_of(const void *row, const void *context, enum trend_metric metric)
{
	struct member_type type;
	return type_of(row, context, &type) ? type.last[metric] : SAMPLE_UNKNOWN;
}

/* 0 with *known false: it isn't known */
static gint64 change_of(const void *row, const void *context, enum trend_metric metric, gboolean *known)
{
	struct member_type type;
	*known = type_of(row, context, &type) && type.last[metric] != SAMPLE_UNKNOWN &&
		 type.baseline[metric] != SAMPLE_UNKNOWN;
	return *known ? type.last[metric] - type.baseline[metric] : 0;
}

static double rate_of(const void *row, const void *context)
{
	struct member_type type;
	return type_of(row, context, &type) && !((const struct member *)row)->left_us ? type.rate : (double)NAN;
}

static void count_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, last_of(row, context, TREND_COUNT));
}

static void bytes_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_bytes(out, last_of(row, context, TREND_BYTES));
}

static void count_change_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	gboolean known;
	gint64 change = change_of(row, context, TREND_COUNT, &known);
	if (known)
		table_change(out, width, change);
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static void bytes_change_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	gboolean known;
	gint64 change = change_of(row, context, TREND_BYTES, &known);
	if (known)
		table_bytes_change(out, change);
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static void rate_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	double rate = rate_of(row, context);
	if (isfinite(rate))
		table_change(out, width, (gint64)llround(rate));
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static gint64 time_now(const void *context)
{
	const struct view *view = ((const struct members_screen *)context)->screen.view;
	const sample_t *last = trend_last(view->trend);
	return last ? last->time_us : view_now(view);
}

/* "read", "read 12s ago", "not read 12s", "ended 3s ago" */
static void state_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct member *member = row;
	gint64 now = time_now(context), age = now - member->last_us;
	g_autofree char *ago = words_duration(member->left_us ? now - member->left_us : age, TRUE);
	if (member->left_us)
		snprintf(out, TABLE_CELL, "ended %s ago", ago);
	else if (!member->last_us)
		g_strlcpy(out, member->why ? "never read" : "to be read", TABLE_CELL);
	else
		snprintf(out, TABLE_CELL, member->why ? "not read %s" : age < RECENT_US ? "read" : "read %s ago", ago);
}

static enum role state_role(const void *row, const void *context)
{
	const struct member *member = row;
	return member->why ? ROLE_WARNING : member->left_us ? ROLE_DIM : ROLE_TEXT;
}

static enum role rate_role(const void *row, const void *context)
{
	struct member_type type;
	double rate = rate_of(row, context);
	if (!isfinite(rate) || llround(rate) == 0)
		return ROLE_DIM;
	return type_of(row, context, &type) && type.steady ? ROLE_GROWS : rate < 0 ? ROLE_SHRINKS : ROLE_TEXT;
}

/* Why it could not be read is of more interest than what it is. */
static void command_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct member *member = row;
	g_autofree char *fitting = text_cut(member->why ? member->why : words_command(member->command), width);
	g_strlcpy(out, fitting, TABLE_CELL);
}

static void trend_draw(struct frame *frame, int y, int x, int width, const void *row, const void *context)
{
	const struct member *member = row;
	struct member_type type;
	if (!type_of(row, context, &type) || !type.row)
		return;
	size_t room = trend_ticks(member->trend);
	g_autofree int64_t *times = g_new(int64_t, room), *values = g_new(int64_t, room);
	struct series series = {times, values, 0, trend_first_time(member->trend), trend_last(member->trend)->time_us};
	series.n = trend_series(member->trend, type.row, TREND_COUNT, times, values);
	graph_row(frame, y, x, width, type.steady ? ROLE_GROWS : ROLE_GRAPH, &series);
}

#define COMPARE(function, expression)                                                                                  \
	static int function(const void *a, const void *b, const void *context)                                         \
	{                                                                                                              \
		const void *row = a;                                                                                   \
		double x = (double)(expression);                                                                       \
		row = b;                                                                                               \
		double y = (double)(expression);                                                                       \
		return (x > y) - (x < y);                                                                              \
	}
COMPARE(pid_compare, ((const struct member *)row)->pid)
COMPARE(count_compare, last_of(row, context, TREND_COUNT))
COMPARE(bytes_compare, last_of(row, context, TREND_BYTES))
COMPARE(rate_compare, isfinite(rate_of(row, context)) ? rate_of(row, context) : -HUGE_VAL)
static gboolean unused;
COMPARE(count_change_compare, change_of(row, context, TREND_COUNT, &unused))
COMPARE(bytes_change_compare, change_of(row, context, TREND_BYTES, &unused))

/* clang-format off */
static const struct table_column columns[] = {
	{ .id = "pid", .title = "PID", .help = "of the process", .min = 7, .want = 7, .ascending = TRUE, .text = pid_text, .role = state_role,
	  .compare = pid_compare },
	{ .id = "count", .title = "COUNT", .help = "objects of the type in it", .min = 9, .want = 9, .max = 11, .text = count_text,
	  .compare = count_compare },
	{ .id = "dcount", .title = "ΔCOUNT", .help = "change since the baseline, or since it joined", .min = 8, .want = 8, .max = 11,
	  .text = count_change_text, .role = rate_role, .compare = count_change_compare },
	{ .id = "rate", .title = "RATE/min", .help = "objects a minute, over the last 30 samples", .min = 8, .want = 8, .max = 10, .text = rate_text,
	  .role = rate_role, .compare = rate_compare },
	{ .id = "bytes", .title = "BYTES", .help = "what they take", .min = 6, .want = 7, .text = bytes_text, .compare = bytes_compare },
	{ .id = "dbytes", .title = "ΔBYTES", .help = "change since the baseline, or since it joined", .min = 6, .want = 8,
	  .rank = 1, .text = bytes_change_text, .compare = bytes_change_compare },
	{ .id = "trend", .title = "TREND", .help = "the history of the count", .min = 6, .ease = 10, .want = 6, .max = 40, .left = TRUE,
	  .draw = trend_draw },
	{ .id = "state", .title = "STATE", .help = "when it was read, or ended", .min = 13, .want = 13, .left = TRUE, .text = state_text,
	  .role = state_role },
	{ .id = "command", .title = "COMMAND", .help = "its command line, or why it could not be read", .min = 11, .ease = 20, .want = 40,
	  .max = 200, .left = TRUE, .text = command_text, .role = state_role },
};
static const size_t columns_size = G_N_ELEMENTS(columns);
/* clang-format on */

static guint64 identity(const void *row)
{
	const struct member *member = row;
	return (guint64)member->pid ^ (guint64)member->start_time_us << 22;
}

static char *words(const void *row)
{
	const struct member *member = row;
	return g_strdup_printf("%" G_GINT64_FORMAT " %s %s", member->pid, member->command,
			       member->why ? member->why : "");
}

static const struct list_ops list_ops = {
	.columns = columns, .n_columns = &columns_size, .identity = identity, .words = words, .none = "no process yet"};

static void members_sampled(struct screen *screen)
{
	struct members_screen *self = (struct members_screen *)screen;
	const GPtrArray *all = members_all(screen->view->members);
	list_set(&self->list, all->pdata, all->len);
}

static const struct table_column *column_named(const char *id)
{
	for (size_t i = 0; i < columns_size; i++)
		if (!strcmp(columns[i].id, id))
			return &columns[i];
	return NULL;
}

static void members_screen_init(struct screen *screen, gconstpointer what)
{
	struct members_screen *self = (struct members_screen *)screen;
	self->type = g_strdup(what);
	list_init(&self->list, &list_ops, self);
	members_sampled(screen);
	list_sort_by(&self->list, column_named("rate"));
}

static void members_screen_clear(struct screen *screen)
{
	struct members_screen *self = (struct members_screen *)screen;
	list_clear(&self->list);
	g_free(self->type);
}

static char *members_title(const struct screen *screen)
{
	return g_strdup(((const struct members_screen *)screen)->type);
}

static void members_draw(struct screen *screen, struct frame *frame)
{
	struct members_screen *self = (struct members_screen *)screen;
	int y = draw_head(screen, frame, "process by process"), height = frame->height - y - 1;
	draw_bottom(screen->view, frame);
	if (height < 2)
		return;
	const struct member *member = list_selected(&self->list);
	gboolean said = height >= 5 && member && member->why;
	list_draw(&self->list, frame, y, 0, height - said, frame->width, TRUE);
	if (!said)
		return;
	g_autofree char *why = g_strdup_printf("%" G_GINT64_FORMAT " could not be read: %s", member->pid, member->why);
	g_autofree char *fitting = text_elide(why, frame->width - 2);
	frame_text(frame, frame->height - 2, 1, frame->width - 2, ROLE_WARNING, fitting);
}

static gboolean members_act(struct screen *screen, enum action action)
{
	struct members_screen *self = (struct members_screen *)screen;
	struct view *view = screen->view;
	const struct member *member = list_selected(&self->list);
	if (action == ACTION_TAG || action == ACTION_UNTAG || action == ACTION_WATCH || action == ACTION_GRAPHS)
		return TRUE;
	if (action != ACTION_ENTER)
		return FALSE;
	pid_t pid = member ? (pid_t)member->pid : 0;
	if (!member)
		return TRUE;
	if (member->left_us)
		view_say(view, g_strdup_printf("process %d has ended", (int)pid));
	else if (!view->options.open)
		view_say(view, g_strdup("a process can't be opened from here"));
	else
		view_choose(view, choice_new(FALSE, FALSE, &pid, 1));
	return TRUE;
}

static struct list *members_list(struct screen *screen)
{
	return &((struct members_screen *)screen)->list;
}

static gboolean members_offers(const struct screen *screen, enum action action)
{
	return action != ACTION_SAVE && action != ACTION_GRAPHS && action != ACTION_AGAIN && action != ACTION_WATCH &&
	       action != ACTION_ASSESS;
}

const struct screen_ops screen_members = {
	.name = "members",
	.size = sizeof(struct members_screen),
	.init = members_screen_init,
	.clear = members_screen_clear,
	.title = members_title,
	.draw = members_draw,
	.act = members_act,
	.sampled = members_sampled,
	.list = members_list,
	.offers = members_offers,
};

/* ---- what is said of them elsewhere ---- */

/* The member in which something grows fastest, the program's own classes first; NULL: in none. */
static const struct member *grows_most(const struct view *view)
{
	const GPtrArray *all = members_all(view->members);
	const struct member *most = NULL;
	double rate = 0;
	for (guint i = 0; i < members_there(view->members); i++) {
		const struct member *member = all->pdata[i];
		const struct trend_row *row = verdict_culprit(member->trend);
		double own = row ? row->growth[row->leaks < TREND_METRICS ? row->leaks : TREND_COUNT].rate *
					     (row->builtin ? 1 : VERDICT_OWN_WEIGHT)
				 : 0;
		if (own > rate) {
			rate = own;
			most = member;
		}
	}
	return most;
}

/* What grew in those that have ended. */
static char *last_words(const struct view *view, int width, enum role *role)
{
	g_autoptr(GArray) grown = members_grown(view->members);
	char amount[32];
	if (!grown->len) {
		*role = ROLE_CALM;
		return g_strdup_printf("nothing grew steadily in %zu processes", members_read(view->members));
	}
	const struct grown *first = &g_array_index(grown, struct grown, 0);
	g_autofree char *rate = words_rate(first->rate, FALSE);
	g_autofree char *time = words_duration(first->until_us - first->since_us, FALSE);
	g_autofree char *text = g_strdup_printf("%s grew %s steadily for %s (+%s), in process %d", first->type, rate,
						time, text_count(amount, first->amount), (int)first->pid);
	*role = ROLE_ALARM;
	return text_elide(text, width);
}

char *sum_words(const struct view *view, int width, enum role *role)
{
	if (view->ended_us)
		return last_words(view, width, role);
	const struct trend_row *row = verdict_culprit(view->trend);
	struct member_type type;
	const struct member *member = row ? members_worst(view->members, row->name, &type) : grows_most(view);
	if (!member)
		return verdict_words(view->trend, width, role);
	g_autofree char *where =
		g_strdup_printf(row ? " (most in %" G_GINT64_FORMAT ")" : "%" G_GINT64_FORMAT ": ", member->pid);
	/* which process is said in its column, too */
	if (row && width < NARROW)
		return verdict_words(view->trend, width, role);
	g_autofree char *what = verdict_words(row ? view->trend : member->trend, width - text_columns(where), role);
	return row ? g_strconcat(what, where, NULL) : g_strconcat(where, what, NULL);
}

char *sum_news(const struct view *view, int width, enum role *role)
{
	const GPtrArray *all = members_all(view->members);
	const sample_t *last = trend_last(view->trend);
	size_t unread = members_unread(view->members);
	*role = ROLE_WARNING;
	for (guint i = 0; unread && i < members_there(view->members); i++) {
		const struct member *member = all->pdata[i];
		if (!member->why)
			continue;
		g_autofree char *age = words_duration(last->time_us - member->last_us, TRUE);
		g_autofree char *held =
			member->last_us ? g_strdup_printf("counted as %s ago", age) : g_strdup("in no number here");
		g_autofree char *more = unread > 1 ? g_strdup_printf("; %zu more", unread - 1) : g_strdup("");
		g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT " not read (%s), %s%s", member->pid,
							member->why, held, more);
		return text_cut(text, width);
	}
	gint64 when = 0;
	const struct member *member = members_news(view->members, &when);
	if (!member || !last || last->time_us - when > NEWS_US)
		return g_strdup("");
	*role = ROLE_VALUE;
	g_autofree char *ago = words_duration(last->time_us - when, TRUE);
	return g_strdup_printf("%" G_GINT64_FORMAT " %s %s ago", member->pid, member->left_us ? "ended" : "joined",
			       ago);
}
