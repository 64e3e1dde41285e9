/* Reading back what json.c writes. The file may come from anybody: every type is checked, all text is escaped again. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"
#include "daemon/store/json_reader.h"

static void read_target(struct json_reader *reader, JsonObject *object)
{
	struct sample_target *target = &reader->sample->target;
	target->pid = json_read_number(reader, object, "pid");
	target->start_time_us = json_read_time(reader, object, "start_time");
	target->exe = json_read_text(reader, object, "exe");
	target->python = json_read_text(reader, object, "python");
	target->debug = json_read_bool(reader, object, "debug");
	target->free_threaded = json_read_bool(reader, object, "free_threaded");
	target->layout = json_read_text(reader, object, "layout");
	target->rss = json_read_number(reader, object, "rss");
	size_t n;
	JsonArray *array = json_read_array(reader, object, "cmdline", &n);
	g_autofree const char **cmdline = g_new0(const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		cmdline[i] = json_read_node_text(reader, json_array_get_element(array, (guint)i), "cmdline");
	sample_cmdline(reader->sample, cmdline);
}

static void read_snapshot(struct json_reader *reader, JsonObject *object)
{
	struct sample_snapshot *snapshot = &reader->sample->snapshot;
	snapshot->mode = json_read_text(reader, object, "mode");
	snapshot->consistent = json_read_bool(reader, object, "consistent");
	snapshot->coverage = json_read_text(reader, object, "coverage");
	snapshot->pause_us = json_read_number(reader, object, "pause_us");
	snapshot->elapsed_us = json_read_number(reader, object, "elapsed_us");
	if (object && json_object_has_member(object, "walk_us")) /* later than the schema */
		snapshot->walk_us = json_read_number(reader, object, "walk_us");
	if (object && json_object_has_member(object, "torn"))
		snapshot->torn = json_read_number(reader, object, "torn");
	if (object && json_object_has_member(object, "streamed"))
		snapshot->streamed = json_read_bool(reader, object, "streamed");
	const char *skipped =
		object && json_object_has_member(object, "skipped") ? json_read_text(reader, object, "skipped") : "";
	snapshot->skipped = *skipped ? skipped : NULL;
	snapshot->bytes_copied = json_read_number(reader, object, "bytes_copied");
}

static void read_generations(struct json_reader *reader, JsonObject *object, struct sample_gc *gc)
{
	size_t n, n_collections;
	JsonArray *generations = json_read_array(reader, object, "generations", &n);
	JsonArray *collections = json_read_array(reader, object, "collections", &n_collections);
	gc->n_generations = MIN(n, SAMPLE_MAX_GENERATIONS);
	for (size_t g = 0; g < gc->n_generations; g++) {
		JsonObject *generation = json_read_element(reader, generations, g, "generations");
		gc->generations[g].count = json_read_number(reader, generation, "count");
		gc->generations[g].threshold = json_read_number(reader, generation, "threshold");
		gc->generations[g].objects = json_read_number(reader, generation, "objects");
		JsonNode *node = g < n_collections ? json_array_get_element(collections, (guint)g) : NULL;
		bool known = node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
		gc->generations[g].collections = known ? json_node_get_int(node) : SAMPLE_UNKNOWN;
	}
}

static void read_gc(struct json_reader *reader, JsonObject *root)
{
	sample_t *sample = reader->sample;
	JsonArray *array = json_read_array(reader, root, "gc", &sample->n_gc);
	sample->gc = g_new0(struct sample_gc, sample->n_gc);
	for (size_t i = 0; i < sample->n_gc; i++) {
		JsonObject *object = json_read_element(reader, array, i, "gc");
		struct sample_gc *gc = &sample->gc[i];
		gc->interpreter = json_read_number(reader, object, "interpreter");
		gc->enabled = json_read_bool(reader, object, "enabled");
		gc->collecting = json_read_bool(reader, object, "collecting");
		gc->permanent = json_read_number(reader, object, "permanent");
		read_generations(reader, object, gc);
	}
}

