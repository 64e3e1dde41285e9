#include "daemon/store/json_references.h"

#include "daemon/store/json.h"

/* a text that may be empty and is known all the same */
static void put_string(JsonBuilder *builder, const char *key, const char *text)
{
	json_builder_set_member_name(builder, key);
	json_builder_add_string_value(builder, text);
}

static void begin_array(JsonBuilder *builder, const char *key)
{
	json_builder_set_member_name(builder, key);
	json_builder_begin_array(builder);
}

static void put_totals(JsonBuilder *builder, const struct audit_totals *totals)
{
	json_builder_set_member_name(builder, "totals");
	json_builder_begin_object(builder);
	json_put_number(builder, "objects", totals->objects);
	json_put_number(builder, "refs", totals->refs);
	json_put_number(builder, "exact", totals->exact);
	json_put_number(builder, "probable", totals->probable);
	json_put_number(builder, "unexplained", totals->unexplained);
	json_put_number(builder, "deficit", totals->deficit);
	json_put_number(builder, "words", totals->words);
	json_put_number(builder, "spare_words", totals->spare_words);
	json_builder_end_object(builder);
}

static void add_type(JsonBuilder *builder, const struct leak_type *type)
{
	json_builder_begin_object(builder);
	json_put_address(builder, "address", type->address);
	put_string(builder, "module", type->module);
	put_string(builder, "qualname", type->qualname);
	put_string(builder, "kind", leak_kind_names[type->kind]);
	json_put_number(builder, "objects", type->objects);
	json_put_number(builder, "refs", type->refs);
	json_put_number(builder, "unexplained", type->unexplained);
	json_put_number(builder, "unexplained_objects", type->unexplained_objects);
	json_put_number(builder, "orphans", type->orphans);
	json_put_number(builder, "largest", type->largest);
	json_put_number(builder, "deficit", type->deficit);
	json_put_number(builder, "deficit_objects", type->deficit_objects);
	json_put_number(builder, "growth", type->growth);
	json_put_bool(builder, "of_types", type->of_types);
	json_put_bool(builder, "suppressed", type->suppressed);
	json_put_time(builder, "lost_since", type->lost_since_us);
	json_put_time(builder, "grows_since", type->grows_since_us);
	json_builder_set_member_name(builder, "grows_per_minute");
	if (type->grows_since_us == SAMPLE_UNKNOWN)
		json_builder_add_null_value(builder);
	else
		json_builder_add_double_value(builder, type->grows_rate * 60);
	json_builder_end_object(builder);
}

static void put_object(JsonBuilder *builder, const struct leak_object *object)
{
	json_put_address(builder, "address", object->address);
	put_string(builder, "module", object->module);
	put_string(builder, "qualname", object->qualname);
	json_put_address(builder, "type", object->type);
	json_put_number(builder, "refcount", object->refcount);
	json_put_number(builder, "exact", object->exact);
	json_put_number(builder, "probable", object->probable);
	json_put_number(builder, "unexplained", object->unexplained);
	json_put_number(builder, "deficit", object->deficit);
	put_string(builder, "value", object->value);
}

GString *json_leaks(const leaks_t *leaks, size_t max_types)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.leaks/1");
	json_put_origin(builder, leaks->origin);
	json_put_number(builder, "looks", leaks->looks);
	json_put_number(builder, "interval_us", leaks->interval_us);
	json_put_bool(builder, "found", leaks_found(leaks));
	put_totals(builder, &leaks->totals);
	begin_array(builder, "types");
	for (size_t i = 0; i < leaks->n_types && i < max_types; i++)
		add_type(builder, &leaks->types[i]);
	json_builder_end_array(builder);
	begin_array(builder, "objects");
	for (size_t i = 0; i < leaks->n_objects; i++) {
		json_builder_begin_object(builder);
		put_object(builder, &leaks->objects[i]);
		put_string(builder, "kind", leak_kind_names[leaks->objects[i].kind]);
		json_put_number(builder, "growth", leaks->objects[i].growth);
		json_put_bool(builder, "suppressed", leaks->objects[i].suppressed);
		json_builder_end_object(builder);
	}
	json_builder_end_array(builder);
	json_put_number(builder, "all_objects", (int64_t)leaks->all_objects);
	json_builder_end_object(builder);
	return json_line(builder);
}

