/* Cycles of owners: threads that wait for each other, tasks that await each other. */
#include <inttypes.h>

#include "daemon/analysis/stacks_private.h"

/* "threading.Lock app.lock_a", as far as that is known */
static void append_object(GString *text, const struct stack_wait *wait)
{
	if (wait->kind == WAIT_THREAD) {
		g_string_append(text, "the end of ");
		return;
	}
	g_string_append_printf(text, "%s %s", wait->object_type, *wait->holder ? wait->holder : "");
	if (!*wait->holder)
		g_string_append_printf(text, "0x%" PRIx64, wait->object);
}

/* The first frame that isn't of threading.py (of queue.py, for a queue): where the program waits. */
static const struct stack_frame *program_frame(const struct stack_thread *thread)
{
	const char *own = thread->wait.full ? "/queue.py" : "/threading.py";
	for (size_t i = 0; i < thread->n_frames; i++) {
		const char *file = thread->frames[i].file;
		if (!thread->frames[i].native && !g_str_has_suffix(file, "/threading.py") &&
		    !g_str_has_suffix(file, own))
			return &thread->frames[i];
	}
	return thread->n_frames ? &thread->frames[0] : NULL;
}

static void append_place(GString *text, const struct stack_thread *thread)
{
	const struct stack_frame *frame = program_frame(thread);
	g_autofree char *name = stack_thread_name(thread);
	g_autofree char *file = frame ? g_path_get_basename(frame->file) : NULL;
	g_string_append(text, name);
	if (frame)
		g_string_append_printf(text, " at %s:%d in %s", file, frame->line, frame->function);
	g_string_append(text, thread->wait.full ? " waits for room in " : " waits for ");
	append_object(text, &thread->wait);
	if (thread->wait.full)
		g_string_append_printf(text, " (%s)", thread->wait.state);
}

static void append_step(GString *text, const stacks_t *stacks, const struct stack_thread *thread)
{
	const struct stack_wait *wait = &thread->wait;
	append_place(text, thread);
	if (wait->full)
		return;
	const struct stack_thread *owner = &stacks->threads[wait->owner];
	g_autofree char *other = stack_thread_name(owner);
	if (wait->kind == WAIT_THREAD) {
		g_string_append(text, other);
		return;
	}
	g_string_append_printf(text, ", which %s holds", owner == thread ? "it" : other);
	if (owner == thread)
		g_string_append(text, " itself");
	if (*wait->owner_place)
		g_string_append_printf(text, " since %s", wait->owner_place);
}

static void add_sentence(stacks_t *stacks, GString *text)
{
	stacks->deadlocks = g_renew(const char *, stacks->deadlocks, stacks->n_deadlocks + 1);
	stacks->deadlocks[stacks->n_deadlocks++] = stacks_text(stacks, text->str);
}

static void tell_threads(stacks_t *stacks, size_t start)
{
	g_autoptr(GString) text = g_string_new("Deadlock: ");
	size_t at = start;
	do {
		struct stack_thread *thread = &stacks->threads[at];
		thread->in_deadlock = true;
		if (at != start)
			g_string_append(text, "; ");
		append_step(text, stacks, thread);
		at = (size_t)thread->wait.owner;
	} while (at != start);
	add_sentence(stacks, text);
}

static void tell_tasks(stacks_t *stacks, size_t start)
{
	g_autoptr(GString) text = g_string_new("Deadlock: ");
	size_t at = start;
	do {
		struct stack_task *task = &stacks->tasks[at];
		const struct stack_frame *frame = task->n_frames ? &task->frames[0] : NULL;
		g_autofree char *file = frame ? g_path_get_basename(frame->file) : NULL;
		task->in_deadlock = true;
		g_string_append_printf(text, "%stask %s", at != start ? "; " : "", task->name);
		if (frame)
			g_string_append_printf(text, " at %s:%d in %s", file, frame->line, frame->function);
		g_string_append_printf(text, " awaits task %s", stacks->tasks[task->awaits].name);
		at = (size_t)task->awaits;
	} while (at != start);
	add_sentence(stacks, text);
}

