/* Reading back what json_stacks.c writes: it comes from a daemon, and that has it from a worker. */
#include <string.h>

#include "daemon/store/json_reader.h"
#include "daemon/store/json_stacks.h"

static enum answer read_answer(struct json_reader *reader, JsonObject *from, const char *key)
{
	if (!json_read_member(reader, from, key, JSON_NODE_VALUE))
		return ANSWER_UNKNOWN;
	return json_read_bool(reader, from, key) ? ANSWER_YES : ANSWER_NO;
}

static void read_variable(struct json_reader *reader, JsonObject *from, void *row)
{
	struct stack_variable *variable = row;
	variable->name = json_read_text(reader, from, "name");
	variable->type = json_read_text(reader, from, "type");
	variable->address = json_read_address(reader, from, "address");
	variable->value = json_read_text(reader, from, "value");
}

static void read_frame(struct json_reader *reader, JsonObject *from, void *row)
{
	struct stack_frame *frame = row;
	frame->function = json_read_text(reader, from, "function");
	frame->file = json_read_text(reader, from, "file");
	frame->line = (int)CLAMP(json_read_number(reader, from, "line"), 0, G_MAXINT);
	frame->native = json_read_bool(reader, from, "native");
	frame->entry = json_read_bool(reader, from, "entry");
	if (frame->native)
		frame->offset = (uint64_t)json_read_number(reader, from, "offset");
	if (from && json_object_has_member(from, "locals"))
		frame->variables = json_read_rows(reader, from, "locals", sizeof(*frame->variables), read_variable,
						  &frame->n_variables);
}

static struct stack_frame *read_frames(struct json_reader *reader, JsonObject *from, size_t *n)
{
	return json_read_rows(reader, from, "frames", sizeof(struct stack_frame), read_frame, n);
}

/* An index below `n`, -1 where there is none. */
static int read_index(struct json_reader *reader, JsonObject *from, const char *key, size_t n)
{
	int64_t index = json_read_number(reader, from, key);
	if (index == SAMPLE_UNKNOWN)
		return -1;
	if (index >= 0 && (uint64_t)index < n)
		return (int)index;
	reader->problem = key;
	return -1;
}

static void read_wait(struct json_reader *reader, JsonObject *thread, size_t n_threads, struct stack_wait *wait)
{
	JsonNode *node = json_read_member(reader, thread, "waits_for", JSON_NODE_OBJECT);
	wait->kind = json_read_bool(reader, thread, "waiting") ? WAIT_CALL : WAIT_NONE;
	wait->call = json_read_text(reader, thread, "wait");
	wait->detail = json_read_text(reader, thread, "wait_detail");
	wait->timed = json_read_bool(reader, thread, "timed");
	wait->timeout_us = json_read_number(reader, thread, "timeout_us");
	wait->timeout_left = json_read_bool(reader, thread, "timeout_left");
	wait->object_type = wait->holder = wait->state = wait->owner_place = "";
	wait->owner = -1;
	if (!node)
		return;
	JsonObject *from = json_node_get_object(node);
	const char *kind = json_read_text(reader, from, "kind");
	for (int i = WAIT_GIL; i <= WAIT_THREAD; i++)
		if (!strcmp(kind, json_wait_kinds[i]))
			wait->kind = i;
	wait->object = json_read_known_address(reader, from, "address");
	wait->object_type = json_read_text(reader, from, "type");
	wait->holder = json_read_text(reader, from, "holder");
	wait->state = json_read_text(reader, from, "state");
	wait->owner = read_index(reader, from, "owner", n_threads);
	wait->owner_place = json_read_text(reader, from, "owner_place");
	wait->orphan = json_read_bool(reader, from, "orphan");
	wait->full = json_read_bool(reader, from, "full");
}

static char state_letter(const char *name)
{
	for (const char *letter = "RSDTtZXI"; *letter; letter++)
		if (!strcmp(stack_state_name(*letter), name))
			return *letter;
	return 0;
}

static void read_thread(struct json_reader *reader, JsonObject *from, void *row)
{
	const stacks_t *stacks = reader->whole;
	struct stack_thread *thread = row;
	thread->tid = MAX(json_read_number(reader, from, "tid"), 0);
	int64_t ident = json_read_number(reader, from, "ident");
	thread->ident = ident == SAMPLE_UNKNOWN ? 0 : (uint64_t)ident;
	thread->interpreter = json_read_number(reader, from, "interpreter");
	thread->name = json_read_text(reader, from, "name");
	thread->comm = json_read_text(reader, from, "comm");
	thread->address = json_read_address(reader, from, "address");
	thread->daemon = read_answer(reader, from, "daemon");
	thread->state = state_letter(json_read_text(reader, from, "state"));
	thread->holds_gil = read_answer(reader, from, "holds_gil");
	read_wait(reader, from, stacks->n_threads, &thread->wait);
	thread->in_deadlock = json_read_bool(reader, from, "deadlock");
	thread->truncated = json_read_bool(reader, from, "truncated");
	thread->broken = json_read_text(reader, from, "broken");
	thread->frames = read_frames(reader, from, &thread->n_frames);
}

static void read_task(struct json_reader *reader, JsonObject *from, void *row)
{
	const stacks_t *stacks = reader->whole;
	struct stack_task *task = row;
	task->address = json_read_address(reader, from, "address");
	task->name = json_read_text(reader, from, "name");
	task->state = json_read_text(reader, from, "state");
	task->waits = json_read_text(reader, from, "waits");
	task->awaits = read_index(reader, from, "awaits_task", stacks->n_tasks);
	task->loop = read_index(reader, from, "loop", stacks->n_threads);
	task->in_deadlock = json_read_bool(reader, from, "deadlock");
	task->frames = read_frames(reader, from, &task->n_frames);
}

static void read_stacks(struct json_reader *reader, JsonObject *root, stacks_t *stacks)
{
	json_read_origin(reader, root);
	JsonArray *deadlocks = json_read_array(reader, root, "deadlocks", &stacks->n_deadlocks);
	stacks->deadlocks = g_new0(const char *, stacks->n_deadlocks + 1);
	for (size_t i = 0; i < stacks->n_deadlocks; i++)
		stacks->deadlocks[i] =
			json_read_node_text(reader, json_array_get_element(deadlocks, (guint)i), "deadlocks");
	stacks->threads =
		json_read_rows(reader, root, "threads", sizeof(*stacks->threads), read_thread, &stacks->n_threads);
	stacks->tasks = json_read_rows(reader, root, "tasks", sizeof(*stacks->tasks), read_task, &stacks->n_tasks);
}

stacks_t *json_stacks_parse(const char *text, gsize size, GError **error)
{
	static const struct json_document document = {"reftop.stacks/1", "cannot read the stacks", NULL};
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	JsonObject *root = json_read_root(parser, text, size, &document, error);
	if (!root)
		return NULL;
	g_autoptr(stacks_t) stacks = g_new0(stacks_t, 1);
	stacks->origin = sample_new();
	stacks->strings = g_string_chunk_new(64);
	struct json_reader reader = {.sample = stacks->origin, .whole = stacks};
	read_stacks(&reader, root, stacks);
	return json_read_done(&reader, &document, error) ? g_steal_pointer(&stacks) : NULL;
}
