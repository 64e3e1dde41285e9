#include "daemon/analysis/leaks.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/heap/type.h"
#include "daemon/heap/values.h"

#define VALUE_WIDTH      100
#define UNCONFIRMED_MANY 5 /* objects of a type that only the second look found: fewer may be on their way somewhere */

const char *const leak_kind_names[] = {"growing", "steady", "one-off"};

/* an object accused in one look */
struct accused {
	uint64_t address, type;
	uint32_t unexplained, deficit;
};

struct leaks_look {
	struct accused *accused; /* by address */
	size_t n;
};

leaks_look_t *leaks_look_new(const audit_t *audit)
{
	leaks_look_t *look = g_new0(leaks_look_t, 1);
	GArray *accused = g_array_new(FALSE, FALSE, sizeof(struct accused));
	for (size_t i = 0; i < audit->table.n; i++) {
		const struct table_object *object = &audit->table.objects[i];
		struct accused found = {object->address, 0, (uint32_t)audit_unexplained(object),
					(uint32_t)audit_deficit(object)};
		if (!found.unexplained && !found.deficit)
			continue;
		found.type = type_nth(audit->heap, object->type)->address;
		g_array_append_val(accused, found);
	}
	look->n = accused->len;
	look->accused = (struct accused *)g_array_free(accused, FALSE);
	return look;
}

void leaks_look_free(leaks_look_t *look)
{
	if (look)
		g_free(look->accused);
	g_free(look);
}

static int compare_address(const void *key, const void *element)
{
	const struct accused *x = key, *y = element;
	return (x->address > y->address) - (x->address < y->address);
}

static const struct accused *find_accused(const leaks_look_t *look, uint64_t address, uint64_t type)
{
	struct accused key = {.address = address};
	const struct accused *found =
		look->n ? bsearch(&key, look->accused, look->n, sizeof(key), compare_address) : NULL;
	return found && found->type == type ? found : NULL;
}

/* ---- judging ---- */

struct judging {
	audit_t *audit;
	const leaks_look_t *before;
	leaks_t *leaks;
	struct leak_type *types;            /* by type index */
	int64_t *unconfirmed, *new_objects; /* of each type: what only this look found */
	GArray *objects;                    /* struct leak_object */
};

/* what is unexplained (deficient) in both looks */
static void judge_object(struct judging *judging, const struct table_object *object)
{
	const struct type *type = type_nth(judging->audit->heap, object->type);
	struct leak_type *row = &judging->types[object->type];
	int64_t unexplained = audit_unexplained(object), deficit = audit_deficit(object), growth = SAMPLE_UNKNOWN;
	if (object->refcount == TABLE_IMMORTAL)
		return;
	row->lost_since_us = row->grows_since_us = SAMPLE_UNKNOWN;
	row->objects++;
	row->refs += object->refcount;
	if (!unexplained && !deficit)
		return;
	if (judging->before) {
		const struct accused *first = find_accused(judging->before, object->address, type->address);
		if (!first) {
			judging->unconfirmed[object->type] += unexplained;
			judging->new_objects[object->type] += unexplained > 0;
			return;
		}
		growth = unexplained > first->unexplained ? unexplained - first->unexplained : 0;
		row->growth += growth;
		/* what came on top of a confirmed loss is believed, too */
		unexplained = first->unexplained ? unexplained : 0;
		deficit = MIN(deficit, first->deficit);
		if (!unexplained && !deficit)
			return;
	}
	row->unexplained += unexplained;
	row->deficit += deficit;
	row->unexplained_objects += unexplained > 0;
	row->deficit_objects += deficit > 0;
	row->orphans += unexplained && audit_orphan(object);
	row->largest = MAX(row->largest, unexplained);
	struct leak_object found = {
		.address = object->address,
		.type = type->address,
		.module = type->module,
		.qualname = type->qualname,
		.refcount = object->refcount,
		.exact = object->exact,
		.probable = object->probable,
		.unexplained = unexplained,
		.deficit = deficit,
		.growth = growth,
	};
	found.kind = growth > 0                                                         ? LEAK_GROWING
		     : unexplained >= LEAKS_MANY_ON_ONE || deficit >= LEAKS_MANY_ON_ONE ? LEAK_STEADY
											: LEAK_ONE_OFF;
	g_array_append_val(judging->objects, found);
}

