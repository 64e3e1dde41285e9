/*
 * Where every thread is and what it waits for, and the tasks of event loops; a deadlock stands first. Enter unfolds a stack; on a variable it
 * goes to the object. Asked anew with every sample.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/stacks.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"
#include "tui/stacks_text.h"

#define MAX_FRAMES           1000    /* a thread */
#define MAX_VARIABLES        1000    /* a frame */
#define MAX_BELOW            1000000 /* rows below a thread */
#define POSITIONS            20      /* bits of an identity that tell the row within its thread */
#define LAST                 ((1ull << POSITIONS) - 1)
#define WITHOUT_TID          (1ull << 41)
#define IDENTITY_OF(address) (WITHOUT_TID | ((address) >> 4 & 0xffffffffff))

/* a thread or a task, or, below it, a frame, a variable or a remark */
struct row {
	const struct stack_thread *thread;
	const struct stack_task *task;
	const struct stack_frame *frame;
	const struct stack_variable *variable;
	const char *remark;
	guint64 identity;
	gboolean open;
};

struct threads_screen {
	struct screen screen;
	struct list list;
	stacks_t *stacks; /* NULL: none yet */
	GPtrArray *rows;  /* struct row * */
	GHashTable *open; /* identities of what is unfolded, guint64 */
	char *trouble;
	gboolean native, locals;
};

static gboolean is_head(const struct row *row)
{
	return !row->frame && !row->remark;
}

static const char *row_name(const struct row *row)
{
	return row->thread ? row->thread->name : row->task->name;
}

static const struct stack_frame *innermost(const struct row *row)
{
	const struct stack_frame *frames = row->thread ? row->thread->frames : row->task->frames;
	size_t n = row->thread ? row->thread->n_frames : row->task->n_frames;
	for (size_t i = 0; i < n; i++) {
		if (!frames[i].native)
			return &frames[i];
	}
	return n ? &frames[0] : NULL;
}

/* "RLock self.b, held by second": what matters first, all of it stands below the unfolded thread */
static char *object_waits(const struct stack_wait *wait, const stacks_t *stacks)
{
	const char *dot = strrchr(wait->object_type, '.'), *type = dot ? dot + 1 : wait->object_type;
	g_autoptr(GString) text = g_string_new(*type ? type : "object");
	if (*wait->holder)
		g_string_append_printf(text, " %s", wait->holder);
	if (wait->owner >= 0)
		g_string_append_printf(text, ", held by %s", stacks->threads[wait->owner].name);
	else if (wait->orphan)
		g_string_append(text, ", which nobody can release");
	if (*wait->state)
		g_string_append_printf(text, " (%s)", wait->state);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *row_waits(const struct row *row, const stacks_t *stacks)
{
	static const char prefix[] = "waits for ";
	const struct stack_task *task = row->task;
	if (task && task->awaits >= 0)
		return g_strdup_printf("task %s", stacks->tasks[task->awaits].name);
	if (task)
		return g_strdup(task->waits);
	const struct stack_wait *wait = &row->thread->wait;
	if (wait->kind == WAIT_LOCK || wait->kind == WAIT_EVENT)
		return object_waits(wait, stacks);
	g_autofree char *text = stacks_wait_text(stacks, row->thread);
	return g_strdup(g_str_has_prefix(text, prefix) ? text + strlen(prefix) : text);
}

/* ---- columns ---- */

/* Text in a cell; the bytes of a wide one may be more than it has. */
static void put(char out[TABLE_CELL], char *text)
{
	const char *end;
	g_strlcpy(out, text, TABLE_CELL);
	if (!g_utf8_validate(out, -1, &end))
		out[end - out] = 0;
	g_free(text);
}

static void name_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct row *row = data;
	g_autofree char *name = g_strdup_printf("%s %s", row->open ? "-" : "+", row_name(row));
	put(out, text_elide(name, width));
}

static void tid_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct row *row = data;
	if (row->task)
		g_strlcpy(out, "task", TABLE_CELL);
	else if (row->thread->tid)
		snprintf(out, TABLE_CELL, "%" G_GINT64_FORMAT, row->thread->tid);
	else
		g_strlcpy(out, "-", TABLE_CELL);
}

