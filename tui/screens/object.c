/*
 * One object: why its count is what it is, who holds it, what it holds, and how one gets to it from a root. Enter follows a reference in
 * either direction.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/explain.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"
#include "tui/screens/watches.h"

#define SIDE_BY_SIDE 130 /* columns from which both halves stand next to each other */
#define MAX_PATH     12  /* lines */

struct object_screen {
	struct screen screen;
	guint64 address;
	explanation_t *explanation; /* NULL: none yet */
	char *trouble;
	struct list holders, referents;
	gboolean below; /* the half that has the keys: what it holds */
};

static char *type_name(const char *module, const char *qualname)
{
	return sample_type_name(&(struct sample_type){.module = module, .qualname = qualname});
}

/* ---- columns of holders ---- */

static void how_many_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct holder *holder = row;
	snprintf(out, TABLE_CELL, "%s%" G_GINT64_FORMAT, holder->probable ? "?" : "+", holder->count);
}

static enum role how_many_role(const void *row, const void *context)
{
	return ((const struct holder *)row)->probable ? ROLE_DIM : ROLE_VALUE;
}

/* "list item [1042]", ".cart": how it is held */
static void put_way(enum reference_kind kind, const char *label, int width, char out[TABLE_CELL])
{
	/* a key's label says no more than its kind */
	g_autofree char *way =
		g_strdup_printf("%s %s", reference_kind_names[kind], kind == REFERENCE_DICT_KEY ? "" : label);
	g_autofree char *fitting = text_elide(way, width);
	g_strlcpy(out, fitting, TABLE_CELL);
}

static void held_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	put_way(((const struct holder *)row)->kind, ((const struct holder *)row)->label, width, out);
}

static void by_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct holder *holder = row;
	g_autofree char *name = type_name(holder->module, holder->qualname), *fitting = text_elide(name, width);
	g_strlcpy(out, *holder->qualname ? fitting : "", TABLE_CELL);
}

static void at_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct holder *holder = row;
	if (holder->address)
		snprintf(out, TABLE_CELL, "0x%" G_GINT64_MODIFIER "x", holder->address);
}

static int held_compare(const void *a, const void *b, const void *context)
{
	const struct holder *x = a, *y = b;
	return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->label, y->label);
}

static int how_many_compare(const void *a, const void *b, const void *context)
{
	return (((const struct holder *)a)->count > ((const struct holder *)b)->count) -
	       (((const struct holder *)a)->count < ((const struct holder *)b)->count);
}

/* clang-format off */
static const struct table_column holder_columns[] = {
	{ .id = "held", .title = "HELD BY: AS", .help = "what kind of reference, and where in its holder", .min = 20, .want = 40, .max = 60, .left = TRUE,
	  .ascending = TRUE, .text = held_text, .compare = held_compare },
	{ .id = "count", .title = "REFS", .help = "how many; ? where it is a word of unknown meaning", .min = 5, .want = 6,
	  .text = how_many_text, .role = how_many_role, .compare = how_many_compare },
	{ .id = "type", .title = "TYPE", .help = "type of the holder", .min = 14, .want = 24, .max = 40, .left = TRUE, .text = by_text },
	{ .id = "address", .title = "ADDRESS", .help = "of the holder, or of the word", .min = 14, .want = 14, .left = TRUE, .text = at_text },
};
static const size_t holder_columns_size = G_N_ELEMENTS(holder_columns);
/* clang-format on */

/* ---- columns of referents ---- */

static void holds_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	put_way(((const struct referent *)row)->kind, ((const struct referent *)row)->label, width, out);
}

static void held_type_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	const struct referent *referent = row;
	g_autofree char *name = type_name(referent->module, referent->qualname), *fitting = text_elide(name, width);
	g_strlcpy(out, fitting, TABLE_CELL);
}

static void held_refs_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	table_count(out, width, ((const struct referent *)row)->refcount);
}

static void held_value_text(const void *row, const void *context, int width, char out[TABLE_CELL])
{
	g_autofree char *fitting = text_cut(((const struct referent *)row)->value, width);
	g_strlcpy(out, fitting, TABLE_CELL);
}

static int held_refs_compare(const void *a, const void *b, const void *context)
{
	gint64 x = ((const struct referent *)a)->refcount, y = ((const struct referent *)b)->refcount;
	return (x > y) - (x < y);
}

