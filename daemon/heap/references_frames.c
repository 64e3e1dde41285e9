/* The references of frames: frame objects, interpreter frames (3.11+), generators, and the threads that run them. */
#include "daemon/heap/references_private.h"

#define MAX_WORK_CHUNKS       100000
#define WORK_ITEMS_MOST       254 /* WORK_ITEMS_PER_CHUNK */
#define MAX_STACK             1000000
#define MAX_FRAMES            1000000
#define MAX_CHUNKS            100000
#define OWNED_BY_THREAD       0 /* CPython Include/internal/pycore_frame.h, enum _frameowner */
#define OWNED_BY_FRAME_OBJECT 2
#define TAG_BORROWED          1
#define TAG_BITS              3
#define VALUE_STACK_RUNNING   (-1)

/* a slot of an interpreter frame: what it owns, or 0 */
static uint64_t owned(const struct py_layout *layout, uint64_t slot)
{
	switch (layout->shape.stack_refs) {
	case PY_STACK_PLAIN:
		break;
	case PY_STACK_TAGGED:
	case PY_STACK_DEFERRED:
		return slot & TAG_BORROWED ? 0 : slot & ~(uint64_t)TAG_BITS;
	}
	return slot;
}

static uint64_t untagged(const struct py_layout *layout, uint64_t slot)
{
	return layout->shape.stack_refs == PY_STACK_PLAIN ? slot : slot & ~(uint64_t)TAG_BITS;
}

static uint64_t tuple_item(const heap_t *heap, uint64_t tuple, uint64_t i)
{
	uint64_t n = 0, item = 0;
	if (tuple && memory_u64(heap->memory, tuple + heap->layout->ob_size, &n) && i < n)
		memory_u64(heap->memory, tuple + heap->layout->tuple_ob_item + 8 * i, &item);
	return item;
}

/* the name of local variable i: fast locals, then cells, then free variables */
static uint64_t local_name(const heap_t *heap, const uint8_t *code, uint64_t i)
{
	const struct py_layout *layout = heap->layout;
	if (heap_has(layout->co_localsplusnames))
		return tuple_item(heap, load_u64(code, layout->co_localsplusnames), i);
	const uint32_t parts[] = {layout->co_varnames, layout->co_cellvars, layout->co_freevars};
	for (size_t k = 0; k < G_N_ELEMENTS(parts); k++) {
		uint64_t tuple = load_u64(code, parts[k]), n = 0;
		if (k == 0)
			n = load_u32(code, layout->co_nlocals);
		else
			memory_u64(heap->memory, tuple + layout->ob_size, &n);
		if (i < n)
			return tuple_item(heap, tuple, i);
		i -= n;
	}
	return 0;
}

/* `n` slots of locals and value stack from `first` on */
static void frame_slots(references_t *references, uint64_t first, uint64_t n, uint64_t n_locals, uint64_t code_address,
			const uint8_t *code, bool generator, bool running)
{
	const heap_t *heap = references->heap;
	for (uint64_t i = 0; i < n && i < MAX_STACK; i++) {
		uint64_t slot;
		if (!memory_u64(heap->memory, first + 8 * i, &slot))
			return;
		bool local = i < n_locals;
		struct reference reference = {
			.kind = generator ? REFERENCE_GENERATOR_FRAME
				: local   ? REFERENCE_FRAME_LOCAL
					  : REFERENCE_FRAME_STACK,
			.target = owned(heap->layout, slot),
			.word = first + 8 * i,
			.index = i,
			.code = code_address,
			/* where the top of the stack is in a register, words above it may be left over */
			.probable = !local && running,
		};
		if (reference.target && local)
			reference.name = local_name(heap, code, i);
		references_emit(references, &reference);
	}
}

static void frame_field(references_t *references, uint64_t frame, uint32_t offset, const char *field, uint64_t code,
			bool generator, bool tagged)
{
	struct reference reference = {.kind = generator ? REFERENCE_GENERATOR_FRAME : REFERENCE_FRAME_STACK,
				      .field = field,
				      .word = frame + offset,
				      .code = code};
	uint64_t slot;
	if (!heap_has(offset) || !memory_u64(references->heap->memory, reference.word, &slot))
		return;
	reference.target = tagged ? owned(references->heap->layout, slot) : slot;
	references_emit(references, &reference);
}

/* How many slots are in use; false: the top of the stack is in a register of the running interpreter. */
static bool slots_used(const heap_t *heap, uint64_t frame, uint64_t *n)
{
	const struct py_layout *layout = heap->layout;
	uint64_t locals = frame + layout->iframe_localsplus;
	if (heap_has(layout->iframe_stackpointer)) {
		uint64_t pointer = 0;
		memory_u64(heap->memory, frame + layout->iframe_stackpointer, &pointer);
		*n = (pointer - locals) / 8;
		return pointer >= locals && *n < MAX_STACK;
	}
	uint32_t top = UINT32_MAX;
	memory_u32(heap->memory, frame + layout->iframe_stacktop, &top);
	*n = top;
	return (int32_t)top >= 0;
}

