#include "tui/screens/top.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "daemon/source/group.h"
#include "tui/frame.h"
#include "tui/lister.h"
#include "tui/sampler.h"
#include "tui/screens/opening_thread.h"
#include "tui/screens/replay.h"
#include "tui/screens/view.h"
#include "tui/term.h"

#define DEFAULT_INTERVAL_US G_USEC_PER_SEC
#define MAX_FAILURES        5 /* in a row before the first sample: then there is nothing to watch */
#define PATIENCE_MS         2000
#define MAX_VISITS          16
#define DEFAULT_WIDTH       80
#define DEFAULT_HEIGHT      24

/* a source that is looked at: where it is shown, and who reads it */
struct visit {
	struct view *view;
	sampler_t *sampler;    /* NULL: it is the list of processes alone */
	int samples, failures; /* failures: since the last sample */
	gboolean follow;       /* the source is alive: samples come by themselves */
};

struct top {
	const struct top_options *options; /* as given */
	GPtrArray *visits;                 /* struct visit *; the last one is shown, Esc leads back */
	struct machine_view machine;
	lister_t *lister;        /* NULL: nobody has looked at the list yet */
	struct opening *opening; /* what was chosen last, and is on its way; NULL: nothing */
	struct frame frame;
	int status;      /* to return */
	GError *failure; /* when there was never a sample */
	gboolean done;
};

static struct visit *shown(const struct top *top)
{
	return top->visits->pdata[top->visits->len - 1];
}

static void ask(void *context, struct request *request)
{
	struct visit *visit = context;
	sampler_ask(visit->sampler, request);
}

static void visit_free(gpointer data)
{
	struct visit *visit = data;
	struct top_options *options = &visit->view->options;
	if (options->finished && visit->view->members)
		options->finished(options->finished_context, visit->view->members);
	options->ask = NULL;
	sampler_free(visit->sampler);
	view_free(visit->view);
	g_free(visit);
}

/* Begin to look at a source; NULL: the list of processes. */
static struct visit *visit_new(struct top *top, source_t *source, const struct top_options *options)
{
	struct visit *visit = g_new0(struct visit, 1);
	gboolean recording = source && !g_strcmp0(source->ops->name, "recording");
	struct top_options own = *options;
	own.sum = source && !g_strcmp0(source->ops->name, GROUP_NAME);
	visit->view = view_new(&own, recording);
	struct view *view = visit->view;
	view->nested = top->visits->len > 0;
	view->machine = options->open ? &top->machine : NULL;
	if (view->options.interval_us <= 0)
		view->options.interval_us = DEFAULT_INTERVAL_US;
	g_ptr_array_add(top->visits, visit);
	if (!source) {
		view_alone(view, &top->machine);
		return visit;
	}
	gboolean lossless = options->dump_screen || options->iterations || recording;
	visit->follow = !recording;
	if (source->ops->instances || options->replay) {
		view->options.ask = ask;
		view->options.ask_context = visit;
	}
	/* what was recorded is asked for as the cursor needs it, never simply the next */
	visit->sampler = recording && options->replay ? sampler_new_held(source, view->options.interval_us, lossless)
						      : sampler_new(source, view->options.interval_us, lossless);
	sampler_set_budget(visit->sampler, options->budget);
	if (options->replay)
		replay_begin(view);
	if (options->screen)
		screen_go(view, options->screen);
	return visit;
}

/* There is nothing to look at. Of what somebody chose from a list that is said there, else on the terminal, not on the screen. */
static void give_up(struct top *top, GError *error)
{
	if (top->visits->len == 1) {
		top->status = error->code;
		top->failure = error;
		top->done = TRUE;
		return;
	}
	g_ptr_array_remove_index(top->visits, top->visits->len - 1);
	g_autofree char *words = g_strdelimit(g_strdup(error->message), "\n", ' ');
	view_say(shown(top)->view, g_steal_pointer(&words));
	g_error_free(error);
}

/* Take in what the sampler has; false: nothing new. */
static gboolean take_news(struct top *top)
{
	struct sampler_news news;
	struct visit *visit = shown(top);
	struct view *view = visit->view;
	struct top_options *options = &view->options;
	if (!visit->sampler || !sampler_take(visit->sampler, &news))
		return FALSE;
	if (news.sample) {
		/* what comes in while an earlier moment is looked at only makes the history longer */
		if (!view->replay || replay_add(view, news.sample))
			view_add(view, news.sample);
		sample_unref(news.sample);
		visit->samples++;
		visit->failures = 0;
	}
	view->stretched_us = news.stretched_us;
	if (news.leaks)
		view_assessed(view, news.leaks);
	for (struct request *answer; (answer = sampler_answer(visit->sampler));)
		view_answer(view, answer);
	GError *hopeless_history = replay_failure(view);
	if (hopeless_history) {
		g_clear_error(&news.error);
		give_up(top, hopeless_history);
		return TRUE;
	}
	visit->failures += news.error != NULL;
	gboolean hopeless =
		news.ended || visit->failures >= MAX_FAILURES ||
		(news.error && news.error->code != REFTOP_ERROR_FAILED && news.error->code != REFTOP_ERROR_SKIPPED);
	if (news.error && !visit->samples && hopeless) {
		give_up(top, news.error);
		return TRUE;
	}
	if (news.ended && !view->ended_us)
		view_end(view, options->ended ? options->ended(options->ended_context) : NULL, news.error);
	else if (news.error)
		view_fail(view, g_strdup(news.error->message));
	g_clear_error(&news.error);
	if (options->iterations && visit->samples >= options->iterations)
		top->done = TRUE;
	return TRUE;
}