static enum leak_kind judge_type(const struct leak_type *row)
{
	/* each type object is a case of its own: ten that were kept once are ten one-offs */
	bool many = !row->of_types &&
		    (row->unexplained_objects >= LEAKS_MANY_OBJECTS || row->deficit_objects >= LEAKS_MANY_OBJECTS);
	if (row->growth > 0)
		return LEAK_GROWING;
	return many || row->largest >= LEAKS_MANY_ON_ONE || row->deficit >= LEAKS_MANY_ON_ONE ? LEAK_STEADY
											      : LEAK_ONE_OFF;
}

static int compare_types(const void *a, const void *b)
{
	const struct leak_type *x = a, *y = b;
	if (x->suppressed != y->suppressed)
		return x->suppressed - y->suppressed;
	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	int64_t p = x->unexplained + x->deficit, q = y->unexplained + y->deficit;
	if (p != q)
		return p < q ? 1 : -1;
	int order = strcmp(x->qualname, y->qualname);
	return order ? order : (x->address > y->address) - (x->address < y->address);
}

static int compare_objects(const void *a, const void *b)
{
	const struct leak_object *x = a, *y = b;
	if (x->suppressed != y->suppressed)
		return x->suppressed - y->suppressed;
	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	int64_t p = x->unexplained + x->deficit, q = y->unexplained + y->deficit;
	if (p != q)
		return p < q ? 1 : -1;
	return (x->address > y->address) - (x->address < y->address);
}

static void collect_types(struct judging *judging)
{
	leaks_t *leaks = judging->leaks;
	size_t n = type_count(judging->audit->heap);
	leaks->types = g_new0(struct leak_type, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct type *type = type_nth(judging->audit->heap, i);
		struct leak_type *row = &judging->types[i];
		/*
		 * Objects that one look met are no proof, unless there are many: those that are lost one by one are new each time. A few
		 * one-offs of the same type are no proof either.
		 */
		bool confirmed = row->unexplained_objects >= UNCONFIRMED_MANY && judging->unconfirmed[i] > 0 &&
				 judging->new_objects[i] * 100 >= row->unexplained_objects;
		if (judging->new_objects[i] >= UNCONFIRMED_MANY || (confirmed && judging->new_objects[i] > 1)) {
			row->growth += judging->unconfirmed[i];
			row->unexplained += judging->unconfirmed[i];
			row->unexplained_objects += judging->new_objects[i];
		}
		if (!row->unexplained && !row->deficit)
			continue;
		row->address = type->address;
		row->module = sample_text(leaks->origin, type->module);
		row->qualname = sample_text(leaks->origin, type->qualname);
		row->of_types = type->flags & PY_FLAG_TYPE;
		if (!judging->before)
			row->growth = SAMPLE_UNKNOWN;
		row->kind = judge_type(row);
		leaks->totals.unexplained += row->unexplained;
		leaks->totals.deficit += row->deficit;
		leaks->types[leaks->n_types++] = *row;
	}
	qsort(leaks->types, leaks->n_types, sizeof(*leaks->types), compare_types);
}

/* An object of a type that leaks is no one-off, though it has lost but one reference. */
static void promote_objects(struct judging *judging)
{
	for (guint i = 0; i < judging->objects->len; i++) {
		struct leak_object *object = &g_array_index(judging->objects, struct leak_object, i);
		for (size_t k = 0; k < judging->leaks->n_types; k++) {
			const struct leak_type *type = &judging->leaks->types[k];
			/* one reference among hundreds that are there may be what C code keeps of a thing everybody uses, like () */
			bool drowned = object->unexplained && object->unexplained * 100 < object->refcount &&
				       object->unexplained < LEAKS_MANY_ON_ONE;
			if (!type->of_types && type->address == object->type && !drowned)
				object->kind = MIN(object->kind, type->kind);
		}
	}
}

