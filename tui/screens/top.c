#include "tui/screens/top.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tui/frame.h"
#include "tui/sampler.h"
#include "tui/screens/replay.h"
#include "tui/screens/view.h"
#include "tui/term.h"

#define DEFAULT_INTERVAL_US G_USEC_PER_SEC
#define MAX_FAILURES        5 /* in a row before the first sample: then there is nothing to watch */
#define DEFAULT_WIDTH       80
#define DEFAULT_HEIGHT      24

struct top {
	struct view *view;
	sampler_t *sampler;
	struct frame frame;
	int samples, failures; /* failures: since the last sample */
	int status;            /* to return */
	GError *failure;       /* when there was never a sample */
	gboolean done;
	gboolean follow; /* the source is alive: samples come by themselves */
};

/* Take in what the sampler has; false: nothing new. */
static gboolean take_news(struct top *top)
{
	struct sampler_news news;
	struct top_options *options = &top->view->options;
	if (!sampler_take(top->sampler, &news))
		return FALSE;
	if (news.sample) {
		/* what comes in while an earlier moment is looked at only makes the history longer */
		if (!top->view->replay || replay_add(top->view, news.sample))
			view_add(top->view, news.sample);
		sample_unref(news.sample);
		top->samples++;
		top->failures = 0;
	}
	top->view->stretched_us = news.stretched_us;
	if (news.leaks)
		view_assessed(top->view, news.leaks);
	for (struct request *answer; (answer = sampler_answer(top->sampler));)
		view_answer(top->view, answer);
	GError *hopeless_history = replay_failure(top->view);
	if (hopeless_history) {
		top->status = hopeless_history->code;
		top->failure = hopeless_history;
		top->done = TRUE;
		return TRUE;
	}
	top->failures += news.error != NULL;
	gboolean hopeless =
		news.ended || top->failures >= MAX_FAILURES ||
		(news.error && news.error->code != REFTOP_ERROR_FAILED && news.error->code != REFTOP_ERROR_SKIPPED);
	if (news.error && !top->samples && hopeless) {
		/* nothing to look at: say it on the terminal, not on the screen */
		top->status = news.error->code;
		top->failure = news.error;
		top->done = TRUE;
		return TRUE;
	}
	if (news.ended && !top->view->ended_us)
		view_end(top->view, options->ended ? options->ended(options->ended_context) : NULL, news.error);
	else if (news.error)
		view_fail(top->view, g_strdup(news.error->message));
	g_clear_error(&news.error);
	if (options->iterations && top->samples >= options->iterations)
		top->done = TRUE;
	return TRUE;
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
		   environment_number("LINES", DEFAULT_HEIGHT), top->view->options.ascii || !term_is_utf8());
	view_draw(top->view, &top->frame);
	g_autofree char *text = frame_dump(&top->frame);
	fputs(text, stdout);
	fflush(stdout);
}

/* No terminal: wait for samples, and for what the screen asked, then print it. */
static void run_dump(struct top *top)
{
	const struct view *view = top->view;
	/* of a recording what the cursor is on is all there is to show */
	while (!view->ended_us && !top->failure && !(view->recording && replay_settled(view)) &&
	       (!top->done || screen_top(view)->waiting || (view->replay && !replay_settled(view)))) {
		struct pollfd fd = {sampler_fd(top->sampler), POLLIN, 0};
		if (poll(&fd, 1, -1) < 0 && errno != EINTR)
			break;
		take_news(top);
	}
	if (!top->failure)
		dump(top);
}

static void follow_settings(struct top *top)
{
	sampler_set_interval(top->sampler, top->view->options.interval_us);
	sampler_hold(top->sampler, top->view->paused || !top->follow, FALSE);
	sampler_assess(top->sampler, top->view->assess);
}

