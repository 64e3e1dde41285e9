#include "daemon/store/json.h"

#include "base/error.h"
#include "base/text.h"

#define SCHEMA "reftop.sample/1"

void json_put_text(JsonBuilder *builder, const char *key, const char *text)
{
	json_builder_set_member_name(builder, key);
	if (text && *text)
		json_builder_add_string_value(builder, text);
	else
		json_builder_add_null_value(builder);
}

static void add_number(JsonBuilder *builder, int64_t number)
{
	if (number == SAMPLE_UNKNOWN)
		json_builder_add_null_value(builder);
	else
		json_builder_add_int_value(builder, number);
}

void json_put_number(JsonBuilder *builder, const char *key, int64_t number)
{
	json_builder_set_member_name(builder, key);
	add_number(builder, number);
}

void json_put_bool(JsonBuilder *builder, const char *key, bool value)
{
	json_builder_set_member_name(builder, key);
	json_builder_add_boolean_value(builder, value);
}

void json_put_time(JsonBuilder *builder, const char *key, int64_t time_us)
{
	g_autofree char *text = time_us == SAMPLE_UNKNOWN ? NULL : text_time(time_us);
	json_put_text(builder, key, text);
}

void json_put_address(JsonBuilder *builder, const char *key, uint64_t address)
{
	char text[24];
	g_snprintf(text, sizeof(text), "0x%" G_GINT64_MODIFIER "x", address);
	json_put_text(builder, key, text);
}

void json_put_strings(JsonBuilder *builder, const char *key, const char *const *strings)
{
	json_builder_set_member_name(builder, key);
	json_builder_begin_array(builder);
	for (; *strings; strings++)
		json_builder_add_string_value(builder, *strings);
	json_builder_end_array(builder);
}

void json_put_origin(JsonBuilder *builder, const sample_t *sample)
{
	const struct sample_target *target = &sample->target;
	json_put_time(builder, "time", sample->time_us);
	json_builder_set_member_name(builder, "target");
	json_builder_begin_object(builder);
	json_put_number(builder, "pid", target->pid);
	json_put_time(builder, "start_time", target->start_time_us);
	json_put_text(builder, "exe", target->exe);
	json_put_strings(builder, "cmdline", target->cmdline);
	json_put_text(builder, "python", target->python);
	json_put_bool(builder, "debug", target->debug);
	json_put_bool(builder, "free_threaded", target->free_threaded);
	json_put_text(builder, "layout", target->layout);
	json_put_number(builder, "rss", target->rss);
	json_builder_end_object(builder);

	const struct sample_snapshot *snapshot = &sample->snapshot;
	json_builder_set_member_name(builder, "snapshot");
	json_builder_begin_object(builder);
	json_put_text(builder, "mode", snapshot->mode);
	if (snapshot->skipped) {
		json_builder_set_member_name(builder, "consistent");
		json_builder_add_null_value(builder);
	} else {
		json_put_bool(builder, "consistent", snapshot->consistent);
	}
	json_put_text(builder, "coverage", snapshot->coverage);
	json_put_number(builder, "pause_us", snapshot->pause_us);
	json_put_number(builder, "elapsed_us", snapshot->elapsed_us);
	json_put_number(builder, "bytes_copied", snapshot->bytes_copied);
	json_put_number(builder, "walk_us", snapshot->walk_us);
	json_put_number(builder, "torn", snapshot->torn);
	json_put_bool(builder, "streamed", snapshot->streamed);
	json_put_text(builder, "skipped", snapshot->skipped);
	json_builder_end_object(builder);
}

static void put_gc(JsonBuilder *builder, const sample_t *sample)
{
	json_builder_set_member_name(builder, "gc");
	json_builder_begin_array(builder);
	for (size_t i = 0; i < sample->n_gc; i++) {
		const struct sample_gc *gc = &sample->gc[i];
		json_builder_begin_object(builder);
		json_put_number(builder, "interpreter", gc->interpreter);
		json_put_bool(builder, "enabled", gc->enabled);
		json_put_bool(builder, "collecting", gc->collecting);
		json_builder_set_member_name(builder, "generations");
		json_builder_begin_array(builder);
		for (size_t g = 0; g < gc->n_generations; g++) {
			json_builder_begin_object(builder);
			json_put_number(builder, "count", gc->generations[g].count);
			json_put_number(builder, "threshold", gc->generations[g].threshold);
			json_put_number(builder, "objects", gc->generations[g].objects);
			json_builder_end_object(builder);
		}
		json_builder_end_array(builder);
		json_put_number(builder, "permanent", gc->permanent);
		json_builder_set_member_name(builder, "collections");
		json_builder_begin_array(builder);
		for (size_t g = 0; g < gc->n_generations; g++)
			add_number(builder, gc->generations[g].collections);
		json_builder_end_array(builder);
		json_builder_end_object(builder);
	}
	json_builder_end_array(builder);
}

