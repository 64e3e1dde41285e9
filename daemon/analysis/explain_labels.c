/* What holders of an object are called. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/analysis/explain_private.h"
#include "daemon/heap/lines.h"
#include "daemon/heap/str.h"
#include "daemon/heap/type.h"
#include "daemon/heap/values.h"

#define KEY_WIDTH 60
#define MAX_NAME  128
#define MAX_STATE (1ull << 20) /* of a module */

/* general registers in the order of struct user_regs_struct (x86-64) */
static const char *const register_names[] = {"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10",
					     "r9",  "r8",  "rax", "rcx", "rdx", "rsi", "rdi"};

/* ---- ranges ---- */

static void add_range(struct explaining *explaining, uint64_t start, uint64_t size, uint64_t owner, const char *what)
{
	struct named_range range = {start, start + size, owner, what};
	if (start && size)
		g_array_append_val(explaining->ranges, range);
}

static void add_module_state(struct explaining *explaining, const struct object *module)
{
	const heap_t *heap = explaining->audit->heap;
	const struct py_layout *layout = heap->layout;
	uint64_t size = 0, definition;
	if (!heap_has(layout->md_state))
		return;
	if (heap_has(layout->md_state_size))
		size = load_u64(module->bytes, layout->md_state_size);
	else if (heap_has(layout->md_def) && heap_has(layout->module_def_m_size) &&
		 (definition = load_u64(module->bytes, layout->md_def)))
		memory_u64(heap->memory, definition + layout->module_def_m_size, &size);
	if (size <= MAX_STATE)
		add_range(explaining, load_u64(module->bytes, layout->md_state), size, module->address, "module state");
}

static bool is_module(const struct type *type)
{
	return strcmp(type->qualname, "module") == 0 && strcmp(type->module, "builtins") == 0;
}

void explain_open(struct explaining *explaining)
{
	audit_t *audit = explaining->audit;
	const heap_t *heap = audit->heap;
	const struct py_layout *layout = heap->layout;
	explaining->ranges = g_array_new(FALSE, FALSE, sizeof(struct named_range));
	explaining->owners = g_array_new(FALSE, FALSE, sizeof(struct dict_owner));
	explaining->methods = g_array_new(FALSE, FALSE, sizeof(struct method_place));
	explaining->blocks = g_array_new(FALSE, FALSE, sizeof(struct owned_block));
	explaining->codes = codes_new(audit->heap);
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		uint64_t interpreter = heap->interpreters[i].address, thread = 0;
		if (heap_has(layout->interp_size))
			add_range(explaining, interpreter, layout->interp_size, 0, "interpreter state");
		memory_u64(heap->memory, interpreter + layout->interp_tstate_head, &thread);
		for (size_t n = 0; thread && n < HEAP_MAX_THREADS && heap_has(layout->tstate_size); n++) {
			add_range(explaining, thread, layout->tstate_size, 0, "thread state");
			if (!memory_u64(heap->memory, thread + layout->tstate_next, &thread))
				break;
		}
	}
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		if (is_module(type_nth(heap, audit->table.objects[i].type)) &&
		    object_at(audit->heap, audit->table.objects[i].address, &object))
			add_module_state(explaining, &object);
	}
}

void explain_close(struct explaining *explaining)
{
	g_array_unref(explaining->ranges);
	g_array_unref(explaining->owners);
	g_array_unref(explaining->methods);
	g_array_unref(explaining->blocks);
	codes_free(explaining->codes);
}

/* the smallest range that holds `address`: a thread's state may be part of its interpreter's */
static const struct named_range *range_at(const struct explaining *explaining, uint64_t address)
{
	const struct named_range *best = NULL;
	for (guint i = 0; i < explaining->ranges->len; i++) {
		const struct named_range *range = &g_array_index(explaining->ranges, struct named_range, i);
		if (address >= range->start && address < range->end &&
		    (!best || range->end - range->start < best->end - best->start))
			best = range;
	}
	return best;
}

bool explain_interpreter_at(const struct explaining *explaining, uint64_t address)
{
	const struct named_range *range = range_at(explaining, address);
	return range && !range->owner;
}

uint64_t explain_module_at(const struct explaining *explaining, uint64_t address)
{
	const struct named_range *range = range_at(explaining, address);
	return range ? range->owner : 0;
}

/* ---- owners of dicts ---- */

static int compare_owner(const void *a, const void *b)
{
	const struct dict_owner *x = a, *y = b;
	return (x->dict > y->dict) - (x->dict < y->dict);
}

