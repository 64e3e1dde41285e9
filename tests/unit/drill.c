/*
 * From a type to its objects, to one of them, to what holds it: with a source that gives fixed answers, compared with tests/golden/. And
 * what is watched, references nobody holds, and births and deaths in the table.
 */
#include "base/error.h"
#include "daemon/analysis/explain.h"
#include "daemon/analysis/instances.h"
#include "tests/unit/script.h"
#include "tui/screens/watches.h"

#define LEAKY  0x55d0c0a01000
#define OBJECT 0x7f3a1c0d4e80

/* ---- a source of fixed answers ---- */

struct fake {
	source_t source;
	struct view *view;
	gboolean slow;  /* answers wait for fake_answer() */
	GQueue waiting; /* struct request * */
	int looks, forgotten;
	GArray *watched; /* guint64 */
	char *sort;      /* asked for last */
};

static sample_t *origin_new(void)
{
	sample_t *origin = script_head(59);
	return origin;
}

static instances_t *fake_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error)
{
	struct fake *fake = (struct fake *)source;
	fake->looks++;
	g_free(fake->sort);
	fake->sort = g_strdup(sort);
	if (strcmp(type, "0x55d0c0a01000") != 0) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, NULL, NULL, "no type is called %s", type);
		return NULL;
	}
	instances_t *instances = g_new0(instances_t, 1);
	instances->origin = origin_new();
	instances->n = 40;
	instances->all_objects = 59120;
	instances->objects = g_new0(struct instance, instances->n);
	for (size_t i = 0; i < instances->n; i++) {
		g_autofree char *value = g_strdup_printf(
			"<Leaky sku='A-%04zu' qty=%zu cart=<Cart owner='ann' items=[…]>>", 1009 + 7 * i, i % 4);
		int64_t refs = (int64_t)(2 + (41 - i) % 5 + (i == 3 ? 1200 : 0));
		instances->objects[i] = (struct instance){
			.object = {.address = OBJECT + 0xc0 * i,
				   .type = LEAKY,
				   .module = "app",
				   .qualname = "Leaky",
				   .refcount = i == 9 ? SAMPLE_UNKNOWN : refs,
				   .exact = MIN(refs - 1, 3),
				   .probable = i % 2,
				   .unexplained = i == 9 ? SAMPLE_UNKNOWN : refs - MIN(refs - 1, 3) - (int64_t)(i % 2),
				   .value = sample_text(instances->origin, value)},
			.bytes = 48 + 8 * (int64_t)(i % 3)};
	}
	return instances;
}

static explanation_t *fake_explain(source_t *source, uint64_t address, GError **error)
{
	((struct fake *)source)->looks++;
	if (address == 0xdead0) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, NULL, NULL, "there is no object at 0xdead0");
		return NULL;
	}
	explanation_t *explanation = g_new0(explanation_t, 1);
	explanation->origin = origin_new();
	explanation->object =
		(struct leak_object){.address = address,
				     .type = LEAKY,
				     .module = "app",
				     .qualname = "Leaky",
				     .refcount = 6,
				     .exact = 4,
				     .probable = 1,
				     .unexplained = 1,
				     .value = "<Leaky sku='A-1009' qty=1 cart=<Cart owner='ann' items=[…]>>"};
	static const struct holder holders[] = {
		{REFERENCE_LIST_ITEM, FALSE, 1, 0x7f3a1bfe2a40, "builtins", "list", "[1042]", 0},
		{REFERENCE_DICT_VALUE, FALSE, 2, 0x7f3a10c41b00, "builtins", "dict", "['pending']", 0},
		{REFERENCE_ATTRIBUTE, FALSE, 1, 0x7f3a1c0d6120, "app.orders", "Queue", ".head", 0},
		{REFERENCE_STATIC_DATA, TRUE, 1, 0x7f3a20001238, "", "", "_cart.so: last_result+0x8", 0},
	};
	explanation->n_holders = G_N_ELEMENTS(holders);
	explanation->holders = g_memdup2(holders, sizeof(holders));
	static const struct referent referents[] = {
		{REFERENCE_TYPE, FALSE, LEAKY, "builtins", "type", "<class app.Leaky>", "", 59160},
		{REFERENCE_ATTRIBUTE, FALSE, 0x7f3a1c0d7000, "builtins", "str", "'A-1009'", ".sku", 1},
		{REFERENCE_ATTRIBUTE, FALSE, 0x955f80, "builtins", "int", "1", ".qty", SAMPLE_UNKNOWN},
		{REFERENCE_ATTRIBUTE, FALSE, 0x7f39e0aa1000, "app", "Cart", "<Cart owner='ann' items=[…]>", ".cart",
		 12},
	};
	explanation->n_referents = explanation->all_referents = G_N_ELEMENTS(referents);
	explanation->referents = g_memdup2(referents, sizeof(referents));
	static const struct explain_step path[] = {
		{0x7f3a10000000, "builtins", "module", "<module app>", ".__dict__"},
		{0x7f3a10c41b00, "builtins", "dict", "{…}", "['pending']"},
		{OBJECT, "app", "Leaky", "<Leaky>", ""},
	};
	explanation->root = "module";
	explanation->n_path = G_N_ELEMENTS(path);
	explanation->path = g_memdup2(path, sizeof(path));
	return explanation;
}

