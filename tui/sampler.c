#include "tui/sampler.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/source/budget.h"
#include "tui/pace.h"
#include "tui/quiet_thread.h"

/* after an error that isn't the end, the next attempt waits at least so long */
#define RETRY_US (G_USEC_PER_SEC / 2)
/* how often the end of the target is looked for while waiting */
#define ALIVE_US (G_USEC_PER_SEC / 2)

struct sampler {
	source_t *source;
	GThread *thread;
	int fd;
	GMutex lock;
	GCond changed; /* anything below */
	gint64 interval_us;
	gboolean lossless, hold, still, stop, busy;
	gboolean assess, assessing; /* wanted; with the sample in progress */
	struct pace pace;
	struct budget budget;
	gint64 stretched_us;
	GQueue questions, answers; /* struct request * */
	sample_t *sample;
	leaks_t *leaks;
	GError *error;
	gboolean ended;
};

/* under the lock */
static void wake_reader(struct sampler *sampler)
{
	/* can only fail when the counter is full: then it is readable anyway */
	(void)eventfd_write(sampler->fd, 1);
}

/* Answer what was asked. Under the lock, which is let go while the source is busy. */
static void answer_questions(struct sampler *sampler)
{
	struct request *request;
	while (!sampler->stop && !sampler->still && (request = g_queue_pop_head(&sampler->questions))) {
		gint64 began = g_get_monotonic_time();
		sampler->busy = TRUE;
		g_mutex_unlock(&sampler->lock);
		int64_t paused = source_paused(sampler->source);
		request->answer = request->kind->ask(sampler->source, request, &request->error);
		request->took_us = g_get_monotonic_time() - began;
		paused = source_paused(sampler->source) - paused;
		g_mutex_lock(&sampler->lock);
		budget_spent(&sampler->budget, began, paused);
		sampler->busy = FALSE;
		g_queue_push_tail(&sampler->answers, request);
		wake_reader(sampler);
		g_cond_broadcast(&sampler->changed);
	}
}

/* The source ended: nobody will answer any more. Under the lock. */
static void refuse_question(struct sampler *sampler, struct request *request)
{
	error_set(&request->error, SOURCE_ERROR, REFTOP_ERROR_GONE, NULL, NULL,
		  "there is nothing to ask any more: it has ended");
	g_queue_push_tail(&sampler->answers, request);
	wake_reader(sampler);
}

/* Wait until the next sample is due, as the hold and changes of the interval allow; false: stop. Under the lock. */
static gboolean wait_until_due(struct sampler *sampler, gint64 began, gint64 earliest)
{
	while (!sampler->stop) {
		answer_questions(sampler);
		if (sampler->stop)
			break;
		/* the first one is due at once */
		gint64 due = MAX(began ? MAX(began + sampler->interval_us, sampler->budget.due_us) : 0, earliest);
		gboolean blocked = sampler->hold || (sampler->lossless && sampler->sample);
		if (!blocked && g_get_monotonic_time() >= due)
			return TRUE;
		/* the end is told at once, not after an interval of minutes or a pause; there is no sample left to disturb anybody */
		if (began && !(sampler->lossless && sampler->sample) && !source_alive(sampler->source))
			return TRUE;
		gint64 look = g_get_monotonic_time() + ALIVE_US;
		g_cond_wait_until(&sampler->changed, &sampler->lock, blocked ? look : MIN(look, due));
	}
	return FALSE;
}

static gboolean is_end(struct sampler *sampler, const GError *error)
{
	return error->code == REFTOP_ERROR_GONE || !source_alive(sampler->source);
}

/* One sample, now and then with a look at the references. Not under the lock. */
static sample_t *take_sample(struct sampler *sampler, leaks_t **leaks, GError **error)
{
	source_t *source = sampler->source;
	if (!sampler->assessing) {
		g_autoptr(sample_t) sample = source_next(source, error);
		if (!sample || !sample->snapshot.skipped)
			return g_steal_pointer(&sample);
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_SKIPPED, sample->snapshot.skipped, NULL,
			  "the sample was skipped");
		return NULL;
	}
	gint64 began = g_get_monotonic_time();
	sample_t *sample = source->ops->assess(source, 0, leaks, error);
	if (sample)
		pace_ran(&sampler->pace, began, g_get_monotonic_time(), sample->snapshot.pause_us);
	return sample;
}

