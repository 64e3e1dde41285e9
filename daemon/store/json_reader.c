#include "daemon/store/json_reader.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"

#define MAX_DEPTH 16 /* stacks have 7 */

JsonNode *json_read_member(struct json_reader *reader, JsonObject *object, const char *key, JsonNodeType type)
{
	JsonNode *node = object ? json_object_get_member(object, key) : NULL;
	if (!node || JSON_NODE_HOLDS_NULL(node))
		return NULL;
	if (JSON_NODE_TYPE(node) == type)
		return node;
	reader->problem = key;
	return NULL;
}

/* A value of this type; NULL: absent, null, or of another type, which is a problem. */
static JsonNode *read_value(struct json_reader *reader, JsonObject *object, const char *key, GType type)
{
	JsonNode *node = json_read_member(reader, object, key, JSON_NODE_VALUE);
	if (!node || json_node_get_value_type(node) == type)
		return node;
	reader->problem = key;
	return NULL;
}

int64_t json_read_number(struct json_reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = read_value(reader, object, key, G_TYPE_INT64);
	return node ? json_node_get_int(node) : SAMPLE_UNKNOWN;
}

bool json_read_bool(struct json_reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = read_value(reader, object, key, G_TYPE_BOOLEAN);
	return node && json_node_get_boolean(node);
}

const char *json_read_node_text(struct json_reader *reader, JsonNode *node, const char *key)
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

const char *json_read_text(struct json_reader *reader, JsonObject *object, const char *key)
{
	return json_read_node_text(reader, json_read_member(reader, object, key, JSON_NODE_VALUE), key);
}

int64_t json_read_time(struct json_reader *reader, JsonObject *object, const char *key)
{
	const char *text = json_read_text(reader, object, key);
	if (!*text)
		return SAMPLE_UNKNOWN;
	g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);
	if (time)
		return g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time);
	reader->problem = key;
	return SAMPLE_UNKNOWN;
}

JsonObject *json_read_object(struct json_reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = json_read_member(reader, object, key, JSON_NODE_OBJECT);
	if (!node)
		reader->problem = key;
	return node ? json_node_get_object(node) : NULL;
}

JsonArray *json_read_array(struct json_reader *reader, JsonObject *object, const char *key, size_t *n)
{
	JsonNode *node = json_read_member(reader, object, key, JSON_NODE_ARRAY);
	JsonArray *array = node ? json_node_get_array(node) : NULL;
	*n = array ? json_array_get_length(array) : 0;
	return array;
}

JsonObject *json_read_element(struct json_reader *reader, JsonArray *array, size_t i, const char *key)
{
	JsonNode *node = json_array_get_element(array, (guint)i);
	if (JSON_NODE_HOLDS_OBJECT(node))
		return json_node_get_object(node);
	reader->problem = key;
	return NULL;
}

void *json_read_rows(struct json_reader *reader, JsonObject *object, const char *key, size_t size, json_read_row read,
		     size_t *n)
{
	JsonArray *array = json_read_array(reader, object, key, n);
	char *rows = g_try_malloc0_n(*n + 1, size);
	if (!rows) {
		reader->problem = key;
		*n = 0;
		return g_malloc0(size);
	}
	for (size_t i = 0; i < *n; i++)
		read(reader, json_read_element(reader, array, i, key), rows + i * size);
	return rows;
}

int json_read_name(struct json_reader *reader, JsonObject *object, const char *key, const char *const *names, int n)
{
	const char *text = json_read_text(reader, object, key);
	for (int i = 0; i < n; i++)
		if (names[i] && !strcmp(names[i], text))
			return i;
	reader->problem = key;
	return 0;
}

uint64_t json_read_address(struct json_reader *reader, JsonObject *object, const char *key)
{
	const char *text = json_read_text(reader, object, key);
	guint64 address = 0;
	if (!g_str_has_prefix(text, "0x") || !g_ascii_string_to_unsigned(text + 2, 16, 0, G_MAXUINT64, &address, NULL))
		reader->problem = key;
	return address;
}

uint64_t json_read_known_address(struct json_reader *reader, JsonObject *object, const char *key)
{
	return json_read_member(reader, object, key, JSON_NODE_VALUE) ? json_read_address(reader, object, key) : 0;
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

JsonObject *json_read_root(JsonParser *parser, const char *text, gsize size, const struct json_document *document,
			   GError **error)
{
	g_autofree char *cause = NULL;
	const char *fix = NULL;
	g_autoptr(GError) unparsed = NULL;
	if (json_too_deep(text, size) || size > G_MAXSSIZE) {
		cause = g_strdup("it is nested too deeply");
	} else if (!json_parser_load_from_data(parser, text, (gssize)size, &unparsed)) {
		cause = text_escape(unparsed->message, strlen(unparsed->message));
	} else {
		JsonNode *root = json_parser_get_root(parser);
		JsonObject *object = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
		JsonNode *node = object ? json_object_get_member(object, "schema") : NULL;
		if (node && JSON_NODE_HOLDS_VALUE(node) && !g_strcmp0(json_node_get_string(node), document->schema))
			return object;
		cause = object ? g_strdup_printf("its \"schema\" is not \"%s\"", document->schema)
			       : g_strdup("it is no object");
		fix = object ? document->fix : NULL;
	}
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, cause, fix, "%s", document->what);
	return NULL;
}

bool json_read_done(const struct json_reader *reader, const struct json_document *document, GError **error)
{
	if (!reader->problem)
		return true;
	g_autofree char *told = g_strdup_printf("\"%s\" is missing or of a wrong type", reader->problem);
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, told, NULL, "%s", document->what);
	return false;
}
