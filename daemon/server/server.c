#include "daemon/server/server.h"

#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/server/server_private.h"

void server_log(struct server *server, GLogLevelFlags level, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	const char *priority = level & G_LOG_LEVEL_WARNING ? "4" : level & G_LOG_LEVEL_MESSAGE ? "5" : "6";
	const GLogField fields[] = {
		{"MESSAGE", text, -1}, {"PRIORITY", priority, -1}, {"SYSLOG_IDENTIFIER", "reftop", -1}};
	if (g_log_writer_is_journald(STDERR_FILENO) &&
	    g_log_writer_journald(level, fields, G_N_ELEMENTS(fields), NULL) == G_LOG_WRITER_HANDLED)
		return;
	if (!server->config->quiet || level & G_LOG_LEVEL_WARNING)
		g_printerr("reftop: %s\n", text);
}

static void on_worker_ended(void *context, guint number, int status)
{
	struct server *server = context;
	if (!number) {
		server_log(server, G_LOG_LEVEL_WARNING, "the process that makes the workers is gone: ending");
		server_stop(server);
		return;
	}
	struct subject *subject = g_hash_table_lookup(server->workers, GUINT_TO_POINTER(number));
	if (subject)
		subject_worker_ended(subject, status);
}

static gboolean on_signal(gpointer data)
{
	server_stop(data);
	return G_SOURCE_CONTINUE;
}

static gboolean on_watchdog(gpointer data)
{
	sd_notify(0, "WATCHDOG=1");
	return G_SOURCE_CONTINUE;
}

/* ---- what grew ---- */

/* What grows now may have ended growing when its process ends: a test is over, the next one runs in the same worker. */
void server_note(struct server *server, struct subject *subject)
{
	if (!server->growths)
		return;
	if (!subject->noted)
		subject->noted = noted_new();
	noted_take(subject->noted, subject_trend(subject));
}

static void add_growths(GArray *growths, struct subject *subject)
{
	subject->judge_due_us = 0;
	server_note(subject->server, subject);
	g_autofree char *command = subject->python->cmdline ? g_strjoinv(" ", subject->python->cmdline) : g_strdup("");
	noted_report(subject->noted, subject->trend, subject->pid, command, growths);
}

void server_forget(struct server *server, struct subject *subject)
{
	if (!server->growths || !subject->samples)
		return;
	server->processes++;
	add_growths(server->growths, subject);
}

void server_remember(server_t *server)
{
	server->growths = grown_new();
}

guint server_processes(const server_t *server)
{
	guint n = server->processes;
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, server->subjects);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		n += ((struct subject *)value)->samples > 0;
	return n;
}

GArray *server_growths(server_t *server)
{
	GArray *growths = grown_new();
	for (guint i = 0; server->growths && i < server->growths->len; i++)
		grown_add(growths, &g_array_index(server->growths, struct grown, i));
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, server->subjects);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		add_growths(growths, value);
	grown_sort(growths);
	return growths;
}

/* ---- its life ---- */

server_t *server_new(struct config *config, nursery_t *nursery, GError **error)
{
	g_autoptr(server_t) server = g_new0(server_t, 1);
	server->config = config;
	server->nursery = nursery;
	server->loop = g_main_loop_new(NULL, FALSE);
	server->subjects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, subject_free);
	server->by_pid = g_hash_table_new(NULL, NULL);
	server->workers = g_hash_table_new(NULL, NULL);
	server->clients = g_ptr_array_new();
	server->listen_fd = -1;
	server->started_us = g_get_monotonic_time();
	nursery_watch(nursery, on_worker_ended, server);
	if (!clients_open(server, error) || !metrics_open(server, error))
		return NULL;
	store_open(server);
	return g_steal_pointer(&server);
}

void server_free(server_t *server)
{
	if (!server)
		return;
	schedule_stop(server);
	metrics_close(server);
	clients_close(server);
	nursery_t *nursery = g_steal_pointer(&server->nursery);
	g_hash_table_destroy(server->subjects);
	nursery_free(nursery);
	g_hash_table_destroy(server->by_pid);
	g_hash_table_destroy(server->workers);
	g_ptr_array_unref(server->clients);
	watch_clear(server);
	store_close(server);
	if (server->growths)
		g_array_unref(server->growths);
	g_free(server->store_trouble);
	g_main_loop_unref(server->loop);
	config_free(server->config);
	g_free(server);
}

void server_run(server_t *server)
{
	guint sources[3] = {g_unix_signal_add(SIGINT, on_signal, server),
			    g_unix_signal_add(SIGTERM, on_signal, server)};
	uint64_t watchdog = 0;
	if (sd_watchdog_enabled(0, &watchdog) > 0)
		sources[2] = g_timeout_add((guint)(watchdog / 2000), on_watchdog, server);
	watch_scan(server);
	schedule_start(server);
	guint n = g_hash_table_size(server->subjects);
	const char *plural = n == 1 ? "" : "es";
	g_autofree char *state = g_strdup_printf("READY=1\nSTATUS=watching %u process%s", n, plural);
	sd_notify(0, state);
	server_log(server, G_LOG_LEVEL_MESSAGE, "watching %u process%s; socket %s", n, plural, server->config->socket);
	if (!server->stopping)
		g_main_loop_run(server->loop);
	sd_notify(0, "STOPPING=1");
	schedule_stop(server);
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++)
		if (sources[i])
			g_source_remove(sources[i]);
}

void server_stop(server_t *server)
{
	server->stopping = TRUE;
	g_main_loop_quit(server->loop);
}
