#include "daemon/heap/table.h"

#include <stdlib.h>

#include "base/error.h"
#include "daemon/heap/census.h"
#include "daemon/heap/type.h"

#define MAX_OBJECTS (UINT32_MAX - 1)
/* 3.11: objects that are part of the interpreter's image start at 999999999 (CPython Include/internal/pycore_object.h, _PyObject_IMMORTAL_REFCNT) */
#define IMMORTAL_BY_HEIGHT 900000000

struct filling {
	const struct py_layout *layout;
	struct table *table;
	size_t allocated;
	bool failed;
};

static void add(void *context, const struct object *object)
{
	struct filling *filling = context;
	struct table *table = filling->table;
	if (filling->failed)
		return;
	if (table->n == filling->allocated) {
		size_t wanted = filling->allocated ? filling->allocated * 2 : 65536;
		struct table_object *grown = wanted < MAX_OBJECTS ? g_try_renew(struct table_object, table->objects, wanted) : NULL;
		if (!grown) {
			filling->failed = true;
			return;
		}
		table->objects = grown;
		filling->allocated = wanted;
	}
	struct refcount refcount = object_refcount(filling->layout, object->bytes);
	bool immortal = refcount.immortal || refcount.count > IMMORTAL_BY_HEIGHT;
	table->objects[table->n++] = (struct table_object){
		.address = object->address,
		.type = object->type->index,
		.refcount = immortal ? TABLE_IMMORTAL : (uint32_t)MAX(refcount.count, 0),
	};
}

static int compare(const void *a, const void *b)
{
	const struct table_object *x = a, *y = b;
	return (x->address > y->address) - (x->address < y->address);
}

/* The census visits in runs of ascending addresses; sort only if that isn't one. */
static void sort(struct table *table)
{
	bool sorted = true;
	for (size_t i = 1; i < table->n && sorted; i++)
		sorted = table->objects[i - 1].address < table->objects[i].address;
	if (sorted)
		return;
	qsort(table->objects, table->n, sizeof(*table->objects), compare);
	size_t kept = 0;
	for (size_t i = 0; i < table->n; i++) {
		if (!kept || table->objects[kept - 1].address != table->objects[i].address)
			table->objects[kept++] = table->objects[i];
	}
	table->n = kept;
}

static void index_objects(struct table *table)
{
	size_t spans = 0;
	for (size_t i = 0; i < table->n; i++)
		spans += !i || table->objects[i].address >> 20 != table->objects[i - 1].address >> 20;
	size_t slots = 16;
	while (slots < spans * 2)
		slots *= 2;
	table->mask = slots - 1;
	table->spans = g_new0(uint64_t, slots);
	table->pages = g_new0(struct table_page *, slots);
	table->lowest = table->n ? table->objects[0].address : 1;
	table->highest = table->n ? table->objects[table->n - 1].address : 1;
	struct table_page *pages = NULL;
	uint64_t current = 0;
	for (size_t i = 0; i < table->n; i++) {
		uint64_t address = table->objects[i].address, span = (address >> 20) + 1;
		if (span != current) {
			size_t slot = (size_t)(span * 0x9e3779b97f4a7c15ull >> 32) & table->mask;
			while (table->spans[slot])
				slot = (slot + 1) & table->mask;
			table->spans[slot] = current = span;
			table->pages[slot] = pages = g_new0(struct table_page, 256);
		}
		struct table_page *page = &pages[address >> 12 & 255];
		bool first = true;
		for (size_t k = 0; k < 8; k++)
			first &= !page->bits[k];
		if (first)
			page->first = (uint32_t)i;
		page->bits[address >> 9 & 7] |= 1ull << (address >> 3 & 63);
	}
}

bool table_take(heap_t *heap, struct table *table, GError **error)
{
	struct filling filling = {.layout = heap->layout, .table = table};
	struct census census;
	memset(table, 0, sizeof(*table));
	if (!census_take(heap, CENSUS_ALL, add, &filling, &census, error))
		return false;
	census_clear(&census);
	if (filling.failed) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_FAILED, "there is not enough memory for a table of all objects", NULL,
			  "cannot list the objects of the process");
		table_clear(table);
		return false;
	}
	sort(table);
	index_objects(table);
	return true;
}

void table_clear(struct table *table)
{
	for (size_t i = 0; table->pages && i <= table->mask; i++)
		g_free(table->pages[i]);
	g_free(table->pages);
	g_free(table->spans);
	g_free(table->objects);
	memset(table, 0, sizeof(*table));
}
