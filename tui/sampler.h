/*
 * A thread that takes samples and answers questions, so that the view answers while one is being taken. It owns the source; the view's thread gets what it
 * took through sampler_take(), and is woken by a file descriptor.
 *
 * A sample begins an interval after the one before it began, or at once when that took longer. Nothing is queued up for a slow
 * reader: a sample that nobody took is replaced by the next one, except that errors and the end are never lost.
 *
 * Whatever stops the process, samples and answers, counts against a budget (daemon/source/budget.h): the next sample waits until it
 * allows for another. A sample that was skipped is told as an error.
 *
 * All signals are blocked in the thread: they are the main thread's.
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/leaks.h"
#include "tui/request.h"

typedef struct sampler sampler_t;

/* what the thread has to say; the taker owns both */
struct sampler_news {
	sample_t *sample; /* NULL: none */
	GError *error;    /* why there is none; NULL */
	leaks_t *
		leaks; /* what the references of this or an earlier sample not yet told were found to be; NULL: not looked at */
	gint64 stretched_us; /* from the beginning of this sample to that of the next, where the budget makes it longer; 0: it doesn't */
	gboolean ended; /* there will be no more: the target ended, or the recording is at its end */
};

/* Take over the source and begin. With `lossless`, the thread waits until a sample was taken before it takes the next. */
sampler_t *sampler_new(source_t *source, gint64 interval_us, gboolean lossless);
/* The same, held from the beginning: not even the first sample is taken. */
sampler_t *sampler_new_held(source_t *source, gint64 interval_us, gboolean lossless);
/* Stop the thread (waits for a sample in progress) and free the source. NULL is fine. */
void sampler_free(sampler_t *sampler);

/* Readable while there is news. */
int sampler_fd(const sampler_t *sampler);
/* False: no news. */
gboolean sampler_take(sampler_t *sampler, struct sampler_news *news);

/*
 * Ask the source; the request is taken over, and comes back by sampler_answer() in the order asked, also when the source has ended (then
 * with an error). Answered while samples are held, too, unless the hold waits.
 */
void sampler_ask(sampler_t *sampler, struct request *request);
/* An answered request, to be freed with request_free(); NULL: none. */
struct request *sampler_answer(sampler_t *sampler);

/* Whether references are looked at with every so many samples, no more often than tui/pace.h says. At once after it was off. */
void sampler_assess(sampler_t *sampler, gboolean on);

/* The share of the time the process may be stopped; 0: the default. */
void sampler_set_budget(sampler_t *sampler, double share);
/* From now on; a shorter interval counts for the wait in progress, too. */
void sampler_set_interval(sampler_t *sampler, gint64 interval_us);
/* While held, no sample is begun. With `wait`, returns only when none is in progress: the target is surely not stopped then. */
void sampler_hold(sampler_t *sampler, gboolean hold, gboolean wait);
