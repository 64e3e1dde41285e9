/*
 * Stacks as JSON: reftop.stacks/1 (manual, "JSON"). One line; and back, as in json_references.h.
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/stacks.h"

GString *json_stacks(const stacks_t *stacks, const struct stacks_options *options);
stacks_t *json_stacks_parse(const char *text, gsize size, GError **error);

/* index is enum wait_kind */
extern const char *const json_wait_kinds[];
