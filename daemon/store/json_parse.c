/* Reading back what json.c writes. The file may come from anybody: every type is checked, all text is escaped again. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"

#define MAX_DEPTH 16 /* a sample has 5 */

struct reader {
	sample_t *sample;
	const char *problem; /* NULL: none so far */
};

static JsonNode *get(struct reader *reader, JsonObject *object, const char *key, JsonNodeType type)
{
	JsonNode *node = object ? json_object_get_member(object, key) : NULL;
	if (!node || JSON_NODE_HOLDS_NULL(node))
		return NULL;
	if (JSON_NODE_TYPE(node) == type)
		return node;
	reader->problem = key;
	return NULL;
}

static int64_t get_number(struct reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = get(reader, object, key, JSON_NODE_VALUE);
	if (!node)
		return SAMPLE_UNKNOWN;
	if (json_node_get_value_type(node) == G_TYPE_INT64)
		return json_node_get_int(node);
	reader->problem = key;
	return SAMPLE_UNKNOWN;
}

static bool get_bool(struct reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = get(reader, object, key, JSON_NODE_VALUE);
	if (!node)
		return false;
	if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
		return json_node_get_boolean(node);
	reader->problem = key;
	return false;
}

static const char *node_text(struct reader *reader, JsonNode *node, const char *key)
{
	if (!node)
		return "";
	const char *raw = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
	if (!raw) {
		reader->problem = key;
		return "";
	}
	g_autofree char *clean = text_escape(raw, strlen(raw));
	return sample_text(reader->sample, clean);
}

static const char *get_text(struct reader *reader, JsonObject *object, const char *key)
{
	return node_text(reader, get(reader, object, key, JSON_NODE_VALUE), key);
}

static int64_t get_time(struct reader *reader, JsonObject *object, const char *key)
{
	const char *text = get_text(reader, object, key);
	if (!*text)
		return SAMPLE_UNKNOWN;
	g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);
	if (time)
		return g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time);
	reader->problem = key;
	return SAMPLE_UNKNOWN;
}

static JsonObject *get_object(struct reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = get(reader, object, key, JSON_NODE_OBJECT);
	if (!node)
		reader->problem = key;
	return node ? json_node_get_object(node) : NULL;
}

/* the array `key`, empty when absent; *n its length */
static JsonArray *get_array(struct reader *reader, JsonObject *object, const char *key, size_t *n)
{
	JsonNode *node = get(reader, object, key, JSON_NODE_ARRAY);
	JsonArray *array = node ? json_node_get_array(node) : NULL;
	*n = array ? json_array_get_length(array) : 0;
	return array;
}

/* element i of an array of objects; NULL with a problem when it is something else */
static JsonObject *element(struct reader *reader, JsonArray *array, size_t i, const char *key)
{
	JsonNode *node = json_array_get_element(array, (guint)i);
	if (JSON_NODE_HOLDS_OBJECT(node))
		return json_node_get_object(node);
	reader->problem = key;
	return NULL;
}

