/*
 * The list of processes (daemon/analysis/roster.h, tui/screens/processes.c) and the screens of a sum (tui/screens/members.c), compared
 * with tests/golden/.
 */
#include <math.h>
#include <string.h>

#include "tests/unit/sums.h"

static const struct {
	int width, height;
} sizes[] = {{80, 24}, {200, 50}, {40, 10}};

/* ---- a scripted machine ---- */

static struct roster_process *process(int64_t pid, int64_t ppid, const char *command, int64_t rss)
{
	struct roster_process *process = roster_process_new();
	process->pid = pid;
	process->ppid = ppid;
	process->start_time_us = START - pid * G_USEC_PER_SEC;
	process->user = g_strdup("www-data");
	process->python = g_strdup("3.12");
	process->command = g_strdup(command);
	process->state = g_strdup("sleeping");
	process->rss = rss;
	return process;
}

static struct roster_process *watched(struct roster_process *process, int i, int64_t objects)
{
	process->watched = true;
	process->objects = objects;
	process->sampled_us = START + (gint64)i * G_USEC_PER_SEC;
	return process;
}

static struct roster_process *refused(struct roster_process *process)
{
	g_clear_pointer(&process->python, g_free);
	process->why = g_strdup("not-yours");
	process->cause = g_strdup("it belongs to root, you are alice");
	process->fix = g_strdup("run it with sudo");
	return process;
}

/* Look number i: a server with three workers, the second of which grows, somebody else's process, and with a child of a child. */
static GPtrArray *look(int i, gboolean daemon)
{
	static const char worker[] = "gunicorn: worker [shop.wsgi]";
	GPtrArray *all = g_ptr_array_new();
	struct roster_process *four[] = {
		process(48200, 1, "gunicorn: master [shop.wsgi]", 61 << 20),
		process(48213, 48200, worker, (gint64)(310 + (i % 3)) << 20),
		process(48214, 48200, worker, (gint64)(400 + 2 * i) << 20),
		process(48215, 48200, worker, 290 << 20),
	};
	for (int k = 0; k < 4; k++)
		g_ptr_array_add(all,
				daemon ? watched(four[k], 2 * i, 40000 * (k + 1) + (k == 2 ? 100 * i : 0)) : four[k]);
	if (daemon) {
		four[2]->growing = g_strdup("shop.cart.CartItem");
		four[2]->growing_rate = 3000;
	}
	g_ptr_array_add(all, process(48300, 48213, "/usr/bin/python3 /srv/shop/convert.py --all", 12 << 20));
	g_ptr_array_add(all, refused(process(812, 1, "/usr/bin/python3 /usr/sbin/agent", 90 << 20)));
	return all;
}

static struct machine_view machine;

static struct view *list_after(int looks, gboolean daemon)
{
	const struct top_options options = {.now = now};
	machine = (struct machine_view){.roster = roster_new(), .tagged = g_hash_table_new(NULL, NULL)};
	fixed_now = START;
	struct view *view = view_new(&options, FALSE);
	view_alone(view, &machine);
	for (int i = 0; i < looks; i++) {
		fixed_now = START + 2 * (gint64)i * G_USEC_PER_SEC;
		view_look(view, look(i, daemon), fixed_now);
	}
	return view;
}

static void list_end(struct view *view)
{
	view_free(view);
	roster_free(machine.roster);
	g_hash_table_destroy(machine.tagged);
}

static pid_t chosen(const struct choice *choice, guint i)
{
	return g_array_index(choice->pids, pid_t, i);
}

/* ---- the roster ---- */

static void test_tree(void)
{
	g_autoptr(roster_t) roster = roster_new();
	roster_add(roster, look(0, FALSE), START);
	static const struct {
		int64_t pid;
		int depth;
	} wanted[] = {{812, 0}, {48200, 0}, {48213, 1}, {48300, 2}, {48214, 1}, {48215, 1}};
	const GPtrArray *rows = roster_rows(roster);
	g_assert_cmpuint(rows->len, ==, G_N_ELEMENTS(wanted));
	for (guint i = 0; i < rows->len; i++) {
		const struct roster_row *row = rows->pdata[i];
		g_assert_cmpint(row->now->pid, ==, wanted[i].pid);
		g_assert_cmpint(row->depth, ==, wanted[i].depth);
	}
	g_autoptr(GArray) below = roster_below(roster, 48213);
	g_assert_cmpuint(below->len, ==, 2);
	g_assert_cmpint(g_array_index(below, pid_t, 1), ==, 48300);
	g_autoptr(GArray) all = roster_below(roster, 48200);
	g_assert_cmpuint(all->len, ==, 5);
}

