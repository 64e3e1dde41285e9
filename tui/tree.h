/* `reftop -s -- PROGRAM ...` without a terminal, or with -q: run a program, watch it and all that it starts, and say at its end what grew, and where. */
#pragma once
#include "tui/command.h"

/* The status is the program's own. Errors: USAGE when it can't be started, FAILED. */
int tree_run(const struct options *options, GError **error);

/* Say on standard error what grew (struct grown, sorted) in `n` processes. */
void tree_summarize(const GArray *growths, guint n);