static gpointer sampler_loop(gpointer data)
{
	struct sampler *sampler = data;
	gint64 began = 0, earliest = 0;
	g_mutex_lock(&sampler->lock);
	while (!sampler->ended && wait_until_due(sampler, began, earliest)) {
		sampler->busy = TRUE;
		began = g_get_monotonic_time();
		sampler->assessing = sampler->assess && sampler->source->ops->assess && pace_due(&sampler->pace, began);
		g_mutex_unlock(&sampler->lock);
		GError *error = NULL;
		leaks_t *leaks = NULL;
		int64_t paused = source_paused(sampler->source);
		sample_t *sample = take_sample(sampler, &leaks, &error);
		paused = source_paused(sampler->source) - paused;
		gboolean ended = !sample && is_end(sampler, error);
		g_mutex_lock(&sampler->lock);
		sampler->busy = FALSE;
		budget_spent(&sampler->budget, began, paused);
		gint64 stretched = sampler->budget.due_us - began;
		sampler->stretched_us = stretched > sampler->interval_us ? stretched : 0;
		if (sample) {
			sample_unref(sampler->sample);
			sampler->sample = sample;
			if (leaks) {
				leaks_free(sampler->leaks);
				sampler->leaks = leaks;
			}
		} else {
			g_clear_error(&sampler->error);
			sampler->error = error;
			earliest = g_get_monotonic_time() + RETRY_US;
		}
		sampler->ended = ended;
		wake_reader(sampler);
		g_cond_broadcast(&sampler->changed);
	}
	struct request *request;
	while ((request = g_queue_pop_head(&sampler->questions)))
		refuse_question(sampler, request);
	g_mutex_unlock(&sampler->lock);
	return NULL;
}

static sampler_t *start(source_t *source, gint64 interval_us, gboolean lossless, gboolean hold)
{
	struct sampler *sampler = g_new0(struct sampler, 1);
	sampler->source = source;
	sampler->interval_us = interval_us;
	sampler->lossless = lossless;
	sampler->hold = hold;
	sampler->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_mutex_init(&sampler->lock);
	g_cond_init(&sampler->changed);
	sampler->thread = quiet_thread("sampler", sampler_loop, sampler);
	return sampler;
}

sampler_t *sampler_new(source_t *source, gint64 interval_us, gboolean lossless)
{
	return start(source, interval_us, lossless, FALSE);
}

sampler_t *sampler_new_held(source_t *source, gint64 interval_us, gboolean lossless)
{
	return start(source, interval_us, lossless, TRUE);
}

void sampler_free(sampler_t *sampler)
{
	if (!sampler)
		return;
	g_mutex_lock(&sampler->lock);
	sampler->stop = TRUE;
	g_cond_broadcast(&sampler->changed);
	g_mutex_unlock(&sampler->lock);
	g_thread_join(sampler->thread);
	sample_unref(sampler->sample);
	leaks_free(sampler->leaks);
	g_queue_clear_full(&sampler->questions, (GDestroyNotify)request_free);
	g_queue_clear_full(&sampler->answers, (GDestroyNotify)request_free);
	g_clear_error(&sampler->error);
	source_free(sampler->source);
	close(sampler->fd);
	g_mutex_clear(&sampler->lock);
	g_cond_clear(&sampler->changed);
	g_free(sampler);
}

int sampler_fd(const sampler_t *sampler)
{
	return sampler->fd;
}

gboolean sampler_take(sampler_t *sampler, struct sampler_news *news)
{
	eventfd_t count;
	g_mutex_lock(&sampler->lock);
	gboolean any = eventfd_read(sampler->fd, &count) == 0;
	news->sample = g_steal_pointer(&sampler->sample);
	news->leaks = g_steal_pointer(&sampler->leaks);
	news->error = g_steal_pointer(&sampler->error);
	news->stretched_us = sampler->stretched_us;
	news->ended = sampler->ended;
	g_cond_broadcast(&sampler->changed);
	g_mutex_unlock(&sampler->lock);
	return any;
}

void sampler_ask(sampler_t *sampler, struct request *request)
{
	g_mutex_lock(&sampler->lock);
	if (sampler->ended)
		refuse_question(sampler, request);
	else
		g_queue_push_tail(&sampler->questions, request);
	g_cond_broadcast(&sampler->changed);
	g_mutex_unlock(&sampler->lock);
}

struct request *sampler_answer(sampler_t *sampler)
{
	g_mutex_lock(&sampler->lock);
	struct request *request = g_queue_pop_head(&sampler->answers);
	g_mutex_unlock(&sampler->lock);
	return request;
}

void sampler_assess(sampler_t *sampler, gboolean on)
{
	g_mutex_lock(&sampler->lock);
	if (on && !sampler->assess)
		sampler->pace.due_us = 0;
	sampler->assess = on;
	g_cond_broadcast(&sampler->changed);
	g_mutex_unlock(&sampler->lock);
}

void sampler_set_budget(sampler_t *sampler, double share)
{
	g_mutex_lock(&sampler->lock);
	sampler->budget.share = share;
	g_mutex_unlock(&sampler->lock);
}

void sampler_set_interval(sampler_t *sampler, gint64 interval_us)
{
	g_mutex_lock(&sampler->lock);
	sampler->interval_us = interval_us;
	g_cond_broadcast(&sampler->changed);
	g_mutex_unlock(&sampler->lock);
}

void sampler_hold(sampler_t *sampler, gboolean hold, gboolean wait)
{
	g_mutex_lock(&sampler->lock);
	sampler->hold = hold;
	sampler->still = hold && wait;
	g_cond_broadcast(&sampler->changed);
	while (wait && sampler->busy)
		g_cond_wait(&sampler->changed, &sampler->lock);
	g_mutex_unlock(&sampler->lock);
}
