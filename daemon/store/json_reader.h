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
	const void *whole;   /* the document as far as it is read, for those who read its rows; or NULL */
	const char *problem; /* the key; NULL: none so far */
};

/* A kind of document. */
struct json_document {
	const char *schema; /* what its "schema" must be */
	const char *what;   /* the first line of an error: "cannot read the stacks" */
	const char *fix;    /* what to do when it is of another schema; NULL: nothing */
};

/* Parse `text`; its object, which belongs to the parser. NULL with *error (STORE_ERROR). */
JsonObject *json_read_root(JsonParser *parser, const char *text, gsize size, const struct json_document *document,
			   GError **error);
/* Whether all was well; else *error. */
bool json_read_done(const struct json_reader *reader, const struct json_document *document, GError **error);

/* The member of this kind; NULL: absent, null, or of another kind, which is a problem. */
JsonNode *json_read_member(struct json_reader *reader, JsonObject *object, const char *key, JsonNodeType type);
int64_t json_read_number(struct json_reader *reader, JsonObject *object, const char *key);
bool json_read_bool(struct json_reader *reader, JsonObject *object, const char *key);
const char *json_read_node_text(struct json_reader *reader, JsonNode *node, const char *key);
const char *json_read_text(struct json_reader *reader, JsonObject *object, const char *key);
int64_t json_read_time(struct json_reader *reader, JsonObject *object, const char *key);
uint64_t json_read_address(struct json_reader *reader, JsonObject *object, const char *key);
/* An address that may be absent or null: 0. */
uint64_t json_read_known_address(struct json_reader *reader, JsonObject *object, const char *key);
/* The index of a text among `names` (NULL: one that is never written); 0 and a problem when it is none of them. */
int json_read_name(struct json_reader *reader, JsonObject *object, const char *key, const char *const *names, int n);
JsonObject *json_read_object(struct json_reader *reader, JsonObject *object, const char *key);
/* *n: its length */
JsonArray *json_read_array(struct json_reader *reader, JsonObject *object, const char *key, size_t *n);
/* Element i of an array of objects; NULL with a problem when it is something else. */
JsonObject *json_read_element(struct json_reader *reader, JsonArray *array, size_t i, const char *key);
/* Fill `row`, which is all zero, from an element of an array of objects; NULL where it is something else, which is a problem already. */
typedef void (*json_read_row)(struct json_reader *reader, JsonObject *from, void *row);
/* An array of objects as `*n` rows of `size` bytes, for g_free(); *n is set before the first is read. Never NULL. */
void *json_read_rows(struct json_reader *reader, JsonObject *object, const char *key, size_t size, json_read_row read,
		     size_t *n);

/* "time", "target" and "snapshot", as json_put_origin() writes them, into the reader's sample (json_parse.c). */
void json_read_origin(struct json_reader *reader, JsonObject *root);
