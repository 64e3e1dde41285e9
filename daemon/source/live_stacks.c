/* A live process's stacks: a look at its threads, then what /proc says about what they wait for. */
#include <string.h>

#include "base/error.h"
#include "daemon/analysis/stacks.h"
#include "daemon/source/live_private.h"
#include "daemon/target/calls.h"
#include "daemon/target/core.h"
#include "daemon/target/hold.h"
#include "daemon/target/look.h"
#include "daemon/target/unwind.h"

/* what the look is for, and what it found */
struct stacks_look {
	const struct live *live;
	const struct stacks_options *options;
	GArray *facts; /* of struct stacks_fact */
	stacks_t *stacks;
	stacks_t *before; /* of a visit that didn't count: freed when nobody waits */
};

/* A poll of one descriptor is a wait for that one. */
static int64_t polled_fd(const struct snapshot_call *call, const struct memory *memory)
{
	uint32_t fd;
	return call->arguments[1] == 1 && memory_u32(memory, call->arguments[0], &fd) ? (int32_t)fd : -1;
}

static void fact_call(const snapshot_t *snapshot, struct snapshot_call *call, struct stacks_fact *fact)
{
	const struct call_kind *kind;
	if (!call->in_call)
		return;
	call_restarted(call, &snapshot->memory);
	fact->call_number = call->number;
	kind = call_kind(call->number);
	if (!kind)
		return;
	fact->call = kind->name;
	uint64_t argument = call->arguments[kind->position];
	switch (kind->argument) {
	case CALL_NOTHING:
		break;
	case CALL_FD:
		fact->fd = (int32_t)argument;
		break;
	case CALL_POLL:
		fact->fd = polled_fd(call, &snapshot->memory);
		break;
	case CALL_PID:
		fact->pid = (int32_t)argument;
		break;
	case CALL_FUTEX:
		fact->futex = argument;
		break;
	}
	fact->timed =
		call_timeout(kind, call, &snapshot->memory, snapshot->time_us, &fact->timeout_us, &fact->timeout_left);
	/* the clock of the machine that a file comes from isn't ours */
	if (!fact->timed ||
	    (fact->timeout_left && (snapshot->mode == SNAPSHOT_CORE || snapshot->mode == SNAPSHOT_IMAGE)))
		fact->timeout_us = -1;
}

static void gather_facts(snapshot_t *snapshot, GArray *facts)
{
	g_array_set_size(facts, 0);
	for (size_t i = 0; i < snapshot->n_threads; i++) {
		struct snapshot_thread *thread = &snapshot->threads[i];
		struct stacks_fact fact = {.tid = thread->tid,
					   .native = thread->native ? thread->native : thread->tid,
					   .state = thread->state,
					   .call_number = -1,
					   .fd = -1,
					   .pid = -1,
					   .timeout_us = -1};
		memcpy(fact.comm, thread->name, sizeof(fact.comm));
		fact_call(snapshot, &thread->call, &fact);
		g_array_append_val(facts, fact);
	}
}

static bool visit(void *context, snapshot_t *snapshot, GError **error)
{
	struct stacks_look *look = context;
	stacks_free(look->before);
	look->before = g_steal_pointer(&look->stacks);
	g_autoptr(heap_t) heap =
		heap_open(&snapshot->memory, snapshot->maps, target_interpreter(look->live->target), error);
	if (!heap)
		return false;
	if (look->options->native)
		unwind_prepare(snapshot);
	gather_facts(snapshot, look->facts);
	look->stacks = stacks_take(heap, (const struct stacks_fact *)(const void *)look->facts->data, look->facts->len,
				   look->options);
	return true;
}

