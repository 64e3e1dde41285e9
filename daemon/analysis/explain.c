#include "daemon/analysis/explain.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/cython.h"
#include "daemon/analysis/explain_private.h"
#include "daemon/heap/type.h"
#include "daemon/heap/values.h"

#define VALUE_WIDTH 100
#define MAX_FOUND   100000 /* holders that are listed one by one */
#define BATCH       4096   /* objects whose holders are looked for in one pass */

/* ---- the holders ---- */

/* The object asked about that is at `address`, or NULL. */
static struct asked *asked_at(const struct explaining *explaining, uint64_t address)
{
	uint32_t index = table_find(&explaining->audit->table, address);
	if (index == TABLE_NONE || explaining->asked_of[index] == TABLE_NONE)
		return NULL;
	return &g_array_index(explaining->asked, struct asked, explaining->asked_of[index]);
}

static void note(struct explaining *explaining, const struct asked *asked, const struct reference *reference,
		 bool searched)
{
	if (asked->found->len >= MAX_FOUND)
		return;
	struct found found = {.holder = explaining->current, .reference = *reference, .searched = searched};
	g_array_append_val(asked->found, found);
}

static void visit_holder(void *context, const struct reference *reference)
{
	const struct asked *asked = asked_at(context, reference->target);
	if (asked)
		note(context, asked, reference, false);
}

static const enum reference_kind kind_of_class[OWNERS_CLASSES] = {
	[OWNERS_STATIC] = REFERENCE_STATIC_DATA, [OWNERS_STACK] = REFERENCE_THREAD_STACK,
	[OWNERS_BLOCK] = REFERENCE_MEMORY_BLOCK, [OWNERS_CHUNK] = REFERENCE_MEMORY_BLOCK,
	[OWNERS_OTHER] = REFERENCE_MEMORY_BLOCK,
};

static void search_word(void *context, uint64_t address, uint64_t word)
{
	struct explaining *explaining = context;
	uint32_t index = audit_referred(explaining->audit, address, word);
	if (index == TABLE_NONE || explaining->asked_of[index] == TABLE_NONE)
		return;
	const struct asked *asked = &g_array_index(explaining->asked, struct asked, explaining->asked_of[index]);
	enum owners_class class = owners_class_of(&explaining->audit->owners, address);
	struct reference reference = {.kind = kind_of_class[class], .probable = true, .target = word, .word = address};
	if (explain_interpreter_at(explaining, address))
		reference.kind = REFERENCE_INTERPRETER;
	note(explaining, asked, &reference, true);
}

static void search_registers(struct explaining *explaining)
{
	const struct owners_view *view = explaining->audit->owners.view;
	for (size_t i = 0; i < view->n_threads; i++) {
		for (size_t k = 0; k < view->threads[i].n_registers; k++) {
			struct reference reference = {.kind = REFERENCE_REGISTER,
						      .probable = true,
						      .index = k,
						      .name = i,
						      .target = view->threads[i].registers[k]};
			const struct asked *asked = asked_at(explaining, reference.target);
			if (asked)
				note(explaining, asked, &reference, true);
		}
	}
}

static void note_static(struct explaining *explaining, const struct asked *asked)
{
	const audit_t *audit = explaining->audit;
	struct reference own = {.kind = REFERENCE_STATIC_DATA,
				.probable = true,
				.target = asked->address,
				.word = asked->address,
				.field = "statically allocated"};
	for (uint32_t n = audit_born_with(audit, &audit->table.objects[asked->index]); n; n--)
		note(explaining, asked, &own, false);
}

/* What modules made by Cython keep of it: the label is the module's file. */
static void note_kept(struct explaining *explaining)
{
	const GArray *kept = explaining->audit->kept;
	for (guint i = 0; i < kept->len; i++) {
		const struct cython_kept *one = &g_array_index(kept, struct cython_kept, i);
		if (explaining->asked_of[one->object] == TABLE_NONE)
			continue;
		const struct asked *asked =
			&g_array_index(explaining->asked, struct asked, explaining->asked_of[one->object]);
		struct reference reference = {.kind = REFERENCE_STATIC_DATA,
					      .probable = true,
					      .target = asked->address,
					      .word = explaining->audit->owners.images[one->image].start,
					      .field = CYTHON_FIELD};
		note(explaining, asked, &reference, false);
	}
}

