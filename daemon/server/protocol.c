/* What a line on the socket asks, and the line that answers it (manual, "The daemon"). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/instances.h"
#include "daemon/analysis/shape.h"
#include "daemon/server/client.h"
#include "daemon/store/json.h"

#define PROTOCOL       1
#define MOST_MOMENTS   100000
#define MOST_OBJECTS   100000
#define MOST_ADDRESSES 1000
#define MOST_NAME      4096
#define FRESH_US       (G_USEC_PER_SEC / 2) /* a sample younger than that is fresh */

/* a request, taken apart */
struct asked {
	struct client *client;
	JsonObject *object;
	char *id; /* as JSON; "null" when there was none */
	struct subject *subject;
};

static GString *refuse(const char *id, int code, const char *message, bool looked)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_bool(builder, "ok", FALSE);
	json_put_number(builder, "code", code);
	json_put_text(builder, "error", message);
	if (looked)
		json_put_bool(builder, "looked", TRUE);
	json_builder_end_object(builder);
	GString *line = json_line(builder);
	g_autofree char *head = g_strdup_printf("{\"id\":%s,", id ? id : "null");
	g_string_erase(line, 0, 1);
	return g_string_prepend(line, head);
}

GString *protocol_refusal(const char *id, int code, const char *message)
{
	return refuse(id, code, message, false);
}

GString *protocol_denial(const char *id, int code, const char *message)
{
	return refuse(id, code, message, true);
}

GString *protocol_acceptance(const char *id, GString *result)
{
	g_strchomp(result->str);
	GString *line = g_string_new(NULL);
	g_string_printf(line, "{\"id\":%s,\"ok\":true,\"result\":%s}\n", id, result->str);
	g_string_free(result, TRUE);
	return line;
}

static GString *accept_with(const struct asked *asked, GString *result)
{
	return protocol_acceptance(asked->id, result);
}

GString *protocol_hello(struct client *client)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.hello/1");
	json_put_number(builder, "protocol", PROTOCOL);
	json_put_number(builder, "uid", client->uid);
	json_put_bool(builder, "all", client->uid == 0);
	json_put_number(builder, "line_bytes", CLIENT_LINE);
	json_put_number(builder, "answer_bytes", CLIENT_ANSWER);
	json_put_bool(builder, "questions", client->server->config->questions);
	json_builder_end_object(builder);
	return json_line(builder);
}

GString *protocol_event(const struct subject *subject, const char *sample_json)
{
	GString *line = g_string_new(NULL);
	g_string_printf(line, "{\"event\":\"%s\",\"pid\":%d", sample_json ? "sample" : "ended", (int)subject->pid);
	if (sample_json)
		g_string_append_printf(line, ",\"sample\":%s", sample_json);
	g_string_append(line, "}\n");
	return line;
}

/* ---- what can be asked ---- */

static int64_t get_number(const struct asked *asked, const char *key, int64_t otherwise)
{
	JsonNode *node = json_object_get_member(asked->object, key);
	return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64
		       ? json_node_get_int(node)
		       : otherwise;
}

static const char *get_text(const struct asked *asked, const char *key)
{
	JsonNode *node = json_object_get_member(asked->object, key);
	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
}

static bool get_bool(const struct asked *asked, const char *key)
{
	JsonNode *node = json_object_get_member(asked->object, key);
	return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_BOOLEAN &&
	       json_node_get_boolean(node);
}

static enum shape shape_of(const trend_t *trend, const struct trend_row *row, enum trend_metric metric)
{
	size_t room = trend_ticks(trend) + 1;
	g_autofree int64_t *times = g_new(int64_t, room), *values = g_new(int64_t, room);
	size_t n = trend_series(trend, row, metric, times, values);
	return shape_judge(times, values, n);
}

