/*
 * Reading members of a document that may come from anybody: every type is checked, all text is escaped again and put into the sample, no
 * problem stops the reading; the last one is told at the end.
 *
 * What is absent or null is SAMPLE_UNKNOWN, false, "", an empty array; an object or an address that isn't there is a problem.
 */
#pragma once
#include <json-glib/json-glib.h>

#include "daemon/analysis/sample.h"

struct json_reader {
	sample_t *sample;    /* owns the text */
	const char *problem; /* the key; NULL: none so far */
};

/* Parse `text`; its object, which belongs to the parser. NULL with *error (STORE_ERROR), `what` being its first line. */
JsonObject *json_read_root(JsonParser *parser, const char *text, gsize size, const char *what, GError **error);
/* Whether all was well; else *error. */
bool json_read_done(const struct json_reader *reader, const char *what, GError **error);

/* The member of this kind; NULL: absent, null, or of another kind, which is a problem. */
JsonNode *json_read_member(struct json_reader *reader, JsonObject *object, const char *key, JsonNodeType type);
int64_t json_read_number(struct json_reader *reader, JsonObject *object, const char *key);
bool json_read_bool(struct json_reader *reader, JsonObject *object, const char *key);
const char *json_read_node_text(struct json_reader *reader, JsonNode *node, const char *key);
const char *json_read_text(struct json_reader *reader, JsonObject *object, const char *key);
int64_t json_read_time(struct json_reader *reader, JsonObject *object, const char *key);
uint64_t json_read_address(struct json_reader *reader, JsonObject *object, const char *key);
JsonObject *json_read_object(struct json_reader *reader, JsonObject *object, const char *key);
/* *n: its length */
JsonArray *json_read_array(struct json_reader *reader, JsonObject *object, const char *key, size_t *n);
/* Element i of an array of objects; NULL with a problem when it is something else. */
JsonObject *json_read_element(struct json_reader *reader, JsonArray *array, size_t i, const char *key);

/* "time", "target" and "snapshot", as json_put_origin() writes them, into the reader's sample (json_parse.c). */
void json_read_origin(struct json_reader *reader, JsonObject *root);