/* Two that name each other as parents, as numbers of dead ones may: nobody loops, and both are listed. */
static void test_circle(void)
{
	g_autoptr(roster_t) roster = roster_new();
	GPtrArray *all = g_ptr_array_new();
	g_ptr_array_add(all, process(5, 6, "a", 1));
	g_ptr_array_add(all, process(6, 5, "b", 1));
	g_ptr_array_add(all, process(7, 7, "c", 1));
	roster_add(roster, all, START);
	g_assert_cmpuint(roster_rows(roster)->len, ==, 3);
}

static void test_rates(void)
{
	g_autoptr(roster_t) roster = roster_new();
	for (int i = 0; i < 40; i++)
		roster_add(roster, look(i, TRUE), START + 2 * (gint64)i * G_USEC_PER_SEC);
	const struct roster_row *grows = roster_find(roster, 48214), *still = roster_find(roster, 48215);
	g_assert_cmpfloat(fabs(grows->rss_rate - 60 * 1024 * 1024), <, 1);
	g_assert_cmpfloat(fabs(grows->objects_rate - 3000), <, 1);
	g_assert_true(grows->steady);
	g_assert_cmpfloat(fabs(still->rss_rate), <, 1);
	g_assert_false(still->steady);
	/* what the daemon doesn't watch has no number of objects, and no 0 */
	const struct roster_row *unwatched = roster_find(roster, 812);
	g_assert_true(isnan(unwatched->objects_rate));
	g_assert_cmpuint(unwatched->objects.n, ==, 0);
	/* gone is gone */
	GPtrArray *one = g_ptr_array_new();
	g_ptr_array_add(one, process(48215, 1, "x", 5));
	roster_add(roster, one, START + 100 * G_USEC_PER_SEC);
	g_assert_cmpuint(roster_rows(roster)->len, ==, 1);
	g_assert_null(roster_find(roster, 48214));
}

/* What the daemon saw before is told once and comes first; a sample that was told already is no news. */
static void test_history(void)
{
	g_autoptr(roster_t) roster = roster_new();
	for (int i = 0; i < 3; i++) {
		struct roster_process *told = watched(process(9, 1, "x", 5), 0, 900);
		if (i == 0) {
			told->n_history = 5;
			told->history_times_us = g_new(int64_t, 5);
			told->history_objects = g_new(int64_t, 5);
			for (int k = 0; k < 5; k++) {
				told->history_times_us[k] = START - (5 - k) * 60 * G_USEC_PER_SEC;
				told->history_objects[k] = 400 + 100 * k;
			}
		}
		GPtrArray *one = g_ptr_array_new();
		g_ptr_array_add(one, told);
		roster_add(roster, one, START + i * G_USEC_PER_SEC);
	}
	const struct roster_row *row = roster_find(roster, 9);
	g_assert_cmpuint(row->objects.n, ==, 6);
	g_assert_cmpfloat(fabs(row->objects_rate - 100), <, 1);
	/* the number is another's now: nothing of the one before stays */
	struct roster_process *other = process(9, 1, "y", 7);
	other->start_time_us += 3600 * (gint64)G_USEC_PER_SEC;
	GPtrArray *one = g_ptr_array_new();
	g_ptr_array_add(one, other);
	roster_add(roster, one, START + 9 * G_USEC_PER_SEC);
	g_assert_cmpuint(roster_find(roster, 9)->objects.n, ==, 0);
	g_assert_cmpuint(roster_find(roster, 9)->rss.n, ==, 1);
}

static void test_bounded(void)
{
	g_autoptr(roster_t) roster = roster_new();
	for (int i = 0; i < ROSTER_POINTS + 50; i++) {
		GPtrArray *one = g_ptr_array_new();
		g_ptr_array_add(one, process(9, 1, "x", 5 + i));
		roster_add(roster, one, START + i * G_USEC_PER_SEC);
	}
	const struct roster_row *row = roster_find(roster, 9);
	g_assert_cmpuint(row->rss.n, ==, ROSTER_POINTS);
	g_assert_cmpint(row->rss.values[0], ==, 55);
}

/* ---- the screen ---- */

static void test_list(void)
{
	struct view *view = list_after(40, FALSE);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "processes");
	list_end(view);
	view = list_after(40, TRUE);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "processes-watched");
	list_end(view);
}

