#include "tui/processes.h"

#include <string.h>

#include "base/text.h"
#include "daemon/source/remote.h"
#include "daemon/store/json.h"
#include "tui/screens/verdict.h"

/* "3d04h", "4h12m", "12m55s" */
static void format_uptime(char buffer[16], double seconds)
{
	unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
	if (s >= 86400)
		g_snprintf(buffer, 16, "%lud%02luh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		g_snprintf(buffer, 16, "%luh%02lum", s / 3600, s / 60 % 60);
	else
		g_snprintf(buffer, 16, "%lum%02lus", s / 60, s % 60);
}

/* the command line, or for a zombie its name as ps(1) shows it */
static char *format_command(const struct python_process *python)
{
	if (python->cmdline && python->cmdline[0])
		return g_strjoinv(" ", python->cmdline);
	g_autofree char *name = text_escape(python->process.comm, sizeof(python->process.comm));
	return g_strdup_printf("[%s]", name);
}

/* ---- what the daemon knows ---- */

GHashTable *processes_watched(void)
{
	g_autofree char *line = remote_ask("{\"id\":1,\"op\":\"processes\"}");
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!line || json_too_deep(line, strlen(line)) || !json_parser_load_from_data(parser, line, -1, NULL))
		return NULL;
	g_autoptr(JsonNode) found = json_path_query("$.result.processes[*]", json_parser_get_root(parser), NULL);
	GHashTable *watched = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)json_object_unref);
	JsonArray *array = found ? json_node_get_array(found) : NULL;
	for (guint i = 0; array && i < json_array_get_length(array); i++) {
		JsonNode *node = json_array_get_element(array, i);
		if (!JSON_NODE_HOLDS_OBJECT(node))
			continue;
		JsonObject *object = json_node_get_object(node);
		gint64 pid = json_object_get_int_member_with_default(object, "pid", 0);
		g_hash_table_insert(watched, GINT_TO_POINTER((int)pid), json_object_ref(object));
	}
	return watched;
}

/* "app.Session +12/s", "-" when nothing does, "" when nobody looks */
static char *growth_words(GHashTable *watched, pid_t pid)
{
	JsonObject *object = watched ? g_hash_table_lookup(watched, GINT_TO_POINTER(pid)) : NULL;
	JsonNode *node = object ? json_object_get_member(object, "growing") : NULL;
	if (!node || !JSON_NODE_HOLDS_ARRAY(node))
		return g_strdup("");
	JsonArray *growing = json_node_get_array(node);
	JsonNode *first = json_array_get_length(growing) ? json_array_get_element(growing, 0) : NULL;
	if (!first || !JSON_NODE_HOLDS_OBJECT(first))
		return g_strdup("-");
	JsonObject *row = json_node_get_object(first);
	const char *name = json_object_get_string_member_with_default(row, "qualname", "?");
	double per_minute = json_object_get_double_member_with_default(row, "per_minute", 0);
	const char *metric = json_object_get_string_member_with_default(row, "metric", "count");
	g_autofree char *clean = text_escape(name, strlen(name)),
			*rate = words_rate(per_minute / 60, !strcmp(metric, "bytes"));
	return g_strdup_printf("%s %s", clean, rate);
}

/* ---- the table ---- */

/* a line of it, in the order of the tree */
struct place {
	const struct python_process *python;
	int depth;
};

static void add_family(const GPtrArray *processes, const struct python_process *python, int depth, GArray *places)
{
	struct place place = {python, depth};
	g_array_append_val(places, place);
	for (guint i = 0; i < processes->len && depth < 40; i++) {
		const struct python_process *child = g_ptr_array_index(processes, i);
		if (child->process.ppid == python->pid && child->pid != python->pid)
			add_family(processes, child, depth + 1, places);
	}
}

static GArray *in_order(const GPtrArray *processes)
{
	GArray *places = g_array_new(FALSE, FALSE, sizeof(struct place));
	for (guint i = 0; i < processes->len; i++) {
		const struct python_process *python = g_ptr_array_index(processes, i);
		gboolean root = TRUE;
		for (guint j = 0; j < processes->len; j++)
			root &= ((struct python_process *)g_ptr_array_index(processes, j))->pid != python->process.ppid;
		if (root)
			add_family(processes, python, 0, places);
	}
	return places;
}

static void append_row(GString *text, const struct place *place, GHashTable *watched, int width)
{
	const struct python_process *python = place->python;
	char rss[16], uptime[16];
	const char *why = python_process_why(python);
	g_autofree char *command = format_command(python), *growth = growth_words(watched, python->pid);
	g_autofree char *column = watched ? g_strdup_printf("%-22.22s ", growth) : g_strdup("");
	g_autofree char *indent = g_strnfill((gsize)(place->depth > 0 ? 2 * place->depth - 2 : 0), ' ');
	format_uptime(uptime, process_uptime(&python->process));
	g_autofree char *line =
		g_strdup_printf("%7d  %-10s %-7s %5s %8s  %-9s %-13s %s%s%s%s", (int)python->pid, python->user,
				python->python ? python->python : "-", text_bytes(rss, (gint64)python->process.rss),
				uptime, process_state_name(python->process.state), why ? why : "", column, indent,
				place->depth ? "\\_ " : "", command);
	if (width && g_utf8_strlen(line, -1) > width)
		*g_utf8_offset_to_pointer(line, width) = '\0';
	g_string_append_printf(text, "%s\n", line);
}

/* each cause once, with its remedy */
static void append_causes(GString *text, const GPtrArray *processes)
{
	g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);
	for (guint i = 0; i < processes->len; i++) {
		const struct python_process *python = g_ptr_array_index(processes, i);
		const char *why = python_process_why(python);
		if (!why || !g_hash_table_add(told, (gpointer)why))
			continue;
		const struct access *access = &python->access;
		const char *cause = access->cause == ACCESS_GRANTED ? python->unsupported : access->text;
		g_string_append_printf(text, "\n%s: %s (process %d)\n", why, cause ? cause : "", (int)python->pid);
		if (access->cause != ACCESS_GRANTED && access->fix)
			g_string_append_printf(text, "  fix: %s\n", access->fix);
	}
}

GString *processes_table(const GPtrArray *processes, GHashTable *watched, int width)
{
	GString *text = g_string_new("    PID  USER       PYTHON    RSS   UPTIME  STATE     WHY NOT       ");
	g_string_append_printf(text, "%sCOMMAND\n", watched ? "GROWS                  " : "");
	g_autoptr(GArray) places = in_order(processes);
	for (guint i = 0; i < places->len; i++)
		append_row(text, &g_array_index(places, struct place, i), watched, width);
	append_causes(text, processes);
	return text;
}
