/* Reading back what json_references.c writes: it comes from a daemon, and that has it from a worker. */
#include "base/text.h"
#include "daemon/store/json_reader.h"
#include "daemon/store/json_references.h"

static bool read_probable(struct json_reader *reader, JsonObject *object)
{
	static const char *const certainties[] = {"exact", "probable"};
	return json_read_name(reader, object, "certainty", certainties, 2);
}

static double read_double(JsonObject *object, const char *key)
{
	JsonNode *node = object ? json_object_get_member(object, key) : NULL;
	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_double(node) : 0;
}

static void read_object(struct json_reader *reader, JsonObject *from, struct leak_object *object)
{
	object->address = json_read_address(reader, from, "address");
	object->type = json_read_address(reader, from, "type");
	object->module = json_read_text(reader, from, "module");
	object->qualname = json_read_text(reader, from, "qualname");
	object->refcount = json_read_number(reader, from, "refcount");
	object->exact = json_read_number(reader, from, "exact");
	object->probable = json_read_number(reader, from, "probable");
	object->unexplained = json_read_number(reader, from, "unexplained");
	object->deficit = json_read_number(reader, from, "deficit");
	object->value = json_read_text(reader, from, "value");
	object->growth = SAMPLE_UNKNOWN;
}

/* ---- leaks ---- */

static void read_totals(struct json_reader *reader, JsonObject *from, struct audit_totals *totals)
{
	totals->objects = json_read_number(reader, from, "objects");
	totals->refs = json_read_number(reader, from, "refs");
	totals->exact = json_read_number(reader, from, "exact");
	totals->probable = json_read_number(reader, from, "probable");
	totals->unexplained = json_read_number(reader, from, "unexplained");
	totals->deficit = json_read_number(reader, from, "deficit");
	totals->words = json_read_number(reader, from, "words");
	totals->spare_words = json_read_number(reader, from, "spare_words");
}

static void read_type(struct json_reader *reader, JsonObject *from, void *row)
{
	struct leak_type *type = row;
	type->address = json_read_address(reader, from, "address");
	type->module = json_read_text(reader, from, "module");
	type->qualname = json_read_text(reader, from, "qualname");
	type->kind = json_read_name(reader, from, "kind", leak_kind_names, LEAK_ONE_OFF + 1);
	type->objects = json_read_number(reader, from, "objects");
	type->refs = json_read_number(reader, from, "refs");
	type->unexplained = json_read_number(reader, from, "unexplained");
	type->unexplained_objects = json_read_number(reader, from, "unexplained_objects");
	type->orphans = json_read_number(reader, from, "orphans");
	type->largest = json_read_number(reader, from, "largest");
	type->deficit = json_read_number(reader, from, "deficit");
	type->deficit_objects = json_read_number(reader, from, "deficit_objects");
	type->growth = json_read_number(reader, from, "growth");
	type->of_types = json_read_bool(reader, from, "of_types");
	type->suppressed = json_read_bool(reader, from, "suppressed");
	type->lost_since_us = json_read_time(reader, from, "lost_since");
	type->grows_since_us = json_read_time(reader, from, "grows_since");
	type->grows_rate = read_double(from, "grows_per_minute") / 60;
}

static void read_leak(struct json_reader *reader, JsonObject *from, void *row)
{
	struct leak_object *object = row;
	read_object(reader, from, object);
	object->kind = json_read_name(reader, from, "kind", leak_kind_names, LEAK_ONE_OFF + 1);
	object->growth = json_read_number(reader, from, "growth");
	object->suppressed = json_read_bool(reader, from, "suppressed");
}

leaks_t *json_leaks_parse(const char *text, gsize size, GError **error)
{
	static const struct json_document document = {"reftop.leaks/1", "cannot read what is lost", NULL};
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = json_read_root(parser, text, size, &document, error);
	if (!root)
		return NULL;
	g_autoptr(leaks_t) leaks = g_new0(leaks_t, 1);
	leaks->origin = sample_new();
	struct json_reader reader = {.sample = leaks->origin};
	json_read_origin(&reader, root);
	leaks->looks = (int)json_read_number(&reader, root, "looks");
	leaks->interval_us = json_read_number(&reader, root, "interval_us");
	read_totals(&reader, json_read_object(&reader, root, "totals"), &leaks->totals);
	leaks->types = json_read_rows(&reader, root, "types", sizeof(*leaks->types), read_type, &leaks->n_types);
	leaks->objects =
		json_read_rows(&reader, root, "objects", sizeof(*leaks->objects), read_leak, &leaks->n_objects);
	leaks->all_objects = (size_t)MAX(json_read_number(&reader, root, "all_objects"), 0);
	return json_read_done(&reader, &document, error) ? g_steal_pointer(&leaks) : NULL;
}

