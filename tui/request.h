/*
 * A question to the source, asked by the view and answered by the sampler's thread, which alone may use the source. What kinds there are
 * is the askers' business: a kind is two functions.
 */
#pragma once
#include <glib.h>

#include "daemon/source/source.h"

struct request;

struct request_kind {
	/* on the sampler's thread; NULL with *error set. May change nothing of the request. */
	gpointer (*ask)(source_t *source, const struct request *request, GError **error);
	void (*free_answer)(gpointer answer);
};

struct request {
	const struct request_kind *kind;
	guint serial; /* to know the answer by */
	/* what is asked, as the kind needs it */
	char *text;
	const char *sort;
	guint64 address;
	gsize limit;
	gboolean flag;
	/* the answer: one of both */
	gpointer answer;
	GError *error;
	gint64 took_us;
};

static inline void request_free(struct request *request)
{
	if (!request)
		return;
	if (request->answer)
		request->kind->free_answer(request->answer);
	g_clear_error(&request->error);
	g_free(request->text);
	g_free(request);
}