/* ---- the list of processes, and what is chosen from it ---- */

/* The list is looked at only while it is shown: then there is somebody who asks for it. */
static void follow_list(struct top *top)
{
	gboolean wanted = screen_top(shown(top)->view)->ops == &screen_processes;
	if (wanted && !top->lister)
		top->lister = lister_new(top->options->no_daemon);
	if (top->lister)
		lister_hold(top->lister, !wanted || top->machine.paused);
}

static gboolean take_look(struct top *top)
{
	GPtrArray *processes = top->lister ? lister_take(top->lister) : NULL;
	if (!processes)
		return FALSE;
	struct view *view = shown(top)->view;
	view_look(view, processes, view_now(view));
	int looks = (int)roster_looks(top->machine.roster);
	if (view->alone && top->options->iterations && looks >= top->options->iterations)
		top->done = TRUE;
	return TRUE;
}

static void follow_settings(struct top *top)
{
	struct visit *visit = shown(top);
	if (!visit->sampler)
		return;
	sampler_set_interval(visit->sampler, visit->view->options.interval_us);
	sampler_hold(visit->sampler, visit->view->paused || !visit->follow, FALSE);
	sampler_assess(visit->sampler, visit->view->assess);
}

/* Nobody looks at what is below: it is left alone. */
static void leave_alone(struct top *top)
{
	if (shown(top)->sampler)
		sampler_hold(shown(top)->sampler, TRUE, FALSE);
}

/* Begin to open what somebody chose; what they came from already is gone back to. */
static void begin_choice(struct top *top)
{
	struct view *from = shown(top)->view;
	struct choice *choice = g_steal_pointer(&from->choice);
	pid_t pid = g_array_index(choice->pids, pid_t, 0);
	const sample_t *here = from->alone ? NULL : trend_last(from->trend);
	if (!choice->sum && here && !from->members && here->target.pid == pid) {
		screen_go(from, screen_types.name);
		choice_free(choice);
		return;
	}
	if (top->visits->len >= MAX_VISITS) {
		choice_free(choice);
		view_say(from, g_strdup("that is deep enough: Esc leads back"));
		return;
	}
	opening_abandon(top->opening);
	view_say(from, choice->sum ? g_strdup("opening…") : g_strdup_printf("opening %d…", (int)pid));
	top->opening = opening_new(top->options, choice);
}

/* What was chosen is open: show it on top of what is shown now. False: not yet. */
static gboolean take_opened(struct top *top)
{
	source_t *source = NULL;
	g_autoptr(GError) error = NULL;
	struct view *from = shown(top)->view;
	if (!top->opening || !opening_take(top->opening, &source, &error))
		return FALSE;
	top->opening = NULL;
	if (!source) {
		view_say(from, g_strdelimit(g_strdup(error ? error->message : "it can't be opened"), "\n", ' '));
		return TRUE;
	}
	g_clear_pointer(&from->message, g_free);
	struct top_options options = *top->options;
	options.screen = options.notice = options.at = NULL;
	options.ended = NULL;
	options.finished = NULL;
	options.replay = source->ops->moments != NULL;
	leave_alone(top);
	visit_new(top, source, &options)->view->redraw = TRUE;
	follow_settings(top);
	return TRUE;
}

static void follow_choice(struct top *top)
{
	struct view *view = shown(top)->view;
	if (view->choice) {
		begin_choice(top);
		return;
	}
	if (!view->leave || top->visits->len < 2)
		return;
	g_clear_pointer(&top->opening, opening_abandon);
	g_ptr_array_remove_index(top->visits, top->visits->len - 1);
	shown(top)->view->redraw = TRUE;
	follow_settings(top);
}

static int environment_number(const char *name, int otherwise)
{
	const char *text = getenv(name);
	char *end;
	long number = text ? strtol(text, &end, 10) : 0;
	return text && *text && !*end && number > 0 && number <= 1000 ? (int)number : otherwise;
}

static void dump(struct top *top)
{
	frame_init(&top->frame, environment_number("COLUMNS", DEFAULT_WIDTH),
		   environment_number("LINES", DEFAULT_HEIGHT), top->options->ascii || !term_is_utf8());
	view_draw(shown(top)->view, &top->frame);
	g_autofree char *text = frame_dump(&top->frame);
	fputs(text, stdout);
	fflush(stdout);
}