static void read_target(struct reader *reader, JsonObject *object)
{
	struct sample_target *target = &reader->sample->target;
	target->pid = get_number(reader, object, "pid");
	target->start_time_us = get_time(reader, object, "start_time");
	target->exe = get_text(reader, object, "exe");
	target->python = get_text(reader, object, "python");
	target->debug = get_bool(reader, object, "debug");
	target->free_threaded = get_bool(reader, object, "free_threaded");
	target->layout = get_text(reader, object, "layout");
	target->rss = get_number(reader, object, "rss");
	size_t n;
	JsonArray *array = get_array(reader, object, "cmdline", &n);
	g_autofree const char **cmdline = g_new0(const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		cmdline[i] = node_text(reader, json_array_get_element(array, (guint)i), "cmdline");
	sample_cmdline(reader->sample, cmdline);
}

static void read_snapshot(struct reader *reader, JsonObject *object)
{
	struct sample_snapshot *snapshot = &reader->sample->snapshot;
	snapshot->mode = get_text(reader, object, "mode");
	snapshot->consistent = get_bool(reader, object, "consistent");
	snapshot->coverage = get_text(reader, object, "coverage");
	snapshot->pause_us = get_number(reader, object, "pause_us");
	snapshot->elapsed_us = get_number(reader, object, "elapsed_us");
	if (object && json_object_has_member(object, "walk_us")) /* later than the schema */
		snapshot->walk_us = get_number(reader, object, "walk_us");
	if (object && json_object_has_member(object, "torn"))
		snapshot->torn = get_number(reader, object, "torn");
	if (object && json_object_has_member(object, "streamed"))
		snapshot->streamed = get_bool(reader, object, "streamed");
	const char *skipped =
		object && json_object_has_member(object, "skipped") ? get_text(reader, object, "skipped") : "";
	snapshot->skipped = *skipped ? skipped : NULL;
	snapshot->bytes_copied = get_number(reader, object, "bytes_copied");
}

static void read_generations(struct reader *reader, JsonObject *object, struct sample_gc *gc)
{
	size_t n, n_collections;
	JsonArray *generations = get_array(reader, object, "generations", &n);
	JsonArray *collections = get_array(reader, object, "collections", &n_collections);
	gc->n_generations = MIN(n, SAMPLE_MAX_GENERATIONS);
	for (size_t g = 0; g < gc->n_generations; g++) {
		JsonObject *generation = element(reader, generations, g, "generations");
		gc->generations[g].count = get_number(reader, generation, "count");
		gc->generations[g].threshold = get_number(reader, generation, "threshold");
		gc->generations[g].objects = get_number(reader, generation, "objects");
		JsonNode *node = g < n_collections ? json_array_get_element(collections, (guint)g) : NULL;
		bool known = node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
		gc->generations[g].collections = known ? json_node_get_int(node) : SAMPLE_UNKNOWN;
	}
}

static void read_gc(struct reader *reader, JsonObject *root)
{
	sample_t *sample = reader->sample;
	JsonArray *array = get_array(reader, root, "gc", &sample->n_gc);
	sample->gc = g_new0(struct sample_gc, sample->n_gc);
	for (size_t i = 0; i < sample->n_gc; i++) {
		JsonObject *object = element(reader, array, i, "gc");
		struct sample_gc *gc = &sample->gc[i];
		gc->interpreter = get_number(reader, object, "interpreter");
		gc->enabled = get_bool(reader, object, "enabled");
		gc->collecting = get_bool(reader, object, "collecting");
		gc->permanent = get_number(reader, object, "permanent");
		read_generations(reader, object, gc);
	}
}

static void read_totals(struct reader *reader, JsonObject *object)
{
	struct sample_totals *totals = &reader->sample->totals;
	totals->objects = get_number(reader, object, "objects");
	totals->gc_objects = get_number(reader, object, "gc_objects");
	totals->bytes = get_number(reader, object, "bytes");
	totals->refs = get_number(reader, object, "refs");
	totals->immortal = get_number(reader, object, "immortal");
	totals->unreadable = get_number(reader, object, "unreadable");
	totals->allocated_blocks = get_number(reader, object, "allocated_blocks");
	JsonNode *memory = get(reader, object, "memory", JSON_NODE_OBJECT);
	totals->has_memory = memory != NULL;
	for (size_t i = 0; memory && i < SAMPLE_MEMORY_PARTS; i++)
		*sample_memory_at(&totals->memory, i) =
			get_number(reader, json_node_get_object(memory), sample_memory_parts[i].key);
}

static uint64_t get_address(struct reader *reader, JsonObject *object, const char *key)
{
	const char *text = get_text(reader, object, key);
	guint64 address = 0;
	if (!g_str_has_prefix(text, "0x") || !g_ascii_string_to_unsigned(text + 2, 16, 0, G_MAXUINT64, &address, NULL))
		reader->problem = key;
	return address;
}

static void read_types(struct reader *reader, JsonObject *root)
{
	sample_t *sample = reader->sample;
	JsonArray *array = get_array(reader, root, "types", &sample->n_types);
	sample->types = g_new0(struct sample_type, sample->n_types);
	for (size_t i = 0; i < sample->n_types; i++) {
		JsonObject *object = element(reader, array, i, "types");
		struct sample_type *type = &sample->types[i];
		type->address = get_address(reader, object, "address");
		type->module = get_text(reader, object, "module");
		type->qualname = get_text(reader, object, "qualname");
		type->count = get_number(reader, object, "count");
		type->gc_count = get_number(reader, object, "gc_count");
		type->bytes = get_number(reader, object, "bytes");
		type->refs = get_number(reader, object, "refs");
		type->refs_max = get_number(reader, object, "refs_max");
		type->immortal = get_number(reader, object, "immortal");
		type->owned = get_number(reader, object, "owned");
		type->born = get_number(reader, object, "born");
		type->died = get_number(reader, object, "died");
		sample->has_turnover |= type->born != SAMPLE_UNKNOWN;
	}
}

static void read_watched(struct reader *reader, JsonObject *root)
{
	sample_t *sample = reader->sample;
	if (!json_object_has_member(root, "watched"))
		return;
	JsonArray *array = get_array(reader, root, "watched", &sample->n_watched);
	sample->watched = g_new0(struct sample_watched, sample->n_watched + 1);
	for (size_t i = 0; i < sample->n_watched; i++) {
		JsonObject *object = element(reader, array, i, "watched");
		struct sample_watched *watched = &sample->watched[i];
		const char *state = get_text(reader, object, "state");
		watched->address = get_address(reader, object, "address");
		watched->type = get_address(reader, object, "type");
		watched->module = get_text(reader, object, "module");
		watched->qualname = get_text(reader, object, "qualname");
		watched->value = get_text(reader, object, "value");
		watched->now = get_text(reader, object, "now");
		watched->refcount = get_number(reader, object, "refcount");
		watched->exact = get_number(reader, object, "exact");
		watched->probable = get_number(reader, object, "probable");
		watched->state = !strcmp(state, "dead")     ? WATCHED_DEAD
				 : !strcmp(state, "reused") ? WATCHED_REUSED
							    : WATCHED_ALIVE;
	}
}

bool json_too_deep(const char *text, gsize size)
{
	int depth = 0;
	bool in_string = false;
	for (gsize i = 0; i < size; i++) {
		char c = text[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '[' || c == '{') && ++depth > MAX_DEPTH)
			return true;
		else if (!in_string && (c == ']' || c == '}'))
			depth--;
	}
	return false;
}

