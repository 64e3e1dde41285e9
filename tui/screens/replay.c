#include "tui/screens/replay.h"

#include <string.h>

#include "base/error.h"
#include "daemon/store/reference.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

#define RECENT 150 /* samples before the cursor that are all read */
#define OLD    150 /* and so many of those before them */
#define PAGES  20  /* [ and ] move by such a part of the history */

struct replay {
	GArray *moments; /* struct source_moment; NULL: not yet known */
	int cursor;      /* the moment shown; -1: none yet */
	int asked;       /* the moment that is being read */
	int wanted;      /* the moment to go to */
	gboolean waiting, playing, anew;
	gboolean following; /* of a living source: the cursor is at the end, wherever that goes */
	gint64 due_us;      /* playing: when the next step is */
	int64_t baseline;   /* id of the moment changes count from; -1: of the first */
	GError *failure;
};

static struct source_moment *moment_at(const struct replay *replay, int index)
{
	return &g_array_index(replay->moments, struct source_moment, index);
}

static int n_moments(const struct replay *replay)
{
	return replay->moments ? (int)replay->moments->len : 0;
}

void replay_free(struct replay *replay)
{
	if (!replay)
		return;
	if (replay->moments)
		g_array_unref(replay->moments);
	g_clear_error(&replay->failure);
	g_free(replay);
}

/* ---- questions; on the sampler's thread ---- */

static gpointer ask_moments(source_t *source, const struct request *request, GError **error)
{
	GArray *moments = source->ops->moments(source, error);
	if (moments && !moments->len && source_alive(source) == FALSE) {
		g_array_unref(moments);
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, "there is no sample in it", NULL,
			  "there is nothing to view");
		return NULL;
	}
	return moments;
}

static void free_moments(gpointer answer)
{
	g_array_unref(answer);
}

/* request->text: ids with blanks between. A moment that has gone meanwhile is left out; when none is left it is an error. */
static gpointer ask_samples(source_t *source, const struct request *request, GError **error)
{
	g_autoptr(GPtrArray) samples = g_ptr_array_new_with_free_func((GDestroyNotify)sample_unref);
	g_auto(GStrv) ids = g_strsplit(request->text, " ", -1);
	for (char **id = ids; *id; id++) {
		g_autoptr(GError) problem = NULL;
		sample_t *sample = source->ops->load(source, g_ascii_strtoll(*id, NULL, 10), &problem);
		if (sample) {
			g_ptr_array_add(samples, sample);
		} else if (!id[1] && !samples->len) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return NULL;
		}
	}
	return g_steal_pointer(&samples);
}

static void free_samples(gpointer answer)
{
	g_ptr_array_unref(answer);
}

static const struct request_kind moments_kind = {ask_moments, free_moments}, samples_kind = {ask_samples, free_samples};

static void ask(struct view *view, const struct request_kind *kind, char *text)
{
	struct request *request = g_new0(struct request, 1);
	request->kind = kind;
	request->text = text;
	view->replay->waiting = TRUE;
	view->options.ask(view->options.ask_context, request);
}

static void append_id(GString *ids, const struct replay *replay, int index)
{
	g_string_append_printf(ids, "%s%" G_GINT64_FORMAT, ids->len ? " " : "", moment_at(replay, index)->id);
}

/* What the trend needs to show the moment `to`: what is recent, some of what is old, the first, and the baseline. */
static char *ids_until(const struct replay *replay, int to)
{
	g_autoptr(GString) ids = g_string_new(NULL);
	int recent = MAX(to - RECENT + 1, 0), old = MIN(recent, OLD), last = -1;
	for (int i = 0; i < old; i++) {
		int at = (int)((gint64)i * recent / old);
		for (int between = last + 1; between < at; between++)
			if (moment_at(replay, between)->id == replay->baseline)
				append_id(ids, replay, between);
		append_id(ids, replay, at);
		last = at;
	}
	for (int i = last + 1; i < recent; i++)
		if (moment_at(replay, i)->id == replay->baseline)
			append_id(ids, replay, i);
	for (int i = recent; i <= to; i++)
		append_id(ids, replay, i);
	return g_string_free(g_steal_pointer(&ids), FALSE);
}

static void go(struct view *view, int to)
{
	struct replay *replay = view->replay;
	replay->wanted = CLAMP(to, 0, MAX(n_moments(replay) - 1, 0));
	replay->following = !view->recording && replay->wanted == n_moments(replay) - 1;
	if (replay->waiting || !n_moments(replay) || replay->wanted == replay->cursor)
		return;
	/* one step on is what a watcher would have seen: the trend goes on as it is */
	replay->asked = replay->wanted;
	replay->anew = replay->cursor < 0 || replay->wanted != replay->cursor + 1;
	if (replay->anew) {
		ask(view, &samples_kind, ids_until(replay, replay->wanted));
		return;
	}
	GString *id = g_string_new(NULL);
	append_id(id, replay, replay->wanted);
	ask(view, &samples_kind, g_string_free(id, FALSE));
}

