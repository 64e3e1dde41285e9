#include "daemon/analysis/instances.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/heap/size.h"
#include "daemon/heap/type.h"
#include "daemon/heap/values.h"

#define VALUE_WIDTH 100

const char *const instances_sort_keys[] = {"refs", "bytes", "unexplained", "deficit", NULL};

static bool is_called(const struct type *type, const char *name)
{
	if (g_str_has_prefix(name, "0x"))
		return g_ascii_strtoull(name + 2, NULL, 16) == type->address;
	g_autofree char *full = g_strdup_printf("%s.%s", type->module, type->qualname);
	return strcmp(full, name) == 0 || strcmp(type->qualname, name) == 0;
}

static int64_t key_of(const struct instance *instance, const char *sort)
{
	if (strcmp(sort, "bytes") == 0)
		return instance->bytes;
	if (strcmp(sort, "unexplained") == 0)
		return instance->object.unexplained;
	if (strcmp(sort, "deficit") == 0)
		return instance->object.deficit;
	return instance->object.refcount;
}

static int compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct instance *x = a, *y = b;
	int64_t p = key_of(x, data), q = key_of(y, data);
	if (p != q)
		return p < q ? 1 : -1;
	return (x->object.address > y->object.address) - (x->object.address < y->object.address);
}

static void add(audit_t *audit, const struct table_object *entry, const struct type *type, GArray *found)
{
	struct object object;
	bool immortal = entry->refcount == TABLE_IMMORTAL;
	struct instance instance = {
		.object = {.address = entry->address,
			   .type = type->address,
			   .module = type->module,
			   .qualname = type->qualname,
			   .refcount = immortal ? SAMPLE_UNKNOWN : (int64_t)entry->refcount,
			   .exact = entry->exact,
			   .probable = entry->probable,
			   .unexplained = immortal ? SAMPLE_UNKNOWN : audit_unexplained(entry),
			   .deficit = immortal ? SAMPLE_UNKNOWN : audit_deficit(entry),
			   .growth = SAMPLE_UNKNOWN,
			   .value = ""},
		.bytes = SAMPLE_UNKNOWN,
	};
	if (!object_at(audit->heap, entry->address, &object) ||
	    !object_getsizeof(audit->heap, &object, &instance.bytes))
		instance.bytes = SAMPLE_UNKNOWN;
	g_array_append_val(found, instance);
}

instances_t *instances_find(audit_t *audit, const char *type, const char *sort, size_t limit, sample_t *origin,
			    GError **error)
{
	size_t n_types = type_count(audit->heap);
	g_autofree bool *wanted = g_new0(bool, n_types + 1);
	bool any = false;
	for (size_t i = 0; i < n_types; i++)
		any |= wanted[i] = is_called(type_nth(audit->heap, i), type);
	if (!any) {
		g_autofree char *name = text_escape(type, strlen(type));
		error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, NULL, "`reftop histo` lists the types there are",
			  "no type is called %s", name);
		sample_unref(origin);
		return NULL;
	}
	GArray *found = g_array_new(FALSE, FALSE, sizeof(struct instance));
	for (size_t i = 0; i < audit->table.n; i++) {
		const struct table_object *entry = &audit->table.objects[i];
		if (entry->type < n_types && wanted[entry->type])
			add(audit, entry, type_nth(audit->heap, entry->type), found);
	}
	g_array_sort_with_data(found, compare, (gpointer)(sort ? sort : instances_sort_keys[0]));
	instances_t *instances = g_new0(instances_t, 1);
	instances->origin = origin;
	instances->all_objects = found->len;
	instances->n = MIN(found->len, limit);
	instances->objects = (struct instance *)g_array_free(found, FALSE);
	for (size_t i = 0; i < instances->n; i++) {
		struct leak_object *object = &instances->objects[i].object;
		g_autofree char *value = value_text(audit->references, object->address, VALUE_WIDTH);
		object->module = sample_text(origin, object->module);
		object->qualname = sample_text(origin, object->qualname);
		object->value = sample_text(origin, value);
	}
	return instances;
}

void instances_free(instances_t *instances)
{
	if (!instances)
		return;
	sample_unref(instances->origin);
	g_free(instances->objects);
	g_free(instances);
}
