#include "daemon/heap/threads.h"

#include <inttypes.h>

#include "base/text.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/str.h"

#define MAX_NAME 256

/*
 * Up to 3.10 a thread state has no native id. glibc's struct pthread, which the ident points to, has it as `tid` (nptl/descr.h): at
 * this offset in x86-64 since 2.3.
 */
#define PTHREAD_TID 0x2d0

#define PTHREAD_COND_SIZE 48 /* of x86-64, where who waits for it sleeps on a word of it */

static void thread_clear(void *data)
{
	g_free(((struct thread *)data)->name);
}

struct gil thread_gil(const heap_t *heap, const struct thread *thread)
{
	const struct py_layout *layout = heap->layout;
	struct gil gil = {0, heap_has(layout->gil_size) ? layout->gil_size : 0};
	if (heap_has(layout->interp_gil))
		memory_u64(heap->memory, thread->interpreter + layout->interp_gil, &gil.start);
	else if (heap->python->runtime && heap_has(layout->runtime_gil))
		gil.start = heap->python->runtime + layout->runtime_gil;
	if (!gil.start && heap->python->gil_cond)
		return (struct gil){heap->python->gil_cond, PTHREAD_COND_SIZE};
	if (!gil.start)
		gil.size = 0;
	return gil;
}

uint64_t thread_gil_word(const heap_t *heap, const struct thread *thread)
{
	const struct py_layout *layout = heap->layout;
	if (heap->python->thread_current)
		return heap->python->thread_current;
	struct gil gil = thread_gil(heap, thread);
	if (!gil.start || !heap_has(layout->gil_last_holder) || heap_has(layout->gil_enabled))
		return 0;
	return gil.start + layout->gil_last_holder;
}

static enum answer holds_gil(const heap_t *heap, const struct thread *thread)
{
	const struct py_layout *layout = heap->layout;
	uint32_t locked = 0, enabled = 0;
	uint64_t holder = 0;
	struct gil gil = thread_gil(heap, thread);
	if (heap->python->thread_current && memory_u64(heap->memory, heap->python->thread_current, &holder))
		return holder == thread->address ? ANSWER_YES : ANSWER_NO;
	if (!gil.start || !heap_has(layout->gil_locked) || !heap_has(layout->gil_last_holder))
		return ANSWER_UNKNOWN;
	if (heap_has(layout->gil_enabled) &&
	    (!memory_u32(heap->memory, gil.start + layout->gil_enabled, &enabled) || !enabled))
		return ANSWER_UNKNOWN;
	if (!memory_u32(heap->memory, gil.start + layout->gil_locked, &locked) ||
	    !memory_u64(heap->memory, gil.start + layout->gil_last_holder, &holder))
		return ANSWER_UNKNOWN;
	return locked == 1 && holder == thread->address ? ANSWER_YES : ANSWER_NO;
}

static void read_state(const heap_t *heap, struct thread *thread)
{
	const struct py_layout *layout = heap->layout;
	uint64_t native = 0;
	uint32_t tid = 0;
	memory_u64(heap->memory, thread->address + layout->tstate_thread_id, &thread->ident);
	if (heap_has(layout->tstate_native_thread_id)) {
		memory_u64(heap->memory, thread->address + layout->tstate_native_thread_id, &native);
		thread->native = (int64_t)native;
	} else if (thread->ident && memory_u32(heap->memory, thread->ident + PTHREAD_TID, &tid)) {
		thread->native = (int64_t)tid;
	}
	thread->holds_gil = holds_gil(heap, thread);
}

/* threading._active: ident -> Thread. Its attributes _name and _daemonic have been there since 2.6. */
static void read_names(heap_t *heap, GArray *threads, uint64_t interpreter)
{
	uint64_t globals = module_globals(heap, interpreter, "threading");
	struct dict_iter iter;
	struct dict_item item;
	if (!globals || !dict_iter_init(&iter, heap, dict_get(heap, globals, "_active")))
		return;
	while (dict_iter_next(&iter, &item)) {
		int64_t ident, daemon;
		if (!int_read(heap, item.key, &ident))
			continue;
		for (guint i = 0; i < threads->len; i++) {
			struct thread *thread = &g_array_index(threads, struct thread, i);
			if (thread->interpreter != interpreter || thread->ident != (uint64_t)ident || thread->object)
				continue;
			thread->object = item.value;
			g_autofree char *name = str_text(heap, attribute_get(heap, item.value, "_name"), MAX_NAME);
			if (name)
				thread->name = text_escape(name, G_MAXSIZE);
			if (int_read(heap, attribute_get(heap, item.value, "_daemonic"), &daemon))
				thread->daemon = daemon ? ANSWER_YES : ANSWER_NO;
		}
	}
}

static void reverse(GArray *threads, guint from)
{
	for (guint i = from, k = threads->len; i + 1 < k; i++) {
		struct thread *a = &g_array_index(threads, struct thread, i),
			      *b = &g_array_index(threads, struct thread, --k);
		struct thread kept = *a;
		*a = *b;
		*b = kept;
	}
}

GArray *threads_read(heap_t *heap)
{
	const struct py_layout *layout = heap->layout;
	GArray *threads = g_array_new(FALSE, TRUE, sizeof(struct thread));
	g_array_set_clear_func(threads, thread_clear);
	for (size_t i = heap->n_interpreters; i-- > 0;) {
		const struct heap_interpreter *interpreter = &heap->interpreters[i];
		uint64_t address = 0;
		guint first = threads->len;
		memory_u64(heap->memory, interpreter->address + layout->interp_tstate_head, &address);
		while (address && threads->len < HEAP_MAX_THREADS) {
			struct thread thread = {.address = address,
						.interpreter = interpreter->address,
						.interpreter_id = interpreter->id,
						.daemon = ANSWER_UNKNOWN};
			read_state(heap, &thread);
			g_array_append_val(threads, thread);
			if (!memory_u64(heap->memory, address + layout->tstate_next, &address))
				break;
		}
		/* new ones are put in front */
		reverse(threads, first);
		read_names(heap, threads, interpreter->address);
	}
	return threads;
}