static gboolean fake_watch(source_t *source, uint64_t address, gboolean on)
{
	struct fake *fake = (struct fake *)source;
	for (guint i = 0; i < fake->watched->len; i++)
		if (g_array_index(fake->watched, guint64, i) == address)
			g_array_remove_index(fake->watched, i--);
	if (on)
		g_array_append_val(fake->watched, address);
	return TRUE;
}

static void fake_forget(source_t *source)
{
	((struct fake *)source)->forgotten++;
}

static void fake_answer(struct fake *fake)
{
	struct request *request = g_queue_pop_head(&fake->waiting);
	g_assert_nonnull(request);
	request->answer = request->kind->ask(&fake->source, request, &request->error);
	g_assert_true(!request->answer == !!request->error);
	view_answer(fake->view, request);
}

static void fake_ask(void *context, struct request *request)
{
	struct fake *fake = context;
	g_queue_push_tail(&fake->waiting, request);
	while (!fake->slow && fake->waiting.length)
		fake_answer(fake);
}

static void fake_init(struct fake *fake, int samples)
{
	static const struct source_ops ops = {.name = "live",
					      .instances = fake_instances,
					      .explain = fake_explain,
					      .watch = fake_watch,
					      .forget = fake_forget};
	memset(fake, 0, sizeof(*fake));
	fake->source.ops = &ops;
	fake->watched = g_array_new(FALSE, FALSE, sizeof(guint64));
	fake->view = view_after(samples, TRUE);
	fake->view->options.ask = fake_ask;
	fake->view->options.ask_context = fake;
	fixed_now += 3 * G_USEC_PER_SEC;
}

static void fake_clear(struct fake *fake)
{
	fake->view->options.ask = NULL;
	view_free(fake->view);
	g_queue_clear_full(&fake->waiting, (GDestroyNotify)request_free);
	g_array_unref(fake->watched);
	g_free(fake->sort);
}

static const struct {
	int width, height;
} sizes[] = {{80, 24}, {200, 50}, {40, 10}};

static gboolean shows(struct view *view, const char *text)
{
	g_autofree char *screen = draw(view, 120, 30, FALSE);
	return strstr(screen, text) != NULL;
}

/* ---- the screens ---- */

static void test_instances(void)
{
	struct fake fake;
	fake_init(&fake, 60);
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(screen_top(fake.view)->ops == &screen_instances);
	g_assert_cmpstr(fake.sort, ==, "refs");
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(fake.view, sizes[i].width, sizes[i].height, "instances");
	view_key(fake.view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(fake.view)->ops == &screen_types);
	g_assert_cmpint(fake.forgotten, ==, 1);
	fake_clear(&fake);
}