void references_interpreter_frame(references_t *references, uint64_t frame, bool generator)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t code = 0;
	if (!memory_u64(heap->memory, frame + layout->iframe_code, &code))
		return;
	code = untagged(layout, code);
	bool tagged = layout->shape.stack_refs != PY_STACK_PLAIN;
	frame_field(references, frame, layout->iframe_code, "code", code, generator, tagged);
	frame_field(references, frame, layout->iframe_func, "function", code, generator,
		    layout->shape.stack_refs == PY_STACK_TAGGED);
	frame_field(references, frame, layout->iframe_locals, "f_locals", code, generator, false);
	frame_field(references, frame, layout->iframe_frame_obj, "frame object", code, generator, false);
	const uint8_t *bytes = memory_at(heap->memory, code, layout->code_size);
	if (!bytes || !heap_has(layout->co_nlocalsplus))
		return;
	uint64_t n_locals = load_u32(bytes, layout->co_nlocalsplus), n;
	bool running = !slots_used(heap, frame, &n);
	if (running)
		n = n_locals + load_u32(bytes, layout->co_stacksize);
	frame_slots(references, frame + layout->iframe_localsplus, n, n_locals, code, bytes, generator, running);
}

/* ---- frame objects ---- */

/* up to 3.10 a frame is an object, its slots behind it */
static void whole_frame(references_t *references, const struct object *object)
{
	static const struct {
		uint16_t position;
		const char *name;
	} fields[] = {
		{offsetof(struct py_layout, f_code), "f_code"},
		{offsetof(struct py_layout, f_builtins), "f_builtins"},
		{offsetof(struct py_layout, f_globals), "f_globals"},
		{offsetof(struct py_layout, f_locals), "f_locals"},
		{offsetof(struct py_layout, f_exc_type), "f_exc_type"},
		{offsetof(struct py_layout, f_exc_value), "f_exc_value"},
		{offsetof(struct py_layout, f_exc_traceback), "f_exc_traceback"},
	};
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
		uint32_t offset;
		memcpy(&offset, (const uint8_t *)layout + fields[i].position, sizeof(offset));
		references_word(references, object, offset, REFERENCE_SLOT, fields[i].name);
	}
	uint64_t code = load_u64(object->bytes, layout->f_code), n_cells = 0, n_free = 0;
	const uint8_t *bytes = memory_at(heap->memory, code, layout->code_size);
	if (!bytes)
		return;
	memory_u64(heap->memory, load_u64(bytes, layout->co_cellvars) + layout->ob_size, &n_cells);
	memory_u64(heap->memory, load_u64(bytes, layout->co_freevars) + layout->ob_size, &n_free);
	uint64_t n_locals = load_u32(bytes, layout->co_nlocals) + n_cells + n_free;
	frame_slots(references, object->address + layout->f_localsplus, n_locals, n_locals, code, bytes, false, false);
	uint64_t stack = load_u64(object->bytes, layout->f_valuestack), n = 0;
	bool running = true;
	if (heap_has(layout->f_stackdepth)) {
		int32_t depth = (int32_t)load_u32(object->bytes, layout->f_stackdepth);
		running = depth < 0;
		n = (uint64_t)MAX(depth, 0);
	} else {
		uint64_t top = load_u64(object->bytes, layout->f_stacktop);
		running = !top;
		n = top >= stack ? (top - stack) / 8 : 0;
	}
	if (running)
		n = load_u32(bytes, layout->co_stacksize);
	if (n < MAX_STACK)
		frame_slots(references, stack, n, 0, code, bytes, false, running);
}

void references_frame(references_t *references, const struct object *object, const struct plan *plan)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	(void)plan;
	references_word(references, object, layout->f_back, REFERENCE_SLOT, "f_back");
	references_word(references, object, layout->f_trace, REFERENCE_SLOT, "f_trace");
	if (!heap_has(layout->f_frame)) {
		whole_frame(references, object);
		return;
	}
	references_word(references, object, layout->f_extra_locals, REFERENCE_SLOT, "f_extra_locals");
	references_word(references, object, layout->f_locals_cache, REFERENCE_SLOT, "f_locals");
	references_word(references, object, layout->f_overwritten_fast_locals, REFERENCE_SLOT,
			"f_overwritten_fast_locals");
	uint64_t frame = load_u64(object->bytes, layout->f_frame);
	uint8_t owner;
	if (frame && memory_u8(heap->memory, frame + layout->iframe_owner, &owner) && owner == OWNED_BY_FRAME_OBJECT)
		references_interpreter_frame(references, frame, false);
}