static int thread_next(const stacks_t *stacks, size_t i)
{
	const struct stack_wait *wait = &stacks->threads[i].wait;
	/* who waits with a time-out will go on */
	return wait->owner >= 0 && !wait->timed && (size_t)wait->owner < stacks->n_threads ? wait->owner : -1;
}

static int task_next(const stacks_t *stacks, size_t i)
{
	int next = stacks->tasks[i].awaits;
	return next >= 0 && (size_t)next < stacks->n_tasks ? next : -1;
}

/* Follow the arrows from everywhere: what leads back to where it began is a cycle, told once, from its lowest member. */
static void find_cycles(stacks_t *stacks, size_t n, int (*next)(const stacks_t *, size_t),
			void (*tell)(stacks_t *, size_t))
{
	for (size_t start = 0; start < n; start++) {
		int at = next(stacks, start);
		size_t steps = 0;
		while (at >= 0 && (size_t)at > start && steps++ < n)
			at = next(stacks, (size_t)at);
		if (at >= 0 && (size_t)at == start)
			tell(stacks, start);
	}
}

/* ---- queues that nobody will take from ---- */

#define MAX_TOLD 8 /* threads that a sentence names */

/* Whether this thread can go on only when `producer` does, or is such a one itself. */
static bool depends(const stacks_t *stacks, size_t thread, size_t producer)
{
	for (size_t steps = 0; steps <= stacks->n_threads; steps++) {
		const struct stack_wait *wait = &stacks->threads[thread].wait;
		if (thread == producer || (wait->full && !wait->timed))
			return true;
		int next = thread_next(stacks, thread);
		if (next < 0)
			return false;
		thread = (size_t)next;
	}
	return true; /* a cycle */
}

/*
 * A queue has no owner: who puts into a full one waits for whoever takes from it. That nobody ever will is proved when every other thread that
 * runs Python waits, without a time-out, for this one.
 */
static bool nobody_takes(const stacks_t *stacks, size_t producer)
{
	for (size_t i = 0; i < stacks->n_threads; i++) {
		if (stacks->threads[i].ident && !depends(stacks, i, producer))
			return false;
	}
	return true;
}

static void tell_queue(stacks_t *stacks, size_t producer)
{
	g_autoptr(GString) text = g_string_new("Deadlock: ");
	size_t told = 0;
	stacks->threads[producer].in_deadlock = true;
	append_step(text, stacks, &stacks->threads[producer]);
	g_string_append(text, ", and no thread is left that could take from it");
	for (size_t i = 0; i < stacks->n_threads; i++) {
		struct stack_thread *thread = &stacks->threads[i];
		if (i == producer || !thread->ident)
			continue;
		if (told < MAX_TOLD) {
			g_string_append(text, told ? "; " : ": ");
			append_step(text, stacks, thread);
		}
		thread->in_deadlock = true;
		told++;
	}
	if (told > MAX_TOLD)
		g_string_append_printf(text, "; and %zu more", told - MAX_TOLD);
	add_sentence(stacks, text);
}

static void find_queues(stacks_t *stacks)
{
	for (size_t i = 0; i < stacks->n_threads; i++) {
		const struct stack_thread *thread = &stacks->threads[i];
		if (thread->wait.full && !thread->wait.timed && !thread->in_deadlock && nobody_takes(stacks, i)) {
			tell_queue(stacks, i);
			return; /* all threads are in it */
		}
	}
}

void deadlocks_find(struct taking *taking)
{
	stacks_t *stacks = taking->stacks;
	find_cycles(stacks, stacks->n_threads, thread_next, tell_threads);
	find_queues(stacks);
	find_cycles(stacks, stacks->n_tasks, task_next, tell_tasks);
}