/* ---- answers ---- */

static void take_moments(struct view *view, GArray *moments)
{
	struct replay *replay = view->replay;
	replay->moments = moments;
	g_autofree int64_t *times = g_new(int64_t, moments->len + 1);
	for (guint i = 0; i < moments->len; i++)
		times[i] = moment_at(replay, (int)i)->time_us;
	gssize at = moments->len ? reference_choose(view->options.at, times, moments->len, &replay->failure) : 0;
	if (at >= 0)
		go(view, (int)at);
}

static void take_samples(struct view *view, GPtrArray *samples)
{
	struct replay *replay = view->replay;
	if (replay->anew)
		view_reset(view);
	trend_defer(view->trend, TRUE);
	int64_t baseline = 0;
	for (int i = 0; i < n_moments(replay); i++)
		if (moment_at(replay, i)->id == replay->baseline)
			baseline = moment_at(replay, i)->time_us;
	for (guint i = 0; i < samples->len; i++) {
		sample_t *sample = samples->pdata[i];
		if (i + 1 == samples->len)
			trend_defer(view->trend, FALSE);
		view_add(view, sample);
		if (sample->time_us == baseline && replay->anew)
			trend_set_baseline(view->trend);
	}
	replay->cursor = replay->asked;
	replay->due_us = view_now(view) + view->options.interval_us;
	if (replay->cursor == n_moments(replay) - 1)
		replay->playing = FALSE;
	if (replay->following)
		replay->wanted = n_moments(replay) - 1;
	view_rebuild(view);
}

gboolean replay_answered(struct view *view, struct request *request)
{
	struct replay *replay = view->replay;
	if (!replay || (request->kind != &moments_kind && request->kind != &samples_kind))
		return FALSE;
	replay->waiting = FALSE;
	if (request->error && replay->cursor < 0)
		replay->failure = g_steal_pointer(&request->error);
	else if (request->error)
		view_say(view, g_strdup(request->error->message));
	else if (request->kind == &moments_kind)
		take_moments(view, g_steal_pointer(&request->answer));
	else
		take_samples(view, request->answer);
	if (request->error)
		replay->wanted = replay->cursor;
	request_free(request);
	if (replay->wanted != replay->cursor && !replay->waiting && !replay->failure)
		go(view, replay->wanted);
	return TRUE;
}

gboolean replay_add(struct view *view, sample_t *sample)
{
	struct replay *replay = view->replay;
	struct source_moment moment = {sample->time_us, sample->time_us};
	int n = n_moments(replay);
	/* until the history is there, what comes in belongs to it */
	if (!replay->moments || (n && moment_at(replay, n - 1)->time_us >= moment.time_us))
		return FALSE;
	g_array_append_val(replay->moments, moment);
	if (!replay->following || replay->waiting)
		return FALSE;
	if (replay->cursor != n - 1) {
		go(view, n);
		return FALSE;
	}
	replay->cursor = replay->wanted = n;
	return TRUE;
}

/* ---- the person ---- */

void replay_begin(struct view *view)
{
	struct replay *replay = view->replay = g_new0(struct replay, 1);
	replay->cursor = replay->baseline = -1;
	replay->following = !view->recording && !view->options.at;
	ask(view, &moments_kind, NULL);
}

static void toggle_playing(struct view *view)
{
	struct replay *replay = view->replay;
	replay->playing = !replay->playing && replay->cursor < n_moments(replay) - 1;
	replay_pace(view);
	view_say(view, g_strdup(replay->playing ? "playing; + and - change the pace"
						: "held; z plays, , and . step, [ and ] jump"));
}

gboolean replay_act(struct view *view, enum action action)
{
	struct replay *replay = view->replay;
	gboolean moves = action >= ACTION_EARLIER && action <= ACTION_LATEST;
	if (!replay || (!moves && !(action == ACTION_PAUSE && view->recording))) {
		if (moves)
			view_say(view,
				 g_strdup("there is no history to go through: that is of recordings and the daemon"));
		return moves;
	}
	int page = MAX(n_moments(replay) / PAGES, 1), from = replay->wanted;
	if (action == ACTION_PAUSE)
		toggle_playing(view);
	else
		replay->playing = FALSE;
	if (action == ACTION_EARLIER || action == ACTION_LATER)
		go(view, from + (action == ACTION_LATER ? 1 : -1));
	else if (action == ACTION_MUCH_EARLIER || action == ACTION_MUCH_LATER)
		go(view, from + (action == ACTION_MUCH_LATER ? page : -page));
	else if (action == ACTION_EARLIEST || action == ACTION_LATEST)
		go(view, action == ACTION_LATEST ? G_MAXINT : 0);
	return TRUE;
}

