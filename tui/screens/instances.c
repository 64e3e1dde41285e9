/* The objects of one type: those with the most references, bytes or unexplained references; Enter goes on to one of them. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/instances.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"
#include "tui/screens/watches.h"

#define MAX_LISTED 2000

struct instances_screen {
	struct screen screen;
	guint64 type;
	char *name;
	const char *sort;       /* what was asked for: one of instances_sort_keys */
	instances_t *instances; /* NULL: none yet */
	char *trouble;
	struct list list;
};

/* ---- columns ---- */

static const struct leak_object *object_of(const void *row)
{
	return &((const struct instance *)row)->object;
}

static gint64 seen(const void *row)
{
	const struct leak_object *object = object_of(row);
	return object->exact + object->probable;
}

static void address_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	snprintf(out, TABLE_CELL, "0x%" G_GINT64_MODIFIER "x", object_of(row)->address);
}

static void value_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	g_autofree char *value = text_cut(object_of(row)->value, width);
	g_strlcpy(out, value, TABLE_CELL);
}

static void size_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_bytes(out, ((const struct instance *)row)->bytes);
}

#define CELL(name, expression)                                                                                         \
	static void name##_text(const void *row, const void *context, int width, char out[TABLE_CELL])                 \
	{                                                                                                              \
		table_count(out, width, expression);                                                                   \
	}                                                                                                              \
	static int name##_compare(const void *row, const void *other, const void *context)                             \
	{                                                                                                              \
		gint64 x = expression;                                                                                 \
		row = other;                                                                                           \
		gint64 y = expression;                                                                                 \
		return (x > y) - (x < y);                                                                              \
	}
CELL(refs, object_of(row)->refcount)
CELL(seen, seen(row))
CELL(exact, object_of(row)->exact)
CELL(probable, object_of(row)->probable)
CELL(unexplained, object_of(row)->unexplained)
CELL(deficit, object_of(row)->deficit)

static int size_compare(const void *a, const void *b, const void *context)
{
	gint64 x = ((const struct instance *)a)->bytes, y = ((const struct instance *)b)->bytes;
	return (x > y) - (x < y);
}

static int address_compare(const void *a, const void *b, const void *context)
{
	return (object_of(a)->address > object_of(b)->address) - (object_of(a)->address < object_of(b)->address);
}

static int value_compare(const void *a, const void *b, const void *context)
{
	return strcmp(object_of(a)->value, object_of(b)->value);
}

static enum role unexplained_role(const void *row, const void *context)
{
	return object_of(row)->unexplained > 0 ? ROLE_GROWS : ROLE_DIM;
}

static enum role deficit_role(const void *row, const void *context)
{
	return object_of(row)->deficit > 0 ? ROLE_ALARM : ROLE_DIM;
}

static enum role address_role(const void *row, const void *context)
{
	const struct instances_screen *self = context;
	return watch_find(self->screen.view, object_of(row)->address) ? ROLE_TAGGED : ROLE_TEXT;
}

/* clang-format off */
const struct table_column instance_columns[] = {
	{ .id = "address", .title = "ADDRESS", .help = "of the object; marked while it is watched", .min = 14, .want = 16, .left = TRUE, .ascending = TRUE,
	  .text = address_text, .role = address_role, .compare = address_compare },
	{ .id = "refs", .title = "REFS", .help = "its reference count; - when it is immortal", .min = 6, .want = 9, .text = refs_text, .compare = refs_compare },
	{ .id = "seen", .title = "SEEN", .help = "references to it that were found", .min = 6, .want = 9, .text = seen_text, .compare = seen_compare },
	{ .id = "exact", .title = "EXACT", .help = "found in a structure whose layout is known", .min = 6, .want = 9, .rank = 1,
	  .text = exact_text, .compare = exact_compare },
	{ .id = "probable", .title = "PROBABLE", .help = "words elsewhere that hold its address", .min = 8, .want = 9, .rank = 1,
	  .text = probable_text, .compare = probable_compare },
	{ .id = "unexplained", .title = "UNEXPL", .help = "references that nobody holds", .min = 6, .want = 9,
	  .text = unexplained_text, .role = unexplained_role, .compare = unexplained_compare },
	{ .id = "deficit", .title = "DEFICIT", .help = "references held beyond its count: one was given back too often", .min = 7, .want = 8, .rank = 2,
	  .text = deficit_text, .role = deficit_role, .compare = deficit_compare },
	{ .id = "bytes", .title = "SIZE", .help = "what sys.getsizeof would say", .min = 6, .want = 7, .text = size_text, .compare = size_compare },
	{ .id = "value", .title = "VALUE", .help = "as Python would print it; read, never called", .min = 10, .ease = 30, .want = 60, .max = 200, .left = TRUE, .ascending = TRUE,
	  .text = value_text, .compare = value_compare },
};
/* clang-format on */
const size_t instance_columns_size = G_N_ELEMENTS(instance_columns);

static guint64 identity(const void *row)
{
	return object_of(row)->address;
}

static char *words(const void *row)
{
	return g_strdup_printf("0x%" G_GINT64_MODIFIER "x %s", object_of(row)->address, object_of(row)->value);
}

static const struct list_ops list_ops = {.columns = instance_columns,
					 .n_columns = &instance_columns_size,
					 .identity = identity,
					 .words = words,
					 .none = "there are no objects of this type any more"};

/* ---- asking ---- */

static gpointer ask(source_t *source, const struct request *request, GError **error)
{
	if (source->ops->instances)
		return source->ops->instances(source, request->text, request->sort, request->limit, error);
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL,
		  "objects can be looked at in a living process only");
	return NULL;
}

