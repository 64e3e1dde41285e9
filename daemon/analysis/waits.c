/* What threads wait for: from the futex to the object, its name in the program, and who holds it. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/stacks_private.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/lines.h"
#include "daemon/heap/str.h"

#define LOOK_FRAMES 8 /* so many of a thread's frames are searched for the lock it waits for */

/* a thread that sleeps on a futex */
struct sleeper {
	struct taking *taking;
	guint thread;
	uint64_t futex;  /* address it sleeps at */
	uint64_t parked; /* address of the mutex whose queue it stands in (3.13+), 0: none */
	uint64_t found;  /* the lock object */
};

/* ---- which lock ---- */

/*
 * 3.13+: who waits for a PyMutex sleeps on a semaphore in a struct wait_entry on its own stack, which says which mutex that is (CPython
 * Python/parking_lot.c).
 */
static uint64_t parked_at(const heap_t *heap, uint64_t futex)
{
	const struct py_layout *layout = heap->layout;
	uint64_t address = 0;
	if (!heap_has(layout->wait_entry_address) || !heap_has(layout->wait_entry_semaphore) ||
	    !memory_u64(heap->memory, futex - layout->wait_entry_semaphore + layout->wait_entry_address, &address))
		return 0;
	return address;
}

static bool points_to(const struct sleeper *sleeper, uint64_t object, uint32_t field)
{
	uint64_t lock = 0;
	return heap_has(field) && memory_u64(sleeper->taking->heap->memory, object + field, &lock) && lock &&
	       (lock == sleeper->futex || lock == sleeper->parked);
}

static bool contains(const struct sleeper *sleeper, uint64_t object, uint32_t field)
{
	return heap_has(field) && sleeper->parked && sleeper->parked == object + field;
}

/* Whether this is the lock the thread sleeps on: its semaphore or mutex is the one. */
static bool is_the_lock(const struct sleeper *sleeper, uint64_t object)
{
	heap_t *heap = sleeper->taking->heap;
	const struct py_layout *layout = heap->layout;
	const struct type *type = type_of(heap, object);
	if (!type)
		return false;
	if (!strcmp(type->module, "_thread")) {
		if (!strcmp(type->qualname, "lock"))
			return contains(sleeper, object, layout->lock_mutex) ||
			       points_to(sleeper, object, layout->lock_semaphore);
		if (!strcmp(type->qualname, "RLock"))
			return contains(sleeper, object, layout->rlock_mutex) ||
			       points_to(sleeper, object, layout->rlock_semaphore);
	}
	return !strcmp(type->module, "_io") && g_str_has_prefix(type->qualname, "Buffered") &&
	       points_to(sleeper, object, layout->buffered_lock);
}

/* What a slot of a frame leads to: the object itself, or the one whose method it is. */
static bool try_object(struct sleeper *sleeper, uint64_t object)
{
	heap_t *heap = sleeper->taking->heap;
	uint64_t self = 0;
	if (!object || sleeper->found)
		return false;
	if (is_the_lock(sleeper, object))
		sleeper->found = object;
	else if (object_is(heap, object, NULL, "builtin_function_or_method") &&
		 memory_u64(heap->memory, object + heap->layout->m_self, &self) && self && is_the_lock(sleeper, self))
		sleeper->found = self;
	return sleeper->found;
}

static bool visit_deep(void *context, uint64_t name, uint64_t value)
{
	(void)name;
	return !try_object(context, value);
}

static bool visit_attribute(void *context, uint64_t name, uint64_t value)
{
	struct sleeper *sleeper = context;
	(void)name;
	if (!try_object(sleeper, value) && object_is_a(sleeper->taking->heap, value, "builtins", "object"))
		attributes_walk(sleeper->taking->heap, value, visit_deep, sleeper);
	return !sleeper->found;
}

