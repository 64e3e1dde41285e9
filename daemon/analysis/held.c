/* Locks that threads hold: which `with` statements their frames are inside of. */
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/stacks_private.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/str.h"

uint64_t lock_behind(heap_t *heap, uint64_t object)
{
	const struct type *type = type_of(heap, object);
	if (!type)
		return 0;
	if (!strcmp(type->module, "_thread") && (!strcmp(type->qualname, "lock") || !strcmp(type->qualname, "RLock")))
		return object;
	if (object_is_a(heap, object, "threading", "Condition"))
		return lock_behind(heap, attribute_get(heap, object, "_lock"));
	return 0;
}

static bool is_exit(const heap_t *heap, uint64_t name)
{
	return name && str_equals(heap, name, "__exit__");
}

/* The context manager whose __exit__ this bound method is; 0: it is none. */
static uint64_t manager_of_method(heap_t *heap, uint64_t object)
{
	const struct py_layout *layout = heap->layout;
	uint64_t function = 0, self = 0, name = 0;
	char text[16];
	if (object_is(heap, object, NULL, "method")) {
		memory_u64(heap->memory, object + layout->im_func, &function);
		memory_u64(heap->memory, object + layout->im_self, &self);
		memory_u64(heap->memory, function + layout->func_name, &name);
		return is_exit(heap, name) ? self : 0;
	}
	if (object_is(heap, object, NULL, "builtin_function_or_method")) {
		memory_u64(heap->memory, object + layout->m_ml, &function);
		memory_u64(heap->memory, object + layout->m_self, &self);
		memory_u64(heap->memory, function + layout->method_def_name, &name);
		return name && memory_string(heap->memory, name, text, sizeof(text)) && !strcmp(text, "__exit__") ? self
														  : 0;
	}
	return 0;
}

/* Whether this is an unbound __exit__, whose context manager comes next on the value stack (3.14+). */
static bool is_unbound_exit(heap_t *heap, uint64_t object)
{
	const struct py_layout *layout = heap->layout;
	uint64_t name = 0;
	if (object_is(heap, object, NULL, "method_descriptor"))
		memory_u64(heap->memory, object + layout->d_name, &name);
	else if (object_is(heap, object, NULL, "function"))
		memory_u64(heap->memory, object + layout->func_name, &name);
	return is_exit(heap, name);
}

static void find_in_frame(struct taking *taking, guint thread, guint index)
{
	const struct frame *frame = thread_frame(taking, thread, index);
	uint64_t n = frame_protected(taking->codes, frame);
	unsigned nth = 0;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t slot = frame_slot(taking->codes, frame, frame->code->n_slots + i), depth = i + 1;
		uint64_t manager = slot ? manager_of_method(taking->heap, slot) : 0;
		if (!manager && slot && i + 1 < n && is_unbound_exit(taking->heap, slot)) {
			manager = frame_slot(taking->codes, frame, frame->code->n_slots + ++i);
			depth = i + 1;
		}
		if (!manager)
			continue;
		struct held held = {.lock = lock_behind(taking->heap, manager), .thread = thread, .frame = index};
		held.line = frame_with_line(taking->codes, frame, depth, nth++);
		if (held.lock)
			g_array_append_val(taking->held, held);
	}
}

void held_find(struct taking *taking)
{
	for (guint i = 0; i < taking->threads->len; i++) {
		for (guint k = 0; thread_frame(taking, i, k); k++)
			find_in_frame(taking, i, k);
	}
}
