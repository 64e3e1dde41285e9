/* From a type to its objects, to one of them, to what holds it: with a source that gives fixed answers, compared with tests/golden/. */
#include "tests/unit/fake.h"

static const struct {
	int width, height;
} sizes[] = {{80, 24}, {200, 50}, {40, 10}};

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
	return g_test_run();
}