/* Only who has the interpreter's lock can change a stack, a lock or a task of Python's. */
static GArray *locks(void *context)
{
	const struct stacks_look *look = context;
	if (!look->stacks)
		return NULL;
	GArray *locks = g_array_new(FALSE, FALSE, sizeof(struct hold_lock));
	for (size_t i = 0; i < look->stacks->n_threads; i++) {
		const struct stack_thread *thread = &look->stacks->threads[i];
		struct hold_lock lock = {thread->gil_word, thread->address, (pid_t)thread->tid};
		if (thread->address && thread->state)
			g_array_append_val(locks, lock);
	}
	return locks;
}

/* What descriptors are, which the process may have closed by now. */
static void describe_calls(const struct live *live, const GArray *facts, stacks_t *stacks)
{
	for (size_t i = 0; i < stacks->n_threads; i++) {
		for (guint k = 0; k < facts->len; k++) {
			const struct stacks_fact *fact = &g_array_index(facts, struct stacks_fact, k);
			if (fact->tid != stacks->threads[i].tid || fact->fd < 0)
				continue;
			g_autofree char *text = descriptor_text(target_pid(live->target), (int)fact->fd);
			if (text)
				stacks->threads[i].wait.detail = stacks_text(stacks, text);
		}
	}
}

static void add_native(unwinder_t *unwinder, stacks_t *stacks, size_t index)
{
	g_autofree char *broken = NULL;
	g_autoptr(GArray) natives = unwind_thread(unwinder, (pid_t)stacks->threads[index].tid, &broken);
	g_autofree struct stack_frame *frames = g_new0(struct stack_frame, natives->len + 1);
	for (guint i = 0; i < natives->len; i++) {
		const struct native_frame *from = &g_array_index(natives, struct native_frame, i);
		frames[i] = (struct stack_frame){.function = from->function ? from->function : "?",
						 .file = from->file,
						 .line = from->line,
						 .offset = from->offset,
						 .native = true};
	}
	stacks_add_native(stacks, index, frames, natives->len, broken);
}

/* The process runs again by now: its stacks are in the snapshot. */
static bool add_natives(const struct live *live, const snapshot_t *snapshot, stacks_t *stacks, GError **error)
{
	g_autoptr(unwinder_t) unwinder = unwinder_new(live->target, snapshot, error);
	if (!unwinder)
		return false;
	for (size_t i = 0; i < stacks->n_threads; i++)
		add_native(unwinder, stacks, i);
	return true;
}

static snapshot_t *look_patiently(const struct live *live, const struct look_options *options, struct stacks_look *look,
				  GError **error)
{
	gint64 until = g_get_monotonic_time() + LIVE_TRACER_WAIT_US;
	for (gboolean gone = FALSE;;) {
		g_autoptr(GError) problem = NULL;
		snapshot_t *snapshot = target_look(live->target, options, visit, look, &problem);
		if (snapshot)
			return snapshot;
		if (problem->code != REFTOP_ERROR_DENIED ||
		    !live_tracer_may_go(target_pid(live->target), until, &gone)) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return NULL;
		}
	}
}

struct stacks *live_stacks(source_t *source, const struct stacks_options *options, GError **error)
{
	struct live *live = (struct live *)source;
	g_autoptr(GArray) facts = g_array_new(FALSE, TRUE, sizeof(struct stacks_fact));
	struct stacks_look look = {.live = live, .options = options, .facts = facts};
	const struct look_options how = {
		.nonblocking = live->options.nonblocking, .registers = options->native, .locks = locks};
	g_autoptr(snapshot_t) snapshot = look_patiently(live, &how, &look, error);
	stacks_free(look.before);
	if (!snapshot) {
		target_incomplete(live->target, error);
		stacks_free(look.stacks);
		return NULL;
	}
	if (options->native && !add_natives(live, snapshot, look.stacks, error)) {
		stacks_free(look.stacks);
		return NULL;
	}
	if (!target_is_file(live->target))
		describe_calls(live, facts, look.stacks);
	live_describe_target(live, snapshot, look.stacks->origin);
	live_describe_snapshot(snapshot, "all", look.stacks->origin);
	return look.stacks;
}
