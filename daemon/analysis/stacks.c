#include "daemon/analysis/stacks_private.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/lines.h"
#include "daemon/heap/str.h"
#include "daemon/heap/values.h"

#define MAX_NAME    256
#define VALUE_WIDTH 80

const char *stacks_text(stacks_t *stacks, const char *text)
{
	return g_string_chunk_insert_const(stacks->strings, text ? text : "");
}

const char *take_text(struct taking *taking, char *text)
{
	const char *kept = stacks_text(taking->stacks, text);
	g_free(text);
	return kept;
}

const char *stack_state_name(char state)
{
	static const struct {
		char state;
		const char *name;
	} names[] = {{'R', "running"}, {'S', "sleeping"}, {'D', "uninterruptible"},
		     {'T', "stopped"}, {'t', "traced"},   {'Z', "zombie"},
		     {'X', "dead"},    {'I', "idle"}};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		if (names[i].state == state)
			return names[i].name;
	}
	return NULL;
}

char *stack_thread_name(const struct stack_thread *thread)
{
	if (!thread->tid)
		return g_strdup_printf("\"%s\"", thread->name);
	return g_strdup_printf("\"%s\" (tid %" PRId64 ")", thread->name, thread->tid);
}

/* ---- frames ---- */

static char *function_name(struct taking *taking, const struct frame *frame, const struct frame *caller)
{
	const struct code *code = frame->code;
	const char *qualname = code->qualname ? code->qualname : qualname_find(taking, frame, caller);
	return g_strdup(qualname ? qualname : code->name);
}

char *frame_place(struct taking *taking, const struct frame *frame)
{
	g_autofree char *function = function_name(taking, frame, NULL),
			*file = g_path_get_basename(frame->code->filename);
	int line = frame_line(taking->codes, frame);
	return line == LINE_NONE ? g_strdup_printf("%s in %s", file, function)
				 : g_strdup_printf("%s:%d in %s", file, line, function);
}

struct frame *thread_frame(struct taking *taking, guint thread, guint frame)
{
	GArray *frames = g_ptr_array_index(taking->frames, thread);
	return frame < frames->len ? &g_array_index(frames, struct frame, frame) : NULL;
}

static void fill_variables(struct taking *taking, const struct frame *frame, struct stack_frame *out)
{
	uint64_t n = frame->code->n_slots;
	out->variables = g_new0(struct stack_variable, n);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t value = frame_local(taking->codes, frame, i);
		const struct type *type = type_of(taking->heap, value);
		if (!type)
			continue;
		if (!taking->references)
			taking->references = references_new(taking->heap);
		struct stack_variable *variable = &out->variables[out->n_variables++];
		char *name = str_text(taking->heap, frame_slot_name(taking->codes, frame, i), MAX_NAME);
		variable->name = take_text(taking, text_escape(name ? name : "?", G_MAXSIZE));
		g_free(name);
		struct sample_type named = {.module = type->module, .qualname = type->qualname};
		variable->type = take_text(taking, sample_type_name(&named));
		variable->value = take_text(taking, value_text(taking->references, value, VALUE_WIDTH));
		variable->address = value;
	}
}

void fill_frame(struct taking *taking, const struct frame *frame, const struct frame *caller, struct stack_frame *out)
{
	out->function = take_text(taking, function_name(taking, frame, caller));
	out->file = stacks_text(taking->stacks, frame->code->filename);
	out->line = frame_line(taking->codes, frame);
	out->entry = frame->entry;
	if (taking->options->locals)
		fill_variables(taking, frame, out);
}

static void fill_frames(struct taking *taking, guint index)
{
	struct stack_thread *thread = &taking->stacks->threads[index];
	GArray *frames = g_ptr_array_index(taking->frames, index);
	size_t n = frames->len, max = taking->options->max_frames;
	if (max && n > max) {
		n = max;
		thread->truncated = true;
	}
	thread->frames = g_new0(struct stack_frame, n);
	thread->n_frames = n;
	for (guint i = 0; i < n; i++)
		fill_frame(taking, &g_array_index(frames, struct frame, i),
			   i + 1 < frames->len ? &g_array_index(frames, struct frame, i + 1) : NULL,
			   &thread->frames[i]);
}

static GArray *walk_frames(struct taking *taking, const struct thread *thread)
{
	GArray *frames = g_array_new(FALSE, FALSE, sizeof(struct frame));
	struct frame frame;
	bool more = frame_of_thread(taking->codes, thread->address, &frame);
	while (more && frames->len < FRAMES_MAX) {
		g_array_append_val(frames, frame);
		more = frame_outer(taking->codes, &frame);
	}
	return frames;
}

/* ---- threads ---- */

static const struct stacks_fact *fact_of(const struct stacks_fact *facts, size_t n, int64_t native)
{
	for (size_t i = 0; native && i < n; i++) {
		if (facts[i].native == native)
			return &facts[i];
	}
	return NULL;
}

static const char *comm_of(struct taking *taking, const struct stacks_fact *fact)
{
	return fact ? take_text(taking, text_escape(fact->comm, strnlen(fact->comm, sizeof(fact->comm)))) : "";
}

