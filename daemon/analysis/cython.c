#include "daemon/analysis/cython.h"

#include <string.h>

#include "daemon/heap/str.h"
#include "daemon/heap/type.h"

#define MARK        "cython_runtime" /* a module that every Cython module asks for, to write its tracebacks */
#define MAX_ITEMS   256
#define MAX_STRINGS (16ull << 20) /* bytes of read-only data that a module may have */
#define MAX_NAME    1024
#define MAX_ALIKE                                                                                                      \
	16 /* constants of the same strings that a module may have: one for each function with these arguments */
#define BUCKETS 256

/* an image that is a module made by Cython */
struct module {
	uint32_t image;
	bool *names; /* by id: it has this one among its strings */
};

/* a string that is looked for among the modules' */
struct name {
	const char *text;
	size_t length, id;
};

struct finding {
	audit_t *audit;
	GHashTable *names;       /* the strings looked for, each to its id + 1 */
	GArray *by_end[BUCKETS]; /* of struct name, by their last two characters */
	GArray *modules;         /* of struct module */
	GHashTable *points;      /* (module, object): one of its variables points to it */
	GHashTable *made;        /* (module, contents) to how many of them are explained already */
	GArray *kept;
	size_t module; /* the one whose variables are being walked */
	/* of an object being looked at */
	uint64_t items[MAX_ITEMS];
	size_t n_items;
	bool too_many;
	uint64_t code_file, code_name; /* str; 0: it is no code object */
};

static void *pair(size_t a, uint64_t b)
{
	return (void *)(uintptr_t)((uint64_t)a << 32 ^ b);
}

static struct module *module_at(const struct finding *finding, size_t i)
{
	return &g_array_index(finding->modules, struct module, i);
}

static int64_t open_references(const struct table_object *object)
{
	return audit_unexplained(object);
}

static void keep(struct finding *finding, uint32_t object, size_t module)
{
	struct cython_kept kept = {object, module_at(finding, module)->image};
	g_array_append_val(finding->kept, kept);
	finding->audit->table.objects[object].probable++;
}

/* ---- the modules and their strings ---- */

static guint name_id(const struct finding *finding, const char *name)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(finding->names, name));
}

static size_t bucket(const char *end)
{
	return ((uint8_t)end[-1] * 31u + (uint8_t)end[-2]) % BUCKETS;
}

static void name_want(struct finding *finding, const char *text)
{
	struct name name = {NULL, strlen(text), g_hash_table_size(finding->names)};
	if (name.length < 2 || name_id(finding, text))
		return;
	name.text = g_strdup(text);
	g_hash_table_insert(finding->names, (char *)name.text, GUINT_TO_POINTER(name.id + 1));
	GArray **names = &finding->by_end[bucket(name.text + name.length)];
	if (!*names)
		*names = g_array_new(FALSE, FALSE, sizeof(struct name));
	g_array_append_val(*names, name);
}

/* the last component of a qualified name */
static const char *last_name(const char *qualname)
{
	const char *dot = strrchr(qualname, '.');
	return dot ? dot + 1 : qualname;
}

static bool is_type(const struct finding *finding, const struct table_object *object)
{
	return type_nth(finding->audit->heap, object->type)->flags & PY_FLAG_TYPE;
}

static bool is_constant(const struct finding *finding, const struct table_object *object)
{
	const struct type *type = type_nth(finding->audit->heap, object->type);
	return !(type->flags & PY_FLAG_HEAPTYPE) &&
	       (!strcmp(type->qualname, "tuple") || !strcmp(type->qualname, "code"));
}

static void item(void *context, const struct reference *reference)
{
	struct finding *finding = context;
	if (finding->n_items < MAX_ITEMS)
		finding->items[finding->n_items++] = reference->target;
	else
		finding->too_many = true;
	if (reference->field && !strcmp(reference->field, "co_filename"))
		finding->code_file = reference->target;
	else if (reference->field && !strcmp(reference->field, "co_name"))
		finding->code_name = reference->target;
}

