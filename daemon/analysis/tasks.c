/*
 * Tasks of asyncio: which there are, where each stands, what it awaits.
 *
 * 3.14+ keeps them in a list a thread (and one of the interpreter for those of threads that ended), up to 3.13 a WeakSet of
 * asyncio.tasks has them: _scheduled_tasks (3.12, 3.13) or _all_tasks (3.7 to 3.11). 3.6's is a static of _asyncio that can't be found:
 * there the collector's lists are searched. CPython Modules/_asynciomodule.c, Lib/asyncio/tasks.py.
 */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/stacks_private.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/gc.h"
#include "daemon/heap/str.h"

#define MAX_TASKS  100000
#define MAX_CHAIN  10000
#define MAX_SLOTS  (1ull << 24)
#define TASK_NAME  256
#define STATE_DONE 1 /* fut_state: pending, cancelled, finished */

/* a task while the arrows are looked for */
struct found_task {
	uint64_t address, waiter, loop;
};

/* ---- which tasks ---- */

static bool is_c_task(heap_t *heap, uint64_t object)
{
	return heap_has(heap->layout->task_coro) && object_is_a(heap, object, "_asyncio", "Task");
}

static void add_task(struct taking *taking, GArray *tasks, uint64_t object)
{
	if (tasks->len >= MAX_TASKS ||
	    !(is_c_task(taking->heap, object) || object_is_a(taking->heap, object, "asyncio.tasks", "Task")))
		return;
	for (guint i = 0; i < tasks->len; i++) {
		if (g_array_index(tasks, struct found_task, i).address == object)
			return;
	}
	struct found_task task = {.address = object};
	g_array_append_val(tasks, task);
}

static void add_list(struct taking *taking, GArray *tasks, uint64_t head)
{
	const heap_t *heap = taking->heap;
	uint64_t node = 0;
	memory_u64(heap->memory, head, &node);
	for (size_t i = 0; node && node != head && i < MAX_TASKS; i++) {
		add_task(taking, tasks, node - heap->layout->task_node);
		if (!memory_u64(heap->memory, node, &node))
			return;
	}
}

/* the members of a set; of a set of weak references what they refer to */
static void add_set(struct taking *taking, GArray *tasks, uint64_t set)
{
	heap_t *heap = taking->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t mask = 0, table = 0;
	if (!object_is_a(heap, set, "builtins", "set") || !memory_u64(heap->memory, set + layout->set_mask, &mask) ||
	    !memory_u64(heap->memory, set + layout->set_table, &table) || mask > MAX_SLOTS)
		return;
	for (uint64_t i = 0; i <= mask; i++) {
		uint64_t key = 0, object = 0;
		if (!memory_u64(heap->memory, table + i * layout->set_entry_size + layout->set_entry_key, &key) || !key)
			continue;
		if (object_is_a(heap, key, NULL, "weakref") || object_is_a(heap, key, NULL, "ReferenceType"))
			memory_u64(heap->memory, key + layout->wr_object, &object);
		add_task(taking, tasks, object ? object : key);
	}
}

/* False: the module has no set of tasks. */
static bool add_module(struct taking *taking, GArray *tasks, uint64_t globals)
{
	bool any = false;
	static const char *const names[] = {"_all_tasks", "_scheduled_tasks", "_eager_tasks"};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		uint64_t set = dict_get(taking->heap, globals, names[i]);
		uint64_t data = set ? attribute_get(taking->heap, set, "data") : 0;
		if (set)
			add_set(taking, tasks, data ? data : set);
		any |= set != 0;
	}
	return any;
}

struct listing {
	struct taking *taking;
	GArray *tasks;
};

static void add_listed(void *context, const struct object *object)
{
	const struct listing *listing = context;
	if (object->type->module[0] == '_' && strcmp(object->type->qualname, "Task") == 0)
		add_task(listing->taking, listing->tasks, object->address);
}

static void add_from_lists(struct taking *taking, GArray *tasks, const struct heap_collector *collector)
{
	struct listing listing = {taking, tasks};
	for (size_t i = 0; i < collector->n_generations; i++)
		gc_walk_list(taking->heap, collector->generations[i].head, add_listed, &listing);
}