static const char *state_of(const struct row *row)
{
	if (row->task)
		return row->task->state;
	if (row->thread->holds_gil == ANSWER_YES)
		return "has GIL";
	const char *state = stack_state_name(row->thread->state);
	return state ? state : "-";
}

static void state_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	put(out, text_cut(state_of(data), width));
}

static void where_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	const struct row *row = data;
	const struct stack_frame *frame = innermost(row);
	if (!frame) {
		put(out, text_cut(row->thread && !row->thread->ident ? "no Python state" : "-", width));
		return;
	}
	g_autofree char *file = g_path_get_basename(frame->file);
	g_autofree char *text = frame->line ? g_strdup_printf("%s:%d %s", file, frame->line, frame->function)
					    : g_strdup_printf("%s %s", file, frame->function);
	put(out, text_cut(text, width));
}

static void waits_text(const void *data, const void *context, int width, char out[TABLE_CELL])
{
	g_autofree char *text = row_waits(data, ((const struct threads_screen *)context)->stacks);
	put(out, text_cut(text, width));
}

static gboolean deadlocked(const struct row *row)
{
	return row->thread ? row->thread->in_deadlock : row->task->in_deadlock;
}

static enum role name_role(const void *data, const void *context)
{
	const struct row *row = data;
	return deadlocked(row) ? ROLE_ALARM : row->thread && !row->thread->ident ? ROLE_DIM : ROLE_VALUE;
}

static enum role state_role(const void *data, const void *context)
{
	const struct row *row = data;
	gboolean busy = row->thread && (row->thread->holds_gil == ANSWER_YES || row->thread->state == 'R');
	return busy ? ROLE_VALUE : ROLE_DIM;
}

/* What is below a thread compares like it: the order of identities puts it behind. */
static int name_compare(const void *a, const void *b, const void *context)
{
	return strcmp(row_name(a), row_name(b));
}

static int state_compare(const void *a, const void *b, const void *context)
{
	return strcmp(state_of(a), state_of(b));
}

static int where_compare(const void *a, const void *b, const void *context)
{
	const struct stack_frame *x = innermost(a), *y = innermost(b);
	int order = strcmp(x ? x->function : "", y ? y->function : "");
	return order || !x || !y ? order : (x->line > y->line) - (x->line < y->line);
}

static int waits_compare(const void *a, const void *b, const void *context)
{
	const stacks_t *stacks = ((const struct threads_screen *)context)->stacks;
	g_autofree char *x = row_waits(a, stacks), *y = row_waits(b, stacks);
	return strcmp(x, y);
}

/* clang-format off */
static const struct table_column columns[] = {
	{ .id = "name", .title = "THREAD", .help = "its name, as threading knows it", .min = 14, .want = 20, .max = 40, .left = TRUE, .ascending = TRUE,
	  .text = name_text, .role = name_role, .compare = name_compare },
	{ .id = "tid", .title = "TID", .help = "what the kernel knows it by", .min = 7, .want = 7, .text = tid_text },
	{ .id = "state", .title = "STATE", .help = "sleeping, running, or that it has the GIL", .min = 8, .want = 8, .max = 15, .left = TRUE, .ascending = TRUE,
	  .text = state_text, .role = state_role, .compare = state_compare },
	{ .id = "where", .title = "WHERE", .help = "its innermost Python frame", .min = 16, .want = 24, .max = 50, .left = TRUE, .ascending = TRUE,
	  .text = where_text, .compare = where_compare },
	{ .id = "waits", .title = "WAITS FOR", .help = "a lock and who holds it, or the system call it is in", .min = 22, .want = 60, .max = 200, .left = TRUE,
	  .ascending = TRUE, .text = waits_text, .compare = waits_compare },
};
static const size_t columns_size = G_N_ELEMENTS(columns);
/* clang-format on */

/* ---- rows ---- */

static guint64 identity(const void *row)
{
	return ((const struct row *)row)->identity;
}