/* one pass over everything that may hold a reference */
static void find_holders(struct explaining *explaining)
{
	audit_t *audit = explaining->audit;
	references_begin(audit->references, visit_holder, NULL, explaining);
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		explaining->current = (uint32_t)i;
		if (object_at(audit->heap, audit->table.objects[i].address, &object))
			references_of_object(audit->references, &object);
	}
	explaining->current = TABLE_NONE;
	references_of_runtime(audit->references);
	for (guint i = 0; i < explaining->asked->len; i++)
		note_static(explaining, &g_array_index(explaining->asked, struct asked, i));
	note_kept(explaining);
	for (size_t i = 0; i < audit->owners.cover.n; i++)
		cover_walk(&audit->owners.cover, &audit->owners.cover.regions[i], search_word, explaining);
	search_registers(explaining);
}

/* what is likeliest first: where there are more words than the count leaves open, the last ones are leftovers */
static int reliability(enum reference_kind kind)
{
	static const enum reference_kind order[] = {
		REFERENCE_EXTENSION_OBJECT, REFERENCE_INTERPRETER,  REFERENCE_STATIC_DATA, REFERENCE_FRAME_STACK,
		REFERENCE_MEMORY_BLOCK,     REFERENCE_THREAD_STACK, REFERENCE_REGISTER};
	for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
		if (order[i] == kind)
			return (int)i;
	}
	return -1;
}

static int compare_found(gconstpointer a, gconstpointer b)
{
	const struct found *x = a, *y = b;
	if (x->reference.probable != y->reference.probable)
		return x->reference.probable - y->reference.probable;
	int p = reliability(x->reference.kind), q = reliability(y->reference.kind);
	if (x->reference.probable && p != q)
		return p - q;
	if (x->reference.kind != y->reference.kind)
		return (int)x->reference.kind - (int)y->reference.kind;
	if (x->holder != y->holder)
		return x->holder < y->holder ? -1 : 1;
	return (x->reference.word > y->reference.word) - (x->reference.word < y->reference.word);
}

static void drop_spare(struct explaining *explaining)
{
	const struct table_object *object = &explaining->audit->table.objects[explaining->index];
	GArray *found = explaining->found;
	size_t n_exact = 0;
	g_array_sort(found, compare_found);
	while (n_exact < found->len && !g_array_index(found, struct found, n_exact).reference.probable)
		n_exact++;
	if (object->refcount == TABLE_IMMORTAL)
		return;
	size_t open = object->refcount > n_exact ? object->refcount - n_exact : 0;
	if (found->len > n_exact + open) {
		explaining->result->spare = (int64_t)(found->len - n_exact - open);
		g_array_set_size(found, (guint)(n_exact + open));
	}
}

static void list_holders(struct explaining *explaining)
{
	explanation_t *result = explaining->result;
	GArray *holders = g_array_new(FALSE, FALSE, sizeof(struct holder));
	for (guint i = 0; i < explaining->found->len; i++) {
		struct holder holder = explain_label(explaining, &g_array_index(explaining->found, struct found, i));
		struct holder *last = holders->len ? &g_array_index(holders, struct holder, holders->len - 1) : NULL;
		/* texts of one sample are one: pointers compare */
		if (last && last->kind == holder.kind && last->address == holder.address &&
		    last->label == holder.label && last->probable == holder.probable)
			last->count++;
		else
			g_array_append_val(holders, holder);
	}
	result->n_holders = holders->len;
	result->holders = (struct holder *)g_array_free(holders, FALSE);
}

static void describe(struct explaining *explaining)
{
	audit_t *audit = explaining->audit;
	explanation_t *result = explaining->result;
	const struct table_object *entry = &audit->table.objects[explaining->index];
	const struct type *type = type_nth(audit->heap, entry->type);
	bool immortal = entry->refcount == TABLE_IMMORTAL;
	g_autofree char *value = value_text(audit->references, entry->address, VALUE_WIDTH);
	result->object = (struct leak_object){
		.address = entry->address,
		.type = type->address,
		.module = sample_text(result->origin, type->module),
		.qualname = sample_text(result->origin, type->qualname),
		.refcount = immortal ? SAMPLE_UNKNOWN : (int64_t)entry->refcount,
		.exact = entry->exact,
		.probable = entry->probable,
		.unexplained = immortal ? SAMPLE_UNKNOWN : audit_unexplained(entry),
		.deficit = immortal ? SAMPLE_UNKNOWN : audit_deficit(entry),
		.growth = SAMPLE_UNKNOWN,
		.value = sample_text(result->origin, value),
	};
}