static void try_globals(struct sleeper *sleeper, uint64_t globals)
{
	struct dict_iter iter;
	struct dict_item item;
	if (!globals || !dict_iter_init(&iter, sleeper->taking->heap, globals))
		return;
	while (!sleeper->found && dict_iter_next(&iter, &item))
		try_object(sleeper, item.value);
}

static uint64_t find_lock(struct sleeper *sleeper)
{
	struct taking *taking = sleeper->taking;
	const struct py_layout *layout = taking->heap->layout;
	const struct frame *frame;
	if (sleeper->parked && heap_has(layout->lock_mutex))
		try_object(sleeper, sleeper->parked - layout->lock_mutex);
	if (sleeper->parked && heap_has(layout->rlock_mutex))
		try_object(sleeper, sleeper->parked - layout->rlock_mutex);
	/* everything a slot may hold, also above what is known to be in use: a stale word can't match the futex */
	for (guint k = 0; k < LOOK_FRAMES && !sleeper->found && (frame = thread_frame(taking, sleeper->thread, k));
	     k++) {
		uint64_t n = frame->code->n_slots + frame->code->stack_size;
		for (uint64_t i = 0; i < n && !sleeper->found; i++)
			try_object(sleeper, i < frame->code->n_slots ? frame_local(taking->codes, frame, i)
								     : frame_slot(taking->codes, frame, i));
	}
	for (guint i = 0; i < taking->held->len && !sleeper->found; i++)
		try_object(sleeper, g_array_index(taking->held, struct held, i).lock);
	for (guint k = 0; k < LOOK_FRAMES && !sleeper->found && (frame = thread_frame(taking, sleeper->thread, k));
	     k++) {
		for (uint64_t i = 0; i < frame->code->n_slots && !sleeper->found; i++)
			attributes_walk(taking->heap, frame_local(taking->codes, frame, i), visit_attribute, sleeper);
		if (!sleeper->found)
			try_globals(sleeper, frame->globals);
	}
	return sleeper->found;
}

/* ---- what the program waits for ---- */

/* classes of the standard library whose methods wait */
static const struct waiting_class {
	const char *module, *qualname, *functions; /* their methods that wait */
	enum wait_kind kind;
	bool whatever; /* the lock that is slept on says nothing more */
} waiting_classes[] = {
	{"threading", "Thread", " join _wait_for_tstate_lock _join_os_thread ", WAIT_THREAD, true},
	{NULL, "_ModuleLock", " acquire ", WAIT_LOCK, true},
	{"threading", "Condition", " wait wait_for ", WAIT_EVENT, false},
	{"threading", "Event", " wait ", WAIT_EVENT, false},
	{"threading", "Semaphore", " acquire __enter__ ", WAIT_EVENT, false},
	{"threading", "Barrier", " wait _wait _enter ", WAIT_EVENT, false},
	{"queue", "Queue", " get put join ", WAIT_EVENT, false},
	{NULL, "SimpleQueue", " get ", WAIT_EVENT, false},
};

static const struct waiting_class *waiting_class(struct taking *taking, const struct frame *frame, uint64_t *self)
{
	g_autofree char *name = g_strdup_printf(" %s ", frame->code->name);
	for (size_t i = 0; i < G_N_ELEMENTS(waiting_classes); i++) {
		const struct waiting_class *class = &waiting_classes[i];
		if (!strstr(class->functions, name))
			continue;
		*self = frame_variable(taking->codes, frame, "self");
		if (*self && object_is_a(taking->heap, *self, class->module, class->qualname))
			return class;
	}
	return NULL;
}

/* The outermost of the standard library's waiting methods that the thread is in; *frame: the first of the program's own. */
static const struct waiting_class *waiting_method(struct taking *taking, guint thread, uint64_t lock, uint64_t *object,
						  guint *frame)
{
	const struct waiting_class *found = NULL, *class;
	const struct frame *at;
	uint64_t self = 0;
	for (guint k = 0; (at = thread_frame(taking, thread, k)) && (class = waiting_class(taking, at, &self)); k++) {
		/* inside of Condition.wait() the lock is the waiter's own; taking the condition's again is waiting for that lock */
		if (!found && !class->whatever && lock && frame_variable(taking->codes, at, "waiter") != lock)
			return NULL;
		found = class;
		*object = self;
		*frame = k + 1;
	}
	return found;
}