static void handle(struct top *top, const struct term_event *event)
{
	switch (event->type) {
	case TERM_KEY:
		view_key(top->view, event->key);
		follow_settings(top);
		break;
	case TERM_CLICK:
	case TERM_DOUBLE_CLICK:
		view_click(top->view, event->y, event->x, event->type == TERM_DOUBLE_CLICK);
		break;
	case TERM_WHEEL:
		view_wheel(top->view, event->key);
		break;
	case TERM_RESIZE:
		top->view->redraw = TRUE;
		break;
	case TERM_STOP:
		/* a stopped tracer would leave its target stopped: first let the sample in progress end */
		sampler_hold(top->sampler, TRUE, TRUE);
		term_suspend();
		follow_settings(top);
		top->view->redraw = TRUE;
		break;
	case TERM_END:
		top->done = TRUE;
		break;
	case TERM_NOTHING:
		break;
	}
}

static void show(struct top *top)
{
	int width, height;
	term_size(&width, &height);
	top->frame.width = width;
	top->frame.height = height;
	view_draw(top->view, &top->frame);
	term_show(&top->frame, top->view->redraw);
	top->view->redraw = FALSE;
}

static int wait_ms(const struct top *top)
{
	gint64 wake = view_wake(top->view);
	return wake ? (int)CLAMP((wake - view_now(top->view)) / 1000 + 1, 1, 1000) : -1;
}

static void ask(void *context, struct request *request)
{
	struct top *top = context;
	sampler_ask(top->sampler, request);
}

static void run_terminal(struct top *top)
{
	gboolean dirty = TRUE;
	frame_init(&top->frame, 1, 1, top->view->options.ascii || !term_is_utf8());
	while (!top->done && !top->view->quit) {
		if (dirty)
			show(top);
		struct pollfd fds[] = {{term_input_fd(), POLLIN, 0},
				       {term_signal_fd(), POLLIN, 0},
				       {sampler_fd(top->sampler), POLLIN, 0}};
		int ready = poll(fds, G_N_ELEMENTS(fds), wait_ms(top));
		dirty = ready == 0;
		if (dirty)
			view_tick(top->view);
		for (;;) {
			struct term_event event = term_read();
			if (event.type == TERM_NOTHING || top->done)
				break;
			handle(top, &event);
			dirty = TRUE;
		}
		if (fds[2].revents && take_news(top))
			dirty = TRUE;
	}
}

int top_run(source_t *source, const struct top_options *options, GError **error)
{
	struct top top = {0};
	gboolean recording = !g_strcmp0(source->ops->name, "recording");
	top.view = view_new(options, recording);
	if (top.view->options.interval_us <= 0)
		top.view->options.interval_us = DEFAULT_INTERVAL_US;
	setlocale(LC_CTYPE, "");

	/* the terminal comes first: its signal handlers must be there when the thread begins */
	if (!options->dump_screen && !term_open(options->no_color, error)) {
		source_free(source);
		view_free(top.view);
		return (error && *error) ? (*error)->code : REFTOP_ERROR_FAILED;
	}
	gboolean lossless = options->dump_screen || options->iterations || recording;
	top.follow = !recording;
	if (source->ops->instances || options->replay) {
		top.view->options.ask = ask;
		top.view->options.ask_context = &top;
	}
	top.sampler = sampler_new(source, top.view->options.interval_us, lossless);
	sampler_set_budget(top.sampler, options->budget);
	if (options->replay) {
		/* what was recorded is asked for as the cursor needs it, never simply the next */
		sampler_hold(top.sampler, recording, FALSE);
		replay_begin(top.view);
	}
	if (options->screen)
		screen_go(top.view, options->screen);
	if (options->dump_screen)
		run_dump(&top);
	else
		run_terminal(&top);
	term_close();
	top.view->options.ask = NULL;
	sampler_free(top.sampler);
	frame_clear(&top.frame);
	view_free(top.view);
	if (top.failure)
		g_propagate_error(error, top.failure);
	return top.status;
}