static void test_no_look(void)
{
	struct view *view = list_after(0, FALSE);
	g_autofree char *text = draw(view, 80, 24, FALSE);
	g_assert_nonnull(strstr(text, "looking for Python processes"));
	keys(view, "S tUI");
	view_key(view, KEY_OF_ENTER);
	view_key(view, KEY_OF_ESCAPE);
	view_key(view, '\t');
	g_assert_true(screen_top(view)->ops == &screen_processes);
	g_assert_null(view->choice);
	list_end(view);
}

/* Every size a terminal may have, and a process that ends between two looks: nothing of it is touched any more. */
static void test_any_size(void)
{
	struct view *view = list_after(3, TRUE);
	view_key(view, KEY_OF_END);
	for (int width = 1; width < 130; width += 7) {
		for (int height = 1; height < 40; height += 3) {
			g_autofree char *text = draw(view, width, height, FALSE);
			g_assert_nonnull(text);
		}
	}
	GPtrArray *one = g_ptr_array_new();
	g_ptr_array_add(one, process(4, 1, "left.py", 5));
	view_look(view, one, fixed_now + G_USEC_PER_SEC);
	view_wheel(view, 3);
	view_key(view, KEY_OF_UP);
	view_click(view, 2, 5, TRUE);
	g_assert_nonnull(view->choice);
	g_assert_cmpint(chosen(view->choice, 0), ==, 4);
	list_end(view);
}

static void test_open(void)
{
	struct view *view = list_after(3, FALSE);
	g_autofree char *first = draw(view, 80, 24, FALSE);
	view_key(view, KEY_OF_ENTER); /* somebody else's */
	g_assert_null(view->choice);
	g_assert_nonnull(strstr(view->message, "belongs to root"));
	keys(view, "jj");
	view_key(view, KEY_OF_ENTER);
	g_assert_false(view->choice->sum);
	g_assert_cmpint(chosen(view->choice, 0), ==, 48213);
	g_clear_pointer(&view->choice, choice_free);
	/* a double click does the same; rows begin below the titles */
	view_click(view, 3, 10, TRUE);
	g_assert_cmpint(chosen(view->choice, 0), ==, 48200);
	list_end(view);
}

static void test_sums(void)
{
	struct view *view = list_after(3, FALSE);
	keys(view, "jS"); /* the server and all below it */
	g_assert_true(view->choice->sum && view->choice->children);
	g_assert_cmpuint(view->choice->pids->len, ==, 1);
	g_assert_cmpint(chosen(view->choice, 0), ==, 48200);
	g_clear_pointer(&view->choice, choice_free);
	keys(view, "j   "); /* tags three rows, and goes on */
	compare_view(view, 80, 24, "processes-tagged");
	keys(view, "S");
	g_assert_true(view->choice->sum && !view->choice->children);
	g_assert_cmpuint(view->choice->pids->len, ==, 3);
	g_assert_cmpint(chosen(view->choice, 1), ==, 48300);
	g_clear_pointer(&view->choice, choice_free);
	keys(view, "U");
	g_assert_cmpuint(g_hash_table_size(machine.tagged), ==, 0);
	list_end(view);
}

static void test_order(void)
{
	struct view *view = list_after(3, FALSE);
	struct list *list = screen_top(view)->ops->list(screen_top(view));
	keys(view, "t");
	g_assert_true(machine.flat);
	g_assert_cmpint(((struct roster_row *)list->rows->pdata[2])->now->pid, ==, 48213);
	g_assert_cmpint(((struct roster_row *)list->rows->pdata[3])->now->pid, ==, 48214);
	keys(view, "t");
	g_assert_cmpint(((struct roster_row *)list->rows->pdata[3])->now->pid, ==, 48300);
	/* sorted by memory through the title; t leads back to the tree */
	g_autofree char *text = draw(view, 80, 24, FALSE);
	const char *titles = strstr(text, "  PID");
	view_click(view, 1, (int)(strstr(titles, " RSS") - titles) + 2, FALSE);
	g_assert_cmpstr(list->sort->id, ==, "rss");
	g_assert_cmpint(((struct roster_row *)list->rows->pdata[0])->now->pid, ==, 48214);
	keys(view, "t");
	g_assert_null(list->sort);
	g_assert_false(machine.flat);
	keys(view, "\\convert");
	view_key(view, KEY_OF_ENTER);
	g_assert_cmpuint(list->rows->len, ==, 1);
	view_key(view, KEY_OF_ESCAPE);
	g_assert_cmpuint(list->rows->len, ==, 6);
	list_end(view);
}