/* What a row that is no thread says, in its whole width; NULL: it is one. */
static char *below_text(const struct row *row)
{
	if (row->remark)
		return g_strdup_printf("    %s", row->remark);
	if (row->variable)
		return g_strdup_printf("        %s = %s", row->variable->name, row->variable->value);
	if (!row->frame)
		return NULL;
	g_autofree char *text = stacks_frame_text(row->frame);
	return g_strdup_printf("    %s%s", row->frame->native ? "[native] " : "", text);
}

/* A thread is found by any of its functions, also while it is folded. */
static char *words(const void *data)
{
	const struct row *row = data;
	if (!is_head(row))
		return below_text(row);
	g_autoptr(GString) text = g_string_new(row_name(row));
	const struct stack_frame *frames = row->thread ? row->thread->frames : row->task->frames;
	size_t n = row->thread ? row->thread->n_frames : row->task->n_frames;
	if (row->thread)
		g_string_append_printf(text, " %" G_GINT64_FORMAT " %s %s", row->thread->tid,
				       row->thread->wait.object_type, row->thread->wait.holder);
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(text, " %s %s", frames[i].function, frames[i].file);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean draw_below(struct frame *frame, int y, int x, int width, const void *data, const void *context)
{
	const struct row *row = data;
	g_autofree char *text = below_text(row);
	if (!text)
		return FALSE;
	enum role role = row->remark || (!row->variable && row->frame->native) ? ROLE_DIM
			 : row->variable                                       ? ROLE_LABEL
									       : ROLE_TEXT;
	g_autofree char *fitting = row->variable ? text_cut(text, width) : text_elide(text, width);
	frame_text(frame, y, x, width, role, fitting);
	return TRUE;
}

static const struct list_ops list_ops = {.columns = columns,
					 .n_columns = &columns_size,
					 .identity = identity,
					 .words = words,
					 .none = "no threads",
					 .draw = draw_below};

static struct row *add_row(struct threads_screen *self, struct row row)
{
	g_ptr_array_add(self->rows, g_memdup2(&row, sizeof(row)));
	return self->rows->pdata[self->rows->len - 1];
}

static void add_frames(struct threads_screen *self, const struct row *head, const struct stack_frame *frames, size_t n)
{
	struct row row = *head;
	for (size_t i = 0; i < n && row.identity - head->identity < MAX_BELOW; i++) {
		row.frame = &frames[i];
		row.variable = NULL;
		row.identity++;
		add_row(self, row);
		for (size_t k = 0; k < frames[i].n_variables && k < MAX_VARIABLES; k++) {
			row.variable = &frames[i].variables[k];
			row.identity++;
			add_row(self, row);
		}
	}
}

static void add_remark(struct threads_screen *self, const struct row *head, guint64 position, const char *remark)
{
	struct row row = *head;
	row.remark = remark;
	row.identity += position;
	add_row(self, row);
}

static void add_thread(struct threads_screen *self, const struct stack_thread *thread)
{
	guint64 key = thread->tid ? (guint64)thread->tid : IDENTITY_OF(thread->address);
	struct row head = {.thread = thread, .identity = key << POSITIONS};
	head.open = g_hash_table_contains(self->open, &head.identity);
	add_row(self, head);
	if (!head.open)
		return;
	g_autofree char *waits = stacks_wait_text(self->stacks, thread);
	if (*waits)
		add_remark(self, &head, 1, stacks_text(self->stacks, waits));
	head.identity++;
	add_frames(self, &head, thread->frames, thread->n_frames);
	head.identity--;
	if (*thread->broken)
		add_remark(self, &head, LAST - 2, stacks_text(self->stacks, thread->broken));
	if (thread->truncated)
		add_remark(self, &head, LAST - 1, "(and more)");
	if (!thread->ident || !thread->n_frames)
		add_remark(self, &head, LAST, thread->ident ? "(no Python frames)" : "(no Python state)");
}

static void add_task(struct threads_screen *self, const struct stack_task *task)
{
	struct row head = {.task = task, .identity = (IDENTITY_OF(task->address) | 1ull << 42) << POSITIONS};
	head.open = g_hash_table_contains(self->open, &head.identity);
	add_row(self, head);
	if (head.open)
		add_frames(self, &head, task->frames, task->n_frames);
}

static void rows_renew(struct threads_screen *self)
{
	list_set(&self->list, NULL, 0);
	g_ptr_array_set_size(self->rows, 0);
	for (size_t i = 0; self->stacks && i < self->stacks->n_threads; i++)
		add_thread(self, &self->stacks->threads[i]);
	for (size_t i = 0; self->stacks && i < self->stacks->n_tasks; i++)
		add_task(self, &self->stacks->tasks[i]);
	list_set(&self->list, self->rows->pdata, self->rows->len);
}

/* ---- asking ---- */

static gpointer ask(source_t *source, const struct request *request, GError **error)
{
	/* text: which of both, 'n' and 'l' */
	const struct stacks_options options = {.native = strchr(request->text, 'n') != NULL,
					       .locals = strchr(request->text, 'l') != NULL,
					       .tasks = true,
					       .max_frames = request->limit};
	if (!source->ops->stacks) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL, "there are no stacks to be had here");
		return NULL;
	}
	return source->ops->stacks(source, &options, error);
}

