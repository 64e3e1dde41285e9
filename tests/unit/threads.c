/*
 * The Threads screen over a source that gives fixed stacks: what it shows, compared with tests/golden/, what its keys ask for, and what
 * stays as it was from one look to the next.
 */
#include "base/error.h"
#include "daemon/analysis/explain.h"
#include "daemon/analysis/stacks.h"
#include "tests/unit/script.h"

/* ---- a source of fixed stacks ---- */

struct fake {
	source_t source;
	struct view *view;
	int looks;
	struct stacks_options asked; /* last */
	gboolean fails;
	int line; /* where "second" stands: it moves on */
};

static struct stack_frame frame_of(stacks_t *stacks, const char *function, const char *file, int line,
				   const struct stacks_options *options)
{
	struct stack_frame frame = {
		.function = stacks_text(stacks, function), .file = stacks_text(stacks, file), .line = line};
	if (options->locals) {
		frame.variables = g_new0(struct stack_variable, 2);
		frame.n_variables = 2;
		frame.variables[0] =
			(struct stack_variable){"self", "app.Two", "<Two a=<RLock> b=<RLock>>", 0x7f3a1c0d4e80};
		frame.variables[1] = (struct stack_variable){"名前", "str", "'ünï'", 0x7f3a1c0d4f80};
	}
	return frame;
}

static void add_frames(stacks_t *stacks, struct stack_thread *thread, const char *function, int line,
		       const struct stacks_options *options)
{
	size_t n = 0;
	thread->frames = g_new0(struct stack_frame, 8);
	if (options->native)
		thread->frames[n++] = (struct stack_frame){.function = "__futex_abstimed_wait_common",
							   .file = "/usr/lib/x86_64-linux-gnu/libc.so.6",
							   .offset = 0xd7,
							   .native = true};
	thread->frames[n++] = frame_of(stacks, function, "/srv/app/locks.py", line, options);
	thread->frames[n++] = frame_of(stacks, "Thread.run", "/usr/lib/python3.12/threading.py", 1010, options);
	thread->n_frames = n;
}

static struct stack_thread *add_thread(stacks_t *stacks, const char *name, char state)
{
	struct stack_thread *thread = &stacks->threads[stacks->n_threads++];
	*thread = (struct stack_thread){.tid = 4711 + (int64_t)stacks->n_threads,
					.ident = 0x7f0000000000 + stacks->n_threads,
					.name = stacks_text(stacks, name),
					.comm = "python3",
					.state = state,
					.holds_gil = ANSWER_NO,
					.daemon = ANSWER_NO,
					.broken = "",
					.wait = {.call = "futex",
						 .detail = "",
						 .timeout_us = -1,
						 .object_type = "",
						 .holder = "",
						 .state = "",
						 .owner = -1,
						 .owner_place = ""}};
	return thread;
}

static void add_lock(struct stack_thread *thread, const char *holder, uint64_t object, int owner, const char *place)
{
	thread->wait.kind = WAIT_LOCK;
	thread->wait.object_type = "threading.RLock";
	thread->wait.holder = holder;
	thread->wait.object = object;
	thread->wait.owner = owner;
	thread->wait.owner_place = place;
}

static void add_tasks(stacks_t *stacks, const struct stacks_options *options)
{
	stacks->tasks = g_new0(struct stack_task, 2);
	stacks->n_tasks = 2;
	stacks->tasks[0] = (struct stack_task){
		.address = 0x7f3a1d000010, .name = "Task-1", .state = "pending", .waits = "", .awaits = 1, .loop = -1};
	stacks->tasks[1] = (struct stack_task){.address = 0x7f3a1d000110,
					       .name = "Task-2",
					       .state = "pending",
					       .waits = "<Future pending>",
					       .awaits = -1,
					       .loop = -1};
	stacks->tasks[1].frames = g_new0(struct stack_frame, 1);
	stacks->tasks[1].n_frames = 1;
	stacks->tasks[1].frames[0] = frame_of(stacks, "fetch", "/srv/app/client.py", 88, options);
}