/* From a process Tab leads to the list and Esc back; where one came from the list, Esc leads there. */
static void test_back_and_forth(void)
{
	struct view *view = view_after(20, TRUE);
	machine = (struct machine_view){.roster = roster_new(), .tagged = g_hash_table_new(NULL, NULL)};
	view->machine = &machine;
	view_look(view, look(0, FALSE), fixed_now);
	keys(view, "\t\t\t");
	g_assert_true(screen_top(view)->ops == &screen_processes);
	compare_view(view, 80, 24, "processes-tab");
	view_key(view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(view)->ops == &screen_types);
	view_key(view, KEY_OF_ESCAPE);
	g_assert_true(screen_top(view)->ops == &screen_processes);
	g_assert_false(view->leave);
	view_key(view, KEY_OF_ESCAPE);
	keys(view, "/node");
	view_key(view, KEY_OF_ENTER);
	view->nested = TRUE;
	view_key(view, KEY_OF_ESCAPE); /* first the search is dropped */
	g_assert_false(view->leave);
	view_key(view, KEY_OF_ESCAPE);
	g_assert_true(view->leave);
	list_end(view);
}

/* ---- sums ---- */

static struct view *sum_after(int samples)
{
	struct top_options options = {.interval_us = G_USEC_PER_SEC, .now = now, .sum = TRUE};
	struct view *view = view_new(&options, FALSE);
	for (int i = 0; i < samples; i++) {
		g_autoptr(sample_t) sum = workers_sum(i, 8);
		fixed_now = sum->time_us;
		view_add(view, sum);
	}
	return view;
}

static void test_sum(void)
{
	struct view *view = sum_after(60);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "sum");
	view_key(view, '\t'); /* a sum has no threads */
	g_assert_true(screen_top(view)->ops == &screen_types);
	keys(view, "su");
	g_assert_false(view->assess);
	g_assert_nonnull(strstr(view->message, "in one process"));
	view_free(view);
}

static void test_members(void)
{
	struct view *view = sum_after(60);
	g_assert_cmpstr(view_selected(view)->name, ==, "app.Leaky");
	view_key(view, KEY_OF_ENTER);
	g_assert_true(screen_top(view)->ops == &screen_members);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		compare_view(view, sizes[i].width, sizes[i].height, "members");
	/* the one that grows is the first row */
	const struct member *worst = list_selected(screen_top(view)->ops->list(screen_top(view)));
	g_assert_cmpint(worst->pid, ==, 1003);
	view->options.open = (gpointer)&test_members;
	view_key(view, KEY_OF_ENTER);
	g_assert_false(view->choice->sum);
	g_assert_cmpint(chosen(view->choice, 0), ==, 1003);
	view_free(view);
}

/* One is traced by somebody else, one never could be read, one ended: each is said where the numbers are. */
static void test_said(void)
{
	struct view *view = sum_after(30);
	g_autoptr(sample_t) old = worker_sample(20, 1000), fresh = worker_sample(30, 1300);
	struct sample_part parts[] = {part_of(1000, old, FALSE), part_of(1003, fresh, TRUE),
				      part_of(2000, NULL, FALSE)};
	parts[0].why = "process 99 traces it";
	parts[2].why = "it belongs to root";
	g_autoptr(sample_t) sum = sum_make(parts, 3, START + 30 * (gint64)G_USEC_PER_SEC);
	view_add(view, sum);
	fixed_now = sum->time_us;
	compare_view(view, 80, 24, "sum-unread");
	view_key(view, KEY_OF_ENTER);
	keys(view, "j");
	compare_view(view, 80, 24, "members-unread");
	view_key(view, KEY_OF_ESCAPE);
	view_end(view, g_strdup("exit status 3"), NULL);
	fixed_now += 5 * G_USEC_PER_SEC;
	compare_view(view, 80, 24, "sum-ended");
	view_free(view);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/roster/tree", test_tree);
	g_test_add_func("/roster/circle", test_circle);
	g_test_add_func("/roster/rates", test_rates);
	g_test_add_func("/roster/history", test_history);
	g_test_add_func("/roster/bounded", test_bounded);
	g_test_add_func("/processes/list", test_list);
	g_test_add_func("/processes/no-look", test_no_look);
	g_test_add_func("/processes/any-size", test_any_size);
	g_test_add_func("/processes/open", test_open);
	g_test_add_func("/processes/sums", test_sums);
	g_test_add_func("/processes/order", test_order);
	g_test_add_func("/processes/back-and-forth", test_back_and_forth);
	g_test_add_func("/sum/types", test_sum);
	g_test_add_func("/sum/members", test_members);
	g_test_add_func("/sum/said", test_said);
	return g_test_run();
}