/* ---- its name in the program ---- */

struct search {
	struct taking *taking;
	uint64_t object;
	const char *variable;
	char *label;
	int depth;
	uint64_t outer; /* name of the attribute being looked into */
};

static char *name_text(struct taking *taking, uint64_t str)
{
	g_autofree char *text = str_text(taking->heap, str, 256);
	return text_escape(text ? text : "?", G_MAXSIZE);
}

static bool search_attribute(void *context, uint64_t name, uint64_t value)
{
	struct search *search = context;
	if (value == search->object) {
		g_autofree char *text = name_text(search->taking, name);
		g_autofree char *outer = search->outer ? name_text(search->taking, search->outer) : NULL;
		search->label = outer ? g_strdup_printf("%s.%s.%s", search->variable, outer, text)
				      : g_strdup_printf("%s.%s", search->variable, text);
		return false;
	}
	return true;
}

static bool search_deeper(void *context, uint64_t name, uint64_t value)
{
	struct search *search = context;
	search->outer = name;
	attributes_walk(search->taking->heap, value, search_attribute, search);
	return !search->label;
}

static char *search_globals(struct taking *taking, uint64_t globals, uint64_t object)
{
	struct dict_iter iter;
	struct dict_item item;
	if (!globals || !dict_iter_init(&iter, taking->heap, globals))
		return NULL;
	while (dict_iter_next(&iter, &item)) {
		if (item.value != object)
			continue;
		g_autofree char *name = name_text(taking, item.key);
		g_autofree char *module = name_text(taking, dict_get(taking->heap, globals, "__name__"));
		return g_strdup_printf("%s.%s", module, name);
	}
	return NULL;
}

/* Where a frame has the object: a global, an attribute of a local, a local; the first is what most tell it by. */
static char *search_frame(struct taking *taking, const struct frame *frame, uint64_t object)
{
	char *label = search_globals(taking, frame->globals, object);
	struct search search = {.taking = taking, .object = object};
	for (int deep = 0; deep < 2 && !label; deep++) {
		for (uint64_t i = 0; i < frame->code->n_slots && !label; i++) {
			uint64_t local = frame_local(taking->codes, frame, i);
			g_autofree char *name =
				local ? name_text(taking, frame_slot_name(taking->codes, frame, i)) : NULL;
			search.variable = name;
			search.outer = 0;
			if (local)
				attributes_walk(taking->heap, local, deep ? search_deeper : search_attribute, &search);
			label = search.label;
		}
	}
	for (uint64_t i = 0; i < frame->code->n_slots && !label; i++) {
		if (frame_local(taking->codes, frame, i) == object)
			label = name_text(taking, frame_slot_name(taking->codes, frame, i));
	}
	return label;
}

char *holder_find(struct taking *taking, guint thread, guint first, uint64_t object)
{
	const struct frame *frame;
	for (guint k = first; k < first + LOOK_FRAMES && (frame = thread_frame(taking, thread, k)); k++) {
		char *label = search_frame(taking, frame, object);
		if (label)
			return label;
	}
	return NULL;
}

/* ---- who holds it ---- */

static int thread_of_ident(const struct taking *taking, uint64_t ident)
{
	for (guint i = 0; ident && i < taking->threads->len; i++) {
		if (taking->stacks->threads[i].ident == ident)
			return (int)i;
	}
	return -1;
}

static void owner_by_ident(struct taking *taking, struct stack_wait *wait, uint64_t ident)
{
	if (ident)
		wait->owner = thread_of_ident(taking, ident);
}