static stacks_t *fake_stacks(source_t *source, const struct stacks_options *options, GError **error)
{
	struct fake *fake = (struct fake *)source;
	fake->looks++;
	fake->asked = *options;
	if (fake->fails) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, "gdb traces it", NULL, "cannot stop process 4711");
		return NULL;
	}
	stacks_t *stacks = g_new0(stacks_t, 1);
	stacks->strings = g_string_chunk_new(512);
	stacks->origin = script_head(60);
	stacks->origin->snapshot.pause_us = 2100;
	stacks->threads = g_new0(struct stack_thread, 8);
	stacks->deadlocks = g_new0(const char *, 1);
	stacks->n_deadlocks = 1;
	stacks->deadlocks[0] =
		"Deadlock: \"first\" (tid 4713) at locks.py:43 in Two.first waits for threading.RLock self.b, which "
		"\"second\" (tid 4714) holds since locks.py:50 in Two.second; \"second\" (tid 4714) at locks.py:53 in "
		"Two.second waits for threading.RLock self.a, which \"first\" (tid 4713) holds since locks.py:40 in "
		"Two.first";
	add_frames(stacks, add_thread(stacks, "MainThread", 'S'), "main", 12, options);
	stacks->threads[0].wait.kind = WAIT_CALL;
	stacks->threads[0].wait.call = "read(0)";
	stacks->threads[0].wait.detail = "pipe";
	add_frames(stacks, add_thread(stacks, "first", 'S'), "Two.first", 43, options);
	add_lock(&stacks->threads[1], "self.b", 0x7f3a1c0d5000, 2, "locks.py:50 in Two.second");
	add_frames(stacks, add_thread(stacks, "second", 'S'), "Two.second", fake->line, options);
	add_lock(&stacks->threads[2], "self.a", 0x7f3a1c0d5100, 1, "locks.py:40 in Two.first");
	stacks->threads[1].in_deadlock = stacks->threads[2].in_deadlock = true;
	add_frames(stacks, add_thread(stacks, "名前-hog", 'R'), "hog", 58, options);
	stacks->threads[3].holds_gil = ANSWER_YES;
	stacks->threads[3].truncated = true;
	add_thread(stacks, "jemalloc_bg_thd", 'S')->ident = 0;
	add_tasks(stacks, options);
	return stacks;
}

static explanation_t *fake_explain(source_t *source, uint64_t address, GError **error)
{
	error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, NULL, NULL, "there is no object at 0x%" G_GINT64_MODIFIER "x",
		  address);
	return NULL;
}

static void fake_ask(void *context, struct request *request)
{
	struct fake *fake = context;
	request->answer = request->kind->ask(&fake->source, request, &request->error);
	g_assert_true(!request->answer == !!request->error);
	view_answer(fake->view, request);
}

static void fake_init(struct fake *fake)
{
	static const struct source_ops ops = {.name = "live", .stacks = fake_stacks, .explain = fake_explain};
	memset(fake, 0, sizeof(*fake));
	fake->source.ops = &ops;
	fake->line = 53;
	fake->view = view_after(60, TRUE);
	fake->view->options.ask = fake_ask;
	fake->view->options.ask_context = fake;
	fixed_now = START + 62 * (gint64)G_USEC_PER_SEC;
	screen_go(fake->view, "threads");
	g_assert_true(screen_top(fake->view)->ops == &screen_threads);
}

static void fake_clear(struct fake *fake)
{
	fake->view->options.ask = NULL;
	view_free(fake->view);
}

static gboolean shows(struct fake *fake, const char *text)
{
	g_autofree char *screen = draw(fake->view, 120, 40, FALSE);
	return strstr(screen, text) != NULL;
}

static const struct {
	int width, height;
} sizes[] = {{80, 24}, {200, 50}, {40, 10}};

static void compare_sizes(struct fake *fake, const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(fake->view, sizes[i].width, sizes[i].height, name);
}

/* ---- tests ---- */

static void test_folded(void)
{
	struct fake fake;
	fake_init(&fake);
	g_assert_cmpint(fake.looks, ==, 1);
	g_assert_false(fake.asked.native || fake.asked.locals);
	compare_sizes(&fake, "threads");
	g_autofree char *ascii = draw(fake.view, 80, 24, TRUE);
	for (const char *c = ascii; *c; c++)
		g_assert_cmpint((guchar)*c, <, 0x7f);
	fake_clear(&fake);
}

static void test_unfolded(void)
{
	struct fake fake;
	fake_init(&fake);
	keys(fake.view, "j\nln");
	g_assert_true(fake.asked.native && fake.asked.locals && fake.asked.tasks);
	compare_sizes(&fake, "threads-unfolded");
	keys(fake.view, "ln");
	g_assert_false(fake.asked.native || fake.asked.locals);
	g_assert_true(shows(&fake, "\n     Two.first (/srv/app/locks.py:43)"));
	g_assert_false(shows(&fake, "[native]") || shows(&fake, "名前 ="));
	/* from one of its frames, too */
	keys(fake.view, "jj\n");
	g_assert_false(shows(&fake, "Two.first (/srv/app/locks.py:43)"));
	fake_clear(&fake);
}