static struct dict_owner *find_owner(const struct explaining *explaining, uint64_t dict)
{
	struct dict_owner key = {.dict = dict};
	if (!explaining->owners->len)
		return NULL;
	return bsearch(&key, explaining->owners->data, explaining->owners->len, sizeof(key), compare_owner);
}

static int compare_method(const void *a, const void *b)
{
	const struct method_place *x = a, *y = b;
	return (x->method > y->method) - (x->method < y->method);
}

static struct method_place *find_method(const struct explaining *explaining, uint64_t method)
{
	struct method_place key = {.method = method};
	if (!explaining->methods->len)
		return NULL;
	return bsearch(&key, explaining->methods->data, explaining->methods->len, sizeof(key), compare_method);
}

static void visit_owner(void *context, const struct reference *reference)
{
	struct explaining *explaining = context;
	struct method_place *place = find_method(explaining, reference->target);
	if (place && place->holder == TABLE_NONE && !reference->probable) {
		place->holder = explaining->current;
		place->reference = *reference;
	}
	if (!reference->field ||
	    (strcmp(reference->field, "__dict__") != 0 && strcmp(reference->field, "tp_dict") != 0))
		return;
	struct dict_owner *owner = find_owner(explaining, reference->target);
	if (owner)
		owner->owner = explaining->current;
}

/* a dict whose owner, or a bound method whose place, is wanted */
static void note_place(struct explaining *explaining, const struct found *found)
{
	if (found->holder == TABLE_NONE)
		return;
	uint64_t address = explaining->audit->table.objects[found->holder].address;
	struct method_place place = {.method = address, .holder = TABLE_NONE};
	struct dict_owner owner = {.dict = address, .owner = TABLE_NONE};
	if (found->reference.kind == REFERENCE_BOUND_METHOD)
		g_array_append_val(explaining->methods, place);
	else if (found->reference.kind == REFERENCE_DICT_VALUE)
		g_array_append_val(explaining->owners, owner);
}

void explain_find_owners(struct explaining *explaining)
{
	audit_t *audit = explaining->audit;
	g_array_set_size(explaining->owners, 0);
	g_array_set_size(explaining->methods, 0);
	for (guint i = 0; i < explaining->asked->len; i++) {
		const GArray *found = g_array_index(explaining->asked, struct asked, i).found;
		for (guint k = 0; k < found->len; k++)
			note_place(explaining, &g_array_index(found, struct found, k));
	}
	g_array_sort(explaining->owners, compare_owner);
	g_array_sort(explaining->methods, compare_method);
	if (!explaining->owners->len && !explaining->methods->len)
		return;
	references_begin(audit->references, visit_owner, NULL, explaining);
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		explaining->current = (uint32_t)i;
		if (object_at(audit->heap, audit->table.objects[i].address, &object))
			references_of_object(audit->references, &object);
	}
}

/* ---- texts ---- */

static char *str_escaped(const heap_t *heap, uint64_t address)
{
	g_autofree char *raw = address ? str_text(heap, address, MAX_NAME) : NULL;
	return raw ? text_escape(raw, strlen(raw)) : NULL;
}

/* The line a frame is at: of the frame among whose slots `word` lies. LINE_NONE: not a frame that is running. */
static int line_at(const struct explaining *explaining, uint64_t word)
{
	const heap_t *heap = explaining->audit->heap;
	for (size_t i = 0; i < heap->n_interpreters; i++) {
		uint64_t thread = 0;
		memory_u64(heap->memory, heap->interpreters[i].address + heap->layout->interp_tstate_head, &thread);
		for (size_t n = 0; thread && n < HEAP_MAX_THREADS; n++) {
			struct frame frame;
			bool more = frame_of_thread(explaining->codes, thread, &frame);
			for (size_t k = 0; more && k < FRAMES_MAX; k++) {
				if (word >= frame.slots &&
				    word - frame.slots < 8 * (frame.code->n_slots + frame.code->stack_size))
					return frame_line(explaining->codes, &frame);
				more = frame_outer(explaining->codes, &frame);
			}
			if (!memory_u64(heap->memory, thread + heap->layout->tstate_next, &thread))
				break;
		}
	}
	return LINE_NONE;
}

/* "worker.run (worker.py:88)": the line it is at, or where its code begins */
static char *code_text(const struct explaining *explaining, const struct reference *reference)
{
	const struct code *code = reference->code ? code_get(explaining->codes, reference->code) : NULL;
	if (!code)
		return g_strdup("a frame");
	int line = line_at(explaining, reference->word);
	const char *slash = strrchr(code->filename, '/');
	return g_strdup_printf("%s (%s:%d)", code->qualname ? code->qualname : code->name,
			       slash ? slash + 1 : code->filename, line == LINE_NONE ? code->first_line : line);
}