/* No terminal: wait for samples, for what the screen asked, and for the list when it is shown, then print it. */
static void run_dump(struct top *top)
{
	const struct view *view = shown(top)->view;
	follow_list(top);
	/* of a recording what the cursor is on is all there is to show */
	while (!view->ended_us && !top->failure && !(view->recording && replay_settled(view)) &&
	       (!top->done || screen_top(view)->waiting || (view->replay && !replay_settled(view)) ||
		(top->lister && !roster_looks(top->machine.roster)))) {
		struct pollfd fds[] = {{shown(top)->sampler ? sampler_fd(shown(top)->sampler) : -1, POLLIN, 0},
				       {top->lister ? lister_fd(top->lister) : -1, POLLIN, 0}};
		if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
			break;
		take_news(top);
		take_look(top);
	}
	if (!top->failure)
		dump(top);
}

static void handle(struct top *top, const struct term_event *event)
{
	struct view *view = shown(top)->view;
	switch (event->type) {
	case TERM_KEY:
		view_key(view, event->key);
		follow_settings(top);
		break;
	case TERM_CLICK:
	case TERM_DOUBLE_CLICK:
		view_click(view, event->y, event->x, event->type == TERM_DOUBLE_CLICK);
		break;
	case TERM_WHEEL:
		view_wheel(view, event->key);
		break;
	case TERM_RESIZE:
		view->redraw = TRUE;
		break;
	case TERM_STOP:
		/* a stopped tracer would leave its target stopped: first let the sample in progress end */
		for (guint i = 0; i < top->visits->len; i++)
			if (((struct visit *)top->visits->pdata[i])->sampler)
				sampler_hold(((struct visit *)top->visits->pdata[i])->sampler, TRUE, TRUE);
		/* so may what is being opened; what takes longer only waits for an answer */
		if (top->opening)
			poll(&(struct pollfd){opening_fd(top->opening), POLLIN, 0}, 1, PATIENCE_MS);
		term_suspend();
		follow_settings(top);
		view->redraw = TRUE;
		break;
	case TERM_END:
		top->done = TRUE;
		break;
	case TERM_NOTHING:
		break;
	}
	follow_choice(top);
	follow_list(top);
}

static void show(struct top *top)
{
	int width, height;
	struct view *view = shown(top)->view;
	term_size(&width, &height);
	top->frame.width = width;
	top->frame.height = height;
	view_draw(view, &top->frame);
	term_show(&top->frame, view->redraw);
	view->redraw = FALSE;
}

static int wait_ms(const struct top *top)
{
	const struct view *view = shown(top)->view;
	gint64 wake = view_wake(view);
	return wake ? (int)CLAMP((wake - view_now(view)) / 1000 + 1, 1, 1000) : -1;
}

static void run_terminal(struct top *top)
{
	gboolean dirty = TRUE;
	frame_init(&top->frame, 1, 1, top->options->ascii || !term_is_utf8());
	follow_list(top);
	while (!top->done && !shown(top)->view->quit) {
		if (dirty)
			show(top);
		sampler_t *sampler = shown(top)->sampler;
		struct pollfd fds[] = {{term_input_fd(), POLLIN, 0},
				       {term_signal_fd(), POLLIN, 0},
				       {sampler ? sampler_fd(sampler) : -1, POLLIN, 0},
				       {top->lister ? lister_fd(top->lister) : -1, POLLIN, 0},
				       {top->opening ? opening_fd(top->opening) : -1, POLLIN, 0}};
		int ready = poll(fds, G_N_ELEMENTS(fds), wait_ms(top));
		dirty = ready == 0;
		if (dirty)
			view_tick(shown(top)->view);
		for (;;) {
			struct term_event event = term_read();
			if (event.type == TERM_NOTHING || top->done)
				break;
			handle(top, &event);
			dirty = TRUE;
		}
		/* what is shown may be another one by now */
		if (sampler == shown(top)->sampler && fds[2].revents && take_news(top)) {
			dirty = TRUE;
			/* there was nothing to look at, and what is shown again was left alone meanwhile */
			if (sampler != shown(top)->sampler) {
				follow_settings(top);
				follow_list(top);
			}
		}
		if (fds[3].revents && take_look(top))
			dirty = TRUE;
		if (take_opened(top)) {
			follow_list(top);
			dirty = TRUE;
		}
	}
}

int top_run(source_t *source, const struct top_options *options, GError **error)
{
	struct top top = {.options = options};
	setlocale(LC_CTYPE, "");

	/* the terminal comes first: its signal handlers must be there when the thread begins */
	if (!options->dump_screen && !term_open(options->no_color, error)) {
		source_free(source);
		return (error && *error) ? (*error)->code : REFTOP_ERROR_FAILED;
	}
	top.visits = g_ptr_array_new_with_free_func(visit_free);
	top.machine.roster = roster_new();
	top.machine.tagged = g_hash_table_new(NULL, NULL);
	visit_new(&top, source, options);
	if (options->dump_screen)
		run_dump(&top);
	else
		run_terminal(&top);
	term_close();
	opening_abandon(top.opening);
	g_ptr_array_unref(top.visits);
	lister_free(top.lister);
	frame_clear(&top.frame);
	roster_free(top.machine.roster);
	g_hash_table_destroy(top.machine.tagged);
	if (top.failure)
		g_propagate_error(error, top.failure);
	return top.status;
}
