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

int64_t json_read_number(struct json_reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = json_read_member(reader, object, key, JSON_NODE_VALUE);
	if (!node)
		return SAMPLE_UNKNOWN;
	if (json_node_get_value_type(node) == G_TYPE_INT64)
		return json_node_get_int(node);
	reader->problem = key;
	return SAMPLE_UNKNOWN;
}

bool json_read_bool(struct json_reader *reader, JsonObject *object, const char *key)
{
	JsonNode *node = json_read_member(reader, object, key, JSON_NODE_VALUE);
	if (!node)
		return false;
	if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
		return json_node_get_boolean(node);
	reader->problem = key;
	return false;
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

uint64_t json_read_address(struct json_reader *reader, JsonObject *object, const char *key)
{
	const char *text = json_read_text(reader, object, key);
	guint64 address = 0;
	if (!g_str_has_prefix(text, "0x") || !g_ascii_string_to_unsigned(text + 2, 16, 0, G_MAXUINT64, &address, NULL))
		reader->problem = key;
	return address;
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

JsonObject *json_read_root(JsonParser *parser, const char *text, gsize size, const char *what, GError **error)
{
	if (json_too_deep(text, size) || size > G_MAXSSIZE) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "it is nested too deeply", NULL, "%s", what);
		return NULL;
	}
	g_autoptr(GError) cause = NULL;
	if (!json_parser_load_from_data(parser, text, (gssize)size, &cause)) {
		g_autofree char *clean = text_escape(cause->message, strlen(cause->message));
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, clean, NULL, "%s", what);
		return NULL;
	}
	JsonNode *root = json_parser_get_root(parser);
	if (root && JSON_NODE_HOLDS_OBJECT(root))
		return json_node_get_object(root);
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "it is no object", NULL, "%s", what);
	return NULL;
}

bool json_read_done(const struct json_reader *reader, const char *what, GError **error)
{
	if (!reader->problem)
		return true;
	g_autofree char *told = g_strdup_printf("\"%s\" is missing or of a wrong type", reader->problem);
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, told, NULL, "%s", what);
	return false;
}
