#include "daemon/store/json_stacks.h"

#include "daemon/store/json.h"

static void put_answer(JsonBuilder *builder, const char *key, enum answer answer)
{
	if (answer != ANSWER_UNKNOWN) {
		json_put_bool(builder, key, answer == ANSWER_YES);
		return;
	}
	json_builder_set_member_name(builder, key);
	json_builder_add_null_value(builder);
}

static void begin_array(JsonBuilder *builder, const char *key)
{
	json_builder_set_member_name(builder, key);
	json_builder_begin_array(builder);
}

static void add_frame(JsonBuilder *builder, const struct stack_frame *frame, const struct stacks_options *options)
{
	json_builder_begin_object(builder);
	json_put_text(builder, "function", frame->function);
	json_put_text(builder, "file", frame->file);
	json_put_number(builder, "line", frame->line ? frame->line : SAMPLE_UNKNOWN);
	json_put_bool(builder, "native", frame->native);
	json_put_bool(builder, "entry", frame->entry);
	if (frame->native)
		json_put_number(builder, "offset", (int64_t)frame->offset);
	if (options->locals && !frame->native) {
		begin_array(builder, "locals");
		for (size_t i = 0; i < frame->n_variables; i++) {
			const struct stack_variable *variable = &frame->variables[i];
			json_builder_begin_object(builder);
			json_put_text(builder, "name", variable->name);
			json_put_text(builder, "type", variable->type);
			json_put_address(builder, "address", variable->address);
			json_put_text(builder, "value", variable->value);
			json_builder_end_object(builder);
		}
		json_builder_end_array(builder);
	}
	json_builder_end_object(builder);
}

static void put_frames(JsonBuilder *builder, const struct stack_frame *frames, size_t n,
		       const struct stacks_options *options)
{
	begin_array(builder, "frames");
	for (size_t i = 0; i < n; i++)
		add_frame(builder, &frames[i], options);
	json_builder_end_array(builder);
}

const char *const json_wait_kinds[] = {[WAIT_NONE] = "none", [WAIT_CALL] = "call",   [WAIT_GIL] = "gil",
				       [WAIT_LOCK] = "lock", [WAIT_EVENT] = "event", [WAIT_THREAD] = "thread"};

static void put_object(JsonBuilder *builder, const stacks_t *stacks, const struct stack_wait *wait)
{
	const struct stack_thread *owner = wait->owner >= 0 ? &stacks->threads[wait->owner] : NULL;
	json_builder_set_member_name(builder, "waits_for");
	if (wait->kind == WAIT_NONE || wait->kind == WAIT_CALL) {
		json_builder_add_null_value(builder);
		return;
	}
	json_builder_begin_object(builder);
	json_put_text(builder, "kind", json_wait_kinds[wait->kind]);
	if (wait->object)
		json_put_address(builder, "address", wait->object);
	json_put_text(builder, "type", wait->object_type);
	json_put_text(builder, "holder", wait->holder);
	json_put_text(builder, "state", wait->state);
	json_put_number(builder, "owner_tid", owner && owner->tid ? owner->tid : SAMPLE_UNKNOWN);
	json_put_text(builder, "owner_name", owner ? owner->name : NULL);
	json_put_text(builder, "owner_place", wait->owner_place);
	json_put_number(builder, "owner", wait->owner);
	json_put_bool(builder, "orphan", wait->orphan);
	json_put_bool(builder, "full", wait->full);
	json_builder_end_object(builder);
}

static void add_thread(JsonBuilder *builder, const stacks_t *stacks, const struct stack_thread *thread,
		       const struct stacks_options *options)
{
	json_builder_begin_object(builder);
	json_put_number(builder, "tid", thread->tid ? thread->tid : SAMPLE_UNKNOWN);
	json_put_number(builder, "ident", thread->ident ? (int64_t)thread->ident : SAMPLE_UNKNOWN);
	json_put_number(builder, "interpreter", thread->interpreter);
	json_put_text(builder, "name", thread->name);
	json_put_text(builder, "comm", thread->comm);
	put_answer(builder, "daemon", thread->daemon);
	json_put_text(builder, "state", stack_state_name(thread->state));
	put_answer(builder, "holds_gil", thread->holds_gil);
	json_put_address(builder, "address", thread->address);
	json_put_bool(builder, "waiting", thread->wait.kind != WAIT_NONE);
	json_put_text(builder, "wait", thread->wait.call);
	json_put_text(builder, "wait_detail", thread->wait.detail);
	json_put_bool(builder, "timed", thread->wait.timed);
	json_put_number(builder, "timeout_us", thread->wait.timeout_us);
	json_put_bool(builder, "timeout_left", thread->wait.timeout_left);
	put_object(builder, stacks, &thread->wait);
	json_put_bool(builder, "deadlock", thread->in_deadlock);
	json_put_bool(builder, "truncated", thread->truncated);
	if (*thread->broken)
		json_put_text(builder, "broken", thread->broken);
	put_frames(builder, thread->frames, thread->n_frames, options);
	json_builder_end_object(builder);
}

static void add_task(JsonBuilder *builder, const stacks_t *stacks, const struct stack_task *task,
		     const struct stacks_options *options)
{
	json_builder_begin_object(builder);
	json_put_address(builder, "address", task->address);
	json_put_text(builder, "name", task->name);
	json_put_text(builder, "state", task->state);
	json_put_text(builder, "waits", task->waits);
	json_put_number(builder, "awaits_task", task->awaits);
	json_put_text(builder, "awaits", task->awaits >= 0 ? stacks->tasks[task->awaits].name : NULL);
	json_put_number(builder, "loop", task->loop);
	json_put_number(builder, "loop_tid", task->loop >= 0 ? stacks->threads[task->loop].tid : SAMPLE_UNKNOWN);
	json_put_bool(builder, "deadlock", task->in_deadlock);
	put_frames(builder, task->frames, task->n_frames, options);
	json_builder_end_object(builder);
}

GString *json_stacks(const stacks_t *stacks, const struct stacks_options *options)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.stacks/1");
	json_put_origin(builder, stacks->origin);
	begin_array(builder, "deadlocks");
	for (size_t i = 0; i < stacks->n_deadlocks; i++)
		json_builder_add_string_value(builder, stacks->deadlocks[i]);
	json_builder_end_array(builder);
	begin_array(builder, "threads");
	for (size_t i = 0; i < stacks->n_threads; i++)
		add_thread(builder, stacks, &stacks->threads[i], options);
	json_builder_end_array(builder);
	begin_array(builder, "tasks");
	for (size_t i = 0; i < stacks->n_tasks; i++)
		add_task(builder, stacks, &stacks->tasks[i], options);
	json_builder_end_array(builder);
	json_builder_end_object(builder);
	return json_line(builder);
}