static void collect(struct taking *taking, GArray *tasks)
{
	heap_t *heap = taking->heap;
	const struct py_layout *layout = heap->layout;
	for (guint i = 0;
	     i < taking->threads->len && heap_has(layout->tstate_asyncio_tasks) && heap_has(layout->task_node); i++)
		add_list(taking, tasks,
			 g_array_index(taking->threads, struct thread, i).address + layout->tstate_asyncio_tasks);
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		uint64_t globals = module_globals(heap, heap->interpreters[i].address, "asyncio.tasks");
		/* 3.14+ has a set for the tasks that aren't C's, too */
		if (heap_has(layout->interp_asyncio_tasks) && heap_has(layout->task_node))
			add_list(taking, tasks, heap->interpreters[i].address + layout->interp_asyncio_tasks);
		bool listed = !globals || add_module(taking, tasks, globals) || heap_has(layout->interp_asyncio_tasks);
		if (!listed && module_globals(heap, heap->interpreters[i].address, "_asyncio"))
			add_from_lists(taking, tasks, &heap->interpreters[i].collector);
	}
}

/* ---- one task ---- */

static uint64_t task_field(struct taking *taking, uint64_t task, uint32_t field, const char *attribute)
{
	uint64_t value = 0;
	if (!is_c_task(taking->heap, task))
		return attribute_get(taking->heap, task, attribute);
	if (heap_has(field))
		memory_u64(taking->heap->memory, task + field, &value);
	return value;
}

static bool is_done(struct taking *taking, uint64_t task)
{
	uint32_t state = 0;
	if (is_c_task(taking->heap, task))
		return memory_u32(taking->heap->memory, task + taking->heap->layout->task_state, &state) &&
		       state >= STATE_DONE;
	g_autofree char *text = str_text(taking->heap, attribute_get(taking->heap, task, "_state"), TASK_NAME);
	return text && strcmp(text, "PENDING") != 0;
}

static const char *task_name(struct taking *taking, uint64_t task)
{
	uint64_t name = task_field(taking, task, taking->heap->layout->task_name, "_name");
	int64_t number;
	/* 3.12+: a number until somebody asks for the name */
	if (name && int_read(taking->heap, name, &number))
		return take_text(taking, g_strdup_printf("Task-%" PRId64, number));
	g_autofree char *text = name ? str_text(taking->heap, name, TASK_NAME) : NULL;
	return take_text(taking, text ? text_escape(text, G_MAXSIZE) : g_strdup_printf("0x%" PRIx64, task));
}

static bool is_generator(heap_t *heap, uint64_t object)
{
	return object_is(heap, object, NULL, "coroutine") || object_is(heap, object, NULL, "generator");
}

/* The coroutine of the task and those it awaits, outermost first. */
static GArray *await_chain(struct taking *taking, uint64_t coroutine)
{
	GArray *frames = g_array_new(FALSE, FALSE, sizeof(struct frame));
	struct frame frame;
	while (coroutine && is_generator(taking->heap, coroutine) && frames->len < MAX_CHAIN &&
	       frame_of_generator(taking->codes, coroutine, &frame)) {
		g_array_append_val(frames, frame);
		coroutine = generator_awaited(taking->codes, coroutine);
	}
	return frames;
}

/* What a future stands for, as the innermost frames say: asyncio's own object that is waited for. */
static const char *waits_text(struct taking *taking, const GArray *frames, uint64_t waiter)
{
	const struct type *type = type_of(taking->heap, waiter);
	const char *told = NULL;
	for (guint i = frames->len; i-- > 0;) {
		const struct frame *frame = &g_array_index(frames, struct frame, i);
		if (!strstr(frame->code->filename, "/asyncio/"))
			break;
		uint64_t self = frame_variable(taking->codes, frame, "self");
		const struct type *class = type_of(taking->heap, self);
		if (class)
			told = take_text(taking, g_strdup_printf("%s 0x%" PRIx64, class->qualname, self));
		else
			told = stacks_text(taking->stacks, frame->code->name);
	}
	if (told)
		return told;
	return type ? take_text(taking, g_strdup_printf("%s 0x%" PRIx64, type->qualname, waiter)) : "";
}

