#include "tui/screens/screen.h"

#include <string.h>

#include "base/error.h"
#include "tui/screens/replay.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

#define PATIENCE_US (300 * 1000) /* what takes longer is shown to be on its way */
#define MAX_DEPTH   100          /* screens on top of each other */

const struct screen_ops *const screen_tabs[] = {&screen_types, &screen_watched, &screen_threads, &screen_processes,
						NULL};

struct screen *screen_top(const struct view *view)
{
	return view->stack->pdata[view->stack->len - 1];
}

struct screen *screen_push(struct view *view, const struct screen_ops *ops, gconstpointer what)
{
	if (view->stack->len >= MAX_DEPTH)
		screen_drop(view);
	struct screen *screen = g_malloc0(ops->size);
	screen->ops = ops;
	screen->view = view;
	g_ptr_array_add(view->stack, screen);
	if (ops->init)
		ops->init(screen, what);
	return screen;
}

void screen_drop(struct view *view)
{
	struct screen *screen = g_ptr_array_steal_index(view->stack, view->stack->len - 1);
	if (screen->ops->clear)
		screen->ops->clear(screen);
	g_free(screen);
}

static gpointer forget(source_t *source, const struct request *request, GError **error)
{
	if (source->ops->forget)
		source->ops->forget(source);
	return GINT_TO_POINTER(1);
}

static void nothing(gpointer answer)
{
}

/* Nobody looks at objects any more: what the source keeps of them can go. */
static void let_go(struct view *view)
{
	static const struct request_kind kind = {forget, nothing};
	struct request *request = g_new0(struct request, 1);
	request->kind = &kind;
	if (view->options.ask)
		view->options.ask(view->options.ask_context, request);
	else
		request_free(request);
}

gboolean screen_pop(struct view *view)
{
	if (view->stack->len < 2)
		return FALSE;
	gboolean objects = screen_top(view)->ops == &screen_instances || screen_top(view)->ops == &screen_object;
	screen_drop(view);
	if (objects && view->stack->len == 1)
		let_go(view);
	return TRUE;
}

void screen_unwind(struct view *view)
{
	while (screen_pop(view))
		;
}

void screens_renew(struct view *view)
{
	for (guint i = 0; i < view->stack->len; i++) {
		struct screen *screen = view->stack->pdata[i];
		if (screen->ops->sampled)
			screen->ops->sampled(screen);
	}
}

static const struct screen_ops *find_tab(const char *name)
{
	for (size_t i = 0; screen_tabs[i]; i++) {
		if (!strcmp(screen_tabs[i]->name, name))
			return screen_tabs[i];
	}
	return NULL;
}

gboolean screen_is_tab(const char *name)
{
	return find_tab(name) != NULL;
}

void screen_go(struct view *view, const char *name)
{
	const struct screen_ops *tab = find_tab(name);
	if (!tab)
		return;
	screen_unwind(view);
	screen_drop(view);
	screen_push(view, tab, NULL);
}

gboolean screen_tab_offered(const struct view *view, const struct screen_ops *tab)
{
	if (tab == &screen_processes)
		return view->machine != NULL;
	if (view->alone)
		return FALSE;
	return tab == &screen_types || !view->members;
}

void screen_next_tab(struct view *view)
{
	screen_unwind(view);
	size_t at = 0;
	while (screen_tabs[at] && screen_tabs[at] != screen_top(view)->ops)
		at++;
	const struct screen_ops *next = NULL;
	for (size_t step = 1; !next; step++) {
		size_t to = screen_tabs[at] ? (at + step) % (G_N_ELEMENTS(screen_tabs) - 1) : step - 1;
		next = screen_tab_offered(view, screen_tabs[to]) ? screen_tabs[to] : NULL;
	}
	screen_drop(view);
	screen_push(view, next, NULL);
}

/* ---- questions ---- */

void view_ask(struct screen *screen, struct request *request)
{
	struct view *view = screen->view;
	request->serial = screen->waiting = ++view->serial;
	screen->asked_us = view_now(view);
	if (view->options.ask) {
		view->options.ask(view->options.ask_context, request);
		return;
	}
	error_set(&request->error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL,
		  view->recording ? "a recording holds no objects: they can be looked at in a living process only"
				  : "there is no process to ask");
	view_answer(view, request);
}

void view_answer(struct view *view, struct request *request)
{
	if (replay_answered(view, request))
		return;
	for (guint i = 0; i < view->stack->len; i++) {
		struct screen *screen = view->stack->pdata[i];
		if (!request->serial || screen->waiting != request->serial)
			continue;
		screen->waiting = 0;
		screen->ops->answered(screen, request);
		request_free(request);
		return;
	}
	/* nobody waits for it: only trouble is of interest, and only where the question was an order */
	if (!request->serial && request->error && !view->ended_us)
		view_say(view, g_strdup(request->error->message));
	request_free(request);
}

char *screen_waits(const struct screen *screen)
{
	gint64 waited = view_now(screen->view) - screen->asked_us;
	if (!screen->waiting || waited < PATIENCE_US)
		return NULL;
	if (waited < 2 * G_USEC_PER_SEC)
		return g_strdup("reading…");
	g_autofree char *time = words_duration(waited, TRUE);
	return g_strdup_printf("reading… %s", time);
}

gint64 view_wake(const struct view *view)
{
	const struct screen *screen = screen_top(view);
	gint64 now = view_now(view);
	if (screen->waiting)
		return now - screen->asked_us < PATIENCE_US ? screen->asked_us + PATIENCE_US : now + G_USEC_PER_SEC;
	if (view->replay && replay_wake(view))
		return replay_wake(view);
	/* the line that tells how long ago the target ended */
	return view->ended_us && !view->recording ? now + G_USEC_PER_SEC : 0;
}

void view_tick(struct view *view)
{
	if (view->replay)
		replay_tick(view);
}

/* ---- drawing ---- */

int draw_head(struct screen *screen, struct frame *frame, const char *right)
{
	struct view *view = screen->view;
	int height = frame->height, y = draw_header(view, frame, height >= 20 ? 2 : 1), width = frame->width;
	frame_fill(frame, y, 0, width, ROLE_TITLE);
	g_autoptr(GString) path = g_string_new(NULL);
	/* the last steps are those that matter */
	guint first = view->stack->len > 4 ? view->stack->len - 3 : 0;
	for (guint i = first; i < view->stack->len; i++) {
		const struct screen *step = view->stack->pdata[i];
		g_autofree char *title = step->ops->title(step);
		g_string_append_printf(path, "%s%s", i > first ? " › " : first ? "… › " : "", title);
		if (step == screen)
			break;
	}
	int columns = right ? text_columns(right) : 0;
	gboolean both = columns && columns + 20 < width;
	g_autofree char *fitting = text_elide(path->str, width - 2 - (both ? columns + 2 : 0));
	frame_text(frame, y, 1, width - 2, ROLE_TITLE, fitting);
	if (both)
		frame_text(frame, y, width - 1 - columns, columns, ROLE_TITLE, right);
	return y + 1;
}
