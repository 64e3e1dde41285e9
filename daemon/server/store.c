/* The store of the daemon: a history in a file, which may fail at any time without harm to the rest. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "daemon/server/server_private.h"

#define RETRY_US  (30 * G_USEC_PER_SEC)
#define REPEAT_US (60 * G_USEC_PER_SEC) /* a sample in which nothing can have changed is written no more often */
#define THIN_US   (60 * G_USEC_PER_SEC)
#define RECALLED  60 /* samples of the past that a trend begins with */

/* Say it once, until it is over. Takes the error. */
static void trouble(struct server *server, GError *error)
{
	server->store_errors++;
	if (g_strcmp0(server->store_trouble, error->message))
		server_log(server, G_LOG_LEVEL_WARNING, "samples are not stored: %s", error->message);
	g_free(server->store_trouble);
	server->store_trouble = g_strdup(error->message);
	g_error_free(error);
}

static void fine(struct server *server)
{
	if (server->store_trouble)
		server_log(server, G_LOG_LEVEL_MESSAGE, "samples are stored again");
	g_clear_pointer(&server->store_trouble, g_free);
}

void store_open(struct server *server)
{
	GError *error = NULL;
	const char *path = server->config->store;
	server->store_retry_us = g_get_monotonic_time() + RETRY_US;
	if (!path)
		return;
	g_autofree char *directory = g_path_get_dirname(path);
	g_mkdir_with_parents(directory, 0700);
	mode_t before = umask(077); /* it tells of processes of many users */
	server->store = history_open(path, &error);
	umask(before);
	if (server->store)
		server->reader = recording_open(path, &error);
	if (error) {
		store_close(server);
		trouble(server, error);
		return;
	}
	fine(server);
}

void store_close(struct server *server)
{
	g_clear_pointer(&server->reader, recording_free);
	g_clear_pointer(&server->store, recording_free);
}

void store_add(struct server *server, struct subject *subject, const sample_t *sample)
{
	bool same = sample->origin && !subject->gap_from_us;
	if (!server->store || (same && sample->time_us - subject->stored_us < REPEAT_US))
		return;
	GError *error = NULL;
	if (!history_append(server->store, sample, subject->gap_from_us, subject->gap_why, &error)) {
		trouble(server, error);
		return;
	}
	subject->stored_us = sample->time_us;
	fine(server);
}

void store_recall(struct server *server, struct subject *subject)
{
	size_t n = 0;
	if (!server->reader)
		return;
	recording_select(server->reader, subject->pid, subject->start_us);
	g_autofree int64_t *ids = recording_samples(server->reader, &n, NULL);
	size_t step = n / RECALLED + 1;
	for (size_t i = 0; ids && i < n; i++) {
		if (i % step && i + 1 != n)
			continue;
		g_autoptr(sample_t) sample = recording_load(server->reader, ids[i], NULL);
		if (!sample)
			continue;
		trend_add(subject->trend, sample);
		subject->gap_from_us = subject->stored_us = sample->time_us;
		subject->gap_why = "the daemon did not run";
	}
}

void store_tend(struct server *server)
{
	gint64 now = g_get_monotonic_time();
	const struct config *config = server->config;
	const struct history_keep keep = {config->full_us, config->minutes_us, config->retention_us};
	if (!server->store && config->store && now >= server->store_retry_us)
		store_open(server);
	if (!server->store || now < server->thin_due_us)
		return;
	GError *error = NULL;
	server->thin_due_us = now + THIN_US;
	if (!history_thin(server->store, g_get_real_time(), &keep, &server->thinned_us, &error))
		trouble(server, error);
}