static const char *call_text(struct taking *taking, const struct stacks_fact *fact)
{
	if (!fact || fact->call_number < 0)
		return "";
	if (!fact->call)
		return take_text(taking, g_strdup_printf("call %" PRId64, fact->call_number));
	int64_t number = fact->fd >= 0 ? fact->fd : fact->pid;
	if (number < 0)
		return stacks_text(taking->stacks, fact->call);
	return take_text(taking, g_strdup_printf("%s(%" PRId64 ")", fact->call, number));
}

static void fill_thread(struct taking *taking, guint index, const struct thread *from, const struct stacks_fact *fact)
{
	struct stack_thread *thread = &taking->stacks->threads[index];
	taking->facts[index] = fact;
	thread->comm = comm_of(taking, fact);
	thread->name = from && from->name ? stacks_text(taking->stacks, from->name) : thread->comm;
	thread->tid = fact ? fact->tid : from->native;
	thread->state = fact ? fact->state : 0;
	thread->interpreter = from ? from->interpreter_id : -1;
	thread->ident = from ? from->ident : 0;
	thread->address = from ? from->address : 0;
	thread->gil_word = from ? thread_gil_word(taking->heap, from) : 0;
	thread->daemon = from ? from->daemon : ANSWER_UNKNOWN;
	thread->holds_gil = from ? from->holds_gil : ANSWER_NO;
	thread->broken = "";
	thread->wait = (struct stack_wait){.call = call_text(taking, fact),
					   .detail = "",
					   .timeout_us = -1,
					   .object_type = "",
					   .holder = "",
					   .state = "",
					   .owner = -1,
					   .owner_place = ""};
	if (fact && fact->call_number >= 0) {
		thread->wait.kind = WAIT_CALL;
		thread->wait.timed = fact->timed;
		thread->wait.timeout_us = fact->timeout_us;
		thread->wait.timeout_left = fact->timeout_left;
	}
}

static void frames_free(void *data)
{
	g_array_unref(data);
}

static void take_threads(struct taking *taking, const struct stacks_fact *facts, size_t n_facts)
{
	GArray *threads = taking->threads = threads_read(taking->heap);
	stacks_t *stacks = taking->stacks;
	taking->frames = g_ptr_array_new_with_free_func(frames_free);
	taking->facts = g_new0(const struct stacks_fact *, threads->len + n_facts);
	stacks->threads = g_new0(struct stack_thread, threads->len + n_facts);
	g_autofree bool *taken = g_new0(bool, n_facts + 1);
	for (guint i = 0; i < threads->len; i++) {
		const struct thread *thread = &g_array_index(threads, struct thread, i);
		const struct stacks_fact *fact = fact_of(facts, n_facts, thread->native);
		if (fact)
			taken[fact - facts] = true;
		g_ptr_array_add(taking->frames, walk_frames(taking, thread));
		fill_thread(taking, i, thread, fact);
	}
	stacks->n_threads = threads->len;
	for (size_t i = 0; i < n_facts; i++) {
		if (taken[i])
			continue;
		g_ptr_array_add(taking->frames, g_array_new(FALSE, FALSE, sizeof(struct frame)));
		fill_thread(taking, (guint)stacks->n_threads++, NULL, &facts[i]);
	}
}

stacks_t *stacks_take(heap_t *heap, const struct stacks_fact *facts, size_t n_facts,
		      const struct stacks_options *options)
{
	stacks_t *stacks = g_new0(stacks_t, 1);
	struct taking taking = {.heap = heap, .codes = codes_new(heap), .options = options, .stacks = stacks};
	stacks->strings = g_string_chunk_new(4096);
	stacks->origin = sample_new();
	taking.held = g_array_new(FALSE, FALSE, sizeof(struct held));
	take_threads(&taking, facts, n_facts);
	for (guint i = 0; i < stacks->n_threads; i++)
		fill_frames(&taking, i);
	waits_find(&taking);
	if (options->tasks)
		tasks_find(&taking);
	deadlocks_find(&taking);
	g_ptr_array_unref(taking.frames);
	g_array_unref(taking.threads);
	g_array_unref(taking.held);
	g_clear_pointer(&taking.ends, g_hash_table_destroy);
	g_clear_pointer(&taking.names, g_hash_table_destroy);
	g_free(taking.facts);
	references_free(taking.references);
	codes_free(taking.codes);
	return stacks;
}

static void clear_frames(struct stack_frame *frames, size_t n)
{
	for (size_t i = 0; i < n; i++)
		g_free(frames[i].variables);
	g_free(frames);
}

void stacks_free(stacks_t *stacks)
{
	if (!stacks)
		return;
	for (size_t i = 0; i < stacks->n_threads; i++)
		clear_frames(stacks->threads[i].frames, stacks->threads[i].n_frames);
	for (size_t i = 0; i < stacks->n_tasks; i++)
		clear_frames(stacks->tasks[i].frames, stacks->tasks[i].n_frames);
	g_free(stacks->threads);
	g_free(stacks->tasks);
	g_free(stacks->deadlocks);
	sample_unref(stacks->origin);
	g_string_chunk_free(stacks->strings);
	g_free(stacks);
}
