/* Stacks as text: a paragraph a thread, innermost frame first, deadlocks on top. */
#pragma once
#include <glib.h>

#include "daemon/analysis/stacks.h"

/* "waits for threading.Lock app.lock_b, held by "two" (tid 4712) since app.py:20 in second"; "" when nothing is known. */
char *stacks_wait_text(const stacks_t *stacks, const struct stack_thread *thread);
/* "main (app.py:12)" */
char *stacks_frame_text(const struct stack_frame *frame);
GString *stacks_to_text(const stacks_t *stacks);