static void put_growth(JsonBuilder *builder, const trend_t *trend, const struct trend_row *row)
{
	enum trend_metric metric = row->leaks != TREND_METRICS ? row->leaks : TREND_COUNT;
	const struct growth *growth = &row->growth[metric];
	static const char *const verdicts[] = {
		[GROWTH_WAITING] = "waiting", [GROWTH_NONE] = "none", [GROWTH_STEADY] = "steady"};
	static const char *const metrics[] = {"count", "bytes", "refs"};
	json_builder_begin_object(builder);
	json_put_address(builder, "address", row->address);
	json_put_text(builder, "module", row->module);
	json_put_text(builder, "qualname", row->qualname);
	json_put_number(builder, "count", row->last[TREND_COUNT]);
	json_put_number(builder, "bytes", row->last[TREND_BYTES]);
	json_put_text(builder, "verdict", verdicts[growth->verdict]);
	json_put_text(builder, "shape", shape_names[shape_of(trend, row, metric)]);
	json_put_text(builder, "metric", metrics[metric]);
	json_builder_set_member_name(builder, "per_minute");
	if (growth->verdict == GROWTH_STEADY)
		json_builder_add_double_value(builder, growth->rate * 60);
	else
		json_builder_add_null_value(builder);
	json_put_number(builder, "amount", growth->verdict == GROWTH_STEADY ? growth->amount : SAMPLE_UNKNOWN);
	json_put_time(builder, "since", growth->verdict == GROWTH_STEADY ? growth->since_us : SAMPLE_UNKNOWN);
	json_builder_end_object(builder);
}

static int by_bytes_grown(gconstpointer a, gconstpointer b)
{
	const struct trend_row *x = *(struct trend_row *const *)a, *y = *(struct trend_row *const *)b;
	double xs = x->growth[TREND_BYTES].rate, ys = y->growth[TREND_BYTES].rate;
	if (x->builtin != y->builtin)
		return x->builtin ? 1 : -1;
	return (xs < ys) - (xs > ys);
}

/* The rows that grow, or all that are not what they were; the program's own classes first. Free with g_ptr_array_unref(). */
static GPtrArray *growing(const trend_t *trend, bool moved)
{
	GPtrArray *rows = g_ptr_array_new();
	const GPtrArray *all = trend_rows(trend);
	for (guint i = 0; i < all->len; i++)
		if (((struct trend_row *)all->pdata[i])->leaks != TREND_METRICS ||
		    (moved && ((struct trend_row *)all->pdata[i])->settled[TREND_COUNT]))
			g_ptr_array_add(rows, all->pdata[i]);
	g_ptr_array_sort(rows, by_bytes_grown);
	return rows;
}

static void put_growing(JsonBuilder *builder, struct subject *subject, guint most, bool moved)
{
	const trend_t *trend = subject_trend(subject);
	g_autoptr(GPtrArray) rows = growing(trend, moved);
	json_builder_set_member_name(builder, "growing");
	json_builder_begin_array(builder);
	for (guint i = 0; i < rows->len && i < most; i++)
		put_growth(builder, trend, rows->pdata[i]);
	json_builder_end_array(builder);
}

static void put_process(JsonBuilder *builder, struct subject *subject)
{
	static const char *const nothing[] = {NULL};
	const struct python_process *python = subject->python;
	const sample_t *last = subject->last;
	json_builder_begin_object(builder);
	json_put_number(builder, "pid", subject->pid);
	json_put_number(builder, "ppid", python->process.ppid);
	json_put_number(builder, "uid", subject->uid);
	json_put_text(builder, "user", python->user);
	json_put_text(builder, "python", last ? last->target.python : python->python);
	json_put_time(builder, "start_time", subject->start_us);
	json_put_text(builder, "exe", python->exe);
	json_put_strings(builder, "cmdline", python->cmdline ? (const char *const *)python->cmdline : nothing);
	json_put_number(builder, "rss", last ? last->target.rss : SAMPLE_UNKNOWN);
	json_put_number(builder, "objects", last ? last->totals.objects : SAMPLE_UNKNOWN);
	json_put_number(builder, "bytes", last ? last->totals.bytes : SAMPLE_UNKNOWN);
	json_put_time(builder, "time", last ? last->time_us : SAMPLE_UNKNOWN);
	json_put_number(builder, "samples", (int64_t)subject->samples);
	json_put_number(builder, "interval_ms", schedule_interval(subject) / 1000);
	json_put_number(builder, "pause_us", subject->pause_sum_us);
	json_put_number(builder, "pause_max_us", subject->pause_max_us);
	json_put_number(builder, "watched_ms", (g_get_monotonic_time() - subject->since_us) / 1000);
	json_put_number(builder, "crashes", (int64_t)subject->crashes);
	json_builder_set_member_name(builder, "why");
	if (subject->why_name) {
		json_builder_begin_object(builder);
		json_put_text(builder, "name", subject->why_name);
		json_put_text(builder, "cause", subject->why);
		json_builder_end_object(builder);
	} else {
		json_builder_add_null_value(builder);
	}
	put_growing(builder, subject, 5, false);
	json_builder_end_object(builder);
}

