/* What an object holds. */
#include "daemon/analysis/explain_private.h"
#include "daemon/heap/type.h"
#include "daemon/heap/values.h"

#define VALUE_WIDTH   60
#define MAX_REFERENTS 1000 /* that are listed one by one */

struct collecting {
	audit_t *audit;
	GArray *references; /* struct reference */
	int64_t all;
};

static void collect(void *context, const struct reference *reference)
{
	struct collecting *collecting = context;
	if (table_find(&collecting->audit->table, reference->target) == TABLE_NONE)
		return;
	collecting->all++;
	if (collecting->references->len < MAX_REFERENTS)
		g_array_append_val(collecting->references, *reference);
}

static struct referent referent_of(struct explaining *explaining, const struct reference *reference)
{
	audit_t *audit = explaining->audit;
	sample_t *origin = explaining->result->origin;
	const struct table_object *object = &audit->table.objects[table_find(&audit->table, reference->target)];
	const struct type *type = type_nth(audit->heap, object->type);
	g_autofree char *value = value_text(audit->references, object->address, VALUE_WIDTH);
	return (struct referent){
		.kind = reference->kind,
		.probable = reference->probable,
		.address = object->address,
		.module = sample_text(origin, type->module),
		.qualname = sample_text(origin, type->qualname),
		.refcount = object->refcount == TABLE_IMMORTAL ? SAMPLE_UNKNOWN : (int64_t)object->refcount,
		.value = sample_text(origin, value),
		.label = explain_label_text(explaining, reference),
	};
}

void explain_find_referents(struct explaining *explaining)
{
	struct collecting collecting = {explaining->audit, g_array_new(FALSE, FALSE, sizeof(struct reference)), 0};
	explanation_t *result = explaining->result;
	struct object object;
	if (object_at(explaining->audit->heap, explaining->address, &object)) {
		references_begin(explaining->audit->references, collect, NULL, &collecting);
		references_of_object(explaining->audit->references, &object);
	}
	result->referents = g_new0(struct referent, collecting.references->len + 1);
	result->n_referents = collecting.references->len;
	result->all_referents = collecting.all;
	for (guint i = 0; i < collecting.references->len; i++)
		result->referents[i] =
			referent_of(explaining, &g_array_index(collecting.references, struct reference, i));
	g_array_unref(collecting.references);
}
