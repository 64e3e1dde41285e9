/* The references of everything that has a struct of its own: functions, code, types, modules, descriptors, exceptions … */
#include "daemon/heap/references_private.h"
#include "daemon/heap/str.h"

#define METH_METHOD       0x0200 /* CPython Include/methodobject.h */
#define TEE_VALUES        57     /* CPython Modules/itertoolsmodule.c, LINKCELLS */
#define CACHED_CODE_WORDS 4      /* CPython Include/cpython/code.h, _PyCoCached */
#define MAX_STATIC_TYPES  10000

#define OWNED(kind, member, name)                                                                                      \
	{                                                                                                              \
		offsetof(struct py_layout, member), REFERENCE_##kind, name                                             \
	}

static const struct owned_field function_fields[] = {
	OWNED(SLOT, func_code, "__code__"),         OWNED(SLOT, func_globals, "__globals__"),
	OWNED(SLOT, func_builtins, "__builtins__"), OWNED(SLOT, func_name, "__name__"),
	OWNED(SLOT, func_qualname, "__qualname__"), OWNED(SLOT, func_module, "__module__"),
	OWNED(SLOT, func_defaults, "__defaults__"), OWNED(SLOT, func_kwdefaults, "__kwdefaults__"),
	OWNED(SLOT, func_doc, "__doc__"),           OWNED(SLOT, func_dict, "__dict__"),
	OWNED(SLOT, func_closure, "__closure__"),   OWNED(SLOT, func_annotations, "__annotations__"),
	OWNED(SLOT, func_annotate, "__annotate__"), OWNED(SLOT, func_typeparams, "__type_params__"),
};
static const struct owned_field method_fields[] = {OWNED(BOUND_METHOD, im_self, "__self__"),
						   OWNED(SLOT, im_func, "__func__")};
static const struct owned_field cell_fields[] = {OWNED(CELL, cell_ref, "cell_contents")};
static const struct owned_field module_fields[] = {OWNED(SLOT, md_dict, "__dict__"), OWNED(SLOT, md_name, "__name__")};
static const struct owned_field property_fields[] = {OWNED(SLOT, prop_get, "fget"), OWNED(SLOT, prop_set, "fset"),
						     OWNED(SLOT, prop_del, "fdel"), OWNED(SLOT, prop_doc, "__doc__"),
						     OWNED(SLOT, prop_name, "__name__")};
static const struct owned_field static_method_fields[] = {OWNED(SLOT, sm_callable, "__func__"),
							  OWNED(SLOT, sm_dict, "__dict__")};
static const struct owned_field class_method_fields[] = {OWNED(SLOT, cm_callable, "__func__"),
							 OWNED(SLOT, cm_dict, "__dict__")};
static const struct owned_field weakref_fields[] = {OWNED(WEAKREF_CALLBACK, wr_callback, "__callback__")};
static const struct owned_field descriptor_fields[] = {
	OWNED(SLOT, d_type, "__objclass__"), OWNED(SLOT, d_name, "__name__"), OWNED(SLOT, d_qualname, "__qualname__")};
static const struct owned_field traceback_fields[] = {OWNED(SLOT, tb_next, "tb_next"),
						      OWNED(SLOT, tb_frame, "tb_frame")};
static const struct owned_field memoryview_fields[] = {OWNED(SLOT, memoryview_mbuf, "obj")};
static const struct owned_field default_dict_fields[] = {OWNED(SLOT, defaultdict_factory, "default_factory")};

#define FIELDS(array) array, G_N_ELEMENTS(array)