/* clang-format off */
static const struct table_column referent_columns[] = {
	{ .id = "holds", .title = "HOLDS: AS", .help = "what kind of reference, and where in this object", .min = 20, .want = 30, .max = 50, .left = TRUE,
	  .text = holds_text },
	{ .id = "refs", .title = "REFS", .help = "the reference count of what is held", .min = 5, .want = 7, .text = held_refs_text, .compare = held_refs_compare },
	{ .id = "type", .title = "TYPE", .help = "type of what is held", .min = 14, .want = 20, .max = 30, .left = TRUE, .text = held_type_text },
	{ .id = "value", .title = "VALUE", .help = "as Python would print it", .min = 14, .want = 30, .max = 80, .left = TRUE, .text = held_value_text },
};
static const size_t referent_columns_size = G_N_ELEMENTS(referent_columns);
/* clang-format on */

/* A place in a list is what is kept from one look to the next: addresses may be there more than once. */
static guint64 holder_identity(const void *row)
{
	const struct holder *holder = row;
	return holder->address ^ (guint64)holder->kind << 56 ^ (guint64)g_str_hash(holder->label) << 20;
}

static guint64 referent_identity(const void *row)
{
	const struct referent *referent = row;
	return referent->address ^ (guint64)referent->kind << 56 ^ (guint64)g_str_hash(referent->label) << 20;
}

static char *holder_words(const void *row)
{
	const struct holder *holder = row;
	return g_strdup_printf("%s %s %s.%s 0x%" G_GINT64_MODIFIER "x", reference_kind_names[holder->kind],
			       holder->label, holder->module, holder->qualname, holder->address);
}

static char *referent_words(const void *row)
{
	const struct referent *referent = row;
	return g_strdup_printf("%s %s %s.%s %s 0x%" G_GINT64_MODIFIER "x", reference_kind_names[referent->kind],
			       referent->label, referent->module, referent->qualname, referent->value,
			       referent->address);
}

static const struct list_ops holder_ops = {.columns = holder_columns,
					   .n_columns = &holder_columns_size,
					   .identity = holder_identity,
					   .words = holder_words,
					   .none = "nobody: no reference to it was found"};
static const struct list_ops referent_ops = {.columns = referent_columns,
					     .n_columns = &referent_columns_size,
					     .identity = referent_identity,
					     .words = referent_words,
					     .none = "nothing"};

/* ---- asking ---- */

static gpointer ask(source_t *source, const struct request *request, GError **error)
{
	if (!source->ops->explain) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL,
			  "objects can be looked at in a living process only");
		return NULL;
	}
	/* a fresh look is wanted: not at what is kept */
	if (request->flag && source->ops->forget)
		source->ops->forget(source);
	return source->ops->explain(source, request->address, error);
}

static void free_answer(gpointer answer)
{
	explanation_free(answer);
}

static void ask_again(struct object_screen *self, gboolean fresh)
{
	static const struct request_kind kind = {ask, free_answer};
	struct request *request = g_new0(struct request, 1);
	request->kind = &kind;
	request->address = self->address;
	request->flag = fresh;
	view_ask(&self->screen, request);
}

static void object_answered(struct screen *screen, struct request *request)
{
	struct object_screen *self = (struct object_screen *)screen;
	g_clear_pointer(&self->trouble, g_free);
	if (!request->answer) {
		self->trouble = g_strdup(request->error->message);
		return;
	}
	list_set(&self->holders, NULL, 0);
	list_set(&self->referents, NULL, 0);
	explanation_free(self->explanation);
	self->explanation = g_steal_pointer(&request->answer);
	view_count_pause(screen->view, self->explanation->origin);
	const explanation_t *found = self->explanation;
	g_autofree void **rows = g_new(void *, MAX(found->n_holders, found->n_referents) + 1);
	for (size_t i = 0; i < found->n_holders; i++)
		rows[i] = &found->holders[i];
	list_set(&self->holders, rows, found->n_holders);
	for (size_t i = 0; i < found->n_referents; i++)
		rows[i] = &found->referents[i];
	list_set(&self->referents, rows, found->n_referents);
}

/* ---- drawing ---- */

