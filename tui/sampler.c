#include "tui/sampler.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"

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
	gboolean lossless, hold, stop, busy;
	sample_t *sample;
	GError *error;
	gboolean ended;
};

/* under the lock */
static void wake_reader(struct sampler *sampler)
{
	/* can only fail when the counter is full: then it is readable anyway */
	(void)eventfd_write(sampler->fd, 1);
}

/* Wait until the next sample is due, as the hold and changes of the interval allow; false: stop. Under the lock. */
static gboolean wait_until_due(struct sampler *sampler, gint64 began, gint64 earliest)
{
	while (!sampler->stop) {
		/* the first one is due at once */
		gint64 due = MAX(began ? began + sampler->interval_us : 0, earliest);
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

static gpointer sampler_loop(gpointer data)
{
	struct sampler *sampler = data;
	gint64 began = 0, earliest = 0;
	g_mutex_lock(&sampler->lock);
	while (!sampler->ended && wait_until_due(sampler, began, earliest)) {
		sampler->busy = TRUE;
		g_mutex_unlock(&sampler->lock);
		began = g_get_monotonic_time();
		GError *error = NULL;
		sample_t *sample = source_next(sampler->source, &error);
		gboolean ended = !sample && is_end(sampler, error);
		g_mutex_lock(&sampler->lock);
		sampler->busy = FALSE;
		if (sample) {
			sample_unref(sampler->sample);
			sampler->sample = sample;
		} else {
			g_clear_error(&sampler->error);
			sampler->error = error;
			earliest = g_get_monotonic_time() + RETRY_US;
		}
		sampler->ended = ended;
		wake_reader(sampler);
		g_cond_broadcast(&sampler->changed);
	}
	g_mutex_unlock(&sampler->lock);
	return NULL;
}

sampler_t *sampler_new(source_t *source, gint64 interval_us, gboolean lossless)
{
	struct sampler *sampler = g_new0(struct sampler, 1);
	sampler->source = source;
	sampler->interval_us = interval_us;
	sampler->lossless = lossless;
	sampler->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_mutex_init(&sampler->lock);
	g_cond_init(&sampler->changed);
	sigset_t all, before;
	sigfillset(&all);
	/* a crash of the thread itself must reach the handler that gives the terminal back */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	sampler->thread = g_thread_new("sampler", sampler_loop, sampler);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return sampler;
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
	news->error = g_steal_pointer(&sampler->error);
	news->ended = sampler->ended;
	g_cond_broadcast(&sampler->changed);
	g_mutex_unlock(&sampler->lock);
	return any;
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
	g_cond_broadcast(&sampler->changed);
	while (wait && sampler->busy)
		g_cond_wait(&sampler->changed, &sampler->lock);
	g_mutex_unlock(&sampler->lock);
}
