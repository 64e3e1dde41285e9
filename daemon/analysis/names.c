/*
 * Qualified names of functions up to 3.10, whose code objects have only the last part: the function object has it. Where one is found at hand
 * whose code is the frame's: on the caller's value stack, which keeps what it calls; in the generator that the frame is of; in the class
 * of the first argument, along its bases; among the globals.
 *
 * A function's __qualname__ can be set (functools.wraps() does): one that doesn't end with the code's name is not believed.
 */
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/stacks_private.h"
#include "daemon/heap/attributes.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/str.h"

#define MAX_NAME     1024
#define MAX_ATTEMPTS 16 /* for one code object, from so many frames */
#define MAX_BASES    64

/* what is known of one code object's name */
struct known_name {
	char *qualname; /* NULL: not found */
	unsigned attempts;
};

static void known_free(void *data)
{
	g_free(((struct known_name *)data)->qualname);
	g_free(data);
}

/* The str as text, if it may be the qualified name of the code. */
static char *acceptable(heap_t *heap, const struct code *code, uint64_t str)
{
	g_autofree char *text = str_text(heap, str, MAX_NAME);
	g_autofree char *name = text ? text_escape(text, G_MAXSIZE) : NULL;
	if (!name || !g_str_has_suffix(name, code->name))
		return NULL;
	size_t before = strlen(name) - strlen(code->name);
	return !before || name[before - 1] == '.' ? g_steal_pointer(&name) : NULL;
}

/* Of the function, method, property or the like at `object`, if its code is this one. */
static char *name_of_function(heap_t *heap, const struct code *code, uint64_t object)
{
	const struct py_layout *layout = heap->layout;
	const struct type *type = type_of(heap, object);
	uint64_t at = 0, str = 0;
	if (!type)
		return NULL;
	if (!strcmp(type->qualname, "method") && memory_u64(heap->memory, object + layout->im_func, &at)) {
		object = at;
		type = type_of(heap, object);
	} else if (!strcmp(type->qualname, "staticmethod") || !strcmp(type->qualname, "classmethod") ||
		   !strcmp(type->qualname, "property") || !strcmp(type->qualname, "partial")) {
		/* the callable, of a property its getter, is the first field (CPython Objects/funcobject.c, descrobject.c,
		 * Modules/_functoolsmodule.c) */
		memory_u64(heap->memory, object + layout->ob_type + sizeof(uint64_t), &object);
		type = type_of(heap, object);
	}
	if (!type || strcmp(type->qualname, "function") != 0 ||
	    !memory_u64(heap->memory, object + layout->func_code, &at) || at != code->address ||
	    !memory_u64(heap->memory, object + layout->func_qualname, &str))
		return NULL;
	return acceptable(heap, code, str);
}

/* The value stack of a frame that runs says not how high it is: words left over there are no function of this code but by being it. */
static char *from_caller(struct taking *taking, const struct code *code, const struct frame *caller)
{
	uint64_t n = caller->code->n_slots + caller->code->stack_size;
	char *name = NULL;
	for (uint64_t i = 0; i < n && !name; i++)
		name = name_of_function(taking->heap, code, frame_slot(taking->codes, caller, i));
	return name;
}

static char *from_generator(struct taking *taking, const struct frame *frame)
{
	const struct py_layout *layout = taking->heap->layout;
	const struct memory *memory = taking->heap->memory;
	uint64_t generator = 0, code = 0, str = 0;
	if (!(frame->code->flags & (CODE_GENERATOR | CODE_COROUTINE | CODE_ASYNC_GENERATOR)) ||
	    !heap_has(layout->f_gen) || !heap_has(layout->gi_code) || !heap_has(layout->gi_qualname) ||
	    !memory_u64(memory, frame->address + layout->f_gen, &generator) || !generator ||
	    !memory_u64(memory, generator + layout->gi_code, &code) || code != frame->code->address ||
	    !memory_u64(memory, generator + layout->gi_qualname, &str))
		return NULL;
	return acceptable(taking->heap, frame->code, str);
}

static char *from_type(heap_t *heap, const struct code *code, uint64_t type)
{
	const struct py_layout *layout = heap->layout;
	uint64_t mro = 0, length = 0, base = 0, dict = 0;
	if (!memory_u64(heap->memory, type + layout->tp_mro, &mro) || !mro ||
	    !memory_u64(heap->memory, mro + layout->ob_size, &length))
		return NULL;
	for (uint64_t i = 0; i < MIN(length, MAX_BASES); i++) {
		if (!memory_u64(heap->memory, mro + layout->tuple_ob_item + 8 * i, &base) ||
		    !memory_u64(heap->memory, base + layout->tp_dict, &dict) || !dict)
			continue;
		char *name = name_of_function(heap, code, dict_get(heap, dict, code->name));
		if (name)
			return name;
	}
	return NULL;
}

static char *from_first_argument(struct taking *taking, const struct frame *frame)
{
	heap_t *heap = taking->heap;
	uint64_t first = frame->code->n_locals ? frame_local(taking->codes, frame, 0) : 0;
	const struct type *type = type_of(heap, first);
	if (!type)
		return NULL;
	char *name = from_type(heap, frame->code, type->address);
	return name || !(type->flags & PY_FLAG_TYPE) ? name : from_type(heap, frame->code, first);
}

const char *qualname_find(struct taking *taking, const struct frame *frame, const struct frame *caller)
{
	const struct code *code = frame->code;
	if (!taking->names)
		taking->names = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, known_free);
	struct known_name *known = g_hash_table_lookup(taking->names, &code->address);
	if (!known) {
		known = g_new0(struct known_name, 1);
		g_hash_table_insert(taking->names, (void *)&code->address, known);
	}
	if (known->qualname || known->attempts++ >= MAX_ATTEMPTS)
		return known->qualname;
	if (caller)
		known->qualname = from_caller(taking, code, caller);
	if (!known->qualname)
		known->qualname = from_generator(taking, frame);
	if (!known->qualname)
		known->qualname = from_first_argument(taking, frame);
	if (!known->qualname)
		known->qualname =
			name_of_function(taking->heap, code, dict_get(taking->heap, frame->globals, code->name));
	return known->qualname;
}
