/*
 * What is told about references as JSON: reftop.leaks/1, reftop.explain/1, reftop.objects/1 (manual, "JSON"). One line each; and back.
 *
 * A document holds all that the faces show: what was read back is written, and told in words, as the original was. What is read back is
 * foreign: anything malformed is an error of STORE_ERROR; unknown keys are ignored.
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/explain.h"
#include "daemon/analysis/instances.h"
#include "daemon/analysis/leaks.h"

/* `max_types` and the objects the leaks have */
GString *json_leaks(const leaks_t *leaks, size_t max_types);
GString *json_explanation(const explanation_t *explanation);
/* among the answers about several addresses: there is no object at this one; `problem` says so in words */
GString *json_unexplainable(uint64_t address, const char *problem);
GString *json_instances(const instances_t *instances);

leaks_t *json_leaks_parse(const char *text, gsize size, GError **error);
/* NULL also, with *problem in place of *error, when it says that there is no object: free with g_free(). */
explanation_t *json_explanation_parse(const char *text, gsize size, char **problem, GError **error);
instances_t *json_instances_parse(const char *text, gsize size, GError **error);