static char *frame_text(const struct explaining *explaining, const struct reference *reference)
{
	g_autofree char *code = code_text(explaining, reference);
	g_autofree char *name = str_escaped(explaining->audit->heap, reference->name);
	if (name)
		return g_strdup_printf("%s in %s", name, code);
	return g_strdup_printf("%s of %s", reference->field ? reference->field : "value stack", code);
}

static char *static_text(const struct explaining *explaining, const struct reference *reference)
{
	const struct owners_image *image = owners_image_at(&explaining->audit->owners, reference->word);
	if (!image)
		return g_strdup(reference->field ? reference->field : "");
	uint64_t offset = reference->word - image->start;
	const char *slash = strrchr(image->path, '/');
	g_autofree char *file = text_escape(slash ? slash + 1 : image->path, strlen(slash ? slash + 1 : image->path));
	if (reference->field)
		return g_strdup_printf("%s: %s", file, reference->field);
	g_autofree char *symbol =
		explaining->names ? explaining->names->symbol(explaining->names->context, image, offset) : NULL;
	return symbol ? g_strdup_printf("%s: %s", file, symbol)
		      : g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", file, offset);
}

static char *stack_text(const struct explaining *explaining, uint64_t word)
{
	const struct owners_thread *thread = owners_thread_at(&explaining->audit->owners, word);
	return thread ? g_strdup_printf("thread %d, sp+0x%" G_GINT64_MODIFIER "x", thread->tid,
					word - thread->stack_pointer)
		      : g_strdup("");
}

static char *register_text(const struct explaining *explaining, const struct reference *reference)
{
	const struct owners_thread *thread = &explaining->audit->owners.view->threads[reference->name];
	const char *name =
		reference->index < G_N_ELEMENTS(register_names) ? register_names[reference->index] : "register";
	return g_strdup_printf("%s of thread %d", name, thread->tid);
}

static char *block_text(const struct explaining *explaining, uint64_t word)
{
	const struct named_range *range = range_at(explaining, word);
	const heap_t *heap = explaining->audit->heap;
	uint64_t name = 0;
	if (!range) {
		const struct glibc_chunk *chunk = glibc_chunk_at(&explaining->audit->owners.glibc, word);
		return chunk ? g_strdup_printf("+0x%" G_GINT64_MODIFIER "x of %" G_GUINT64_FORMAT " bytes from malloc",
					       word - chunk->start, chunk->end - chunk->start)
			     : g_strdup("");
	}
	if (!range->owner)
		return g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", range->what, word - range->start);
	memory_u64(heap->memory, range->owner + heap->layout->md_name, &name);
	g_autofree char *module = str_escaped(heap, name);
	return g_strdup_printf("state of module %s+0x%" G_GINT64_MODIFIER "x", module ? module : "?",
			       word - range->start);
}

static char *label_new(const struct explaining *explaining, const struct reference *reference)
{
	const heap_t *heap = explaining->audit->heap;
	switch (reference->kind) {
	case REFERENCE_DICT_KEY:
		return g_strdup("key");
	case REFERENCE_DICT_VALUE: {
		g_autofree char *key = value_text(explaining->audit->references, reference->name, KEY_WIDTH);
		return g_strdup_printf("[%s]", key);
	}
	case REFERENCE_LIST_ITEM:
	case REFERENCE_TUPLE_ITEM:
		return g_strdup_printf("[%" G_GUINT64_FORMAT "]", reference->index);
	case REFERENCE_SET_ITEM:
	case REFERENCE_TYPE:
		return g_strdup("");
	case REFERENCE_FRAME_LOCAL:
	case REFERENCE_FRAME_STACK:
	case REFERENCE_GENERATOR_FRAME:
		return frame_text(explaining, reference);
	case REFERENCE_STATIC_DATA:
		return static_text(explaining, reference);
	case REFERENCE_THREAD_STACK:
		return stack_text(explaining, reference->word);
	case REFERENCE_REGISTER:
		return register_text(explaining, reference);
	case REFERENCE_INTERPRETER:
	case REFERENCE_MEMORY_BLOCK:
		return reference->field ? g_strdup(reference->field) : block_text(explaining, reference->word);
	case REFERENCE_EXTENSION_OBJECT:
		return reference->field ? g_strdup_printf(".%s", reference->field)
					: g_strdup_printf("+0x%" G_GINT64_MODIFIER "x", reference->index);
	default:
		break;
	}
	if (reference->name) {
		g_autofree char *name = str_escaped(heap, reference->name);
		return g_strdup_printf(".%s", name ? name : "?");
	}
	return reference->field ? g_strdup_printf(".%s", reference->field) : g_strdup("");
}

