/* Stacks as JSON: reftop.stacks/1 (manual, "JSON"). One line. */
#pragma once
#include <glib.h>

#include "daemon/analysis/stacks.h"

GString *json_stacks(const stacks_t *stacks, const struct stacks_options *options);
