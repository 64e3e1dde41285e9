#include "daemon/analysis/audit.h"

#include "daemon/analysis/cython.h"
#include "daemon/heap/str.h"
#include "daemon/heap/type.h"

static void count(void *context, const struct reference *reference)
{
	audit_t *audit = context;
	uint32_t index = table_find(&audit->table, reference->target);
	if (index == TABLE_NONE)
		return;
	if (reference->probable)
		audit->table.objects[index].probable++;
	else
		audit->table.objects[index].exact++;
}

static void account(void *context, uint64_t start, uint64_t end, bool whole)
{
	audit_t *audit = context;
	owners_account(&audit->owners, start, end, whole);
}

static void consider_interned(audit_t *audit)
{
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		if (type_nth(audit->heap, audit->table.objects[i].type)->kind == TYPE_DICT &&
		    object_at(audit->heap, audit->table.objects[i].address, &object))
			references_consider_interned(audit->references, &object);
	}
}

uint32_t audit_born_with(const audit_t *audit, const struct table_object *object)
{
	heap_t *heap = audit->heap;
	if (object->refcount == TABLE_IMMORTAL || !owners_image_at(&audit->owners, object->address))
		return 0;
	if (!heap_has(heap->layout->gc_head_refs) || !(type_nth(heap, object->type)->flags & PY_FLAG_TYPE))
		return 1;
	const struct type *type = type_get(heap, object->address);
	const struct type *base = type && type->kind == TYPE_TUPLE && type->base ? type_get(heap, type->base) : NULL;
	return base && !strcmp(base->qualname, "tuple") ? 2 : 1;
}

static void count_exact(audit_t *audit)
{
	references_begin(audit->references, count, account, audit);
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		if (object_at(audit->heap, audit->table.objects[i].address, &object))
			references_of_object(audit->references, &object);
	}
	references_of_runtime(audit->references);
	for (size_t i = 0; i < audit->table.n; i++)
		audit->table.objects[i].probable += audit_born_with(audit, &audit->table.objects[i]);
}

uint32_t audit_referred(const audit_t *audit, uint64_t address, uint64_t word)
{
	uint32_t index = table_find(&audit->table, word);
	const uint32_t header = audit->heap->layout->ascii_size;
	if (index != TABLE_NONE || !address || !heap_has(header))
		return index;
	index = table_find(&audit->table, word - header);
	if (index == TABLE_NONE)
		return TABLE_NONE;
	const struct type *type = type_nth(audit->heap, audit->table.objects[index].type);
	struct str str;
	bool ascii = type->flags & PY_FLAG_UNICODE && !(type->flags & PY_FLAG_HEAPTYPE) &&
		     str_read(audit->heap, word - header, &str) && str.ascii && str.compact;
	return ascii && !owners_thread_at(&audit->owners, address) ? index : TABLE_NONE;
}

struct searching {
	audit_t *audit;
	enum owners_class class;
};

static void search_word(void *context, uint64_t address, uint64_t word)
{
	struct searching *searching = context;
	struct audit_totals *totals = &searching->audit->totals;
	uint32_t index = audit_referred(searching->audit, address, word);
	totals->words++;
	if (index == TABLE_NONE || searching->audit->table.objects[index].refcount == TABLE_IMMORTAL)
		return;
	searching->audit->table.objects[index].probable++;
	totals->by_class[searching->class]++;
}

static void search(audit_t *audit)
{
	const struct owners_view *view = audit->owners.view;
	struct searching searching = {.audit = audit};
	for (size_t i = 0; i < audit->owners.cover.n; i++) {
		const struct cover_region *region = &audit->owners.cover.regions[i];
		searching.class = owners_class_of(&audit->owners, region->start);
		cover_walk(&audit->owners.cover, region, search_word, &searching);
	}
	searching.class = OWNERS_STACK;
	for (size_t i = 0; i < view->n_threads; i++) {
		for (size_t k = 0; k < view->threads[i].n_registers; k++)
			search_word(&searching, 0, view->threads[i].registers[k]);
	}
}

static void sum_up(audit_t *audit)
{
	struct audit_totals *totals = &audit->totals;
	for (size_t i = 0; i < audit->table.n; i++) {
		struct table_object *object = &audit->table.objects[i];
		if (object->refcount == TABLE_IMMORTAL)
			continue;
		uint32_t open = object->refcount > object->exact ? object->refcount - object->exact : 0;
		if (object->probable > open) {
			totals->spare_words += object->probable - open;
			object->probable = open;
		}
		totals->objects++;
		totals->refs += object->refcount;
		totals->exact += MIN(object->exact, object->refcount);
		totals->probable += object->probable;
		totals->unexplained += audit_unexplained(object);
		totals->deficit += audit_deficit(object);
		totals->unexplained_objects += audit_unexplained(object) > 0;
		totals->deficit_objects += audit_deficit(object) > 0;
		totals->orphans += audit_orphan(object);
	}
}

audit_t *audit_take(heap_t *heap, const struct owners_view *view, GError **error)
{
	g_autoptr(audit_t) audit = g_new0(audit_t, 1);
	audit->heap = heap;
	if (!table_take(heap, &audit->table, error))
		return NULL;
	audit->references = references_new(heap);
	consider_interned(audit);
	if (!owners_init(&audit->owners, heap, &audit->table, audit->references, view, error))
		return NULL;
	count_exact(audit);
	owners_finish(&audit->owners);
	search(audit);
	audit->kept = cython_find(audit);
	sum_up(audit);
	return g_steal_pointer(&audit);
}

void audit_free(audit_t *audit)
{
	if (!audit)
		return;
	if (audit->kept)
		g_array_unref(audit->kept);
	references_free(audit->references);
	owners_clear(&audit->owners);
	table_clear(&audit->table);
	g_free(audit);
}