/* by module and name of the type that made the structure; several names are of several versions */
static const struct rule {
	const char *module, *qualname;
	references_rule *rule;
	const struct owned_field *fields;
	size_t n_fields;
} rules[] = {
	{"builtins", "str", references_nothing, NULL, 0},
	{"builtins", "bytes", references_nothing, NULL, 0},
	{"builtins", "int", references_nothing, NULL, 0},
	{"builtins", "bool", references_nothing, NULL, 0},
	{"builtins", "float", references_nothing, NULL, 0},
	{"builtins", "complex", references_nothing, NULL, 0},
	{"builtins", "NoneType", references_nothing, NULL, 0},
	{"builtins", "object", references_nothing, NULL, 0},
	{"builtins", "bytearray", references_bytearray, NULL, 0},
	{"builtins", "dict", references_dict, NULL, 0},
	{"builtins", "frozendict", references_dict, NULL, 0},
	{"builtins", "list", references_list, NULL, 0},
	{"builtins", "tuple", references_tuple, NULL, 0},
	{"builtins", "set", references_set, NULL, 0},
	{"builtins", "frozenset", references_set, NULL, 0},
	{"collections", "deque", references_deque, NULL, 0},
	{"collections", "OrderedDict", references_ordered_dict, NULL, 0},
	{"collections", "defaultdict", references_dict, FIELDS(default_dict_fields)},
	{"builtins", "function", NULL, FIELDS(function_fields)},
	{"builtins", "method", NULL, FIELDS(method_fields)},
	{"builtins", "builtin_function_or_method", references_builtin, NULL, 0},
	{"builtins", "builtin_method", references_builtin, NULL, 0},
	{"builtins", "cell", NULL, FIELDS(cell_fields)},
	{"builtins", "module", NULL, FIELDS(module_fields)},
	{"builtins", "property", NULL, FIELDS(property_fields)},
	{"builtins", "staticmethod", NULL, FIELDS(static_method_fields)},
	{"builtins", "classmethod", NULL, FIELDS(class_method_fields)},
	{"builtins", "weakref", NULL, FIELDS(weakref_fields)},
	{"weakref", "ReferenceType", NULL, FIELDS(weakref_fields)},
	{"builtins", "weakproxy", NULL, FIELDS(weakref_fields)},
	{"builtins", "weakcallableproxy", NULL, FIELDS(weakref_fields)},
	{"weakref", "ProxyType", NULL, FIELDS(weakref_fields)},
	{"weakref", "CallableProxyType", NULL, FIELDS(weakref_fields)},
	{"builtins", "method_descriptor", NULL, FIELDS(descriptor_fields)},
	{"builtins", "classmethod_descriptor", NULL, FIELDS(descriptor_fields)},
	{"builtins", "getset_descriptor", NULL, FIELDS(descriptor_fields)},
	{"builtins", "member_descriptor", NULL, FIELDS(descriptor_fields)},
	{"builtins", "wrapper_descriptor", NULL, FIELDS(descriptor_fields)},
	{"builtins", "traceback", NULL, FIELDS(traceback_fields)},
	{"builtins", "memoryview", NULL, FIELDS(memoryview_fields)},
	{"builtins", "slice", references_slice, NULL, 0},
	{"builtins", "code", references_code, NULL, 0},
	{"builtins", "frame", references_frame, NULL, 0},
	{"builtins", "generator", references_generator, NULL, 0},
	{"builtins", "coroutine", references_generator, NULL, 0},
	{"builtins", "async_generator", references_generator, NULL, 0},
	{"builtins", "enumerate", references_enumerate, NULL, 0},
	{"builtins", "ContextVar", references_context_variable, NULL, 0},
	{"_contextvars", "ContextVar", references_context_variable, NULL, 0},
	{"functools", "_lru_cache_wrapper", references_lru_wrapper, NULL, 0},
	{"functools", "_lru_list_elem", references_lru_link, NULL, 0},
	{"itertools", "_tee_dataobject", references_tee, NULL, 0},
	{"itertools", "tee_dataobject", references_tee, NULL, 0},
	{"_thread", "_localdummy", references_nothing, NULL, 0},
	{"_ctypes", "PyCFuncPtr", references_foreign_function, NULL, 0},
	{"_ctypes", "CFuncPtr", references_foreign_function, NULL, 0},
	{"_io", "BufferedReader", references_buffered, NULL, 0},
	{"_io", "BufferedWriter", references_buffered, NULL, 0},
	{"_io", "BufferedRandom", references_buffered, NULL, 0},
};

