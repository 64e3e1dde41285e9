/* Native frames into the stacks of threads, and Python's in their places. */
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/stacks.h"

/* The interpreter's loop: 3.6 and later; with tail calls its instructions are functions of their own (3.14+). */
static bool is_interpreter(const struct stack_frame *frame)
{
	return g_str_has_prefix(frame->function, "_PyEval_EvalFrameDefault") ||
	       g_str_has_prefix(frame->function, "_TAIL_CALL_");
}

/* The Python frames one run of the loop works on: up to the one it was called for. */
static size_t run_length(const struct stack_frame *frames, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (frames[i].entry)
			return i + 1;
	}
	return n;
}

void stacks_add_native(stacks_t *stacks, size_t index, const struct stack_frame *natives, size_t n, const char *broken)
{
	struct stack_thread *thread = &stacks->threads[index];
	if (broken)
		thread->broken = stacks_text(stacks, broken);
	if (!n)
		return;
	struct stack_frame *merged = g_new0(struct stack_frame, n + thread->n_frames);
	size_t used = 0, count = 0;
	bool inside = false;
	for (size_t i = 0; i < n; i++) {
		/* consecutive functions of a loop with tail calls are one run */
		bool loop = is_interpreter(&natives[i]);
		if (!loop) {
			merged[count] = natives[i];
			merged[count].function = stacks_text(stacks, natives[i].function);
			merged[count++].file = stacks_text(stacks, natives[i].file);
		} else if (!inside || !g_str_has_prefix(natives[i].function, "_TAIL_CALL_")) {
			size_t run = run_length(thread->frames + used, thread->n_frames - used);
			memcpy(merged + count, thread->frames + used, run * sizeof(*merged));
			count += run;
			used += run;
		}
		inside = loop;
	}
	/* what the native stack didn't reach */
	memcpy(merged + count, thread->frames + used, (thread->n_frames - used) * sizeof(*merged));
	count += thread->n_frames - used;
	g_free(thread->frames);
	thread->frames = merged;
	thread->n_frames = count;
}