static void read_totals(struct json_reader *reader, JsonObject *object)
{
	struct sample_totals *totals = &reader->sample->totals;
	totals->objects = json_read_number(reader, object, "objects");
	totals->gc_objects = json_read_number(reader, object, "gc_objects");
	totals->bytes = json_read_number(reader, object, "bytes");
	totals->refs = json_read_number(reader, object, "refs");
	totals->immortal = json_read_number(reader, object, "immortal");
	totals->unreadable = json_read_number(reader, object, "unreadable");
	totals->allocated_blocks = json_read_number(reader, object, "allocated_blocks");
	JsonNode *memory = json_read_member(reader, object, "memory", JSON_NODE_OBJECT);
	totals->has_memory = memory != NULL;
	for (size_t i = 0; memory && i < SAMPLE_MEMORY_PARTS; i++)
		*sample_memory_at(&totals->memory, i) =
			json_read_number(reader, json_node_get_object(memory), sample_memory_parts[i].key);
}

static void read_types(struct json_reader *reader, JsonObject *root)
{
	sample_t *sample = reader->sample;
	JsonArray *array = json_read_array(reader, root, "types", &sample->n_types);
	sample->types = g_new0(struct sample_type, sample->n_types);
	for (size_t i = 0; i < sample->n_types; i++) {
		JsonObject *object = json_read_element(reader, array, i, "types");
		struct sample_type *type = &sample->types[i];
		type->address = json_read_address(reader, object, "address");
		type->module = json_read_text(reader, object, "module");
		type->qualname = json_read_text(reader, object, "qualname");
		type->count = json_read_number(reader, object, "count");
		type->gc_count = json_read_number(reader, object, "gc_count");
		type->bytes = json_read_number(reader, object, "bytes");
		type->refs = json_read_number(reader, object, "refs");
		type->refs_max = json_read_number(reader, object, "refs_max");
		type->immortal = json_read_number(reader, object, "immortal");
		type->owned = json_read_number(reader, object, "owned");
		type->born = json_read_number(reader, object, "born");
		type->died = json_read_number(reader, object, "died");
		sample->has_turnover |= type->born != SAMPLE_UNKNOWN;
	}
}

static void read_watched(struct json_reader *reader, JsonObject *root)
{
	sample_t *sample = reader->sample;
	if (!json_object_has_member(root, "watched"))
		return;
	JsonArray *array = json_read_array(reader, root, "watched", &sample->n_watched);
	sample->watched = g_new0(struct sample_watched, sample->n_watched + 1);
	for (size_t i = 0; i < sample->n_watched; i++) {
		JsonObject *object = json_read_element(reader, array, i, "watched");
		struct sample_watched *watched = &sample->watched[i];
		const char *state = json_read_text(reader, object, "state");
		watched->address = json_read_address(reader, object, "address");
		watched->type = json_read_address(reader, object, "type");
		watched->module = json_read_text(reader, object, "module");
		watched->qualname = json_read_text(reader, object, "qualname");
		watched->value = json_read_text(reader, object, "value");
		watched->now = json_read_text(reader, object, "now");
		watched->refcount = json_read_number(reader, object, "refcount");
		watched->exact = json_read_number(reader, object, "exact");
		watched->probable = json_read_number(reader, object, "probable");
		watched->state = !strcmp(state, "dead")     ? WATCHED_DEAD
				 : !strcmp(state, "reused") ? WATCHED_REUSED
							    : WATCHED_ALIVE;
	}
}

void json_read_origin(struct json_reader *reader, JsonObject *root)
{
	reader->sample->time_us = json_read_time(reader, root, "time");
	read_target(reader, json_read_object(reader, root, "target"));
	read_snapshot(reader, json_read_object(reader, root, "snapshot"));
}

sample_t *json_sample_parse(const char *text, gsize size, GError **error)
{
	const char *what = "cannot read the sample";
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *object = json_read_root(parser, text, size, what, error);
	if (!object)
		return NULL;
	g_autoptr(sample_t) sample = sample_new();
	struct json_reader reader = {.sample = sample};
	if (strcmp(json_read_text(&reader, object, "schema"), "reftop.sample/1")) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "its \"schema\" is not \"reftop.sample/1\"",
			  "make one with `reftop histo --json -o FILE`", "%s", what);
		return NULL;
	}
	json_read_origin(&reader, object);
	read_gc(&reader, object);
	read_totals(&reader, json_read_object(&reader, object, "totals"));
	read_types(&reader, object);
	read_watched(&reader, object);
	if (sample->snapshot.skipped) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, sample->snapshot.skipped, NULL,
			  "there is nothing in the sample, it was skipped");
		return NULL;
	}
	if (!json_read_done(&reader, what, error))
		return NULL;
	sample_seal(sample);
	return g_steal_pointer(&sample);
}