void replay_pace(struct view *view)
{
	view->replay->due_us = view_now(view) + view->options.interval_us;
}

void replay_baseline(struct view *view)
{
	struct replay *replay = view->replay;
	if (replay->cursor < 0)
		return;
	replay->baseline = moment_at(replay, replay->cursor)->id;
	view_say(view, g_strdup_printf("changes count from sample #%d", replay->cursor + 1));
}

gint64 replay_wake(const struct view *view)
{
	return view->replay->playing && !view->replay->waiting ? view->replay->due_us : 0;
}

void replay_tick(struct view *view)
{
	struct replay *replay = view->replay;
	if (replay->playing && !replay->waiting && view_now(view) >= replay->due_us)
		go(view, replay->cursor + 1);
}

GError *replay_failure(struct view *view)
{
	return view->replay ? g_steal_pointer(&view->replay->failure) : NULL;
}

gboolean replay_settled(const struct view *view)
{
	return view->replay && !view->replay->waiting && view->replay->cursor >= 0 &&
	       view->replay->cursor == view->replay->wanted;
}

/* ---- drawing ---- */

char *replay_state(const struct view *view, enum role *role)
{
	const struct replay *replay = view->replay;
	gboolean live = !view->recording && replay->cursor == n_moments(replay) - 1;
	*role = live ? ROLE_VALUE : ROLE_WARNING;
	g_autofree char *every = words_interval(view->options.interval_us);
	g_autofree char *state = view->paused      ? g_strdup("paused")
				 : live            ? g_strdup_printf("● every %s", every)
				 : replay->playing ? g_strdup("playing")
				 : view->recording ? g_strdup("recording")
						   : g_strdup("back in time");
	return g_strdup_printf("%s  #%d/%d", state, replay->cursor + 1, n_moments(replay));
}

static char *clock_words(int64_t time_us, gboolean day)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(time_us / G_USEC_PER_SEC);
	return time ? g_date_time_format(time, day ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S") : g_strdup("-");
}

/* Half of the distances are shorter. */
static int compare_distance(gconstpointer a, gconstpointer b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* A distance much longer than those next to it is a gap: nobody looked then. */
static gboolean is_gap(const struct replay *replay, int index)
{
	int64_t near[8];
	size_t n = 0;
	for (int i = MAX(index - 4, 1); i <= index + 4 && i < n_moments(replay) && n < G_N_ELEMENTS(near); i++)
		if (i != index)
			near[n++] = moment_at(replay, i)->time_us - moment_at(replay, i - 1)->time_us;
	if (n < 2)
		return FALSE;
	qsort(near, n, sizeof(*near), compare_distance);
	return moment_at(replay, index)->time_us - moment_at(replay, index - 1)->time_us > 4 * MAX(near[n - 1], 1);
}

gboolean replay_draw(const struct view *view, struct frame *frame, int y)
{
	const struct replay *replay = view->replay;
	int n = n_moments(replay);
	if (replay->cursor < 0 || n < 1)
		return FALSE;
	int64_t first = moment_at(replay, 0)->time_us, last = moment_at(replay, n - 1)->time_us;
	int64_t now = moment_at(replay, replay->cursor)->time_us, span = MAX(last - first, 1);
	g_autofree char *at = clock_words(now, TRUE), *from = clock_words(first, FALSE), *to = clock_words(last, FALSE);
	int x = 1, width = frame->width;
	x += frame_text(frame, y, x, width, ROLE_LABEL, "Time") + 1;
	x += frame_text(frame, y, x, width, ROLE_VALUE, at) + 3;
	int end = width - 1 - text_columns(to) - 1, room = end - x - text_columns(from) - 1;
	if (room < 10)
		return TRUE;
	x += frame_text(frame, y, x, width, ROLE_TEXT, from) + 1;
	frame_text(frame, y, end + 1, width, ROLE_TEXT, to);
	for (int i = 0; i < room; i++)
		frame_put(frame, y, x + i, ROLE_DIM, 0x2500);
	for (int i = 1; i < n; i++) {
		if (!is_gap(replay, i))
			continue;
		int gap_from = (int)((moment_at(replay, i - 1)->time_us - first) * (room - 1) / span);
		int gap_to = (int)((moment_at(replay, i)->time_us - first) * (room - 1) / span);
		for (int column = gap_from + 1; column < gap_to; column++)
			frame_put(frame, y, x + column, ROLE_DIM, ' ');
	}
	frame_put(frame, y, x + (int)((now - first) * (room - 1) / span), ROLE_VALUE, 0x25cf);
	return TRUE;
}