static void free_answer(gpointer answer)
{
	stacks_free(answer);
}

static void ask_again(struct threads_screen *self)
{
	static const struct request_kind kind = {ask, free_answer};
	struct request *request = g_new0(struct request, 1);
	request->kind = &kind;
	request->text = g_strdup_printf("%s%s", self->native ? "n" : "", self->locals ? "l" : "");
	request->limit = MAX_FRAMES;
	view_ask(&self->screen, request);
}

static void threads_answered(struct screen *screen, struct request *request)
{
	struct threads_screen *self = (struct threads_screen *)screen;
	g_clear_pointer(&self->trouble, g_free);
	if (!request->answer) {
		self->trouble = g_strdup(request->error->message);
		return;
	}
	stacks_t *before = self->stacks;
	self->stacks = g_steal_pointer(&request->answer);
	rows_renew(self);
	stacks_free(before);
	view_count_pause(screen->view, self->stacks->origin);
}

static void threads_sampled(struct screen *screen)
{
	if (!screen->waiting && !screen->view->recording && screen_top(screen->view) == screen)
		ask_again((struct threads_screen *)screen);
}

/* ---- drawing ---- */

/* The longest beginning of `text` that fits in `width` columns and ends before a blank, in bytes. */
static size_t line_length(const char *text, int width)
{
	size_t fits = 0, at = 0;
	while (text[at]) {
		size_t next = at + 1 + strcspn(text + at + 1, " ");
		g_autofree char *line = g_strndup(text, next);
		if (text_columns(line) > width)
			break;
		fits = at = next;
	}
	return fits ? fits : strcspn(text, " ") ? strcspn(text, " ") : strlen(text);
}

/* The sentences, in at most `lines` lines from y on; returns the next free line. */
static int draw_deadlocks(const struct threads_screen *self, struct frame *frame, int y, int lines)
{
	int end = y + lines, width = frame->width - 2;
	for (size_t i = 0; self->stacks && i < self->stacks->n_deadlocks; i++) {
		const char *text = self->stacks->deadlocks[i];
		while (*text && y < end) {
			size_t length = line_length(text, width);
			g_autofree char *line = g_strndup(text, length);
			text += length + (text[length] == ' ');
			gboolean cut = *text && y == end - 1;
			g_autofree char *last = cut ? g_strdup_printf("%s …", line) : NULL;
			frame_text(frame, y++, 1, width, ROLE_ALARM, cut ? last : line);
		}
	}
	return y;
}

