/* Reading back what json_references.c writes: it comes from a daemon, and that has it from a worker. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json_reader.h"
#include "daemon/store/json_references.h"

/* The root of a document of this schema; NULL with *error. */
static JsonObject *open_document(JsonParser *parser, const char *text, gsize size, const char *schema, const char *what,
				 GError **error)
{
	JsonObject *root = json_read_root(parser, text, size, what, error);
	JsonNode *node = root ? json_object_get_member(root, "schema") : NULL;
	if (!root)
		return NULL;
	if (node && JSON_NODE_HOLDS_VALUE(node) && !g_strcmp0(json_node_get_string(node), schema))
		return root;
	g_autofree char *cause = g_strdup_printf("its \"schema\" is not \"%s\"", schema);
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, cause, NULL, "%s", what);
	return NULL;
}

/* The index of a name among `names`; a problem when it is none of them. */
static int read_name(struct json_reader *reader, JsonObject *object, const char *key, const char *const *names, int n)
{
	const char *text = json_read_text(reader, object, key);
	for (int i = 0; i < n; i++)
		if (names[i] && !strcmp(names[i], text))
			return i;
	reader->problem = key;
	return 0;
}

static bool read_probable(struct json_reader *reader, JsonObject *object)
{
	static const char *const certainties[] = {"exact", "probable"};
	return read_name(reader, object, "certainty", certainties, 2);
}