leaks_t *leaks_judge(audit_t *audit, const leaks_look_t *before, sample_t *origin, size_t max_objects)
{
	size_t n_types = type_count(audit->heap);
	g_autofree struct leak_type *types = g_new0(struct leak_type, n_types + 1);
	g_autofree int64_t *unconfirmed = g_new0(int64_t, n_types + 1), *new_objects = g_new0(int64_t, n_types + 1);
	leaks_t *leaks = g_new0(leaks_t, 1);
	struct judging judging = {.audit = audit,
				  .before = before,
				  .leaks = leaks,
				  .types = types,
				  .unconfirmed = unconfirmed,
				  .new_objects = new_objects,
				  .objects = g_array_new(FALSE, FALSE, sizeof(struct leak_object))};
	leaks->origin = origin;
	leaks->totals = audit->totals;
	leaks->totals.unexplained = leaks->totals.deficit = 0;
	leaks->looks = before ? 2 : 1;
	for (size_t i = 0; i < audit->table.n; i++)
		judge_object(&judging, &audit->table.objects[i]);
	collect_types(&judging);
	promote_objects(&judging);
	g_array_sort(judging.objects, compare_objects);
	leaks->all_objects = judging.objects->len;
	leaks->n_objects = MIN(judging.objects->len, max_objects);
	leaks->objects = (struct leak_object *)g_array_free(judging.objects, FALSE);
	for (size_t i = 0; i < leaks->n_objects; i++) {
		struct leak_object *object = &leaks->objects[i];
		g_autofree char *value = value_text(audit->references, object->address, VALUE_WIDTH);
		object->module = sample_text(origin, object->module);
		object->qualname = sample_text(origin, object->qualname);
		object->value = sample_text(origin, value);
	}
	return leaks;
}

void leaks_free(leaks_t *leaks)
{
	if (!leaks)
		return;
	sample_unref(leaks->origin);
	g_free(leaks->types);
	g_free(leaks->objects);
	g_free(leaks);
}

/* ---- suppressing ---- */

static bool matches(const char *const *patterns, const char *text)
{
	for (; *patterns; patterns++) {
		if (g_pattern_match_simple(*patterns, text))
			return true;
	}
	return false;
}

void leaks_suppress(leaks_t *leaks, const char *const *patterns)
{
	for (size_t i = 0; i < leaks->n_types; i++) {
		struct leak_type *type = &leaks->types[i];
		g_autofree char *name = g_strdup_printf("%s.%s", type->module, type->qualname);
		type->suppressed |= matches(patterns, name);
	}
	for (size_t i = 0; i < leaks->n_objects; i++) {
		struct leak_object *object = &leaks->objects[i];
		g_autofree char *name = g_strdup_printf("%s.%s", object->module, object->qualname);
		g_autofree char *full = g_strdup_printf("%s %s", name, object->value);
		object->suppressed |= matches(patterns, name) || matches(patterns, full);
	}
	for (size_t i = 0; i < leaks->n_types && leaks->n_objects == leaks->all_objects; i++) {
		struct leak_type *type = &leaks->types[i];
		int64_t open = type->unexplained + type->deficit;
		for (size_t k = 0; k < leaks->n_objects; k++) {
			const struct leak_object *object = &leaks->objects[k];
			if (object->suppressed && object->type == type->address)
				open -= object->unexplained + object->deficit;
		}
		type->suppressed |= open <= 0;
	}
	qsort(leaks->types, leaks->n_types, sizeof(*leaks->types), compare_types);
	qsort(leaks->objects, leaks->n_objects, sizeof(*leaks->objects), compare_objects);
}

bool leaks_found(const leaks_t *leaks)
{
	for (size_t i = 0; i < leaks->n_types; i++) {
		if (leaks->types[i].kind != LEAK_ONE_OFF && !leaks->types[i].suppressed)
			return true;
	}
	return false;
}