static void add_holder(JsonBuilder *builder, const struct holder *holder)
{
	json_builder_begin_object(builder);
	put_string(builder, "kind", reference_kind_names[holder->kind]);
	put_string(builder, "certainty", holder->probable ? "probable" : "exact");
	json_put_number(builder, "count", holder->count);
	json_builder_set_member_name(builder, "address");
	if (holder->address) {
		g_autofree char *text = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", holder->address);
		json_builder_add_string_value(builder, text);
	} else {
		json_builder_add_null_value(builder);
	}
	json_put_text(builder, "module", holder->module);
	json_put_text(builder, "qualname", holder->qualname);
	put_string(builder, "label", holder->label);
	if (holder->container)
		json_put_address(builder, "container", holder->container);
	json_builder_end_object(builder);
}

static void add_referent(JsonBuilder *builder, const struct referent *referent)
{
	json_builder_begin_object(builder);
	put_string(builder, "kind", reference_kind_names[referent->kind]);
	put_string(builder, "certainty", referent->probable ? "probable" : "exact");
	json_put_address(builder, "address", referent->address);
	put_string(builder, "module", referent->module);
	put_string(builder, "qualname", referent->qualname);
	json_put_number(builder, "refcount", referent->refcount);
	put_string(builder, "value", referent->value);
	put_string(builder, "label", referent->label);
	json_builder_end_object(builder);
}

GString *json_explanation(const explanation_t *explanation)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.explain/1");
	json_put_origin(builder, explanation->origin);
	json_builder_set_member_name(builder, "object");
	json_builder_begin_object(builder);
	put_object(builder, &explanation->object);
	json_builder_end_object(builder);
	begin_array(builder, "holders");
	for (size_t i = 0; i < explanation->n_holders; i++)
		add_holder(builder, &explanation->holders[i]);
	json_builder_end_array(builder);
	json_put_number(builder, "spare", explanation->spare);
	begin_array(builder, "referents");
	for (size_t i = 0; i < explanation->n_referents; i++)
		add_referent(builder, &explanation->referents[i]);
	json_builder_end_array(builder);
	json_put_number(builder, "all_referents", explanation->all_referents);
	json_put_text(builder, "root", explanation->root);
	begin_array(builder, "path");
	for (size_t i = 0; i < explanation->n_path; i++) {
		const struct explain_step *step = &explanation->path[i];
		json_builder_begin_object(builder);
		json_put_address(builder, "address", step->address);
		put_string(builder, "module", step->module);
		put_string(builder, "qualname", step->qualname);
		put_string(builder, "value", step->value);
		put_string(builder, "label", step->label);
		json_builder_end_object(builder);
	}
	json_builder_end_array(builder);
	json_builder_end_object(builder);
	return json_line(builder);
}

GString *json_unexplainable(uint64_t address, const char *problem)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.explain/1");
	json_put_address(builder, "address", address);
	json_builder_set_member_name(builder, "object");
	json_builder_add_null_value(builder);
	json_put_text(builder, "problem", problem);
	json_builder_end_object(builder);
	return json_line(builder);
}

GString *json_instances(const instances_t *instances)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.objects/1");
	json_put_origin(builder, instances->origin);
	json_put_number(builder, "all_objects", instances->all_objects);
	begin_array(builder, "objects");
	for (size_t i = 0; i < instances->n; i++) {
		const struct instance *instance = &instances->objects[i];
		json_builder_begin_object(builder);
		put_object(builder, &instance->object);
		json_put_number(builder, "bytes", instance->bytes);
		json_builder_end_object(builder);
	}
	json_builder_end_array(builder);
	json_builder_end_object(builder);
	return json_line(builder);
}