static bool has_field(const heap_t *heap, const struct owned_field *field)
{
	uint32_t offset;
	memcpy(&offset, (const uint8_t *)heap->layout + field->position, sizeof(offset));
	return heap_has(offset);
}

void references_find_rule(references_t *references, struct plan *plan)
{
	const struct type *solid = plan->solid;
	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
		const struct rule *rule = &rules[i];
		if (strcmp(solid->qualname, rule->qualname) != 0 || strcmp(solid->module, rule->module) != 0)
			continue;
		/* a layout without the private structs of .c files: look at the words */
		if (rule->n_fields && !has_field(references->heap, &rule->fields[0]))
			break;
		plan->rule = rule->rule;
		plan->fields = rule->fields;
		plan->n_fields = rule->n_fields;
		return;
	}
	if (solid->flags & PY_FLAG_DICT)
		plan->rule = references_dict_subclass;
	else if (solid->flags & PY_FLAG_LIST)
		plan->rule = references_list_subclass;
	else if (solid->flags & PY_FLAG_TUPLE)
		plan->rule = references_tuple;
	else if (solid->flags & PY_FLAG_TYPE)
		plan->rule = references_type;
	else if (solid->flags & PY_FLAG_EXCEPTION && strcmp(solid->module, "builtins") == 0)
		plan->rule = references_exception;
	else if (solid->flags & (PY_FLAG_UNICODE | PY_FLAG_BYTES | PY_FLAG_LONG))
		plan->rule = references_nothing;
	else
		plan->rule = references_unknown;
}

void references_nothing(references_t *references, const struct object *object, const struct plan *plan)
{
	(void)references;
	(void)object;
	(void)plan;
}

/* A struct nobody told us about. What a class made in Python added above it is known: look at the base's words only. */
void references_unknown(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	const struct type *solid = plan->solid;
	uint64_t end =
		object->type == solid ? type_struct_size(references->heap, solid, object->bytes) : solid->basicsize;
	if (solid->itemsize == 8) {
		int64_t n = load_i64(object->bytes, layout->ob_size);
		end += 8 * (uint64_t)CLAMP(n < 0 ? -n : n, 0, (int64_t)(object->available / 8));
	}
	references_scan(references, object, plan, layout->object_size, end);
}

/* all pointer words of a builtin exception's struct are owned (CPython Objects/exceptions.c) */
void references_exception(references_t *references, const struct object *object, const struct plan *plan)
{
	for (uint32_t at = references->heap->layout->object_size; at + 8 <= plan->solid->basicsize; at += 8) {
		if (at != plan->weaklists[0] && at != plan->weaklists[1])
			references_word(references, object, at, REFERENCE_EXCEPTION, NULL);
	}
}

void references_builtin(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	uint32_t flags = 0;
	(void)plan;
	references_word(references, object, layout->m_self, REFERENCE_SLOT, "__self__");
	references_word(references, object, layout->m_module, REFERENCE_SLOT, "__module__");
	/* PyMethodDef: name, function, flags */
	if (heap_has(layout->mm_class) &&
	    memory_u32(references->heap->memory, load_u64(object->bytes, layout->m_ml) + 16, &flags) &&
	    flags & METH_METHOD)
		references_word(references, object, layout->mm_class, REFERENCE_SLOT, "defining class");
}

void references_slice(references_t *references, const struct object *object, const struct plan *plan)
{
	static const char *const names[] = {"start", "stop", "step"};
	(void)plan;
	for (uint32_t i = 0; i < 3; i++)
		references_word(references, object, references->heap->layout->object_size + 8 * i, REFERENCE_SLOT,
				names[i]);
}

