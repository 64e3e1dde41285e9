/* What is told about references as JSON: reftop.leaks/1, reftop.explain/1, reftop.objects/1 (manual, "JSON"). One line each. */
#pragma once
#include <glib.h>

#include "daemon/analysis/explain.h"
#include "daemon/analysis/instances.h"
#include "daemon/analysis/leaks.h"

/* `max_types` and the objects the leaks have */
GString *json_leaks(const leaks_t *leaks, size_t max_types);
GString *json_explanation(const explanation_t *explanation);
/* among the answers about several addresses: there is no object at this one */
GString *json_unexplainable(uint64_t address);
GString *json_instances(const instances_t *instances);