/* What is listed is a part: sorted by something else, another part is asked for. */
static void test_sort(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	view_key(fake.view, KEY_OF_ENTER);
	view_key(fake.view, KEY_OF_F1 + 5);
	g_assert_true(shows(fake.view, "Sort by"));
	struct list *list = screen_top(fake.view)->ops->list(screen_top(fake.view));
	while (!menu_column(fake.view, fake.view->menu) ||
	       strcmp(menu_column(fake.view, fake.view->menu)->id, "unexplained"))
		view_key(fake.view, KEY_OF_DOWN);
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_cmpint(fake.looks, ==, 2);
	g_assert_cmpstr(fake.sort, ==, "unexplained");
	gint64 last = G_MAXINT64;
	for (guint i = 0; i < list->rows->len; i++) {
		const struct instance *row = list->rows->pdata[i];
		g_assert_cmpint(row->object.unexplained, <=, last);
		last = row->object.unexplained;
	}
	/* by what the source can't sort by, the same ones are sorted */
	keys(fake.view, ">");
	while (!menu_column(fake.view, fake.view->menu) || strcmp(menu_column(fake.view, fake.view->menu)->id, "value"))
		view_key(fake.view, KEY_OF_DOWN);
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_cmpint(fake.looks, ==, 2);
	fake_clear(&fake);
}

static void test_filter(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	view_key(fake.view, KEY_OF_ENTER);
	struct list *list = screen_top(fake.view)->ops->list(screen_top(fake.view));
	g_assert_cmpuint(list->rows->len, ==, 40);
	keys(fake.view, "\\a-1016");
	g_assert_cmpuint(list->rows->len, ==, 1);
	view_key(fake.view, KEY_OF_ENTER);
	view_key(fake.view, KEY_OF_ESCAPE); /* first the filter goes, then the screen */
	g_assert_cmpuint(list->rows->len, ==, 40);
	keys(fake.view, "/A-1030");
	view_key(fake.view, KEY_OF_ENTER);
	const struct instance *found = list_selected(list);
	g_assert_nonnull(strstr(found->object.value, "A-1030"));
	keys(fake.view, "/nowhere");
	g_assert_true(shows(fake.view, "no match"));
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_nonnull(strstr(fake.view->message, "nothing contains \"nowhere\""));
	view_key(fake.view, KEY_OF_ESCAPE);
	view_key(fake.view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(fake.view)->ops == &screen_types);
	g_assert_null(fake.view->filter);
	fake_clear(&fake);
}

static void test_object(void)
{
	struct fake fake;
	fake_init(&fake, 60);
	view_key(fake.view, KEY_OF_ENTER);
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(screen_top(fake.view)->ops == &screen_object);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(fake.view, sizes[i].width, sizes[i].height, "object");
	g_autofree char *ascii = draw(fake.view, 80, 24, TRUE);
	for (const char *c = ascii; *c; c++)
		g_assert_cmpint((guchar)*c, <, 0x7f);
	fake_clear(&fake);
}

/* Enter goes to a holder, in the other half to what is held; Esc back, one by one. */
static void test_follow(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	view_key(fake.view, KEY_OF_ENTER);
	view_key(fake.view, KEY_OF_ENTER);
	keys(fake.view, "j");
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(shows(fake.view, "› 0x7f3a10c41b00 "));
	view_key(fake.view, '\t');
	keys(fake.view, "G");
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(shows(fake.view, "› 0x7f39e0aa1000 "));
	g_assert_cmpuint(fake.view->stack->len, ==, 5);
	view_key(fake.view, KEY_OF_ESCAPE);
	g_assert_true(shows(fake.view, "› 0x7f3a10c41b00 "));
	/* static data is no object */
	view_key(fake.view, '\t');
	keys(fake.view, "G");
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_cmpstr(fake.view->message, ==, "this holder is no object");
	g_assert_cmpuint(fake.view->stack->len, ==, 4);
	/* r looks again, and not at what was kept */
	int looks = fake.looks;
	g_assert_cmpint(fake.forgotten, ==, 0);
	keys(fake.view, "r");
	g_assert_cmpint(fake.looks, ==, looks + 1);
	g_assert_cmpint(fake.forgotten, ==, 1);
	/* as deep as one likes: the memory it takes is bounded */
	for (int i = 0; i < 300; i++) {
		keys(fake.view, "g");
		view_key(fake.view, KEY_OF_ENTER);
	}
	g_assert_cmpuint(fake.view->stack->len, <=, 100);
	fake_clear(&fake);
}