sample_t *json_sample_parse(const char *text, gsize size, GError **error)
{
	const char *what = "cannot read the sample";
	if (json_too_deep(text, size) || size > G_MAXSSIZE) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "it is nested too deeply", NULL, "%s", what);
		return NULL;
	}
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	g_autoptr(GError) cause = NULL;
	if (!json_parser_load_from_data(parser, text, (gssize)size, &cause)) {
		g_autofree char *clean = text_escape(cause->message, strlen(cause->message));
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, clean, NULL, "%s", what);
		return NULL;
	}
	JsonNode *root = json_parser_get_root(parser);
	JsonObject *object = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
	g_autoptr(sample_t) sample = sample_new();
	struct reader reader = {.sample = sample};
	if (!object || strcmp(get_text(&reader, object, "schema"), "reftop.sample/1")) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "its \"schema\" is not \"reftop.sample/1\"",
			  "make one with `reftop histo --json -o FILE`", "%s", what);
		return NULL;
	}
	sample->time_us = get_time(&reader, object, "time");
	read_target(&reader, get_object(&reader, object, "target"));
	read_snapshot(&reader, get_object(&reader, object, "snapshot"));
	read_gc(&reader, object);
	read_totals(&reader, get_object(&reader, object, "totals"));
	read_types(&reader, object);
	read_watched(&reader, object);
	if (sample->snapshot.skipped) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, sample->snapshot.skipped, NULL,
			  "there is nothing in the sample, it was skipped");
		return NULL;
	}
	if (reader.problem) {
		g_autofree char *told = g_strdup_printf("\"%s\" is missing or of a wrong type", reader.problem);
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, told, NULL, "%s", what);
		return NULL;
	}
	sample_seal(sample);
	return g_steal_pointer(&sample);
}