void references_code(references_t *references, const struct object *object, const struct plan *plan)
{
	static const struct owned_field fields[] = {
		OWNED(SLOT, co_code, "co_code"),
		OWNED(SLOT, co_consts, "co_consts"),
		OWNED(SLOT, co_names, "co_names"),
		OWNED(SLOT, co_varnames, "co_varnames"),
		OWNED(SLOT, co_freevars, "co_freevars"),
		OWNED(SLOT, co_cellvars, "co_cellvars"),
		OWNED(SLOT, co_localsplusnames, "co_localsplusnames"),
		OWNED(SLOT, co_localspluskinds, "co_localspluskinds"),
		OWNED(SLOT, co_filename, "co_filename"),
		OWNED(SLOT, co_name, "co_name"),
		OWNED(SLOT, co_qualname, "co_qualname"),
		OWNED(SLOT, co_lnotab, "co_lnotab"),
		OWNED(SLOT, co_linetable, "co_linetable"),
		OWNED(SLOT, co_exceptiontable, "co_exceptiontable"),
		OWNED(SLOT, co_code_cached, "co_code"),
	};
	const struct py_layout *layout = references->heap->layout;
	(void)plan;
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
		uint32_t offset;
		memcpy(&offset, (const uint8_t *)layout + fields[i].position, sizeof(offset));
		references_word(references, object, offset, fields[i].kind, fields[i].name);
	}
	if (!heap_has(layout->co_cached))
		return;
	uint64_t cached = load_u64(object->bytes, layout->co_cached);
	references_extent(references, cached, 8 * CACHED_CODE_WORDS, true);
	for (uint32_t i = 0; cached && i < CACHED_CODE_WORDS; i++) {
		struct reference reference = {.kind = REFERENCE_SLOT, .word = cached + 8 * i, .field = "_co_cached"};
		if (memory_u64(references->heap->memory, reference.word, &reference.target))
			references_emit(references, &reference);
	}
}

/* ---- types ---- */

/* 3.12+: dict and subclasses of a static builtin type are in every interpreter's table; tp_subclasses is the index + 1 */
static void static_state(references_t *references, uint64_t type, uint64_t index)
{
	const heap_t *heap = references->heap;
	const struct py_layout *layout = heap->layout;
	const uint32_t tables[] = {layout->interp_static_types, layout->interp_extension_types};
	const uint32_t owned[] = {layout->static_type_dict, layout->static_type_subclasses};
	static const char *const names[] = {"tp_dict", "tp_subclasses"};
	if (!heap_has(layout->static_type_entry_size) || index > MAX_STATIC_TYPES)
		return;
	for (size_t i = 0; i < heap->n_interpreters * G_N_ELEMENTS(tables); i++) {
		uint32_t table = tables[i % G_N_ELEMENTS(tables)];
		uint64_t owner, entry;
		if (!heap_has(table))
			continue;
		entry = heap->interpreters[i / G_N_ELEMENTS(tables)].address + table +
			index * layout->static_type_entry_size;
		if (!memory_u64(heap->memory, entry + layout->static_type_type, &owner) || owner != type)
			continue;
		references_extent(references, entry, layout->static_type_entry_size, false);
		for (size_t k = 0; k < G_N_ELEMENTS(owned); k++) {
			struct reference reference = {
				.kind = REFERENCE_TYPE_ATTRIBUTE, .word = entry + owned[k], .field = names[k]};
			if (heap_has(owned[k]) && memory_u64(heap->memory, reference.word, &reference.target))
				references_emit(references, &reference);
		}
	}
}

static void static_type(references_t *references, const struct object *object)
{
	const struct py_layout *layout = references->heap->layout;
	uint64_t base = load_u64(object->bytes, layout->tp_base), base_of_base = 1;
	uint64_t subclasses = load_u64(object->bytes, layout->tp_subclasses);
	references_word(references, object, layout->tp_cache, REFERENCE_TYPE_ATTRIBUTE, "tp_cache");
	references_word(references, object, layout->tp_mro, REFERENCE_TYPE_ATTRIBUTE, "__mro__");
	references_word(references, object, layout->tp_bases, REFERENCE_TYPE_ATTRIBUTE, "__bases__");
	references_word(references, object, layout->tp_dict, REFERENCE_TYPE_ATTRIBUTE, "__dict__");
	/* a base that C code named is borrowed; `object`, which PyType_Ready() filled in, was owned once: which it was can't be seen */
	if (layout->shape.static_base_owned && base &&
	    memory_u64(references->heap->memory, base + layout->tp_base, &base_of_base) && !base_of_base) {
		struct reference reference = {.kind = REFERENCE_TYPE_ATTRIBUTE,
					      .probable = true,
					      .target = base,
					      .word = object->address + layout->tp_base,
					      .field = "__base__"};
		references_emit(references, &reference);
	}
	if (layout->shape.static_builtin_dicts && load_u64(object->bytes, layout->tp_flags) & PY_FLAG_STATIC_BUILTIN) {
		if (subclasses)
			static_state(references, object->address, subclasses - 1);
	} else {
		references_word(references, object, layout->tp_subclasses, REFERENCE_TYPE_ATTRIBUTE, "__subclasses__");
	}
}