void references_generator(references_t *references, const struct object *object, const struct plan *plan)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	bool coroutine = strcmp(plan->solid->qualname, "coroutine") == 0;
	bool async = strcmp(plan->solid->qualname, "async_generator") == 0;
	references_word(references, object, layout->gi_name, REFERENCE_SLOT, "__name__");
	references_word(references, object, layout->gi_qualname, REFERENCE_SLOT, "__qualname__");
	references_word(references, object, layout->gi_code, REFERENCE_SLOT, "gi_code");
	references_word(references, object, layout->gi_frame, REFERENCE_SLOT, "gi_frame");
	if (heap_has(layout->gi_exc_state)) {
		const uint32_t words[] = {layout->exc_item_type, layout->exc_item_value, layout->exc_item_traceback};
		for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
			if (heap_has(words[i]))
				references_word(references, object, layout->gi_exc_state + words[i],
						REFERENCE_EXCEPTION, "exception");
		}
	}
	/* one field for both, uninitialised in plain generators (CPython Objects/genobject.c, gi_origin_or_finalizer) */
	if (coroutine)
		references_word(references, object,
				heap_has(layout->cr_origin) ? layout->cr_origin : layout->gi_origin_or_finalizer,
				REFERENCE_SLOT, "cr_origin");
	if (async)
		references_word(references, object,
				heap_has(layout->ag_finalizer) ? layout->ag_finalizer : layout->gi_origin_or_finalizer,
				REFERENCE_SLOT, "finalizer");
	if (!heap_has(layout->gi_iframe) || !references_room(object, layout->gi_iframe, layout->iframe_size))
		return;
	uint64_t frame = object->address + layout->gi_iframe;
	if (object->bytes[layout->gi_frame_state] != layout->shape.generator_cleared)
		references_interpreter_frame(references, frame, true);
	else if (!heap_has(layout->gi_code))
		/* an exhausted one still owns its code */
		frame_field(references, frame, layout->iframe_code, "code", 0, true,
			    layout->shape.stack_refs != PY_STACK_PLAIN);
}

/* ---- threads ---- */

/* The chunks of a thread's data stack hold interpreter frames: these are visited, everything else there is left over. */
static void data_stack(references_t *references, uint64_t thread)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t chunk = 0, bytes;
	if (!heap_has(layout->tstate_datastack_chunk) ||
	    !memory_u64(heap->memory, thread + layout->tstate_datastack_chunk, &chunk))
		return;
	for (size_t i = 0; chunk && i < MAX_CHUNKS; i++) {
		/* previous, size, top, data */
		if (!memory_u64(heap->memory, chunk + 8, &bytes))
			return;
		references_extent(references, chunk, bytes, false);
		if (!memory_u64(heap->memory, chunk, &chunk))
			return;
	}
	if (heap_has(layout->tstate_datastack_cached_chunk) &&
	    memory_u64(heap->memory, thread + layout->tstate_datastack_cached_chunk, &chunk) && chunk &&
	    memory_u64(heap->memory, chunk + 8, &bytes))
		references_extent(references, chunk, bytes, false);
}

static uint64_t current_frame(const heap_t *heap, uint64_t thread)
{
	const struct py_layout *layout = heap->layout;
	uint64_t frame = 0, holder = 0;
	if (heap_has(layout->tstate_current_frame))
		memory_u64(heap->memory, thread + layout->tstate_current_frame, &frame);
	else if (heap_has(layout->tstate_cframe) && memory_u64(heap->memory, thread + layout->tstate_cframe, &holder) &&
		 holder)
		memory_u64(heap->memory, holder + layout->cframe_current_frame, &frame);
	return frame;
}

void references_thread(references_t *references, uint64_t thread)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	if (!heap_has(layout->iframe_size))
		return;
	data_stack(references, thread);
	uint64_t frame = current_frame(heap, thread);
	for (size_t i = 0; frame && i < MAX_FRAMES; i++) {
		uint8_t owner;
		if (!memory_u8(heap->memory, frame + layout->iframe_owner, &owner))
			return;
		if (owner == OWNED_BY_THREAD)
			references_interpreter_frame(references, frame, false);
		if (!memory_u64(heap->memory, frame + layout->iframe_previous, &frame))
			return;
	}
}