static GString *ask_processes(const struct asked *asked)
{
	struct server *server = asked->client->server;
	g_autoptr(GPtrArray) subjects = subjects_visible(server, asked->client->uid);
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.watched/1");
	json_put_time(builder, "time", g_get_real_time());
	/* which other processes are the store's trouble is nobody's but root's business */
	json_put_text(builder, "store_trouble", asked->client->uid == 0 ? server->store_trouble : NULL);
	json_builder_set_member_name(builder, "processes");
	json_builder_begin_array(builder);
	for (guint i = 0; i < subjects->len; i++)
		put_process(builder, subjects->pdata[i]);
	json_builder_end_array(builder);
	json_builder_end_object(builder);
	return accept_with(asked, json_line(builder));
}

static GString *ask_growth(const struct asked *asked)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.growth/1");
	json_put_time(builder, "time", g_get_real_time());
	json_put_number(builder, "pid", asked->subject->pid);
	put_growing(builder, asked->subject, 1000, get_bool(asked, "moved"));
	json_builder_end_object(builder);
	return accept_with(asked, json_line(builder));
}

/* The sample at "time_us", or the last one; with "fresh" one is taken when it is older than half a second. */
static GString *ask_sample(const struct asked *asked)
{
	struct subject *subject = asked->subject;
	recording_t *reader = subject->server->reader;
	int64_t id = get_number(asked, "sample", 0);
	g_autoptr(sample_t) sample = NULL;
	if (id && reader) {
		g_autoptr(sample_t) found = recording_load(reader, id, NULL);
		/* numbers of other processes' samples can be guessed */
		if (found && found->target.pid == subject->pid &&
		    ABS(found->target.start_time_us - subject->start_us) <= 2 * G_USEC_PER_SEC)
			sample = g_steal_pointer(&found);
	} else if (!id && subject->last) {
		sample = sample_ref(subject->last);
		if (get_bool(asked, "fresh") && g_get_real_time() - sample->time_us > FRESH_US && !subject->failures)
			subject->urgent = true;
	}
	if (!sample)
		return protocol_refusal(asked->id, REFTOP_ERROR_FAILED, "there is no such sample");
	return accept_with(asked, json_sample(sample, NULL, 0));
}

static GString *ask_moments(const struct asked *asked)
{
	struct subject *subject = asked->subject;
	recording_t *reader = subject->server->reader;
	size_t n = 0;
	if (reader)
		recording_select(reader, subject->pid, subject->start_us);
	g_autofree int64_t *ids = reader ? recording_samples(reader, &n, NULL) : NULL;
	g_autoptr(GString) times = g_string_new(NULL);
	g_autoptr(GString) numbers = g_string_new(NULL);
	for (size_t i = n > MOST_MOMENTS ? n - MOST_MOMENTS : 0; ids && i < n; i++) {
		const char *comma = times->len ? "," : "";
		g_string_append_printf(times, "%s%" G_GINT64_FORMAT, comma, recording_time(reader, ids[i]));
		g_string_append_printf(numbers, "%s%" G_GINT64_FORMAT, comma, ids[i]);
	}
	GString *result = g_string_new(NULL);
	g_string_printf(result, "{\"schema\":\"reftop.moments/1\",\"pid\":%d,\"samples\":[%s],\"times_us\":[%s]}",
			(int)subject->pid, numbers->str, times->str);
	return accept_with(asked, result);
}

static GString *ask_subscribe(const struct asked *asked)
{
	struct client *client = asked->client;
	struct subscription subscription = {asked->subject, 0};
	int64_t ms = get_number(asked, "interval_ms", 0);
	if (ms)
		subscription.interval_us = CLAMP(ms, 1000, 3600000) * 1000;
	for (guint i = client->subscriptions->len; i-- > 0;)
		if (g_array_index(client->subscriptions, struct subscription, i).subject == asked->subject)
			g_array_remove_index_fast(client->subscriptions, i);
	g_array_append_val(client->subscriptions, subscription);
	client_update_interval(client->server, asked->subject);
	return accept_with(asked, g_string_new("{}"));
}