static void free_answer(gpointer answer)
{
	instances_free(answer);
}

static void ask_again(struct instances_screen *self)
{
	static const struct request_kind kind = {ask, free_answer};
	struct request *request = g_new0(struct request, 1);
	request->kind = &kind;
	request->text = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", self->type);
	request->sort = self->sort;
	request->limit = MAX_LISTED;
	view_ask(&self->screen, request);
}

static const struct table_column *column_of(const char *id)
{
	for (size_t i = 0; i < instance_columns_size; i++)
		if (!strcmp(instance_columns[i].id, id))
			return &instance_columns[i];
	return NULL;
}

static void instances_answered(struct screen *screen, struct request *request)
{
	struct instances_screen *self = (struct instances_screen *)screen;
	g_clear_pointer(&self->trouble, g_free);
	if (!request->answer) {
		self->trouble = g_strdup(request->error->message);
		return;
	}
	list_set(&self->list, NULL, 0);
	instances_free(self->instances);
	self->instances = g_steal_pointer(&request->answer);
	view_count_pause(screen->view, self->instances->origin);
	g_autofree void **rows = g_new(void *, self->instances->n + 1);
	for (size_t i = 0; i < self->instances->n; i++)
		rows[i] = &self->instances->objects[i];
	list_set(&self->list, rows, self->instances->n);
}

/* Those listed are the first by one key: by another one there may be others. */
static void instances_sorted(struct screen *screen)
{
	struct instances_screen *self = (struct instances_screen *)screen;
	if (!self->instances || !self->list.sort || self->instances->all_objects <= (gint64)self->instances->n)
		return;
	for (const char *const *key = instances_sort_keys; *key; key++)
		if (!strcmp(*key, self->list.sort->id) && strcmp(*key, self->sort) != 0) {
			self->sort = *key;
			ask_again(self);
		}
}

/* ---- the screen ---- */

static void instances_init(struct screen *screen, gconstpointer what)
{
	struct instances_screen *self = (struct instances_screen *)screen;
	const struct instances_of *of = what;
	self->type = of->type;
	self->name = g_strdup(of->name);
	list_init(&self->list, &list_ops, self);
	self->sort = of->suspect ? "unexplained" : "refs";
	list_sort_by(&self->list, column_of(self->sort));
	ask_again(self);
}

static void instances_clear(struct screen *screen)
{
	struct instances_screen *self = (struct instances_screen *)screen;
	list_clear(&self->list);
	instances_free(self->instances);
	g_free(self->name);
	g_free(self->trouble);
}

static char *instances_title(const struct screen *screen)
{
	return g_strdup(((const struct instances_screen *)screen)->name);
}

/* "59,120 objects, the first 2,000 by refs · 12 s ago" */
static char *summary(const struct instances_screen *self)
{
	char all[32], listed[32];
	if (!self->instances)
		return g_strdup("");
	const instances_t *instances = self->instances;
	text_count(all, instances->all_objects);
	gint64 age = MAX(view_now(self->screen.view) - instances->origin->time_us, 0);
	g_autofree char *ago = words_duration(age, TRUE);
	g_autofree char *part =
		instances->all_objects > (gint64)instances->n
			? g_strdup_printf(", the first %s by %s", text_count(listed, (gint64)instances->n), self->sort)
			: g_strdup("");
	return g_strdup_printf("%s object%s%s · %s ago", all, instances->all_objects == 1 ? "" : "s", part, ago);
}

static void instances_draw(struct screen *screen, struct frame *frame)
{
	struct instances_screen *self = (struct instances_screen *)screen;
	g_autofree char *waits = screen_waits(screen), *says = summary(self);
	int y = draw_head(screen, frame, waits ? waits : says);
	draw_bottom(screen->view, frame);
	if (frame->height - y < 3)
		return;
	if (self->trouble) {
		g_autofree char *line = g_strdelimit(g_strdup(self->trouble), "\n", ' ');
		g_autofree char *fitting = text_elide(line, frame->width - 2);
		frame_text(frame, frame->height - 2, 1, frame->width - 2, ROLE_WARNING, fitting);
	}
	if (self->instances)
		list_draw(&self->list, frame, y, 0, frame->height - y - 1 - (self->trouble != NULL), frame->width,
			  TRUE);
}

static gboolean instances_act(struct screen *screen, enum action action)
{
	struct instances_screen *self = (struct instances_screen *)screen;
	const struct instance *row = list_selected(&self->list);
	switch (action) {
	case ACTION_ENTER:
		if (row)
			screen_push(screen->view, &screen_object, &row->object.address);
		return TRUE;
	case ACTION_WATCH:
		if (row)
			view_watch(screen->view, row->object.address, self->name,
				   !watch_find(screen->view, row->object.address));
		return TRUE;
	case ACTION_GRAPHS:
		screen_push(screen->view, &screen_detail, NULL);
		return TRUE;
	case ACTION_AGAIN:
		ask_again(self);
		return TRUE;
	default:
		return FALSE;
	}
}

static struct list *instances_list(struct screen *screen)
{
	return &((struct instances_screen *)screen)->list;
}

static gboolean instances_offers(const struct screen *screen, enum action action)
{
	return action != ACTION_BASELINE && action != ACTION_PAUSE && action != ACTION_SAVE && action != ACTION_ASSESS;
}

const struct screen_ops screen_instances = {
	.name = "instances",
	.size = sizeof(struct instances_screen),
	.init = instances_init,
	.clear = instances_clear,
	.title = instances_title,
	.draw = instances_draw,
	.act = instances_act,
	.answered = instances_answered,
	.list = instances_list,
	.sorted = instances_sorted,
	.offers = instances_offers,
};