const char *explain_label_text(struct explaining *explaining, const struct reference *reference)
{
	g_autofree char *label = label_new(explaining, reference);
	return sample_text(explaining->result->origin, label);
}

/* An attribute's value stands in a dict: say whose, and name it as the attribute it is. */
static bool label_owned(struct explaining *explaining, const struct found *found, struct holder *holder)
{
	audit_t *audit = explaining->audit;
	const struct dict_owner *owner = find_owner(explaining, audit->table.objects[found->holder].address);
	if (found->reference.kind != REFERENCE_DICT_VALUE || !owner || owner->owner == TABLE_NONE)
		return false;
	const struct type *type = type_nth(audit->heap, audit->table.objects[owner->owner].type);
	holder->kind = is_module(type)              ? REFERENCE_MODULE_GLOBAL
		       : type->flags & PY_FLAG_TYPE ? REFERENCE_TYPE_ATTRIBUTE
						    : REFERENCE_ATTRIBUTE;
	holder->address = audit->table.objects[owner->owner].address;
	holder->container = owner->dict;
	holder->module = sample_text(explaining->result->origin, type->module);
	holder->qualname = sample_text(explaining->result->origin, type->qualname);
	g_autofree char *name = str_escaped(audit->heap, found->reference.name);
	g_autofree char *label = g_strdup_printf(".%s", name ? name : "?");
	holder->label = sample_text(explaining->result->origin, label);
	return true;
}

/* ".__self__ of Shop.sell, which list 0x7f… holds at [3]": where a callback is registered */
static const char *method_label(struct explaining *explaining, uint64_t method)
{
	audit_t *audit = explaining->audit;
	const struct method_place *place = find_method(explaining, method);
	g_autofree char *value = value_text(audit->references, method, KEY_WIDTH);
	g_autofree char *label = NULL;
	if (place && place->holder != TABLE_NONE) {
		const struct table_object *holder = &audit->table.objects[place->holder];
		g_autofree char *where = label_new(explaining, &place->reference);
		label = g_strdup_printf(".__self__ of %s, held by %s 0x%" G_GINT64_MODIFIER "x %s", value,
					type_nth(audit->heap, holder->type)->qualname, holder->address, where);
	} else {
		label = g_strdup_printf(".__self__ of %s", value);
	}
	return sample_text(explaining->result->origin, label);
}

static void note_dict(void *context, const struct reference *reference)
{
	if (reference->field && !strcmp(reference->field, "__dict__"))
		*(uint64_t *)context = reference->target;
}

/* the dict of an instance that has its attributes in place, too: the collector may see them through it */
static uint64_t dict_of(struct explaining *explaining, uint64_t instance)
{
	references_t *references = explaining->audit->references;
	struct object object;
	uint64_t dict = 0;
	if (!object_at(explaining->audit->heap, instance, &object))
		return 0;
	references_begin(references, note_dict, NULL, &dict);
	references_of_object(references, &object);
	return dict;
}

struct holder explain_label(struct explaining *explaining, const struct found *found)
{
	const struct reference *reference = &found->reference;
	sample_t *origin = explaining->result->origin;
	struct holder holder = {.kind = reference->kind,
				.probable = reference->probable,
				.count = 1,
				.module = "",
				.qualname = "",
				.address = reference->kind == REFERENCE_REGISTER ? 0 : reference->word};
	uint32_t index = !found->searched                            ? found->holder
			 : reference->kind == REFERENCE_MEMORY_BLOCK ? explain_block_owner(explaining, reference->word)
								     : TABLE_NONE;
	if (index != TABLE_NONE) {
		if (!found->searched && label_owned(explaining, found, &holder))
			return holder;
		const struct table_object *object = &explaining->audit->table.objects[index];
		const struct type *type = type_nth(explaining->audit->heap, object->type);
		holder.address = object->address;
		holder.module = sample_text(origin, type->module);
		holder.qualname = sample_text(origin, type->qualname);
		if (reference->kind == REFERENCE_ATTRIBUTE)
			holder.container = dict_of(explaining, object->address);
		if (reference->kind == REFERENCE_BOUND_METHOD) {
			holder.label = method_label(explaining, object->address);
			return holder;
		}
	}
	holder.label = explain_label_text(explaining, reference);
	return holder;
}