static GString *ask_unsubscribe(const struct asked *asked)
{
	struct client *client = asked->client;
	for (guint i = client->subscriptions->len; i-- > 0;)
		if (g_array_index(client->subscriptions, struct subscription, i).subject == asked->subject)
			g_array_remove_index_fast(client->subscriptions, i);
	client_update_interval(client->server, asked->subject);
	return accept_with(asked, g_string_new("{}"));
}

static void put_series(GString *out, const char *key, const int64_t *numbers, size_t n)
{
	g_string_append_printf(out, ",\"%s\":[", key);
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(out, "%s%" G_GINT64_FORMAT, i ? "," : "", numbers[i]);
	g_string_append_c(out, ']');
}

/* One type over the history that is kept in memory. */
static GString *ask_series(const struct asked *asked)
{
	const trend_t *trend = subject_trend(asked->subject);
	const char *type = get_text(asked, "type");
	const GPtrArray *rows = trend_rows(trend);
	const struct trend_row *found = NULL;
	for (guint i = 0; type && i < rows->len && !found; i++) {
		const struct trend_row *row = rows->pdata[i];
		g_autofree char *address = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", row->address);
		if (!strcmp(type, row->name) || !strcmp(type, address))
			found = row;
	}
	if (type && !found)
		return protocol_refusal(asked->id, REFTOP_ERROR_FAILED, "there is no such type");
	size_t room = trend_ticks(trend) + 1;
	g_autofree int64_t *times = g_new(int64_t, room), *values = g_new(int64_t, room);
	GString *result = g_string_new(NULL);
	g_string_printf(result, "{\"schema\":\"reftop.series/1\",\"pid\":%d", (int)asked->subject->pid);
	static const char *const keys[] = {"count", "bytes", "refs"};
	for (int m = 0; m < TREND_METRICS; m++) {
		size_t n = trend_series(trend, found, m, times, values);
		g_autofree char *time_key = g_strconcat(keys[m], "_times_us", NULL);
		put_series(result, time_key, times, n);
		put_series(result, keys[m], values, n);
	}
	g_string_append_c(result, '}');
	return accept_with(asked, result);
}

/* ---- questions: what the worker of the process is asked (worker.h) ---- */

static GString *put(const struct asked *asked, enum question_kind kind, char *line)
{
	return question_put(asked->client, asked->subject, asked->id, kind, line);
}

static GString *no_sense(const struct asked *asked, const char *what)
{
	return protocol_refusal(asked->id, REFTOP_ERROR_USAGE, what);
}

static GString *ask_leaks(const struct asked *asked)
{
	int64_t objects = CLAMP(get_number(asked, "objects", 0), 0, MOST_OBJECTS);
	return put(asked, QUESTION_LEAKS, g_strdup_printf("leaks %" G_GINT64_FORMAT "\n", objects));
}

static GString *ask_explain(const struct asked *asked)
{
	JsonNode *node = json_object_get_member(asked->object, "addresses");
	JsonArray *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
	guint n = array ? json_array_get_length(array) : 0;
	if (!n || n > MOST_ADDRESSES)
		return no_sense(asked, "\"addresses\" is an array of 1 to 1000 addresses, as \"0x7f12ab34cd50\"");
	g_autoptr(GString) line = g_string_new("explain");
	for (guint i = 0; i < n; i++) {
		JsonNode *element = json_array_get_element(array, i);
		const char *text = JSON_NODE_HOLDS_VALUE(element) ? json_node_get_string(element) : NULL;
		guint64 address;
		if (!text || !g_str_has_prefix(text, "0x") ||
		    !g_ascii_string_to_unsigned(text + 2, 16, 1, G_MAXUINT64, &address, NULL))
			return no_sense(asked, "an address is a text like \"0x7f12ab34cd50\"");
		g_string_append_printf(line, " 0x%" G_GINT64_MODIFIER "x", address);
	}
	g_string_append_c(line, '\n');
	return put(asked, QUESTION_EXPLAIN, g_string_free(g_steal_pointer(&line), FALSE));
}

