#include "daemon/heap/table.h"

#include <stdlib.h>

#include "base/error.h"
#include "daemon/heap/census.h"
#include "daemon/heap/type.h"

#define MAX_OBJECTS (UINT32_MAX - 1)
#define MAX_THREADS 8

/* objects as one thread meets them: those in the allocator's blocks come mostly in ascending order, the others don't */
struct run {
	struct table_object *objects;
	size_t n, allocated;
};

struct filling {
	const heap_t *heap;
	struct run inside, outside;
	bool failed;
};

static void add(struct filling *filling, const struct object *object)
{
	struct run *run = object->outside ? &filling->outside : &filling->inside;
	if (filling->failed)
		return;
	if (run->n == run->allocated) {
		size_t wanted = run->allocated ? run->allocated * 2 : 16384;
		struct table_object *grown =
			wanted < MAX_OBJECTS ? g_try_renew(struct table_object, run->objects, wanted) : NULL;
		if (!grown) {
			filling->failed = true;
			return;
		}
		run->objects = grown;
		run->allocated = wanted;
	}
	struct refcount refcount = object_refcount(filling->heap->layout, object->bytes);
	run->objects[run->n++] = (struct table_object){
		.address = object->address,
		.type = object->type->index,
		.refcount = refcount.immortal ? TABLE_IMMORTAL : (uint32_t)CLAMP(refcount.count, 0, TABLE_IMMORTAL - 1),
	};
}

static void add_all(void *context, const struct objects *objects)
{
	for (size_t i = 0; i < objects->n; i++) {
		struct object object = objects_nth(objects, i);
		add(context, &object);
	}
}

static void forget(void *context)
{
	struct filling *filling = context;
	filling->inside.n = filling->outside.n = 0;
}

static int compare(const void *a, const void *b)
{
	const struct table_object *x = a, *y = b;
	return (x->address > y->address) - (x->address < y->address);
}

static void run_sort(struct run *run)
{
	bool sorted = true;
	for (size_t i = 1; i < run->n && sorted; i++)
		sorted = run->objects[i - 1].address < run->objects[i].address;
	if (!sorted)
		qsort(run->objects, run->n, sizeof(*run->objects), compare);
}

/* One ascending array of `n` ascending runs, each object once; takes their storage. False: not enough memory. */
static bool runs_merge(struct run *runs, size_t n, struct table *table)
{
	size_t total = 0, at[2 * MAX_THREADS] = {0};
	for (size_t i = 0; i < n; i++)
		total += runs[i].n;
	if (total >= MAX_OBJECTS)
		return false;
	table->objects = g_try_new0(struct table_object, total + 1);
	while (table->objects) {
		size_t best = n;
		for (size_t i = 0; i < n; i++) {
			if (at[i] < runs[i].n &&
			    (best == n || runs[i].objects[at[i]].address < runs[best].objects[at[best]].address))
				best = i;
		}
		if (best == n)
			return true;
		const struct table_object *next = &runs[best].objects[at[best]++];
		if (!table->n || table->objects[table->n - 1].address != next->address)
			table->objects[table->n++] = *next;
	}
	return false;
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
		if (!pages || span != current) {
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
	struct filling fillings[MAX_THREADS] = {0};
	struct run runs[2 * MAX_THREADS];
	void *contexts[MAX_THREADS];
	struct census census;
	size_t n = MIN(g_get_num_processors(), MAX_THREADS);
	memset(table, 0, sizeof(*table));
	for (size_t i = 0; i < n; i++) {
		fillings[i].heap = heap;
		contexts[i] = &fillings[i];
	}
	const struct census_visitor visitor = {add_all, forget, contexts, n};
	bool taken = census_take(heap, CENSUS_ALL, &visitor, &census, error), failed = false;
	if (taken)
		census_clear(&census);
	for (size_t i = 0; i < n; i++) {
		failed |= fillings[i].failed;
		run_sort(&fillings[i].inside);
		run_sort(&fillings[i].outside);
		runs[2 * i] = fillings[i].inside;
		runs[2 * i + 1] = fillings[i].outside;
	}
	failed = failed || (taken && !runs_merge(runs, 2 * n, table));
	for (size_t i = 0; i < 2 * n; i++)
		g_free(runs[i].objects);
	if (taken && failed)
		error_set(error, HEAP_ERROR, REFTOP_ERROR_FAILED,
			  "there is not enough memory for a table of all objects", NULL,
			  "cannot list the objects of the process");
	if (!taken || failed) {
		table_clear(table);
		return false;
	}
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