/* What the object refers to, to finding->items. */
static bool items_read(struct finding *finding, size_t index)
{
	struct object object;
	finding->n_items = 0;
	finding->too_many = false;
	finding->code_file = finding->code_name = 0;
	if (!object_at(finding->audit->heap, finding->audit->table.objects[index].address, &object))
		return false;
	references_begin(finding->audit->references, item, NULL, finding);
	references_of_object(finding->audit->references, &object);
	return !finding->too_many;
}

static void names_want(struct finding *finding)
{
	const struct table *table = &finding->audit->table;
	heap_t *heap = finding->audit->heap;
	name_want(finding, MARK);
	for (size_t i = 0; i < table->n; i++) {
		const struct table_object *object = &table->objects[i];
		if (open_references(object) <= 0)
			continue;
		const struct type *type = is_type(finding, object) ? type_get(heap, object->address) : NULL;
		if (type) {
			name_want(finding, type->module);
			name_want(finding, last_name(type->qualname));
		} else if (is_constant(finding, object) && items_read(finding, i) && finding->code_name) {
			g_autofree char *file = str_text(heap, finding->code_file, MAX_NAME),
					*name = str_text(heap, finding->code_name, MAX_NAME);
			name_want(finding, file ? file : "");
			name_want(finding, name ? name : "");
		}
	}
}

/*
 * Note which names are among the strings of [text, text + size), each ended by a NUL. The linker lets one that another one ends with be
 * the end of that.
 */
static void strings_read(const struct finding *finding, const char *text, size_t size, bool *found)
{
	for (const char *at = text, *end = text + size, *stop; at < end; at = stop + 1) {
		stop = memchr(at, '\0', (size_t)(end - at));
		if (!stop)
			return;
		const GArray *names = stop - at >= 2 ? finding->by_end[bucket(stop)] : NULL;
		for (guint i = 0; names && i < names->len; i++) {
			const struct name *name = &g_array_index(names, struct name, i);
			if (name->length <= (size_t)(stop - at) &&
			    !memcmp(stop - name->length, name->text, name->length))
				found[name->id] = true;
		}
	}
}

/* Python's extensions say so in their names: x.cpython-311-x86_64-linux-gnu.so, x.abi3.so. */
static bool is_extension(const char *path)
{
	const char *name = strrchr(path, '/');
	return name && g_str_has_suffix(name, ".so") && (strstr(name, ".cpython-") || strstr(name, ".abi3."));
}

static void module_read(struct finding *finding, uint32_t index)
{
	const struct owners *owners = &finding->audit->owners;
	const struct owners_image *image = &owners->images[index];
	const struct maps *maps = owners->view->maps;
	if (!is_extension(image->path))
		return;
	struct module module = {index, g_new0(bool, g_hash_table_size(finding->names) + 1)};
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *mapping = &maps->mappings[i];
		uint64_t size = mapping->end - mapping->start;
		if (mapping->start < image->start || mapping->end > image->end || !mapping->readable ||
		    mapping->writable || mapping->executable || size > MAX_STRINGS)
			continue;
		const char *text = memory_at(owners->view->memory, mapping->start, size);
		if (text)
			strings_read(finding, text, size, module.names);
	}
	if (module.names[name_id(finding, MARK) - 1])
		g_array_append_val(finding->modules, module);
	else
		g_free(module.names);
}

static void variable(void *context, uint64_t address, uint64_t word)
{
	(void)address;
	const struct finding *finding = context;
	uint32_t index = table_find(&finding->audit->table, word);
	if (index != TABLE_NONE)
		g_hash_table_add(finding->points, pair(finding->module, index));
}

static void variables_read(struct finding *finding)
{
	const struct owners *owners = &finding->audit->owners;
	for (size_t i = 0; i < owners->cover.n; i++) {
		const struct cover_region *region = &owners->cover.regions[i];
		const struct owners_image *image = owners_image_at(owners, region->start);
		for (size_t k = 0; image && k < finding->modules->len; k++) {
			if (&owners->images[module_at(finding, k)->image] != image)
				continue;
			finding->module = k;
			cover_walk(&owners->cover, region, variable, finding);
		}
	}
}

/* ---- what they keep ---- */