static void put_totals(JsonBuilder *builder, const struct sample_totals *totals)
{
	json_builder_set_member_name(builder, "totals");
	json_builder_begin_object(builder);
	json_put_number(builder, "objects", totals->objects);
	json_put_number(builder, "gc_objects", totals->gc_objects);
	json_put_number(builder, "bytes", totals->bytes);
	json_put_number(builder, "refs", totals->refs);
	json_put_number(builder, "immortal", totals->immortal);
	json_put_number(builder, "unreadable", totals->unreadable);
	json_put_number(builder, "allocated_blocks", totals->allocated_blocks);
	json_builder_set_member_name(builder, "memory");
	if (totals->has_memory) {
		struct sample_memory memory = totals->memory;
		json_builder_begin_object(builder);
		for (size_t i = 0; i < SAMPLE_MEMORY_PARTS; i++)
			json_put_number(builder, sample_memory_parts[i].key, *sample_memory_at(&memory, i));
		json_builder_end_object(builder);
	} else {
		json_builder_add_null_value(builder);
	}
	json_builder_end_object(builder);
}

static void add_type(JsonBuilder *builder, const struct sample_type *type, bool turnover)
{
	json_builder_begin_object(builder);
	json_put_address(builder, "address", type->address);
	/* a type may well have an empty name: that is known, not unknown */
	json_builder_set_member_name(builder, "module");
	json_builder_add_string_value(builder, type->module);
	json_builder_set_member_name(builder, "qualname");
	json_builder_add_string_value(builder, type->qualname);
	json_put_number(builder, "count", type->count);
	json_put_number(builder, "gc_count", type->gc_count);
	json_put_number(builder, "bytes", type->bytes);
	json_put_number(builder, "refs", type->refs);
	json_put_number(builder, "refs_max", type->refs_max);
	json_put_number(builder, "immortal", type->immortal);
	json_put_number(builder, "owned", type->owned);
	if (turnover) {
		json_put_number(builder, "born", type->born);
		json_put_number(builder, "died", type->died);
		json_put_number(builder, "survived",
				type->born == SAMPLE_UNKNOWN ? SAMPLE_UNKNOWN : type->count - type->born);
	}
	json_builder_end_object(builder);
}

/* Only where something is watched. */
static void put_watched(JsonBuilder *builder, const sample_t *sample)
{
	if (!sample->n_watched)
		return;
	json_builder_set_member_name(builder, "watched");
	json_builder_begin_array(builder);
	for (size_t i = 0; i < sample->n_watched; i++) {
		const struct sample_watched *watched = &sample->watched[i];
		json_builder_begin_object(builder);
		json_put_address(builder, "address", watched->address);
		json_put_text(builder, "state", sample_watched_states[watched->state]);
		json_builder_set_member_name(builder, "module");
		json_builder_add_string_value(builder, watched->module);
		json_builder_set_member_name(builder, "qualname");
		json_builder_add_string_value(builder, watched->qualname);
		json_put_address(builder, "type", watched->type);
		json_put_number(builder, "refcount", watched->refcount);
		json_put_number(builder, "exact", watched->exact);
		json_put_number(builder, "probable", watched->probable);
		json_builder_set_member_name(builder, "value");
		json_builder_add_string_value(builder, watched->value);
		json_put_text(builder, "now", watched->now);
		json_builder_end_object(builder);
	}
	json_builder_end_array(builder);
}

GString *json_line(JsonBuilder *builder)
{
	g_autoptr(JsonNode) root = json_builder_get_root(builder);
	g_autoptr(JsonGenerator) generator = json_generator_new();
	json_generator_set_root(generator, root);
	GString *line = json_generator_to_gstring(generator, g_string_sized_new(4096));
	return g_string_append_c(line, '\n');
}

GString *json_sample(const sample_t *sample, const struct sample_type *const *types, size_t n_types)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", SCHEMA);
	json_put_origin(builder, sample);
	if (sample->snapshot.skipped) {
		json_builder_set_member_name(builder, "gc");
		json_builder_add_null_value(builder);
	} else {
		put_gc(builder, sample);
	}
	put_totals(builder, &sample->totals);
	json_builder_set_member_name(builder, "types");
	if (sample->snapshot.skipped) {
		json_builder_add_null_value(builder);
		json_builder_end_object(builder);
		return json_line(builder);
	}
	json_builder_begin_array(builder);
	for (size_t i = 0; i < (types ? n_types : sample->n_types); i++)
		add_type(builder, types ? types[i] : &sample->types[i], sample->has_turnover);
	json_builder_end_array(builder);
	put_watched(builder, sample);
	json_builder_end_object(builder);
	return json_line(builder);
}