/* a frame is inside of `with` of it */
static void owner_by_with(struct taking *taking, struct stack_wait *wait, uint64_t lock, int only)
{
	for (guint i = 0; i < taking->held->len; i++) {
		const struct held *held = &g_array_index(taking->held, struct held, i);
		if (held->lock != lock || (only >= 0 && held->thread != (guint)only))
			continue;
		const struct frame *frame = thread_frame(taking, held->thread, held->frame);
		struct frame place = *frame;
		g_autofree char *there = frame_place(taking, &place);
		wait->owner = (int)held->thread;
		if (held->line == LINE_NONE) {
			wait->owner_place = stacks_text(taking->stacks, there);
			return;
		}
		g_autofree char *file = g_path_get_basename(frame->code->filename);
		const char *function = strstr(there, " in ");
		wait->owner_place =
			take_text(taking, g_strdup_printf("%s:%d%s", file, held->line, function ? function : ""));
		return;
	}
}

static void owner_find(struct taking *taking, struct stack_wait *wait, uint64_t lock)
{
	heap_t *heap = taking->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t owner = 0;
	int64_t number = 0;
	if (object_is(heap, lock, "_thread", "RLock")) {
		memory_u64(heap->memory, lock + layout->rlock_owner, &owner);
		owner_by_ident(taking, wait, owner);
		if (wait->owner >= 0)
			owner_by_with(taking, wait, lock, wait->owner);
	} else if (object_is(heap, lock, "_thread", "lock")) {
		owner_by_with(taking, wait, lock, -1);
	} else if (object_is(heap, lock, NULL, "_ModuleLock")) {
		if (int_read(heap, attribute_get(heap, lock, "owner"), &number))
			owner_by_ident(taking, wait, (uint64_t)number);
	} else if (memory_u64(heap->memory, lock + layout->buffered_owner, &owner)) {
		owner_by_ident(taking, wait, owner);
	}
}

/* ---- what is told about it ---- */

static int64_t attribute_number(heap_t *heap, uint64_t object, const char *name, int64_t unknown)
{
	int64_t number;
	return int_read(heap, attribute_get(heap, object, name), &number) ? number : unknown;
}

static const char *queue_state(struct taking *taking, uint64_t queue)
{
	heap_t *heap = taking->heap;
	uint64_t n = 0, items = attribute_get(heap, queue, "queue");
	int64_t max = attribute_number(heap, queue, "maxsize", 0);
	if (!items || !memory_u64(heap->memory, items + heap->layout->ob_size, &n))
		return "";
	if (max > 0 && n >= (uint64_t)max)
		return take_text(taking, g_strdup_printf("full, %" PRIu64 " of %" PRId64 " items", n, max));
	return n ? take_text(taking, g_strdup_printf("%" PRIu64 " items", n)) : "empty";
}

static const char *object_state(struct taking *taking, uint64_t object)
{
	heap_t *heap = taking->heap;
	if (object_is_a(heap, object, "queue", "Queue"))
		return queue_state(taking, object);
	if (object_is_a(heap, object, "threading", "Semaphore"))
		return take_text(taking,
				 g_strdup_printf("value %" PRId64, attribute_number(heap, object, "_value", -1)));
	if (object_is_a(heap, object, "threading", "Event"))
		return attribute_number(heap, object, "_flag", 0) ? "set" : "not set";
	if (object_is(heap, object, NULL, "_ModuleLock")) {
		g_autofree char *name = name_text(taking, attribute_get(heap, object, "name"));
		return take_text(taking, g_strconcat("import of ", name, NULL));
	}
	return "";
}

static void fill_object(struct taking *taking, struct stack_wait *wait, enum wait_kind kind, guint thread, guint frame,
			uint64_t object)
{
	const struct type *type = type_of(taking->heap, object);
	wait->kind = kind;
	wait->object = object;
	if (type && !strcmp(type->module, "_thread")) {
		wait->object_type = strcmp(type->qualname, "lock") ? "threading.RLock" : "threading.Lock";
	} else if (type) {
		struct sample_type named = {.module = type->module, .qualname = type->qualname};
		wait->object_type = take_text(taking, sample_type_name(&named));
	}
	char *label = holder_find(taking, thread, frame, object);
	wait->holder = label ? take_text(taking, label) : "";
	wait->state = object_state(taking, object);
}