/* "24 threads  native  not stopped  2s ago" */
static char *about(const struct threads_screen *self)
{
	g_autoptr(GString) text = g_string_new(NULL);
	if (!self->stacks)
		return g_strdup("");
	const struct sample_snapshot *snapshot = &self->stacks->origin->snapshot;
	gint64 age = view_now(self->screen.view) - self->stacks->origin->time_us;
	g_string_append_printf(text, "%zu threads", self->stacks->n_threads);
	if (self->native || self->locals)
		g_string_append_printf(text, "  with%s%s", self->native ? " native" : "",
				       self->locals ? " locals" : "");
	if (snapshot->pause_us > 0) {
		g_autofree char *pause = words_pause(snapshot->pause_us);
		g_string_append_printf(text, "  stopped %s", pause);
	} else if (!g_strcmp0(snapshot->mode, "quiet")) {
		g_string_append(text, "  not stopped");
	}
	if (!snapshot->consistent)
		g_string_append(text, "  INCONSISTENT");
	g_autofree char *ago = words_duration(MAX(age, 0), TRUE);
	g_string_append_printf(text, "  %s ago", ago);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static void threads_draw(struct screen *screen, struct frame *frame)
{
	struct threads_screen *self = (struct threads_screen *)screen;
	g_autofree char *waits = screen_waits(screen), *state = about(self);
	int y = draw_head(screen, frame, waits ? waits : state), end = frame->height - 1;
	draw_bottom(screen->view, frame);
	if (self->trouble && end - y >= 2) {
		g_autofree char *line = g_strdelimit(g_strdup(self->trouble), "\n", ' ');
		g_autofree char *fitting = text_elide(line, frame->width - 2);
		frame_text(frame, --end, 1, frame->width - 2, ROLE_WARNING, fitting);
	}
	y = draw_deadlocks(self, frame, y, MAX(end - y, 0) / 2);
	if (end - y >= 2 && (self->stacks || screen->view->recording))
		list_draw(&self->list, frame, y, 0, end - y, frame->width, TRUE);
}

/* ---- the screen ---- */

static void threads_init(struct screen *screen, gconstpointer what)
{
	struct threads_screen *self = (struct threads_screen *)screen;
	self->rows = g_ptr_array_new_with_free_func(g_free);
	self->open = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	list_init(&self->list, &list_ops, self);
	if (screen->view->recording)
		self->trouble = g_strdup("a recording holds no stacks: they can be looked at in a living process only");
	else
		ask_again(self);
}

static void threads_clear(struct screen *screen)
{
	struct threads_screen *self = (struct threads_screen *)screen;
	list_clear(&self->list);
	g_ptr_array_unref(self->rows);
	g_hash_table_destroy(self->open);
	stacks_free(self->stacks);
	g_free(self->trouble);
}

static char *threads_title(const struct screen *screen)
{
	return g_strdup("Threads");
}

/* Unfold the selected thread, or fold it, also from one of its frames. */
static void unfold(struct threads_screen *self)
{
	const struct row *row = list_selected(&self->list);
	if (!row)
		return;
	if (row->variable) {
		guint64 address = row->variable->address;
		screen_push(self->screen.view, &screen_object, &address);
		return;
	}
	guint64 key = row->identity >> POSITIONS << POSITIONS;
	if (!g_hash_table_remove(self->open, &key))
		g_hash_table_add(self->open, g_memdup2(&key, sizeof(key)));
	for (guint i = 0; i < self->list.rows->len; i++) {
		if (identity(self->list.rows->pdata[i]) == key)
			list_select(&self->list, (int)i);
	}
	rows_renew(self);
}

static gboolean threads_act(struct screen *screen, enum action action)
{
	struct threads_screen *self = (struct threads_screen *)screen;
	switch (action) {
	case ACTION_ENTER:
		unfold(self);
		return TRUE;
	case ACTION_NEXT:
		if (self->list.search)
			return FALSE;
		self->native = !self->native;
		break;
	case ACTION_LOCALS:
		self->locals = !self->locals;
		break;
	case ACTION_AGAIN:
		break;
	default:
		return FALSE;
	}
	if (!screen->view->recording)
		ask_again(self);
	return TRUE;
}

static struct list *threads_list(struct screen *screen)
{
	return &((struct threads_screen *)screen)->list;
}

static gboolean threads_offers(const struct screen *screen, enum action action)
{
	/* the room is for the keys that only this screen has */
	return action != ACTION_SORT && action != ACTION_BASELINE && action != ACTION_SAVE && action != ACTION_GRAPHS &&
	       action != ACTION_WATCH && action != ACTION_ASSESS;
}

const struct screen_ops screen_threads = {
	.name = "threads",
	.size = sizeof(struct threads_screen),
	.init = threads_init,
	.clear = threads_clear,
	.title = threads_title,
	.draw = threads_draw,
	.act = threads_act,
	.sampled = threads_sampled,
	.answered = threads_answered,
	.list = threads_list,
	.offers = threads_offers,
};