/* "5 references = 3 exact + 1 probable + 1 unexplained" */
static void draw_count(const struct object_screen *self, struct frame *frame, int y)
{
	const struct leak_object *object = &self->explanation->object;
	char all[32], exact[32], probable[32], rest[32];
	int width = frame->width;
	text_count(exact, object->exact);
	text_count(probable, object->probable);
	if (object->refcount == SAMPLE_UNKNOWN) {
		frame_printf(frame, y, 1, width - 2, ROLE_TEXT, "immortal: its count says nothing; %s references found",
			     exact);
		return;
	}
	text_count(all, object->refcount);
	int x = 1 + frame_printf(frame, y, 1, width - 2, ROLE_VALUE, "refcount %s", all);
	x += frame_printf(frame, y, x, width - x - 1, ROLE_TEXT, " = %s exact + %s probable", exact, probable);
	if (object->deficit > 0)
		x += frame_printf(frame, y, x, width - x - 1, ROLE_ALARM, "   %s too few: held more often than counted",
				  text_count(rest, object->deficit));
	else
		x += frame_printf(frame, y, x, width - x - 1, object->unexplained > 0 ? ROLE_GROWS : ROLE_TEXT,
				  " + %s unexplained", text_count(rest, object->unexplained));
	if (self->explanation->spare > 0 && width - x > 40)
		frame_printf(frame, y, x, width - x - 1, ROLE_DIM, "   (%s left-over words)",
			     text_count(rest, self->explanation->spare));
}

static char *step_words(const struct explain_step *step)
{
	g_autofree char *name = type_name(step->module, step->qualname);
	return g_strdup_printf("%s%s", name, step->label);
}

static void draw_path_line(const explanation_t *found, struct frame *frame, int y)
{
	/* a module is a root of its own: its name says more than what it is */
	gboolean module = !strcmp(found->root, "module") && found->n_path > 1;
	g_autoptr(GString) path = g_string_new(module ? found->path[0].value : found->root);
	if (module)
		g_string_append(path, found->path[0].label);
	for (size_t i = module; i + 1 < found->n_path; i++) {
		g_autofree char *words = step_words(&found->path[i]);
		g_string_append_printf(path, " → %s", words);
	}
	g_string_append(path, " → here");
	int x = 1 + frame_text(frame, y, 1, 10, ROLE_LABEL, "Path") + 1;
	g_autofree char *fitting = text_elide(path->str, frame->width - x - 1);
	frame_text(frame, y, x, frame->width - x - 1, ROLE_TEXT, fitting);
}

/* The path from a root, in at most `lines` lines at y. */
static void draw_path(const explanation_t *found, struct frame *frame, int y, int lines)
{
	if (!found->n_path) {
		frame_text(frame, y, 1, frame->width - 2, ROLE_DIM,
			   "Path: none found from a module, a frame or C code");
		return;
	}
	if (lines < (int)found->n_path + 1) {
		draw_path_line(found, frame, y);
		return;
	}
	frame_printf(frame, y, 1, frame->width - 2, ROLE_LABEL, "Path from %s", found->root);
	for (size_t i = 0; i < found->n_path; i++) {
		const struct explain_step *step = &found->path[i];
		g_autofree char *words = step_words(step);
		g_autofree char *line = g_strdup_printf("%s%s  0x%" G_GINT64_MODIFIER "x  %s", i ? "→ " : "", words,
							step->address, step->value);
		g_autofree char *fitting = text_cut(line, frame->width - 4);
		frame_text(frame, y + 1 + (int)i, 3, frame->width - 4, ROLE_TEXT, fitting);
	}
}

static void draw_halves(struct object_screen *self, struct frame *frame, int y, int height)
{
	int width = frame->width;
	if (width >= SIDE_BY_SIDE) {
		int half = width / 2;
		list_draw(&self->holders, frame, y, 0, height, half, !self->below);
		list_draw(&self->referents, frame, y, half + 1, height, width - half - 1, self->below);
		return;
	}
	/* as many lines as each needs, the larger one gets what is left */
	int up = (int)self->holders.rows->len + 1, down = (int)self->referents.rows->len + 1, half = height / 2;
	int first = up + down <= height ? up : up <= half ? up : down <= height - half ? height - down : half;
	first = CLAMP(first, MIN(2, height), height);
	list_draw(&self->holders, frame, y, 0, first, width, !self->below);
	if (height - first >= 2)
		list_draw(&self->referents, frame, y + first, 0, height - first, width, self->below);
}

static char *age_words(const struct object_screen *self)
{
	if (!self->explanation)
		return g_strdup("");
	gint64 age = MAX(view_now(self->screen.view) - self->explanation->origin->time_us, 0);
	g_autofree char *ago = words_duration(age, TRUE);
	return g_strdup_printf("%s%s ago", watch_find(self->screen.view, self->address) ? "watched · " : "", ago);
}