/* words of the interpreter's state that own nothing: caches, and arrays whose ends are left over */
static void borrowed_fields(references_t *references, uint64_t interpreter)
{
	const struct py_layout *layout = references->heap->layout;
	const uint32_t ranges[][2] = {
		{layout->interp_func_version_cache, layout->interp_func_version_cache_end},
		{layout->interp_type_version_cache, layout->interp_type_version_cache_end},
		{layout->interp_callable_cache, layout->interp_callable_cache_end},
		{layout->interp_freelists, layout->interp_freelists_end},
		{layout->interp_tuple_free, layout->interp_tuple_free_end},
		{layout->interp_list_free, layout->interp_list_free_end},
		{layout->interp_dict_free, layout->interp_dict_free_end},
		{layout->interp_dict_keys_free, layout->interp_dict_keys_free_end},
		{layout->interp_agen_value_free, layout->interp_agen_value_free_end},
		{layout->interp_agen_asend_free, layout->interp_agen_asend_free_end},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
		if (heap_has(ranges[i][0]) && heap_has(ranges[i][1]) && ranges[i][0] < ranges[i][1])
			references_extent(references, interpreter + ranges[i][0], ranges[i][1] - ranges[i][0], false);
	}
}

/*
 * Blocks that wait to be freed until every thread has let go of them (CPython Objects/obmalloc.c, struct _mem_work_chunk: list node, read and write
 * index, items of pointer and goal). They own nothing any more. A pointer with bit 0 set is an object; from 3.14 on one whose last reference
 * is still to be given back.
 */
static void delayed_frees(references_t *references, uint64_t head)
{
	const struct memory *memory = references->heap->memory;
	uint64_t chunk = 0;
	memory_u64(memory, head, &chunk);
	for (size_t n = 0; chunk && chunk != head && n < MAX_WORK_CHUNKS; n++) {
		uint64_t read, write;
		if (!memory_u64(memory, chunk + 16, &read) || !memory_u64(memory, chunk + 24, &write) ||
		    write > WORK_ITEMS_MOST)
			return;
		for (uint64_t i = read; i < write; i++) {
			struct reference reference = {
				.kind = REFERENCE_INTERPRETER, .word = chunk + 32 + 16 * i, .field = "delayed release"};
			if (!memory_u64(memory, reference.word, &reference.target))
				return;
			if (reference.target & 1) {
				reference.target &= ~1ull;
				references_emit(references, &reference);
			} else {
				references_extent(references, reference.target, 8, true);
			}
		}
		references_extent(references, chunk, 32 + 16 * WORK_ITEMS_MOST, true);
		if (!memory_u64(memory, chunk, &chunk))
			return;
	}
}

/* what a thread of a free-threaded build keeps for itself: as borrowed_fields() */
static void borrowed_of_thread(references_t *references, uint64_t thread)
{
	const struct py_layout *layout = references->heap->layout;
	if (layout->shape.gc != PY_GC_NONE)
		return;
	if (heap_has(layout->tstate_freelists) && heap_has(layout->tstate_freelists_end))
		references_extent(references, thread + layout->tstate_freelists,
				  layout->tstate_freelists_end - layout->tstate_freelists, false);
	if (heap_has(layout->tstate_mem_free_queue))
		delayed_frees(references, thread + layout->tstate_mem_free_queue);
}

/* an attribute cache of {version, name, value}: the name is owned, the value isn't (CPython Objects/typeobject.c) */
static void method_cache(references_t *references, uint64_t cache, uint64_t bytes)
{
	for (uint64_t at = 0; at + 24 <= bytes; at += 24) {
		struct reference reference = {
			.kind = REFERENCE_INTERPRETER, .word = cache + at + 8, .field = "attribute cache"};
		if (memory_u64(references->heap->memory, reference.word, &reference.target))
			references_emit(references, &reference);
	}
	references_extent(references, cache, bytes, false);
}

#define METHOD_CACHE_BYTES (4096 * 24)

void references_of_runtime(references_t *references)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		uint64_t interpreter = heap->interpreters[i].address, thread = 0;
		borrowed_fields(references, interpreter);
		if (layout->shape.gc == PY_GC_NONE && heap_has(layout->interp_mem_free_queue))
			delayed_frees(references, interpreter + layout->interp_mem_free_queue);
		if (heap_has(layout->interp_type_cache))
			method_cache(references, interpreter + layout->interp_type_cache,
				     layout->interp_type_cache_end - layout->interp_type_cache);
		memory_u64(heap->memory, interpreter + layout->interp_tstate_head, &thread);
		for (size_t n = 0; thread && n < HEAP_MAX_THREADS; n++) {
			references_thread(references, thread);
			borrowed_of_thread(references, thread);
			if (!memory_u64(heap->memory, thread + layout->tstate_next, &thread))
				break;
		}
	}
	if (heap->python->method_cache)
		method_cache(references, heap->python->method_cache, METHOD_CACHE_BYTES);
}
