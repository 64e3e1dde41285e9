#include "daemon/source/machine.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/roster.h"
#include "daemon/analysis/sample.h"
#include "daemon/source/remote.h"
#include "daemon/store/json.h"
#include "daemon/target/pythons.h"

struct machine {
	gboolean no_daemon;
	GHashTable *told; /* pid -> start of a process whose history was told, gint64 * */
};

machine_t *machine_new(gboolean no_daemon)
{
	machine_t *machine = g_new0(machine_t, 1);
	machine->no_daemon = no_daemon;
	machine->told = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return machine;
}

void machine_free(machine_t *machine)
{
	if (!machine)
		return;
	g_hash_table_destroy(machine->told);
	g_free(machine);
}

/* the command line, or for a zombie its name as ps(1) shows it */
static char *command_of(const struct python_process *python)
{
	if (python->cmdline && python->cmdline[0])
		return g_strjoinv(" ", python->cmdline);
	g_autofree char *name = text_escape(python->process.comm, strnlen(python->process.comm, PROCESS_COMM));
	return g_strdup_printf("[%s]", name);
}

static struct roster_process *describe(const struct python_process *python)
{
	struct roster_process *process = roster_process_new();
	const struct access *access = &python->access;
	gboolean granted = access->cause == ACCESS_GRANTED;
	process->pid = python->pid;
	process->ppid = python->process.ppid;
	process->start_time_us = process_start_time(&python->process);
	process->user = g_strdup(python->user);
	process->python = g_strdup(python->python);
	process->command = command_of(python);
	process->state = g_strdup(process_state_name(python->process.state));
	process->why = g_strdup(python_process_why(python));
	process->cause = g_strdup(granted ? python->unsupported : access->text);
	process->fix = g_strdup(granted ? NULL : access->fix);
	process->rss = (int64_t)python->process.rss;
	return process;
}

/* ---- what the daemon knows ---- */

/* The "result" of an answer; NULL: it is a refusal, or nonsense. Belongs to the parser. */
static JsonObject *result_of(JsonParser *parser, const char *line)
{
	if (!line || json_too_deep(line, strlen(line)) || !json_parser_load_from_data(parser, line, -1, NULL))
		return NULL;
	JsonNode *root = json_parser_get_root(parser);
	JsonNode *node = root && JSON_NODE_HOLDS_OBJECT(root)
				 ? json_object_get_member(json_node_get_object(root), "result")
				 : NULL;
	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static JsonArray *array_in(JsonObject *object, const char *key)
{
	JsonNode *node = object ? json_object_get_member(object, key) : NULL;
	return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static int64_t number_in(JsonObject *object, const char *key)
{
	JsonNode *node = json_object_get_member(object, key);
	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_int(node) : SAMPLE_UNKNOWN;
}

static const char *text_in(JsonObject *object, const char *key)
{
	JsonNode *node = json_object_get_member(object, key);
	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
}

static int64_t time_in(JsonObject *object, const char *key)
{
	const char *text = text_in(object, key);
	g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;
	return time ? g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time) : SAMPLE_UNKNOWN;
}

static void take_growing(struct roster_process *process, JsonArray *growing)
{
	JsonNode *node = growing && json_array_get_length(growing) ? json_array_get_element(growing, 0) : NULL;
	JsonObject *first = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
	const char *name = first ? text_in(first, "qualname") : NULL;
	JsonNode *rate = first ? json_object_get_member(first, "per_minute") : NULL;
	if (!name || !rate || !JSON_NODE_HOLDS_VALUE(rate))
		return;
	process->growing = text_escape(name, strlen(name));
	process->growing_rate = json_node_get_double(rate);
	process->growing_bytes = !g_strcmp0(text_in(first, "metric"), "bytes");
}

static int64_t *numbers_of(JsonArray *array, guint n)
{
	int64_t *numbers = g_new(int64_t, n);
	for (guint i = 0; i < n; i++) {
		JsonNode *node = json_array_get_element(array, i);
		numbers[i] = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_int(node) : SAMPLE_UNKNOWN;
	}
	return numbers;
}

/* What the daemon saw before we looked for the first time. */
static void take_history(machine_t *machine, struct roster_process *process)
{
	gpointer key = GINT_TO_POINTER((int)process->pid);
	const int64_t *start = g_hash_table_lookup(machine->told, key);
	if (start && ABS(*start - process->start_time_us) < 2 * G_USEC_PER_SEC)
		return;
	g_hash_table_replace(machine->told, key, g_memdup2(&process->start_time_us, sizeof(int64_t)));
	g_autofree char *request = g_strdup_printf("{\"id\":1,\"op\":\"series\",\"pid\":%d}", (int)process->pid);
	g_autofree char *line = remote_ask(request);
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonObject *result = result_of(parser, line);
	JsonArray *times = array_in(result, "count_times_us"), *counts = array_in(result, "count");
	if (!times || !counts)
		return;
	guint n = MIN(json_array_get_length(times), json_array_get_length(counts));
	process->n_history = n;
	process->history_times_us = numbers_of(times, n);
	process->history_objects = numbers_of(counts, n);
}

static void take_why(struct roster_process *process, JsonObject *object)
{
	JsonNode *node = json_object_get_member(object, "why");
	JsonObject *why = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
	const char *name = why ? text_in(why, "name") : NULL, *cause = why ? text_in(why, "cause") : NULL;
	if (!why && process->objects >= 0) {
		/* what the daemon reads we need not be able to */
		g_clear_pointer(&process->why, g_free);
		g_clear_pointer(&process->cause, g_free);
		g_clear_pointer(&process->fix, g_free);
	}
	if (!name || process->why)
		return;
	process->why = text_escape(name, strlen(name));
	process->cause = cause ? text_escape(cause, strlen(cause)) : NULL;
}

static void take_watched(machine_t *machine, GHashTable *by_pid, JsonObject *object)
{
	struct roster_process *process = g_hash_table_lookup(by_pid, GINT_TO_POINTER((int)number_in(object, "pid")));
	if (!process)
		return;
	process->watched = true;
	process->objects = number_in(object, "objects");
	process->sampled_us = time_in(object, "time");
	const char *python = text_in(object, "python");
	if (python && *python) {
		g_free(process->python);
		process->python = text_escape(python, strlen(python));
	}
	take_growing(process, array_in(object, "growing"));
	take_history(machine, process);
	take_why(process, object);
}

static void ask_daemon(machine_t *machine, GPtrArray *processes)
{
	g_autofree char *line = remote_ask("{\"id\":1,\"op\":\"processes\"}");
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonArray *watched = array_in(result_of(parser, line), "processes");
	g_autoptr(GHashTable) by_pid = g_hash_table_new(NULL, NULL);
	for (guint i = 0; i < processes->len; i++) {
		struct roster_process *process = processes->pdata[i];
		g_hash_table_insert(by_pid, GINT_TO_POINTER((int)process->pid), process);
	}
	for (guint i = 0; watched && i < json_array_get_length(watched); i++) {
		JsonNode *node = json_array_get_element(watched, i);
		if (JSON_NODE_HOLDS_OBJECT(node))
			take_watched(machine, by_pid, json_node_get_object(node));
	}
}

GPtrArray *machine_look(machine_t *machine)
{
	GPtrArray *processes = g_ptr_array_new_with_free_func(roster_process_free);
	g_autoptr(GPtrArray) pythons = processes_find();
	for (guint i = 0; i < pythons->len; i++)
		g_ptr_array_add(processes, describe(pythons->pdata[i]));
	if (!machine->no_daemon)
		ask_daemon(machine, processes);
	return processes;
}