static GString *ask_objects(const struct asked *asked)
{
	const char *type = get_text(asked, "type"), *sort = get_text(asked, "sort");
	int64_t limit = CLAMP(get_number(asked, "limit", 50), 1, MOST_OBJECTS);
	bool known = !sort;
	for (const char *const *key = instances_sort_keys; *key && !known; key++)
		known = !strcmp(*key, sort);
	if (!known)
		return no_sense(asked, "there is no such sort key");
	g_autofree char *clean = type ? text_escape(type, strlen(type)) : NULL;
	if (!type || !*type || strlen(type) > MOST_NAME || strcmp(clean, type))
		return no_sense(asked, "\"type\" is the name of a type, or its address");
	return put(asked, QUESTION_OBJECTS,
		   g_strdup_printf("objects %" G_GINT64_FORMAT " %s %s\n", limit, sort ? sort : "-", type));
}

static GString *ask_stacks(const struct asked *asked)
{
	int64_t limit = CLAMP(get_number(asked, "limit", 0), 0, G_MAXINT32);
	return put(asked, QUESTION_STACKS,
		   g_strdup_printf("stacks %d %d %" G_GINT64_FORMAT "\n", get_bool(asked, "locals"),
				   get_bool(asked, "native"), limit));
}

static const struct op {
	const char *name;
	gboolean about_process;
	GString *(*answer)(const struct asked *asked);
} ops[] = {
	{"processes", FALSE, ask_processes},    {"sample", TRUE, ask_sample}, {"moments", TRUE, ask_moments},
	{"growth", TRUE, ask_growth},           {"series", TRUE, ask_series}, {"subscribe", TRUE, ask_subscribe},
	{"unsubscribe", TRUE, ask_unsubscribe}, {"leaks", TRUE, ask_leaks},   {"explain", TRUE, ask_explain},
	{"objects", TRUE, ask_objects},         {"stacks", TRUE, ask_stacks},
};

/* ---- a line ---- */

static GString *answer_object(struct asked *asked)
{
	const char *name = get_text(asked, "op");
	const struct op *op = NULL;
	for (size_t i = 0; name && i < G_N_ELEMENTS(ops); i++)
		if (!strcmp(name, ops[i].name))
			op = &ops[i];
	if (!op)
		return protocol_refusal(asked->id, REFTOP_ERROR_USAGE, "there is no such op");
	if (op->about_process) {
		int64_t pid = get_number(asked, "pid", 0);
		struct server *server = asked->client->server;
		asked->subject = pid > 0 && pid <= G_MAXINT32
					 ? g_hash_table_lookup(server->by_pid, GINT_TO_POINTER((int)pid))
					 : NULL;
		/* whether there is such a process of somebody else isn't told */
		if (!asked->subject || !subject_visible(asked->subject, asked->client->uid))
			return protocol_refusal(asked->id, REFTOP_ERROR_GONE, "no such process is watched");
	}
	return op->answer(asked);
}

/* numbers and short texts come back as they were sent */
static char *copy_id(JsonObject *object)
{
	JsonNode *node = json_object_get_member(object, "id");
	if (!node || !JSON_NODE_HOLDS_VALUE(node))
		return g_strdup("null");
	if (json_node_get_value_type(node) == G_TYPE_DOUBLE) {
		/* 1e400 is read as infinite, which JSON has no word for; json-glib 1.6 writes 1e200 as "1e+200.0" */
		char number[G_ASCII_DTOSTR_BUF_SIZE];
		double value = json_node_get_double(node);
		return g_strdup(isfinite(value) ? g_ascii_dtostr(number, sizeof(number), value) : "null");
	}
	char *text = json_to_string(node, FALSE);
	if (strlen(text) <= 200)
		return text;
	g_free(text);
	return g_strdup("null");
}

GString *protocol_answer(struct client *client, const char *line, gsize size)
{
	if (!g_utf8_validate(line, (gssize)size, NULL) || json_too_deep(line, size))
		return protocol_refusal(NULL, REFTOP_ERROR_USAGE, "not a line of JSON");
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonNode *root =
		json_parser_load_from_data(parser, line, (gssize)size, NULL) ? json_parser_get_root(parser) : NULL;
	if (!root || !JSON_NODE_HOLDS_OBJECT(root))
		return protocol_refusal(NULL, REFTOP_ERROR_USAGE, "not an object of JSON");
	struct asked asked = {.client = client, .object = json_node_get_object(root)};
	asked.id = copy_id(asked.object);
	GString *answer = answer_object(&asked);
	g_free(asked.id);
	return answer;
}