/* Keys are answered while the source is busy; after 300 ms it is said that it is. */
static void test_waiting(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	fake.slow = TRUE;
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_false(shows(fake.view, "reading"));
	g_assert_cmpint(view_wake(fake.view), ==, fixed_now + 300000);
	fixed_now += 301000;
	g_assert_true(shows(fake.view, "reading…\n"));
	fixed_now += 4 * G_USEC_PER_SEC;
	g_assert_true(shows(fake.view, "reading… 4s"));
	view_key(fake.view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(fake.view)->ops == &screen_types);
	/* the answer finds nobody */
	while (fake.waiting.length)
		fake_answer(&fake);
	g_assert_true(screen_top(fake.view)->ops == &screen_types);
	g_assert_cmpint(view_wake(fake.view), ==, 0);
	/* asked twice: the first answer is not taken for the second */
	view_key(fake.view, KEY_OF_ENTER);
	keys(fake.view, "r");
	fake_answer(&fake);
	g_assert_cmpuint(screen_top(fake.view)->waiting, !=, 0);
	fake_answer(&fake);
	g_assert_cmpuint(screen_top(fake.view)->waiting, ==, 0);
	g_assert_true(shows(fake.view, "59,120 objects"));
	fake_clear(&fake);
}

/* Pictures stop the process, too: each is counted once, however many objects are looked at in it. */
static void test_pause(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	gint64 before = fake.view->pause_sum_us;
	view_key(fake.view, KEY_OF_ENTER);
	gint64 pause = fake.view->pause_last_us;
	g_assert_cmpint(pause, >, 0);
	g_assert_cmpint(fake.view->pause_sum_us, ==, before + pause);
	view_key(fake.view, KEY_OF_ENTER);
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_cmpint(fake.view->pause_sum_us, ==, before + pause);
	fake_clear(&fake);
}

static void test_trouble(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	keys(fake.view, "j");
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(shows(fake.view, "no type is called 0x955aa0"));
	view_key(fake.view, KEY_OF_ENTER); /* there is nothing to enter */
	g_assert_true(screen_top(fake.view)->ops == &screen_instances);
	screen_push(fake.view, &screen_object, &(guint64){0xdead0});
	g_assert_true(shows(fake.view, "there is no object at 0xdead0"));
	fake_clear(&fake);
}

/* A recording has no objects: the graphs are what Enter shows. */
static void test_recording(void)
{
	struct view *view = view_after(20, TRUE);
	view->recording = TRUE;
	view_key(view, KEY_OF_ENTER);
	g_assert_true(screen_top(view)->ops == &screen_detail);
	view_key(view, KEY_OF_ESCAPE);
	keys(view, "u");
	g_assert_false(view->assess);
	g_assert_nonnull(strstr(view->message, "living process"));
	view_free(view);
}

static void test_tabs(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	for (size_t i = 0; screen_tabs[i]; i++) {
		/* this view has no list of processes; tests/unit/processes.c goes there */
		g_assert_true(screen_tab_offered(fake.view, screen_tabs[i]) == (screen_tabs[i] != &screen_processes));
		if (screen_tabs[i] == &screen_processes)
			continue;
		g_assert_true(screen_top(fake.view)->ops == screen_tabs[i]);
		view_key(fake.view, '\t');
	}
	g_assert_true(screen_top(fake.view)->ops == screen_tabs[0]);
	view_key(fake.view, '\t');
	view_key(fake.view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(fake.view)->ops == &screen_types);
	fake_clear(&fake);
}

/* ---- watching ---- */