/* An address that may be null: 0. */
static uint64_t read_known_address(struct json_reader *reader, JsonObject *object, const char *key)
{
	return json_read_member(reader, object, key, JSON_NODE_VALUE) ? json_read_address(reader, object, key) : 0;
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

static void read_type(struct json_reader *reader, JsonObject *from, struct leak_type *type)
{
	type->address = json_read_address(reader, from, "address");
	type->module = json_read_text(reader, from, "module");
	type->qualname = json_read_text(reader, from, "qualname");
	type->kind = read_name(reader, from, "kind", leak_kind_names, LEAK_ONE_OFF + 1);
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

leaks_t *json_leaks_parse(const char *text, gsize size, GError **error)
{
	static const char what[] = "cannot read what is lost";
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = open_document(parser, text, size, "reftop.leaks/1", what, error);
	if (!root)
		return NULL;
	g_autoptr(leaks_t) leaks = g_new0(leaks_t, 1);
	leaks->origin = sample_new();
	struct json_reader reader = {.sample = leaks->origin};
	json_read_origin(&reader, root);
	leaks->looks = (int)json_read_number(&reader, root, "looks");
	leaks->interval_us = json_read_number(&reader, root, "interval_us");
	read_totals(&reader, json_read_object(&reader, root, "totals"), &leaks->totals);
	JsonArray *types = json_read_array(&reader, root, "types", &leaks->n_types);
	leaks->types = g_new0(struct leak_type, leaks->n_types + 1);
	for (size_t i = 0; i < leaks->n_types; i++)
		read_type(&reader, json_read_element(&reader, types, i, "types"), &leaks->types[i]);
	JsonArray *objects = json_read_array(&reader, root, "objects", &leaks->n_objects);
	leaks->objects = g_new0(struct leak_object, leaks->n_objects + 1);
	for (size_t i = 0; i < leaks->n_objects; i++) {
		JsonObject *from = json_read_element(&reader, objects, i, "objects");
		struct leak_object *object = &leaks->objects[i];
		read_object(&reader, from, object);
		object->kind = read_name(&reader, from, "kind", leak_kind_names, LEAK_ONE_OFF + 1);
		object->growth = json_read_number(&reader, from, "growth");
		object->suppressed = json_read_bool(&reader, from, "suppressed");
	}
	leaks->all_objects = (size_t)MAX(json_read_number(&reader, root, "all_objects"), 0);
	return json_read_done(&reader, what, error) ? g_steal_pointer(&leaks) : NULL;
}

/* ---- one object ---- */

static void read_holder(struct json_reader *reader, JsonObject *from, struct holder *holder)
{
	holder->kind = read_name(reader, from, "kind", reference_kind_names, REFERENCE_KINDS);
	holder->probable = read_probable(reader, from);
	holder->count = json_read_number(reader, from, "count");
	holder->address = read_known_address(reader, from, "address");
	holder->module = json_read_text(reader, from, "module");
	holder->qualname = json_read_text(reader, from, "qualname");
	holder->label = json_read_text(reader, from, "label");
	if (from && json_object_has_member(from, "container"))
		holder->container = json_read_address(reader, from, "container");
}

static void read_referent(struct json_reader *reader, JsonObject *from, struct referent *referent)
{
	referent->kind = read_name(reader, from, "kind", reference_kind_names, REFERENCE_KINDS);
	referent->probable = read_probable(reader, from);
	referent->address = json_read_address(reader, from, "address");
	referent->module = json_read_text(reader, from, "module");
	referent->qualname = json_read_text(reader, from, "qualname");
	referent->refcount = json_read_number(reader, from, "refcount");
	referent->value = json_read_text(reader, from, "value");
	referent->label = json_read_text(reader, from, "label");
}

static void read_step(struct json_reader *reader, JsonObject *from, struct explain_step *step)
{
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
	JsonArray *holders = json_read_array(reader, root, "holders", &explanation->n_holders);
	explanation->holders = g_new0(struct holder, explanation->n_holders + 1);
	for (size_t i = 0; i < explanation->n_holders; i++)
		read_holder(reader, json_read_element(reader, holders, i, "holders"), &explanation->holders[i]);
	explanation->spare = json_read_number(reader, root, "spare");
	JsonArray *referents = json_read_array(reader, root, "referents", &explanation->n_referents);
	explanation->referents = g_new0(struct referent, explanation->n_referents + 1);
	for (size_t i = 0; i < explanation->n_referents; i++)
		read_referent(reader, json_read_element(reader, referents, i, "referents"), &explanation->referents[i]);
	explanation->all_referents = json_read_number(reader, root, "all_referents");
	explanation->root = json_read_text(reader, root, "root");
	JsonArray *path = json_read_array(reader, root, "path", &explanation->n_path);
	explanation->path = g_new0(struct explain_step, explanation->n_path + 1);
	for (size_t i = 0; i < explanation->n_path; i++)
		read_step(reader, json_read_element(reader, path, i, "path"), &explanation->path[i]);
}

explanation_t *json_explanation_parse(const char *text, gsize size, char **problem, GError **error)
{
	static const char what[] = "cannot read the explanation";
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = open_document(parser, text, size, "reftop.explain/1", what, error);
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
	return json_read_done(&reader, what, error) ? g_steal_pointer(&explanation) : NULL;
}

/* ---- objects ---- */

instances_t *json_instances_parse(const char *text, gsize size, GError **error)
{
	static const char what[] = "cannot read the objects";
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = open_document(parser, text, size, "reftop.objects/1", what, error);
	if (!root)
		return NULL;
	g_autoptr(instances_t) instances = g_new0(instances_t, 1);
	instances->origin = sample_new();
	struct json_reader reader = {.sample = instances->origin};
	json_read_origin(&reader, root);
	instances->all_objects = json_read_number(&reader, root, "all_objects");
	JsonArray *objects = json_read_array(&reader, root, "objects", &instances->n);
	instances->objects = g_new0(struct instance, instances->n + 1);
	for (size_t i = 0; i < instances->n; i++) {
		JsonObject *from = json_read_element(&reader, objects, i, "objects");
		read_object(&reader, from, &instances->objects[i].object);
		instances->objects[i].bytes = json_read_number(&reader, from, "bytes");
	}
	return json_read_done(&reader, what, error) ? g_steal_pointer(&instances) : NULL;
}