/* Each sample brings new stacks; what is unfolded stays so, and the selection with its thread. */
static void test_refreshed(void)
{
	struct fake fake;
	fake_init(&fake);
	keys(fake.view, "jj\n");
	g_assert_true(shows(&fake, "Two.second (/srv/app/locks.py:53)"));
	fake.line = 54;
	g_autoptr(sample_t) sample = script_sample(60, TRUE);
	view_add(fake.view, sample);
	g_assert_cmpint(fake.looks, ==, 2);
	g_assert_true(shows(&fake, "Two.second (/srv/app/locks.py:54)"));
	keys(fake.view, "\n");
	g_assert_false(shows(&fake, "Two.second (/srv/app/locks.py"));
	/* under another screen nobody asks */
	keys(fake.view, "?");
	g_autoptr(sample_t) next = script_sample(61, TRUE);
	view_add(fake.view, next);
	g_assert_cmpint(fake.looks, ==, 2);
	keys(fake.view, "?r");
	g_assert_cmpint(fake.looks, ==, 3);
	fake_clear(&fake);
}

/* What a look costs the process is counted. */
static void test_pause(void)
{
	struct fake fake;
	fake_init(&fake);
	g_assert_cmpint(fake.view->pause_last_us, ==, 2100);
	g_assert_true(shows(&fake, "stopped 2.1ms"));
	fake_clear(&fake);
}

static void test_search(void)
{
	struct fake fake;
	fake_init(&fake);
	/* a thread is found by a function it is in */
	keys(fake.view, "/two.second\n");
	struct list *list = screen_top(fake.view)->ops->list(screen_top(fake.view));
	g_assert_cmpint(list->selection, ==, 2);
	int looks = fake.looks;
	keys(fake.view, "n"); /* the next match, now that something is searched */
	g_assert_cmpint(fake.looks, ==, looks);
	g_assert_false(fake.asked.native);
	view_key(fake.view, KEY_OF_ESCAPE);
	keys(fake.view, "n");
	g_assert_true(fake.asked.native);
	keys(fake.view, "\\hog\n");
	g_assert_cmpuint(list->rows->len, ==, 1);
	fake_clear(&fake);
}

/* Sorted by any column, either way round, frames stand below their thread. */
static void test_sorted(void)
{
	struct fake fake;
	fake_init(&fake);
	keys(fake.view, "l\njjjjjjj\ng");
	struct list *list = screen_top(fake.view)->ops->list(screen_top(fake.view));
	guint n = list->rows->len;
	for (int entry = 0; entry < menu_entries(fake.view); entry++) {
		list_sort_by(list, menu_column(fake.view, entry));
		for (int turn = 0; turn < 2; turn++) {
			g_assert_cmpuint(list->rows->len, ==, n);
			for (guint i = 1; i < n; i++) {
				guint64 before = list->ops->identity(list->rows->pdata[i - 1]);
				guint64 at = list->ops->identity(list->rows->pdata[i]);
				/* the first row of a thread, or one behind another of the same */
				g_assert_true(!(at & 0xfffff) || (before >> 20 == at >> 20 && before < at));
			}
			keys(fake.view, "I");
		}
	}
	fake_clear(&fake);
}

static void test_object(void)
{
	struct fake fake;
	fake_init(&fake);
	keys(fake.view, "lj\njjj\n"); /* the first variable of the innermost frame */
	g_assert_true(screen_top(fake.view)->ops == &screen_object);
	g_assert_true(shows(&fake, "there is no object at 0x7f3a1c0d4e80"));
	view_key(fake.view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(fake.view)->ops == &screen_threads);
	fake_clear(&fake);
}

static void test_trouble(void)
{
	struct fake fake;
	fake_init(&fake);
	fake.fails = TRUE;
	keys(fake.view, "r");
	/* what was seen last stays */
	g_assert_true(shows(&fake, "cannot stop process 4711") && shows(&fake, "+ first"));
	fake.fails = FALSE;
	keys(fake.view, "r");
	g_assert_false(shows(&fake, "cannot stop process 4711"));
	fake_clear(&fake);
}

static void test_recording(void)
{
	struct view *view = view_after(20, TRUE);
	view->recording = TRUE;
	screen_go(view, "threads");
	keys(view, "\nnlr");
	g_autofree char *text = draw(view, 100, 20, FALSE);
	g_assert_nonnull(strstr(text, "a recording holds no stacks"));
	view_free(view);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/threads/" #name, test_##name)
	TEST(folded);
	TEST(unfolded);
	TEST(refreshed);
	TEST(pause);
	TEST(search);
	TEST(sorted);
	TEST(object);
	TEST(trouble);
	TEST(recording);
	return g_test_run();
}