static void put_watched(sample_t *sample, struct sample_watched row)
{
	sample->watched = g_renew(struct sample_watched, sample->watched, sample->n_watched + 1);
	row.module = row.module ? row.module : "app";
	row.qualname = row.qualname ? row.qualname : "Leaky";
	row.value = row.value ? row.value : "<Leaky sku='A-1009'>";
	row.now = row.now ? row.now : "";
	sample->watched[sample->n_watched++] = row;
}

/* Three objects: one gains references, one dies, the place of one is used again. */
static void watch_samples(struct view *view, int from, int to)
{
	for (int i = from; i < to; i++) {
		g_autoptr(sample_t) sample = script_sample(i, TRUE);
		put_watched(sample, (struct sample_watched){.address = OBJECT,
							    .type = LEAKY,
							    .refcount = 5 + 2 * i,
							    .exact = i % 10 ? SAMPLE_UNKNOWN : 4,
							    .probable = i % 10 ? SAMPLE_UNKNOWN : 1});
		if (i <= 40)
			put_watched(sample, (struct sample_watched){.address = OBJECT + 0xc0,
								    .type = LEAKY,
								    .refcount = i == 40 ? SAMPLE_UNKNOWN : 2,
								    .exact = SAMPLE_UNKNOWN,
								    .probable = SAMPLE_UNKNOWN,
								    .state = i == 40 ? WATCHED_DEAD : WATCHED_ALIVE});
		if (i <= 50)
			put_watched(sample,
				    (struct sample_watched){.address = OBJECT + 0x180,
							    .type = LEAKY,
							    .refcount = i == 50 ? SAMPLE_UNKNOWN : 3 + i % 2,
							    .exact = SAMPLE_UNKNOWN,
							    .probable = SAMPLE_UNKNOWN,
							    .state = i == 50 ? WATCHED_REUSED : WATCHED_ALIVE,
							    .now = i == 50 ? "app.Cart <Cart owner='bob'>" : ""});
		view_add(view, sample);
		fixed_now = sample->time_us;
	}
}

static void test_watched(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	watch_samples(fake.view, 20, 41);
	g_assert_cmpstr(fake.view->message, ==, "app.Leaky 0x7f3a1c0d4f40: it died after 20 s");
	watch_samples(fake.view, 41, 60);
	view_key(fake.view, '\t');
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(fake.view, sizes[i].width, sizes[i].height, "watched");
	const struct watch *watch = fake.view->watches->pdata[0];
	g_assert_cmpint(watch->last, ==, 5 + 2 * 59);
	/* explained at sample 50: 105 references, 5 of them seen */
	g_assert_cmpint(watch_unexplained(watch), ==, 100);
	const struct watch *reused = fake.view->watches->pdata[2];
	g_assert_cmpstr(reused->ended, ==, "its address was used again after 30 s, by app.Cart <Cart owner='bob'>");
	/* what has ended can be taken off the list */
	keys(fake.view, "Gw");
	g_assert_cmpuint(fake.view->watches->len, ==, 2);
	fake_clear(&fake);
}

static void test_watch_keys(void)
{
	struct fake fake;
	fake_init(&fake, 20);
	keys(fake.view, "w"); /* a type can't be watched: it says what can */
	g_assert_nonnull(strstr(fake.view->message, "one object"));
	view_key(fake.view, KEY_OF_ENTER);
	const struct instance *row = list_selected(screen_top(fake.view)->ops->list(screen_top(fake.view)));
	guint64 address = row->object.address;
	keys(fake.view, "w");
	g_assert_cmpuint(fake.watched->len, ==, 1);
	g_assert_cmphex(g_array_index(fake.watched, guint64, 0), ==, address);
	g_assert_nonnull(watch_find(fake.view, address));
	keys(fake.view, "w");
	g_assert_cmpuint(fake.watched->len, ==, 0);
	g_assert_null(watch_find(fake.view, address));
	view_key(fake.view, KEY_OF_ENTER);
	keys(fake.view, "w");
	g_assert_true(shows(fake.view, "watched · "));
	view_key(fake.view, KEY_OF_ESCAPE);
	view_key(fake.view, KEY_OF_ESCAPE);
	view_key(fake.view, '\t');
	g_assert_true(shows(fake.view, "0x7f3a1c0d"));
	view_key(fake.view, KEY_OF_ENTER);
	g_assert_true(screen_top(fake.view)->ops == &screen_object);
	view_key(fake.view, KEY_OF_ESCAPE);
	keys(fake.view, "w");
	g_assert_cmpuint(fake.watched->len, ==, 0);
	g_assert_true(shows(fake.view, "no object is watched"));
	fake_clear(&fake);
}