/* `module` has both among its strings. */
static bool has_names(const struct finding *finding, size_t module, const char *a, const char *b)
{
	guint first = a ? name_id(finding, a) : 0, second = b ? name_id(finding, b) : 0;
	const bool *names = module_at(finding, module)->names;
	return first && second && names[first - 1] && names[second - 1];
}

static void explain_type(struct finding *finding, uint32_t index)
{
	const struct table_object *object = &finding->audit->table.objects[index];
	const struct type *type = type_get(finding->audit->heap, object->address);
	for (size_t i = 0; type && i < finding->modules->len && open_references(object) > 0; i++) {
		if (has_names(finding, i, type->module, last_name(type->qualname)) &&
		    !g_hash_table_contains(finding->points, pair(i, index)))
			keep(finding, index, i);
	}
}

/* A tuple: all strings that it has, and it has some, are what the module's variables point to. */
static bool is_tuple_of(const struct finding *finding, size_t module)
{
	const struct table *table = &finding->audit->table;
	size_t n = 0;
	for (size_t i = 0; i < finding->n_items; i++) {
		uint32_t index = table_find(table, finding->items[i]);
		if (index == TABLE_NONE ||
		    !(type_nth(finding->audit->heap, table->objects[index].type)->flags & PY_FLAG_UNICODE))
			continue;
		if (!g_hash_table_contains(finding->points, pair(module, index)))
			return false;
		n++;
	}
	return n > 0;
}

/* Whether the module hasn't too many like it; one more then. */
static bool is_new(struct finding *finding, size_t module)
{
	uint64_t contents = 14695981039346656037ull; /* FNV-1a */
	for (size_t i = 0; i < finding->n_items; i++)
		contents = (contents ^ finding->items[i]) * 1099511628211ull;
	void *key = pair(module, contents & UINT32_MAX);
	guint before = GPOINTER_TO_UINT(g_hash_table_lookup(finding->made, key));
	if (before < MAX_ALIKE)
		g_hash_table_insert(finding->made, key, GUINT_TO_POINTER(before + 1));
	return before < MAX_ALIKE;
}

static void explain_constant(struct finding *finding, uint32_t index)
{
	heap_t *heap = finding->audit->heap;
	if (!items_read(finding, index))
		return;
	g_autofree char *file = finding->code_file ? str_text(heap, finding->code_file, MAX_NAME) : NULL,
			*name = finding->code_name ? str_text(heap, finding->code_name, MAX_NAME) : NULL;
	for (size_t i = 0; i < finding->modules->len; i++) {
		bool its = finding->code_name ? has_names(finding, i, file, name) : is_tuple_of(finding, i);
		if (its && is_new(finding, i)) {
			keep(finding, index, i);
			return;
		}
	}
}

static void module_clear(void *data)
{
	g_free(((struct module *)data)->names);
}

GArray *cython_find(audit_t *audit)
{
	struct finding finding = {.audit = audit,
				  .names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
				  .modules = g_array_new(FALSE, FALSE, sizeof(struct module)),
				  .points = g_hash_table_new(NULL, NULL),
				  .made = g_hash_table_new(NULL, NULL),
				  .kept = g_array_new(FALSE, FALSE, sizeof(struct cython_kept))};
	g_array_set_clear_func(finding.modules, module_clear);
	names_want(&finding);
	for (uint32_t i = 0; i < audit->owners.n_images; i++)
		module_read(&finding, i);
	if (finding.modules->len)
		variables_read(&finding);
	for (uint32_t i = 0; finding.modules->len && i < audit->table.n; i++) {
		const struct table_object *object = &audit->table.objects[i];
		int64_t open = open_references(object);
		if (open > 0 && is_type(&finding, object))
			explain_type(&finding, i);
		else if (open == 1 && is_constant(&finding, object))
			explain_constant(&finding, i);
	}
	for (size_t i = 0; i < BUCKETS; i++) {
		if (finding.by_end[i])
			g_array_unref(finding.by_end[i]);
	}
	g_hash_table_unref(finding.names);
	g_hash_table_unref(finding.points);
	g_hash_table_unref(finding.made);
	g_array_unref(finding.modules);
	return finding.kept;
}
