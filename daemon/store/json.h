/*
 * Samples as JSON, schema "reftop.sample/1" (manual, "JSON"), both ways, and what other documents need to look the
 * same.
 *
 * One object a document, on one line. What is SAMPLE_UNKNOWN, or text that is NULL or "", becomes null.
 */
#pragma once
#include <json-glib/json-glib.h>

#include "daemon/analysis/sample.h"

/*
 * The sample as one line that ends in a newline. `types` chooses rows and their order; NULL: all, as they are in the
 * sample.
 */
GString *json_sample(const sample_t *sample, const struct sample_type *const *types, size_t n_types);

/* The sample in `text` (`size` bytes; foreign: anything malformed is an error of STORE_ERROR). Unknown keys are
 * ignored. */
sample_t *json_sample_parse(const char *text, gsize size, GError **error);

/* Whether brackets nest deeper than anything of ours: json-glib would parse that by recursion, too. */
bool json_too_deep(const char *text, gsize size);

/* Members of an object under construction. */
void json_put_text(JsonBuilder *builder, const char *key, const char *text);
void json_put_number(JsonBuilder *builder, const char *key, int64_t number);
void json_put_bool(JsonBuilder *builder, const char *key, bool value);
void json_put_time(JsonBuilder *builder, const char *key, int64_t time_us);
void json_put_address(JsonBuilder *builder, const char *key, uint64_t address);
void json_put_strings(JsonBuilder *builder, const char *key, const char *const *strings);
/* "time", "target" and "snapshot" of a sample, as all documents about one have them. */
void json_put_origin(JsonBuilder *builder, const sample_t *sample);
/* What was built, as one line that ends in a newline. */
GString *json_line(JsonBuilder *builder);