/* A day of samples takes no more memory than a minute. */
static void test_watch_bounded(void)
{
	struct view *view = view_after(0, TRUE);
	for (int i = 0; i < 5 * WATCH_POINTS; i++) {
		g_autoptr(sample_t) sample = script_head(i);
		put_watched(sample, (struct sample_watched){.address = OBJECT,
							    .type = LEAKY,
							    .refcount = i,
							    .exact = SAMPLE_UNKNOWN,
							    .probable = SAMPLE_UNKNOWN});
		view_add(view, sample);
	}
	const struct watch *watch = view->watches->pdata[0];
	g_assert_cmpuint(watch->n, <=, WATCH_POINTS);
	g_assert_cmpuint(watch->n, >=, WATCH_POINTS / 2);
	g_assert_cmpint(watch->values[0], ==, 0);
	g_assert_cmpint(watch->values[watch->n - 1], ==, 5 * WATCH_POINTS - 1);
	for (size_t i = 1; i < watch->n; i++)
		g_assert_true(watch->times_us[i] > watch->times_us[i - 1] && watch->values[i] > watch->values[i - 1]);
	view_free(view);
}

/* ---- references nobody holds ---- */

static leaks_t *leaks_of(enum leak_kind kind, int64_t unexplained, int64_t growth)
{
	leaks_t *leaks = g_new0(leaks_t, 1);
	leaks->origin = origin_new();
	leaks->totals.unexplained = unexplained + 1;
	leaks->n_types = 2;
	leaks->types = g_new0(struct leak_type, 2);
	leaks->types[0] = (struct leak_type){.address = 0x55d0c0a05000,
					     .module = "sqlalchemy.orm.state",
					     .qualname = "InstanceState",
					     .unexplained = unexplained,
					     .growth = growth,
					     .kind = kind};
	leaks->types[1] = (struct leak_type){.address = 0x955aa0,
					     .module = "builtins",
					     .qualname = "dict",
					     .unexplained = 1,
					     .growth = 0,
					     .kind = LEAK_ONE_OFF};
	return leaks;
}

static void test_unexplained(void)
{
	struct fake fake;
	fake_init(&fake, 60);
	keys(fake.view, "u");
	g_assert_true(fake.view->assess);
	g_assert_true(shows(fake.view, "Unexpl looking…"));
	const struct trend_row *row = view_selected(fake.view);
	g_assert_cmpint(view_unexplained(fake.view, row), ==, SAMPLE_UNKNOWN);
	view_assessed(fake.view, leaks_of(LEAK_GROWING, 38402, 120));
	g_assert_cmpint(view_unexplained(fake.view, row), ==, 0);
	g_clear_pointer(&fake.view->message, g_free);
	compare_view(fake.view, 80, 24, "unexplained");
	compare_view(fake.view, 200, 50, "unexplained");
	/* a newer look replaces the older one; off keeps what was found, and says so */
	view_assessed(fake.view, leaks_of(LEAK_ONE_OFF, 1, 0));
	keys(fake.view, "u");
	g_assert_true(shows(fake.view, "Unexpl 2, 0s ago, off"));
	fake_clear(&fake);
}

