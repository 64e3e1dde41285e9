/*
 * Watched objects: the reference count of each in every sample, until it dies or its address is used again.
 *
 * An object is the same one as long as its address, its type and, for what never changes (str, bytes, int, float, complex), its value are
 * the same. A new object of the same class at the same address can't be told from the old one from outside.
 */
#include <string.h>

#include "daemon/heap/references.h"
#include "daemon/heap/type.h"
#include "daemon/heap/values.h"
#include "daemon/source/live_private.h"

#define VALUE_WIDTH 100

struct live_watched {
	uint64_t address;
	uint64_t type;
	char *module, *qualname, *value; /* NULL: not seen yet */
	bool fixed;                      /* its value can't change */
	bool ended;                      /* it was told */
};

static void watched_clear(gpointer data)
{
	struct live_watched *watched = data;
	g_free(watched->module);
	g_free(watched->qualname);
	g_free(watched->value);
}

gboolean live_watch(source_t *source, uint64_t address, gboolean on)
{
	struct live *live = (struct live *)source;
	if (!live->watched) {
		live->watched = g_array_new(FALSE, TRUE, sizeof(struct live_watched));
		g_array_set_clear_func(live->watched, watched_clear);
	}
	for (guint i = 0; i < live->watched->len; i++)
		if (g_array_index(live->watched, struct live_watched, i).address == address)
			g_array_remove_index(live->watched, i--);
	if (!on)
		return TRUE;
	if (live->watched->len >= SOURCE_WATCHES)
		return FALSE;
	struct live_watched watched = {.address = address};
	g_array_append_val(live->watched, watched);
	return TRUE;
}

void live_watch_free(struct live *live)
{
	if (live->watched)
		g_array_unref(live->watched);
}

size_t live_watch_sought(const struct live *live, uint64_t sought[SOURCE_WATCHES])
{
	G_STATIC_ASSERT(SOURCE_WATCHES <= HISTOGRAM_SOUGHT);
	for (guint i = 0; live->watched && i < live->watched->len; i++)
		sought[i] = g_array_index(live->watched, struct live_watched, i).address;
	return live->watched ? live->watched->len : 0;
}

static bool in_allocator(const struct census *census, uint64_t address)
{
	for (size_t i = 0; i < census->n_ranges; i++)
		if (address - census->ranges[i].start < census->ranges[i].end - census->ranges[i].start)
			return true;
	return false;
}

/*
 * The object at an address, if there is a live one. A census meets all that lie in the allocator's memory, whose freed blocks may still look
 * like what they were; elsewhere it may miss one that only C code knows, and a look has to do.
 */
static bool object_there(heap_t *heap, const struct census *census, bool all, bool found, uint64_t address,
			 struct object *object)
{
	if (!object_at(heap, address, object))
		return false;
	if (found)
		return true;
	if (all && in_allocator(census, address))
		return false;
	struct refcount refcount = object_refcount(heap->layout, object->bytes);
	return refcount.immortal || (refcount.count > 0 && refcount.count < INT32_MAX);
}

static bool is_fixed(const struct type *type)
{
	static const char *const names[] = {"str", "bytes", "int", "float", "complex", NULL};
	return !strcmp(type->module, "builtins") && g_strv_contains(names, type->qualname);
}

static void begin(struct live_watched *watched, const struct type *type, const char *value)
{
	watched->type = type->address;
	watched->module = g_strdup(type->module);
	watched->qualname = g_strdup(type->qualname);
	watched->value = g_strdup(value);
	watched->fixed = is_fixed(type);
}

static bool is_same(const struct live_watched *watched, const struct type *type, const char *value)
{
	return watched->type == type->address && !strcmp(watched->qualname, type->qualname) &&
	       !strcmp(watched->module, type->module) && (!watched->fixed || !strcmp(watched->value, value));
}

static void look(struct live_watched *watched, heap_t *heap, const struct object *object, references_t *references,
		 sample_t *sample, struct sample_watched *row)
{
	const struct type *type = object->type;
	g_autofree char *value = value_text(references, watched->address, VALUE_WIDTH);
	if (!watched->value)
		begin(watched, type, value);
	if (!is_same(watched, type, value)) {
		g_autofree char *now =
			g_strdup_printf("%s%s%s %s", type->module, *type->module ? "." : "", type->qualname, value);
		row->state = WATCHED_REUSED;
		row->now = sample_text(sample, now);
		return;
	}
	struct refcount refcount = object_refcount(heap->layout, object->bytes);
	row->state = WATCHED_ALIVE;
	row->refcount = refcount.immortal ? SAMPLE_UNKNOWN : refcount.count;
	g_free(watched->value);
	watched->value = g_steal_pointer(&value);
}

static void explain_count(audit_t *audit, struct sample_watched *row)
{
	uint32_t index =
		audit && row->refcount != SAMPLE_UNKNOWN ? table_find(&audit->table, row->address) : TABLE_NONE;
	if (index == TABLE_NONE)
		return;
	row->exact = audit->table.objects[index].exact;
	row->probable = audit->table.objects[index].probable;
}

void live_watch_fill(struct live *live, heap_t *heap, const struct census *census, const bool *found, audit_t *audit,
		     sample_t *sample)
{
	if (!live->watched || !live->watched->len)
		return;
	g_autoptr(references_t) references = references_new(heap);
	sample->watched = g_new0(struct sample_watched, live->watched->len);
	for (guint i = 0; i < live->watched->len; i++) {
		struct live_watched *watched = &g_array_index(live->watched, struct live_watched, i);
		struct object object;
		struct sample_watched row = {.address = watched->address,
					     .state = WATCHED_DEAD,
					     .now = "",
					     .refcount = SAMPLE_UNKNOWN,
					     .exact = SAMPLE_UNKNOWN,
					     .probable = SAMPLE_UNKNOWN};
		if (watched->ended)
			continue;
		if (object_there(heap, census, !live->options.gc_only, found[i], watched->address, &object))
			look(watched, heap, &object, references, sample, &row);
		watched->ended = row.state != WATCHED_ALIVE;
		row.type = watched->type;
		row.module = sample_text(sample, watched->module ? watched->module : "");
		row.qualname = sample_text(sample, watched->qualname ? watched->qualname : "");
		row.value = sample_text(sample, watched->value ? watched->value : "");
		explain_count(audit, &row);
		sample->watched[sample->n_watched++] = row;
	}
}