static int loop_thread(struct taking *taking, uint64_t loop)
{
	int64_t ident;
	if (!loop || !int_read(taking->heap, attribute_get(taking->heap, loop, "_thread_id"), &ident))
		return -1;
	for (guint i = 0; i < taking->threads->len; i++) {
		if (taking->stacks->threads[i].ident == (uint64_t)ident)
			return (int)i;
	}
	return -1;
}

static bool is_current(struct taking *taking, uint64_t task, uint64_t loop)
{
	heap_t *heap = taking->heap;
	const struct py_layout *layout = heap->layout;
	for (guint i = 0; i < taking->threads->len && heap_has(layout->tstate_asyncio_running_task); i++) {
		uint64_t running = 0, thread = g_array_index(taking->threads, struct thread, i).address;
		if (memory_u64(heap->memory, thread + layout->tstate_asyncio_running_task, &running) && running == task)
			return true;
	}
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		uint64_t globals = module_globals(heap, heap->interpreters[i].address, "asyncio.tasks");
		struct dict_iter iter;
		struct dict_item item;
		if (!globals || !dict_iter_init(&iter, heap, dict_get(heap, globals, "_current_tasks")))
			continue;
		while (dict_iter_next(&iter, &item)) {
			if (item.key == loop && item.value == task)
				return true;
		}
	}
	return false;
}

static void fill_task(struct taking *taking, struct found_task *found, struct stack_task *task)
{
	const struct py_layout *layout = taking->heap->layout;
	found->waiter = task_field(taking, found->address, layout->task_fut_waiter, "_fut_waiter");
	found->loop = task_field(taking, found->address, layout->task_loop, "_loop");
	g_autoptr(GArray) chain = await_chain(taking, task_field(taking, found->address, layout->task_coro, "_coro"));
	task->address = found->address;
	task->name = task_name(taking, found->address);
	task->state = is_current(taking, found->address, found->loop) ? "running" : "pending";
	task->loop = loop_thread(taking, found->loop);
	task->awaits = -1;
	task->waits = waits_text(taking, chain, found->waiter);
	task->frames = g_new0(struct stack_frame, chain->len);
	task->n_frames = chain->len;
	for (guint i = 0; i < chain->len; i++)
		fill_frame(taking, &g_array_index(chain, struct frame, chain->len - 1 - i), NULL, &task->frames[i]);
}

static int index_of(const GArray *tasks, uint64_t address)
{
	for (guint i = 0; i < tasks->len; i++) {
		if (g_array_index(tasks, struct found_task, i).address == address)
			return (int)i;
	}
	return -1;
}

/* gather() waits for a future with the tasks in `_children`: for the first that isn't done. */
static int awaited_task(struct taking *taking, const GArray *tasks, uint64_t waiter)
{
	heap_t *heap = taking->heap;
	int direct = waiter ? index_of(tasks, waiter) : -1;
	if (direct >= 0 || !waiter || !object_is(heap, waiter, NULL, "_GatheringFuture"))
		return direct;
	uint64_t list = attribute_get(heap, waiter, "_children"), n = 0, items = 0, child;
	if (!list || !memory_u64(heap->memory, list + heap->layout->ob_size, &n) ||
	    !memory_u64(heap->memory, list + heap->layout->list_ob_item, &items))
		return -1;
	for (uint64_t i = 0; i < n && i < MAX_TASKS; i++) {
		int found = memory_u64(heap->memory, items + 8 * i, &child) ? index_of(tasks, child) : -1;
		if (found >= 0)
			return found;
	}
	return -1;
}

void tasks_find(struct taking *taking)
{
	stacks_t *stacks = taking->stacks;
	g_autoptr(GArray) tasks = g_array_new(FALSE, FALSE, sizeof(struct found_task));
	collect(taking, tasks);
	for (guint i = tasks->len; i-- > 0;) {
		if (is_done(taking, g_array_index(tasks, struct found_task, i).address))
			g_array_remove_index(tasks, i);
	}
	stacks->n_tasks = tasks->len;
	stacks->tasks = g_new0(struct stack_task, tasks->len);
	for (guint i = 0; i < tasks->len; i++)
		fill_task(taking, &g_array_index(tasks, struct found_task, i), &stacks->tasks[i]);
	for (guint i = 0; i < tasks->len; i++)
		stacks->tasks[i].awaits =
			awaited_task(taking, tasks, g_array_index(tasks, struct found_task, i).waiter);
}