static void test_unexplained_words(void)
{
	static const enum leak_kind kinds[] = {LEAK_GROWING, LEAK_STEADY, LEAK_ONE_OFF};
	struct fake fake;
	enum role role;
	fake_init(&fake, 0);
	for (int leaking = 0; leaking < 2; leaking++) {
		view_free(fake.view);
		fake.view = view_after(60, leaking);
		for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
			view_assessed(fake.view, leaks_of(kinds[k], 38402, kinds[k] == LEAK_GROWING ? 120 : 0));
			for (int width = 24; width < 200; width++) {
				g_autofree char *words = lost_words(fake.view, width, &role);
				g_assert_cmpint(text_columns(words), <=, width);
			}
			g_autofree char *words = lost_words(fake.view, 190, &role);
			g_assert_cmpint(strstr(words, "InstanceState: 38,402 references unexplained") != NULL, ==,
					kinds[k] != LEAK_ONE_OFF);
			g_assert_cmpint(strstr(words, "(+120 since the look before)") != NULL, ==,
					kinds[k] == LEAK_GROWING);
			g_assert_cmpint(role, ==,
					leaking || kinds[k] == LEAK_GROWING ? ROLE_ALARM
					: kinds[k] == LEAK_STEADY           ? ROLE_WARNING
									    : ROLE_CALM);
		}
	}
	fake_clear(&fake);
}

/* ---- births and deaths ---- */

static void test_turnover(void)
{
	struct view *view = view_after(20, TRUE);
	g_autofree char *before = draw(view, 200, 50, FALSE);
	g_assert_nonnull(strstr(before, "BORN/DIED"));
	g_autoptr(sample_t) sample = script_sample(20, TRUE);
	sample->has_turnover = TRUE;
	for (size_t i = 0; i < sample->n_types; i++)
		if (!strcmp(sample->types[i].qualname, "Leaky")) {
			sample->types[i].born = 44100;
			sample->types[i].died = 2900;
		}
	view_add(view, sample);
	g_autofree char *text = draw(view, 200, 50, FALSE);
	g_assert_nonnull(strstr(text, " 44.1k/2,900 "));
	g_assert_nonnull(strstr(text, " 0/0 "));
	/* a type that vanished: all its objects died */
	g_autoptr(sample_t) without = script_head(21);
	without->has_turnover = TRUE;
	view_add(view, without);
	const struct trend_row *row = view_selected(view);
	g_assert_cmpint(row->died, ==, 120 + 20 * 1000);
	view_free(view);
}

/* Any key on any of these screens at any size: nothing is written outside (ASan sees it) and nothing hangs. */
static void test_random_keys(void)
{
	for (guint32 seed = 0; seed < 10; seed++) {
		g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
		struct fake fake;
		fake_init(&fake, 12);
		fake.view->options.save_directory = "/nonexistent";
		watch_samples(fake.view, 12, 30);
		for (int i = 0; i < 200; i++) {
			const struct key_entry *entry = &key_table[g_rand_int_range(rand, 0, (gint32)key_table_size)];
			fake.slow = g_rand_boolean(rand);
			view_key(fake.view, g_rand_int_range(rand, 0, 3) ? entry->codes[0] : KEY_OF_ENTER);
			if (g_rand_int_range(rand, 0, 3) == 0)
				view_click(fake.view, g_rand_int_range(rand, -2, 60), g_rand_int_range(rand, -2, 220),
					   i % 3 == 0);
			if (fake.waiting.length && g_rand_boolean(rand))
				fake_answer(&fake);
			if (i % 50 == 49)
				watch_samples(fake.view, 30 + i / 10, 31 + i / 10);
			g_autofree char *text =
				draw(fake.view, g_rand_int_range(rand, 1, 210), g_rand_int_range(rand, 1, 55), i % 2);
			g_assert_true(g_utf8_validate(text, -1, NULL));
			fake.view->quit = FALSE;
		}
		fake_clear(&fake);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/drill/" #name, test_##name)
	TEST(instances);
	TEST(sort);
	TEST(filter);
	TEST(object);
	TEST(follow);
	TEST(waiting);
	TEST(pause);
	TEST(trouble);
	TEST(recording);
	TEST(tabs);
	TEST(watched);
	TEST(watch_keys);
	TEST(watch_bounded);
	TEST(unexplained);
	TEST(unexplained_words);
	TEST(turnover);
	TEST(random_keys);
	return g_test_run();
}