/* ---- one object ---- */

static void read_holder(struct json_reader *reader, JsonObject *from, void *row)
{
	struct holder *holder = row;
	holder->kind = json_read_name(reader, from, "kind", reference_kind_names, REFERENCE_KINDS);
	holder->probable = read_probable(reader, from);
	holder->count = json_read_number(reader, from, "count");
	holder->address = json_read_known_address(reader, from, "address");
	holder->module = json_read_text(reader, from, "module");
	holder->qualname = json_read_text(reader, from, "qualname");
	holder->label = json_read_text(reader, from, "label");
	if (from && json_object_has_member(from, "container"))
		holder->container = json_read_address(reader, from, "container");
}

static void read_referent(struct json_reader *reader, JsonObject *from, void *row)
{
	struct referent *referent = row;
	referent->kind = json_read_name(reader, from, "kind", reference_kind_names, REFERENCE_KINDS);
	referent->probable = read_probable(reader, from);
	referent->address = json_read_address(reader, from, "address");
	referent->module = json_read_text(reader, from, "module");
	referent->qualname = json_read_text(reader, from, "qualname");
	referent->refcount = json_read_number(reader, from, "refcount");
	referent->value = json_read_text(reader, from, "value");
	referent->label = json_read_text(reader, from, "label");
}

static void read_step(struct json_reader *reader, JsonObject *from, void *row)
{
	struct explain_step *step = row;
	step->address = json_read_address(reader, from, "address");
	step->module = json_read_text(reader, from, "module");
	step->qualname = json_read_text(reader, from, "qualname");
	step->value = json_read_text(reader, from, "value");
	step->label = json_read_text(reader, from, "label");
}

static void read_explanation(struct json_reader *reader, JsonObject *root, explanation_t *explanation)
{
	json_read_origin(reader, root);
	read_object(reader, json_read_object(reader, root, "object"), &explanation->object);
	explanation->holders = json_read_rows(reader, root, "holders", sizeof(*explanation->holders), read_holder,
					      &explanation->n_holders);
	explanation->spare = json_read_number(reader, root, "spare");
	explanation->referents = json_read_rows(reader, root, "referents", sizeof(*explanation->referents),
						read_referent, &explanation->n_referents);
	explanation->all_referents = json_read_number(reader, root, "all_referents");
	explanation->root = json_read_text(reader, root, "root");
	explanation->path =
		json_read_rows(reader, root, "path", sizeof(*explanation->path), read_step, &explanation->n_path);
}

explanation_t *json_explanation_parse(const char *text, gsize size, char **problem, GError **error)
{
	static const struct json_document document = {"reftop.explain/1", "cannot read the explanation", NULL};
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = json_read_root(parser, text, size, &document, error);
	if (!root)
		return NULL;
	g_autoptr(explanation_t) explanation = g_new0(explanation_t, 1);
	explanation->origin = sample_new();
	struct json_reader reader = {.sample = explanation->origin};
	JsonNode *none = json_read_member(&reader, root, "problem", JSON_NODE_VALUE);
	if (none && json_node_get_string(none)) {
		*problem = text_escape_lines(json_node_get_string(none));
		return NULL;
	}
	read_explanation(&reader, root, explanation);
	return json_read_done(&reader, &document, error) ? g_steal_pointer(&explanation) : NULL;
}

/* ---- objects ---- */

static void read_instance(struct json_reader *reader, JsonObject *from, void *row)
{
	struct instance *instance = row;
	read_object(reader, from, &instance->object);
	instance->bytes = json_read_number(reader, from, "bytes");
}

instances_t *json_instances_parse(const char *text, gsize size, GError **error)
{
	static const struct json_document document = {"reftop.objects/1", "cannot read the objects", NULL};
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = json_read_root(parser, text, size, &document, error);
	if (!root)
		return NULL;
	g_autoptr(instances_t) instances = g_new0(instances_t, 1);
	instances->origin = sample_new();
	struct json_reader reader = {.sample = instances->origin};
	json_read_origin(&reader, root);
	instances->all_objects = json_read_number(&reader, root, "all_objects");
	instances->objects =
		json_read_rows(&reader, root, "objects", sizeof(*instances->objects), read_instance, &instances->n);
	return json_read_done(&reader, &document, error) ? g_steal_pointer(&instances) : NULL;
}