/* ---- the objects asked about ---- */

static void asked_clear(gpointer data)
{
	g_array_unref(((struct asked *)data)->found);
}

/* Note the addresses at which there are objects, each once. */
static void ask(struct explaining *explaining, const uint64_t *addresses, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct asked asked = {addresses[i], table_find(&explaining->audit->table, addresses[i]), NULL};
		if (asked.index == TABLE_NONE || explaining->asked_of[asked.index] != TABLE_NONE)
			continue;
		asked.found = g_array_new(FALSE, FALSE, sizeof(struct found));
		explaining->asked_of[asked.index] = explaining->asked->len;
		g_array_append_val(explaining->asked, asked);
	}
}

static void ask_no_more(struct explaining *explaining)
{
	for (guint i = 0; i < explaining->asked->len; i++)
		explaining->asked_of[g_array_index(explaining->asked, struct asked, i).index] = TABLE_NONE;
	g_array_set_size(explaining->asked, 0);
}

/* What is known of one of them; NULL with *error: there is no object at `address`. */
static explanation_t *tell(struct explaining *explaining, uint64_t address, sample_t *origin, GError **error)
{
	const struct asked *asked = asked_at(explaining, address);
	if (!asked) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, "no object of the process is at this address now",
			  "take one from `reftop objects` or `reftop leaks`, or id() in the process",
			  "there is no object at 0x%" G_GINT64_MODIFIER "x", address);
		return NULL;
	}
	explanation_t *result = g_new0(explanation_t, 1);
	result->origin = sample_ref(origin);
	result->root = "";
	explaining->address = address;
	explaining->index = asked->index;
	explaining->found = asked->found;
	explaining->result = result;
	describe(explaining);
	drop_spare(explaining);
	list_holders(explaining);
	explain_find_referents(explaining);
	explain_find_path(explaining);
	return result;
}

static bool tell_all(struct explaining *explaining, const uint64_t *addresses, size_t n, sample_t *origin,
		     explain_each *each, void *context, GError **error)
{
	ask(explaining, addresses, n);
	find_holders(explaining);
	explain_find_owners(explaining);
	explain_find_blocks(explaining);
	bool more = true;
	for (size_t i = 0; i < n && more; i++) {
		g_autoptr(GError) problem = NULL;
		explanation_t *explanation = tell(explaining, addresses[i], origin, &problem);
		more = each(context, addresses[i], explanation, problem, error);
	}
	ask_no_more(explaining);
	return more;
}

bool explain_objects(audit_t *audit, const uint64_t *addresses, size_t n, sample_t *origin,
		     const struct explain_names *names, explain_each *each, void *context, GError **error)
{
	struct explaining explaining = {.audit = audit,
					.names = names,
					.asked = g_array_new(FALSE, FALSE, sizeof(struct asked)),
					.asked_of = g_new(uint32_t, audit->table.n + 1)};
	bool more = true;
	g_array_set_clear_func(explaining.asked, asked_clear);
	memset(explaining.asked_of, 0xff, (audit->table.n + 1) * sizeof(uint32_t));
	explain_open(&explaining);
	for (size_t i = 0; i < n && more; i += BATCH)
		more = tell_all(&explaining, addresses + i, MIN(n - i, BATCH), origin, each, context, error);
	explain_forget_graph(&explaining);
	explain_close(&explaining);
	g_free(explaining.asked_of);
	g_array_unref(explaining.asked);
	return more;
}

void explanation_free(explanation_t *explanation)
{
	if (!explanation)
		return;
	sample_unref(explanation->origin);
	g_free(explanation->holders);
	g_free(explanation->referents);
	g_free(explanation->path);
	g_free(explanation);
}
