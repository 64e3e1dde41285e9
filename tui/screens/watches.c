#include "tui/screens/watches.h"

#include <string.h>

#include "base/error.h"
#include "tui/screens/verdict.h"

void watch_free(gpointer data)
{
	struct watch *watch = data;
	g_free(watch->name);
	g_free(watch->value);
	g_free(watch->ended);
	g_free(watch->times_us);
	g_free(watch->values);
	g_free(watch);
}

struct watch *watch_find(const struct view *view, guint64 address)
{
	for (guint i = 0; i < view->watches->len; i++) {
		struct watch *watch = view->watches->pdata[i];
		if (watch->address == address && !watch->ended)
			return watch;
	}
	return NULL;
}

static struct watch *watch_new(struct view *view, guint64 address, const char *name)
{
	struct watch *watch = g_new0(struct watch, 1);
	watch->address = address;
	watch->name = g_strdup(name);
	watch->value = g_strdup("");
	watch->first = watch->last = watch->exact = watch->probable = watch->explained_of = SAMPLE_UNKNOWN;
	watch->times_us = g_new(int64_t, WATCH_POINTS);
	watch->values = g_new(int64_t, WATCH_POINTS);
	g_ptr_array_add(view->watches, watch);
	return watch;
}

static void add_point(struct watch *watch, gint64 time_us, gint64 value)
{
	if (watch->n == WATCH_POINTS) {
		size_t kept = 0;
		for (size_t i = 0; i < watch->n; i++) {
			if (i < watch->n / 2 && i % 2)
				continue;
			watch->times_us[kept] = watch->times_us[i];
			watch->values[kept++] = watch->values[i];
		}
		watch->n = kept;
	}
	/* a clock that was set back must not make time run backwards */
	if (watch->n && time_us <= watch->times_us[watch->n - 1])
		time_us = watch->times_us[watch->n - 1] + 1;
	watch->times_us[watch->n] = time_us;
	watch->values[watch->n++] = value;
}

static void end(struct view *view, struct watch *watch, const struct sample_watched *row, gint64 time_us)
{
	g_autofree char *after = watch->began_us ? words_duration(time_us - watch->began_us, FALSE) : NULL;
	watch->ended_us = time_us;
	watch->reused = row->state == WATCHED_REUSED;
	if (!after)
		watch->ended = g_strdup("there is no object at this address");
	else if (row->state == WATCHED_DEAD)
		watch->ended = g_strdup_printf("it died after %s", after);
	else
		watch->ended = g_strdup_printf("its address was used again after %s, by %s", after, row->now);
	view_say(view, g_strdup_printf("%s 0x%" G_GINT64_MODIFIER "x: %s", watch->name, watch->address, watch->ended));
}

static void add_row(struct view *view, const struct sample_watched *row, gint64 time_us)
{
	struct watch *watch = watch_find(view, row->address);
	g_autofree char *name =
		g_strconcat(g_strcmp0(row->module, "builtins") && *row->module ? row->module : "",
			    g_strcmp0(row->module, "builtins") && *row->module ? "." : "", row->qualname, NULL);
	if (!watch)
		watch = watch_new(view, row->address, name);
	if (row->state != WATCHED_ALIVE) {
		end(view, watch, row, time_us);
		return;
	}
	if (!watch->began_us) {
		watch->began_us = time_us;
		watch->first = row->refcount;
	}
	g_free(watch->name);
	watch->name = g_steal_pointer(&name);
	g_free(watch->value);
	watch->value = g_strdup(row->value);
	watch->last_us = time_us;
	watch->last = row->refcount;
	if (row->refcount != SAMPLE_UNKNOWN)
		add_point(watch, time_us, row->refcount);
	if (row->exact == SAMPLE_UNKNOWN)
		return;
	watch->exact = row->exact;
	watch->probable = row->probable;
	watch->explained_of = row->refcount;
	watch->explained_us = time_us;
}

void watches_add(struct view *view, const sample_t *sample)
{
	for (size_t i = 0; i < sample->n_watched; i++)
		add_row(view, &sample->watched[i], sample->time_us);
}

gint64 watch_unexplained(const struct watch *watch)
{
	if (watch->exact == SAMPLE_UNKNOWN || watch->explained_of == SAMPLE_UNKNOWN)
		return SAMPLE_UNKNOWN;
	return MAX(watch->explained_of - watch->exact - watch->probable, 0);
}

/* ---- beginning and ending ---- */

static gpointer ask_watch(source_t *source, const struct request *request, GError **error)
{
	if (!source->ops->watch) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL,
			  "objects can be watched in a living process only");
		return NULL;
	}
	if (source->ops->watch(source, request->address, request->flag))
		return GINT_TO_POINTER(1);
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL,
		  "%d objects are watched already: that is the most", SOURCE_WATCHES);
	return NULL;
}

static void nothing(gpointer answer)
{
}

void view_watch(struct view *view, guint64 address, const char *name, gboolean on)
{
	static const struct request_kind kind = {ask_watch, nothing};
	if (!view->options.ask) {
		view_say(view, g_strdup("objects can be watched in a living process only"));
		return;
	}
	struct request *request = g_new0(struct request, 1);
	request->kind = &kind;
	request->address = address;
	request->flag = on;
	view->options.ask(view->options.ask_context, request);
	view_say(view, g_strdup_printf(on ? "watching %s 0x%" G_GINT64_MODIFIER "x: Tab shows what is watched"
					  : "no longer watching %s 0x%" G_GINT64_MODIFIER "x",
				       name, address));
	struct watch *watch = watch_find(view, address);
	if (on && !watch)
		watch_new(view, address, name);
	else if (!on && watch)
		g_ptr_array_remove(view->watches, watch);
	screens_renew(view);
}