static void object_draw(struct screen *screen, struct frame *frame)
{
	struct object_screen *self = (struct object_screen *)screen;
	g_autofree char *waits = screen_waits(screen), *age = age_words(self);
	int y = draw_head(screen, frame, waits ? waits : age), height = frame->height;
	draw_bottom(screen->view, frame);
	if (self->trouble && height - y >= 2) {
		g_autofree char *line = g_strdelimit(g_strdup(self->trouble), "\n", ' ');
		g_autofree char *fitting = text_elide(line, frame->width - 2);
		frame_text(frame, height - 2, 1, frame->width - 2, ROLE_WARNING, fitting);
	}
	const explanation_t *found = self->explanation;
	int end = height - 1 - (self->trouble != NULL);
	if (!found || end - y < 2)
		return;
	g_autofree char *name = type_name(found->object.module, found->object.qualname);
	g_autofree char *what = g_strdup_printf("%s  %s", name, found->object.value);
	g_autofree char *fitting = text_cut(what, frame->width - 2);
	frame_text(frame, y++, 1, frame->width - 2, ROLE_VALUE, fitting);
	draw_count(self, frame, y++);
	int lines = height >= 40 ? MIN((int)found->n_path + 1, MAX_PATH) : 1;
	if (end - y < 4 + lines)
		return;
	draw_halves(self, frame, y, end - y - lines);
	draw_path(found, frame, end - lines, lines);
}

/* ---- the screen ---- */

static void object_init(struct screen *screen, gconstpointer what)
{
	struct object_screen *self = (struct object_screen *)screen;
	self->address = *(const guint64 *)what;
	list_init(&self->holders, &holder_ops, self);
	list_init(&self->referents, &referent_ops, self);
	ask_again(self, FALSE);
}

static void object_clear(struct screen *screen)
{
	struct object_screen *self = (struct object_screen *)screen;
	list_clear(&self->holders);
	list_clear(&self->referents);
	explanation_free(self->explanation);
	g_free(self->trouble);
}

static char *object_title(const struct screen *screen)
{
	return g_strdup_printf("0x%" G_GINT64_MODIFIER "x", ((const struct object_screen *)screen)->address);
}

/* The object at the other end of the selected reference; 0: there is none. */
static guint64 other_end(struct object_screen *self)
{
	if (self->below) {
		const struct referent *referent = list_selected(&self->referents);
		return referent ? referent->address : 0;
	}
	const struct holder *holder = list_selected(&self->holders);
	return holder && *holder->qualname ? holder->address : 0;
}

static void follow(struct object_screen *self)
{
	guint64 address = other_end(self);
	if (address)
		screen_push(self->screen.view, &screen_object, &address);
	else if (!self->below && list_selected(&self->holders))
		view_say(self->screen.view, g_strdup("this holder is no object"));
}

static gboolean object_act(struct screen *screen, enum action action)
{
	struct object_screen *self = (struct object_screen *)screen;
	switch (action) {
	case ACTION_TAB:
	case ACTION_LEFT:
	case ACTION_RIGHT:
		self->below = action == ACTION_TAB ? !self->below : action == ACTION_RIGHT;
		return TRUE;
	case ACTION_ENTER:
		follow(self);
		return TRUE;
	case ACTION_WATCH:
		if (self->explanation) {
			const struct leak_object *object = &self->explanation->object;
			g_autofree char *name = type_name(object->module, object->qualname);
			view_watch(screen->view, self->address, name, !watch_find(screen->view, self->address));
		}
		return TRUE;
	case ACTION_AGAIN:
		ask_again(self, TRUE);
		return TRUE;
	default:
		return FALSE;
	}
}

static void object_click(struct screen *screen, int y, int x, gboolean twice)
{
	struct object_screen *self = (struct object_screen *)screen;
	gboolean up = list_click(&self->holders, y, x), down = !up && list_click(&self->referents, y, x);
	if (!up && !down)
		return;
	self->below = down;
	if (twice)
		follow(self);
}

static struct list *object_list(struct screen *screen)
{
	struct object_screen *self = (struct object_screen *)screen;
	return self->below ? &self->referents : &self->holders;
}

static gboolean object_offers(const struct screen *screen, enum action action)
{
	return action != ACTION_BASELINE && action != ACTION_PAUSE && action != ACTION_SAVE &&
	       action != ACTION_ASSESS && action != ACTION_GRAPHS;
}

const struct screen_ops screen_object = {
	.name = "object",
	.size = sizeof(struct object_screen),
	.init = object_init,
	.clear = object_clear,
	.title = object_title,
	.draw = object_draw,
	.act = object_act,
	.click = object_click,
	.answered = object_answered,
	.list = object_list,
	.offers = object_offers,
};