/* Who sets the doc string of a static type at run time keeps the str whose characters it points to (numpy.add_docstring()). */
static void static_doc(references_t *references, const struct object *type)
{
	heap_t *heap = references->heap;
	const uint32_t tp_doc = heap->layout->tp_flags + 8; /* what follows in all versions */
	if (!references_room(type, tp_doc, 8))
		return;
	struct reference reference = {
		.kind = REFERENCE_TYPE_ATTRIBUTE, .probable = true, .word = type->address + tp_doc, .field = "tp_doc"};
	uint64_t text = load_u64(type->bytes, tp_doc);
	struct str str;
	struct object owner;
	reference.target = text - heap->layout->ascii_size;
	/* most are in the file's constants, where no str is */
	if (text && object_at(heap, reference.target, &owner) && owner.type->flags & PY_FLAG_UNICODE &&
	    str_read(heap, reference.target, &str) && str.data == text)
		references_emit(references, &reference);
}

void references_type(references_t *references, const struct object *object, const struct plan *plan)
{
	static const struct owned_field fields[] = {
		OWNED(TYPE_ATTRIBUTE, tp_cache, "tp_cache"),
		OWNED(TYPE_ATTRIBUTE, tp_mro, "__mro__"),
		OWNED(TYPE_ATTRIBUTE, tp_bases, "__bases__"),
		OWNED(TYPE_ATTRIBUTE, tp_base, "__base__"),
		OWNED(TYPE_ATTRIBUTE, tp_dict, "__dict__"),
		OWNED(TYPE_ATTRIBUTE, tp_subclasses, "__subclasses__"),
		OWNED(TYPE_ATTRIBUTE, ht_module, "ht_module"),
		OWNED(TYPE_ATTRIBUTE, ht_name, "__name__"),
		OWNED(TYPE_ATTRIBUTE, ht_qualname, "__qualname__"),
		OWNED(TYPE_ATTRIBUTE, ht_slots, "__slots__"),
	};
	const struct py_layout *layout = references->heap->layout;
	if (!(load_u64(object->bytes, layout->tp_flags) & PY_FLAG_HEAPTYPE)) {
		static_type(references, object);
		static_doc(references, object);
		return;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
		uint32_t offset;
		memcpy(&offset, (const uint8_t *)layout + fields[i].position, sizeof(offset));
		references_word(references, object, offset, fields[i].kind, fields[i].name);
	}
	/* a metatype in C may have put something of its own behind the type (ctypes from 3.13, Cython) */
	references_scan(references, object, plan, layout->heap_type_size, plan->solid->basicsize);
	struct dict_keys keys;
	if (heap_has(layout->ht_cached_keys) && references_room(object, layout->ht_cached_keys, 8) &&
	    dict_keys_read(references->heap, load_u64(object->bytes, layout->ht_cached_keys), &keys))
		references_shared_keys(references, &keys);
}

/* ---- odds and ends ---- */

/*
 * functools.lru_cache (CPython Modules/_functoolsmodule.c): a link of the bounded cache is owned by the dict and by the list, that is
 * by `next` of the link before it. The root is part of the cache object; nothing owns it.
 */
static uint32_t lru_next(const struct py_layout *layout)
{
	return heap_has(layout->lru_link_next) ? layout->lru_link_next : layout->object_size + 8;
}

