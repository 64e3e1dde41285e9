/*
 * Opening a source while the view goes on: that may take as long as a busy daemon takes to answer, or another tracer to let go.
 */
#pragma once
#include "tui/screens/top.h"

struct opening;

/* Begin to open what was chosen (taken over) by options->open, whose context must live as long as the program. */
struct opening *opening_new(const struct top_options *options, struct choice *choice);
/* Nobody waits for it any more. NULL is fine. */
void opening_abandon(struct opening *opening);

/* Readable when it is done. */
int opening_fd(const struct opening *opening);
/* True: it is done, with *source or with *error, and freed. */
gboolean opening_take(struct opening *opening, source_t **source, GError **error);
