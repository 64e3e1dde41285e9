#include "tui/stacks_text.h"

#include "base/text.h"

static void append_duration(GString *text, int64_t us)
{
	double seconds = (double)us / 1e6;
	if (seconds < 1)
		g_string_append_printf(text, "%.0f ms", seconds * 1e3);
	else if (seconds < 120)
		g_string_append_printf(text, "%.1f s", seconds);
	else if (seconds < 7200)
		g_string_append_printf(text, "%.0f min", seconds / 60);
	else
		g_string_append_printf(text, "%.1f h", seconds / 3600);
}

static void append_object(GString *text, const struct stack_wait *wait)
{
	g_string_append(text, *wait->object_type ? wait->object_type : "an object");
	if (*wait->holder)
		g_string_append_printf(text, " %s", wait->holder);
	g_string_append_printf(text, " 0x%" G_GINT64_MODIFIER "x", wait->object);
	if (*wait->state)
		g_string_append_printf(text, " (%s)", wait->state);
}

static void append_owner(GString *text, const stacks_t *stacks, const struct stack_thread *thread)
{
	const struct stack_wait *wait = &thread->wait;
	if (wait->owner >= 0) {
		const struct stack_thread *owner = &stacks->threads[wait->owner];
		g_autofree char *name = stack_thread_name(owner);
		g_string_append_printf(text, ", held by %s", owner == thread ? "itself" : name);
		if (*wait->owner_place)
			g_string_append_printf(text, " since %s", wait->owner_place);
	} else if (wait->orphan) {
		g_string_append(
			text,
			"; there is no other thread that could release it: it was locked before a fork, or is taken twice");
	} else {
		g_string_append(text, "; who holds it isn't known");
	}
}

char *stacks_wait_text(const stacks_t *stacks, const struct stack_thread *thread)
{
	const struct stack_wait *wait = &thread->wait;
	g_autoptr(GString) text = g_string_new(NULL);
	switch (wait->kind) {
	case WAIT_NONE:
		return g_strdup("");
	case WAIT_CALL:
		g_string_append_printf(text, "in %s", wait->call);
		if (*wait->detail)
			g_string_append_printf(text, " %s", wait->detail);
		break;
	case WAIT_GIL:
		return g_strdup("waits for the GIL");
	case WAIT_LOCK:
		g_string_append(text, "waits for ");
		append_object(text, wait);
		append_owner(text, stacks, thread);
		break;
	case WAIT_EVENT:
		g_string_append(text, "waits for ");
		append_object(text, wait);
		break;
	case WAIT_THREAD:
		if (wait->owner >= 0) {
			g_autofree char *name = stack_thread_name(&stacks->threads[wait->owner]);
			g_string_append_printf(text, "waits for the end of thread %s", name);
		} else {
			g_string_append(text, "waits for the end of ");
			append_object(text, wait);
		}
		break;
	}
	if (wait->timed && wait->timeout_us < 0)
		g_string_append(text, ", with a time-out");
	if (wait->timeout_us >= 0) {
		g_string_append(text, wait->timeout_left ? ", for another " : ", for at most ");
		append_duration(text, wait->timeout_us);
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

char *stacks_frame_text(const struct stack_frame *frame)
{
	if (frame->native && frame->line)
		return g_strdup_printf("%s (%s:%d)", frame->function, frame->file, frame->line);
	if (frame->native)
		return g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x (%s)", frame->function, frame->offset,
				       frame->file);
	return frame->line ? g_strdup_printf("%s (%s:%d)", frame->function, frame->file, frame->line)
			   : g_strdup_printf("%s (%s)", frame->function, frame->file);
}

static void append_frames(GString *text, const struct stack_frame *frames, size_t n, const char *indent)
{
	for (size_t i = 0; i < n; i++) {
		const struct stack_frame *frame = &frames[i];
		g_autofree char *line = stacks_frame_text(frame);
		g_string_append_printf(text, "%s%s%s\n", indent, frame->native ? "[native] " : "", line);
		for (size_t k = 0; k < frame->n_variables; k++)
			g_string_append_printf(text, "%s    %s = %s\n", indent, frame->variables[k].name,
					       frame->variables[k].value);
	}
}

static void append_thread(GString *text, const stacks_t *stacks, const struct stack_thread *thread)
{
	g_string_append(text, "Thread ");
	if (thread->tid)
		g_string_append_printf(text, "%" G_GINT64_FORMAT " ", thread->tid);
	g_string_append_printf(text, "\"%s\"", thread->name);
	if (thread->interpreter > 0)
		g_string_append_printf(text, " of interpreter %" G_GINT64_FORMAT, thread->interpreter);
	if (thread->daemon == ANSWER_YES)
		g_string_append(text, " daemon");
	const char *state = stack_state_name(thread->state);
	if (state)
		g_string_append_printf(text, ", %s", state);
	if (thread->holds_gil == ANSWER_YES)
		g_string_append(text, ", holds the GIL");
	g_autofree char *wait = stacks_wait_text(stacks, thread);
	if (*wait)
		g_string_append_printf(text, ", %s", wait);
	g_string_append_c(text, '\n');
	append_frames(text, thread->frames, thread->n_frames, "    ");
	if (*thread->broken)
		g_string_append_printf(text, "    (%s)\n", thread->broken);
	if (thread->truncated)
		g_string_append(text, "    (and more)\n");
	if (!thread->ident)
		g_string_append(text, "    (no Python state)\n");
	else if (!thread->n_frames)
		g_string_append(text, "    (no Python frames)\n");
	g_string_append_c(text, '\n');
}

static void append_task(GString *text, const stacks_t *stacks, const struct stack_task *task)
{
	g_string_append_printf(text, "Task %s, %s", task->name, task->state);
	if (task->awaits >= 0)
		g_string_append_printf(text, ", awaits task %s", stacks->tasks[task->awaits].name);
	else if (*task->waits)
		g_string_append_printf(text, ", awaits %s", task->waits);
	g_string_append_c(text, '\n');
	append_frames(text, task->frames, task->n_frames, "    ");
	g_string_append_c(text, '\n');
}

static void append_header(GString *text, const stacks_t *stacks)
{
	const struct sample_target *target = &stacks->origin->target;
	const struct sample_snapshot *snapshot = &stacks->origin->snapshot;
	g_autofree char *cmdline = g_strjoinv(" ", (char **)target->cmdline);
	g_string_append_printf(text, "Process %" G_GINT64_FORMAT "  CPython %s%s%s", target->pid, target->python,
			       target->debug ? " debug" : "", target->free_threaded ? " free-threaded" : "");
	if (!strcmp(snapshot->mode, "quiet"))
		g_string_append(text, "  not stopped");
	else if (snapshot->pause_us > 0)
		g_string_append_printf(text, "  stopped for %.1f ms", (double)snapshot->pause_us / 1e3);
	if (!snapshot->consistent)
		g_string_append(text, "  INCONSISTENT");
	g_string_append_printf(text, "  %s\n\n", cmdline);
}

GString *stacks_to_text(const stacks_t *stacks)
{
	GString *text = g_string_new(NULL);
	append_header(text, stacks);
	for (size_t i = 0; i < stacks->n_deadlocks; i++)
		g_string_append_printf(text, "%s.\n\n", stacks->deadlocks[i]);
	for (size_t i = 0; i < stacks->n_threads; i++)
		append_thread(text, stacks, &stacks->threads[i]);
	for (size_t i = 0; i < stacks->n_tasks; i++)
		append_task(text, stacks, &stacks->tasks[i]);
	return text;
}