void references_lru_wrapper(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	uint32_t next = lru_next(layout);
	if (!references_room(object, next, 8))
		return;
	if (load_u64(object->bytes, next) != object->address)
		references_word(references, object, next, REFERENCE_SLOT, "next link");
	references_scan(references, object, plan, next + 8, plan->solid->basicsize);
}

void references_lru_link(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	uint32_t next = lru_next(layout);
	uint64_t type;
	(void)plan;
	/* `next` of the last link is the root */
	if (references_room(object, next, 32) &&
	    memory_u64(references->heap->memory, load_u64(object->bytes, next) + layout->ob_type, &type) &&
	    type == object->type->address)
		references_word(references, object, next, REFERENCE_SLOT, "next link");
	references_word(references, object, heap_has(layout->lru_link_key) ? layout->lru_link_key : next + 16,
			REFERENCE_SLOT, "key");
	references_word(references, object, heap_has(layout->lru_link_result) ? layout->lru_link_result : next + 24,
			REFERENCE_SLOT, "result");
}

/* name, default, cached (borrowed): CPython Include/internal/pycore_context.h */
void references_context_variable(references_t *references, const struct object *object, const struct plan *plan)
{
	uint32_t first = references->heap->layout->object_size;
	(void)plan;
	references_word(references, object, first, REFERENCE_SLOT, "name");
	references_word(references, object, first + 8, REFERENCE_SLOT, "default");
}

/* iterator, numread and running, next link, values[57], of which numread are there */
void references_tee(references_t *references, const struct object *object, const struct plan *plan)
{
	uint32_t first = references->heap->layout->object_size;
	(void)plan;
	if (!references_room(object, first, 24))
		return;
	uint32_t n = load_u32(object->bytes, first + 8);
	references_word(references, object, first, REFERENCE_SLOT, "iterator");
	references_word(references, object, first + 16, REFERENCE_SLOT, "next link");
	for (uint32_t i = 0; i < MIN(n, TEE_VALUES); i++)
		references_word(references, object, first + 24 + 8 * i, REFERENCE_SLOT, "value");
}

/* index, iterator, result, long index, one (borrowed) */
void references_enumerate(references_t *references, const struct object *object, const struct plan *plan)
{
	uint32_t first = references->heap->layout->object_size;
	(void)plan;
	references_word(references, object, first + 8, REFERENCE_SLOT, "iterator");
	references_word(references, object, first + 16, REFERENCE_SLOT, "result");
	references_word(references, object, first + 24, REFERENCE_SLOT, "index");
}

void references_bytearray(references_t *references, const struct object *object, const struct plan *plan)
{
	(void)plan;
	references_word(references, object, references->heap->layout->bytearray_bytes_object, REFERENCE_SLOT, "bytes");
}

/* A function of a library holds a reference to itself (CPython Modules/_ctypes/_ctypes.c, PyCFuncPtr_FromDll(): self->callable). */
void references_foreign_function(references_t *references, const struct object *object, const struct plan *plan)
{
	references_unknown(references, object, plan);
	for (uint32_t at = references->heap->layout->object_size; at + 8 <= plan->solid->basicsize; at += 8) {
		struct reference reference = {.kind = REFERENCE_EXTENSION_OBJECT,
					      .probable = true,
					      .word = object->address + at,
					      .index = at};
		if (!references_room(object, at, 8) || load_u64(object->bytes, at) != object->address)
			continue;
		reference.target = object->address;
		references_emit(references, &reference);
	}
}

/* The buffer holds what was read from a file, never objects. */
void references_buffered(references_t *references, const struct object *object, const struct plan *plan)
{
	const struct py_layout *layout = references->heap->layout;
	references_unknown(references, object, plan);
	if (!heap_has(layout->buffered_buffer) || !heap_has(layout->buffered_buffer_size) ||
	    !references_room(object, layout->buffered_buffer, 8) ||
	    !references_room(object, layout->buffered_buffer_size, 8))
		return;
	references_extent(references, load_u64(object->bytes, layout->buffered_buffer),
			  load_u64(object->bytes, layout->buffered_buffer_size), true);
}
