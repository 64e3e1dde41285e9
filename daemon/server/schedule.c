/*
 * When which process is read. All of the daemon, its workers included, may use a share of one core (config.cpu): a bucket fills with time
 * and is emptied by what is used; while it is empty nobody is read, and who waits longest comes first. So with many processes the
 * intervals become longer by themselves, evenly. A process is stopped for no more than config.pause of its time (subject.c).
 */
#include <sys/resource.h>

#include "daemon/server/server_private.h"

#define TICK_MS  50
#define SCAN_MS  1000
#define BURST_US (3 * G_USEC_PER_SEC) /* at the beginning: a few processes are there at once */
#define SAVED_US (G_USEC_PER_SEC / 2) /* what is unused is kept up to that */
#define AT_ONCE  2                    /* workers */
#define HUNG_US  (60 * G_USEC_PER_SEC)
#define NEWS_US  (20 * 1000) /* CPU time that must be left before somebody is read */

static int64_t own_cpu_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * G_USEC_PER_SEC + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

void schedule_spend(struct server *server, int64_t cpu_us)
{
	server->tokens -= (double)cpu_us;
}

static void fill(struct server *server)
{
	int64_t now = g_get_monotonic_time(), own = own_cpu_us();
	double most = MAX(server->tokens, SAVED_US);
	server->tokens +=
		(double)(now - server->token_time_us) * server->config->cpu - (double)(own - server->own_cpu_us);
	server->tokens = MIN(server->tokens, most);
	server->token_time_us = now;
	server->own_cpu_us = own;
}

int64_t schedule_interval(const struct subject *subject)
{
	int64_t interval = subject->interval_us;
	if (subject->viewer_us)
		interval = MIN(interval, subject->viewer_us);
	/* the second sample of many that came at once is spread over the interval */
	if (subject->samples == 1)
		interval = interval / 2 + (int64_t)((double)(subject->pid % 97) / 97 * (double)interval / 2);
	return interval;
}

/* Who is due, and has been for the longest time; those that somebody waits for first. */
static struct subject *most_due(struct server *server, int64_t now)
{
	struct subject *best = NULL;
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, server->subjects);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct subject *subject = value;
		if (subject->busy && now - subject->asked_us > HUNG_US && subject->worker) {
			nursery_kill(server->nursery, subject->worker);
			subject->asked_us = now;
		}
		if (subject->busy || (subject->due_us > now && !(subject->urgent && subject->budget.due_us <= now)))
			continue;
		if (!best || subject->urgent > best->urgent ||
		    (subject->urgent == best->urgent && subject->due_us < best->due_us))
			best = subject;
	}
	return best;
}

static gboolean on_tick(gpointer data)
{
	struct server *server = data;
	fill(server);
	questions_turn(server);
	while (server->running < AT_ONCE) {
		struct subject *subject = most_due(server, g_get_monotonic_time());
		if (!subject || (server->tokens < NEWS_US && !subject->urgent))
			break;
		subject->urgent = false;
		subject_ask(subject);
		/* whatever came of it, it isn't due at this moment any more */
		if (!subject->busy && subject->due_us <= g_get_monotonic_time())
			subject->due_us = g_get_monotonic_time() + TICK_MS * 1000;
		fill(server);
	}
	return G_SOURCE_CONTINUE;
}

static gboolean on_scan(gpointer data)
{
	struct server *server = data;
	watch_scan(server);
	store_tend(server);
	return G_SOURCE_CONTINUE;
}

void schedule_start(struct server *server)
{
	server->tokens = BURST_US;
	server->token_time_us = g_get_monotonic_time();
	server->own_cpu_us = own_cpu_us();
	server->tick = g_timeout_add(TICK_MS, on_tick, server);
	server->scan = g_timeout_add(SCAN_MS, on_scan, server);
}

void schedule_stop(struct server *server)
{
	if (server->tick)
		g_source_remove(server->tick);
	if (server->scan)
		g_source_remove(server->scan);
	server->tick = server->scan = 0;
}
