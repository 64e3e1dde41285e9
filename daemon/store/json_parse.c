/* Reading back what json.c writes. The file may come from anybody: every type is checked, all text is escaped again. */
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

static void read_gc(struct json_reader *reader, JsonObject *from, void *row)
{
	struct sample_gc *gc = row;
	gc->interpreter = json_read_number(reader, from, "interpreter");
	gc->enabled = json_read_bool(reader, from, "enabled");
	gc->collecting = json_read_bool(reader, from, "collecting");
	gc->permanent = json_read_number(reader, from, "permanent");
	read_generations(reader, from, gc);
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

static void read_type(struct json_reader *reader, JsonObject *from, void *row)
{
	struct sample_type *type = row;
	type->address = json_read_address(reader, from, "address");
	type->module = json_read_text(reader, from, "module");
	type->qualname = json_read_text(reader, from, "qualname");
	type->count = json_read_number(reader, from, "count");
	type->gc_count = json_read_number(reader, from, "gc_count");
	type->bytes = json_read_number(reader, from, "bytes");
	type->refs = json_read_number(reader, from, "refs");
	type->refs_max = json_read_number(reader, from, "refs_max");
	type->immortal = json_read_number(reader, from, "immortal");
	type->owned = json_read_number(reader, from, "owned");
	type->born = json_read_number(reader, from, "born");
	type->died = json_read_number(reader, from, "died");
	reader->sample->has_turnover |= type->born != SAMPLE_UNKNOWN;
}

static void read_watched(struct json_reader *reader, JsonObject *from, void *row)
{
	struct sample_watched *watched = row;
	watched->address = json_read_address(reader, from, "address");
	watched->type = json_read_address(reader, from, "type");
	watched->module = json_read_text(reader, from, "module");
	watched->qualname = json_read_text(reader, from, "qualname");
	watched->value = json_read_text(reader, from, "value");
	watched->now = json_read_text(reader, from, "now");
	watched->refcount = json_read_number(reader, from, "refcount");
	watched->exact = json_read_number(reader, from, "exact");
	watched->probable = json_read_number(reader, from, "probable");
	watched->state = json_read_name(reader, from, "state", sample_watched_states, WATCHED_REUSED + 1);
}

void json_read_origin(struct json_reader *reader, JsonObject *root)
{
	reader->sample->time_us = json_read_time(reader, root, "time");
	read_target(reader, json_read_object(reader, root, "target"));
	read_snapshot(reader, json_read_object(reader, root, "snapshot"));
}

sample_t *json_sample_parse(const char *text, gsize size, GError **error)
{
	static const struct json_document document = {"reftop.sample/1", "cannot read the sample",
						      "make one with `reftop histo --json -o FILE`"};
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *object = json_read_root(parser, text, size, &document, error);
	if (!object)
		return NULL;
	g_autoptr(sample_t) sample = sample_new();
	struct json_reader reader = {.sample = sample};
	json_read_origin(&reader, object);
	sample->gc = json_read_rows(&reader, object, "gc", sizeof(*sample->gc), read_gc, &sample->n_gc);
	read_totals(&reader, json_read_object(&reader, object, "totals"));
	sample->types = json_read_rows(&reader, object, "types", sizeof(*sample->types), read_type, &sample->n_types);
	if (json_object_has_member(object, "watched"))
		sample->watched = json_read_rows(&reader, object, "watched", sizeof(*sample->watched), read_watched,
						 &sample->n_watched);
	if (sample->snapshot.skipped) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, sample->snapshot.skipped, NULL,
			  "there is nothing in the sample, it was skipped");
		return NULL;
	}
	if (!json_read_done(&reader, &document, error))
		return NULL;
	sample_seal(sample);
	return g_steal_pointer(&sample);
}