/* Up to 3.12 a lock stands for the end of a thread: threading.Thread._tstate_lock. */
static void ends_find(struct taking *taking)
{
	taking->ends = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	for (guint i = 0; i < taking->threads->len; i++) {
		const struct thread *thread = &g_array_index(taking->threads, struct thread, i);
		uint64_t lock = thread->object ? attribute_get(taking->heap, thread->object, "_tstate_lock") : 0;
		if (lock && !g_hash_table_contains(taking->ends, &lock))
			g_hash_table_insert(taking->ends, g_memdup2(&lock, sizeof(lock)), GUINT_TO_POINTER(i));
	}
}

/* The thread whose end this lock stands for; -1: none. */
static int thread_of_lock(struct taking *taking, uint64_t lock)
{
	gpointer index;
	if (!taking->ends)
		ends_find(taking);
	return g_hash_table_lookup_extended(taking->ends, &lock, NULL, &index) ? (int)GPOINTER_TO_UINT(index) : -1;
}

/* Whether the outermost waiting method, whose caller is frame `caller`, is the one that puts. */
static bool in_put(struct taking *taking, guint index, guint caller)
{
	const struct frame *frame = caller ? thread_frame(taking, index, caller - 1) : NULL;
	return frame && !strcmp(frame->code->name, "put");
}

static bool in_gil(struct taking *taking, guint index, uint64_t futex)
{
	struct gil gil = thread_gil(taking->heap, &g_array_index(taking->threads, struct thread, index));
	return gil.size && futex - gil.start < gil.size;
}

static void wait_find(struct taking *taking, guint index)
{
	struct stack_wait *wait = &taking->stacks->threads[index].wait;
	struct sleeper sleeper = {.taking = taking, .thread = index, .futex = taking->facts[index]->futex};
	uint64_t object = 0;
	guint frame = 0;
	if (in_gil(taking, index, sleeper.futex)) {
		wait->kind = WAIT_GIL;
		return;
	}
	sleeper.parked = parked_at(taking->heap, sleeper.futex);
	uint64_t lock = find_lock(&sleeper);
	const struct waiting_class *class = waiting_method(taking, index, lock, &object, &frame);
	if (class) {
		fill_object(taking, wait, class->kind, index, frame, object);
		wait->full = g_str_has_prefix(wait->state, "full, ") && in_put(taking, index, frame);
		if (class->kind == WAIT_THREAD)
			owner_by_ident(taking, wait, (uint64_t)attribute_number(taking->heap, object, "_ident", 0));
		else if (class->kind == WAIT_LOCK)
			owner_find(taking, wait, object);
	} else if (lock) {
		int ended = thread_of_lock(taking, lock);
		fill_object(taking, wait, ended >= 0 ? WAIT_THREAD : WAIT_LOCK, index, 0, lock);
		if (ended >= 0)
			wait->owner = ended;
		else
			owner_find(taking, wait, lock);
	}
}

void waits_find(struct taking *taking)
{
	bool any = false;
	for (guint i = 0; i < taking->threads->len; i++)
		any |= taking->facts[i] && taking->facts[i]->futex;
	if (!any)
		return;
	held_find(taking);
	for (guint i = 0; i < taking->threads->len; i++) {
		struct stack_wait *wait = &taking->stacks->threads[i].wait;
		if (taking->facts[i] && taking->facts[i]->futex)
			wait_find(taking, i);
		/* nobody is there who could: locked before a fork, or taken twice */
		if (wait->kind == WAIT_LOCK && wait->owner < 0 && !wait->timed && taking->stacks->n_threads == 1)
			wait->orphan = true;
	}
}
