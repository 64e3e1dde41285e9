/* Sums of several processes, and the histories of those they are of: daemon/analysis/sum.h, members.h, noted.h. */
#include <math.h>
#include <string.h>

#include "tests/unit/sums.h"
#include "tui/tree.h"

static const struct sample_type *type_named(const sample_t *sample, const char *name)
{
	for (size_t i = 0; i < sample->n_types; i++)
		if (!strcmp(sample->types[i].qualname, name))
			return &sample->types[i];
	return NULL;
}

static const struct trend_row *row_named(const trend_t *trend, const char *name)
{
	const GPtrArray *rows = trend_rows(trend);
	for (guint i = 0; i < rows->len; i++)
		if (!strcmp(((struct trend_row *)rows->pdata[i])->name, name))
			return rows->pdata[i];
	return NULL;
}

/* ---- sums ---- */

static void test_sum(void)
{
	g_autoptr(sample_t) a = worker_sample(0, 100), b = worker_sample(0, 250);
	struct sample_part parts[] = {part_of(1, a, TRUE), part_of(2, b, TRUE)};
	g_autoptr(sample_t) sum = sum_make(parts, 2, START);
	const struct sample_type *leaky = type_named(sum, "Leaky"), *dict = type_named(sum, "dict");
	g_assert_cmpint(leaky->count, ==, 350);
	g_assert_cmpint(leaky->bytes, ==, 350 * 48);
	g_assert_cmpint(leaky->refs, ==, 350 * 2);
	g_assert_cmpint(leaky->refs_max, ==, 3);
	/* an address means nothing in another process */
	g_assert_cmpuint(leaky->address, ==, 0);
	g_assert_cmpint(dict->count, ==, 80);
	g_assert_cmpint(sum->totals.objects, ==, a->totals.objects + b->totals.objects);
	g_assert_cmpint(sum->totals.bytes, ==, a->totals.bytes + b->totals.bytes);
	g_assert_cmpint(sum->target.rss, ==, 20 << 20);
	g_assert_cmpstr(sum->target.python, ==, "3.12.1");
	g_assert_cmpuint(sum->n_parts, ==, 2);
	g_assert_true(sum->parts[1].sample == b);
}

/* Two classes of one name in one process, as after a reload: one row of the sum. */
static void test_names(void)
{
	sample_t *twice = worker_sample(0, 100);
	add_type(twice, 0x77770000, "app", "Leaky", 5, 48, 2, 9);
	sample_seal(twice);
	struct sample_part part = part_of(1, twice, TRUE);
	g_autoptr(sample_t) sum = sum_make(&part, 1, START);
	g_assert_cmpuint(sum->n_types, ==, twice->n_types - 1);
	g_assert_cmpint(type_named(sum, "Leaky")->count, ==, 105);
	g_assert_cmpint(type_named(sum, "Leaky")->refs_max, ==, 9);
	sample_unref(twice);
}

/* What is not known of one is not known of the sum, and never 0. */
static void test_unknown(void)
{
	sample_t *blind = worker_sample(0, 100);
	blind->types[0].bytes = blind->types[0].refs = SAMPLE_UNKNOWN;
	blind->totals.bytes = SAMPLE_UNKNOWN;
	g_autoptr(sample_t) other = worker_sample(0, 250);
	g_autofree char *name = g_strdup(blind->types[0].qualname);
	struct sample_part parts[] = {part_of(1, blind, TRUE), part_of(2, other, TRUE)};
	g_autoptr(sample_t) sum = sum_make(parts, 2, START);
	g_assert_cmpint(type_named(sum, name)->bytes, ==, SAMPLE_UNKNOWN);
	g_assert_cmpint(type_named(sum, name)->refs, ==, SAMPLE_UNKNOWN);
	g_assert_cmpint(type_named(sum, name)->count, >, 0);
	g_assert_cmpint(sum->totals.bytes, ==, SAMPLE_UNKNOWN);
	sample_unref(blind);
}

/* One that could not be read counts as what it last held; one that never could counts nowhere; both are told. */
static void test_unread(void)
{
	g_autoptr(sample_t) old = worker_sample(0, 100), fresh = worker_sample(9, 250);
	struct sample_part parts[] = {part_of(1, old, FALSE), part_of(2, fresh, TRUE), part_of(3, NULL, FALSE)};
	parts[0].why = "another process traces it";
	parts[2].why = "it belongs to somebody else";
	g_autoptr(sample_t) sum = sum_make(parts, 3, START);
	g_assert_cmpint(type_named(sum, "Leaky")->count, ==, 350);
	g_assert_cmpstr(sum->parts[0].why, ==, "another process traces it");
	g_assert_null(sum->parts[2].sample);
	/* the pause of an earlier round is none of this one */
	g_assert_cmpint(sum->snapshot.pause_us, ==, fresh->snapshot.pause_us);
}

static void test_empty(void)
{
	g_autoptr(sample_t) sum = sum_make(NULL, 0, START);
	g_assert_cmpint(sum->totals.objects, ==, 0);
	g_assert_cmpuint(sum->n_types, ==, 0);
	g_assert_false(sum->totals.has_memory);
}

/* ---- members ---- */

/* The trend of the sum as the view keeps it. */
static void take(members_t *members, trend_t *trend, sample_t *sum)
{
	members_add(members, sum);
	trend_defer(trend, true);
	trend_add(trend, sum);
	members_move_baseline(members, trend);
	trend_defer(trend, false);
	members_add_rates(members, trend);
	sample_unref(sum);
}

static void test_worst(void)
{
	g_autoptr(members_t) members = members_new();
	g_autoptr(trend_t) trend = trend_new();
	for (int i = 0; i < 40; i++)
		take(members, trend, workers_sum(i, 8));
	struct member_type type;
	const struct member *worst = members_worst(members, "app.Leaky", &type);
	g_assert_nonnull(worst);
	g_assert_cmpint(worst->pid, ==, 1003);
	g_assert_true(type.steady);
	g_assert_cmpfloat(fabs(type.rate - 600), <, 1);
	g_assert_cmpint(type.last[TREND_COUNT] - type.baseline[TREND_COUNT], ==, 390);
	g_assert_null(members_worst(members, "dict", &type));
	g_assert_null(members_worst(members, "no.such", &type));
	const struct trend_row *row = row_named(trend, "app.Leaky");
	g_assert_cmpint(row->last[TREND_COUNT] - row->baseline[TREND_COUNT], ==, 390);
	g_assert_cmpfloat(fabs(row->rate - 600), <, 1);
	g_assert_cmpint(row->growth[TREND_COUNT].verdict, ==, GROWTH_STEADY);
	g_autoptr(GArray) grown = members_grown(members);
	g_assert_cmpuint(grown->len, ==, 1);
	g_assert_cmpint(g_array_index(grown, struct grown, 0).pid, ==, 1003);
	g_assert_cmpstr(g_array_index(grown, struct grown, 0).type, ==, "app.Leaky");
	g_assert_cmpuint(members_read(members), ==, 8);
}

/* What somebody brings along is no growth, and what they take away no shrinking; who left is still listed, and what grew in it known. */
static void test_come_and_go(void)
{
	g_autoptr(members_t) members = members_new();
	g_autoptr(trend_t) trend = trend_new();
	int64_t when;
	for (int i = 0; i < 30; i++)
		take(members, trend, workers_sum(i, 8));
	g_assert_null(members_news(members, &when));
	take(members, trend, workers_sum(30, 9));
	const struct trend_row *row = row_named(trend, "app.Leaky");
	g_assert_cmpint(row->last[TREND_COUNT], ==, 9 * 1000 + 300);
	g_assert_cmpint(row->last[TREND_COUNT] - row->baseline[TREND_COUNT], ==, 300);
	g_assert_cmpint(members_news(members, &when)->pid, ==, 1008);
	g_assert_cmpint(members_news(members, &when)->left_us, ==, 0);
	for (int i = 31; i < 40; i++)
		take(members, trend, workers_sum(i, 9));
	/* the leaking one is the fourth: all from it on go */
	take(members, trend, workers_sum(40, 3));
	row = row_named(trend, "app.Leaky");
	g_assert_cmpint(row->last[TREND_COUNT], ==, 3000);
	g_assert_cmpint(row->last[TREND_COUNT] - row->baseline[TREND_COUNT], ==, 0);
	g_assert_cmpuint(members_there(members), ==, 3);
	g_assert_cmpuint(members_all(members)->len, ==, 9);
	g_assert_cmpint(((struct member *)members_all(members)->pdata[3])->left_us, ==, START + 40 * G_USEC_PER_SEC);
	g_assert_cmpint(members_news(members, &when)->left_us, >, 0);
	g_autoptr(GArray) grown = members_grown(members);
	g_assert_cmpuint(grown->len, ==, 1);
	g_assert_cmpint(g_array_index(grown, struct grown, 0).pid, ==, 1003);
}

/* The number of a process that ended is another's now. */
static void test_same_number(void)
{
	g_autoptr(members_t) members = members_new();
	g_autoptr(sample_t) a = worker_sample(0, 100), b = worker_sample(1, 5);
	struct sample_part part = part_of(7, a, TRUE);
	g_autoptr(sample_t) first = sum_make(&part, 1, START);
	members_add(members, first);
	part = part_of(7, b, TRUE);
	part.start_time_us += G_USEC_PER_SEC;
	g_autoptr(sample_t) second = sum_make(&part, 1, START + G_USEC_PER_SEC);
	members_add(members, second);
	g_assert_cmpuint(members_there(members), ==, 1);
	g_assert_cmpuint(members_all(members)->len, ==, 2);
	struct member_type type;
	g_assert_true(member_type(members_all(members)->pdata[0], "app.Leaky", &type));
	g_assert_cmpint(type.last[TREND_COUNT], ==, 5);
	g_assert_cmpint(type.baseline[TREND_COUNT], ==, 5);
}

static void test_never_read(void)
{
	g_autoptr(members_t) members = members_new();
	g_autoptr(trend_t) trend = trend_new();
	g_autoptr(sample_t) a = worker_sample(0, 100);
	struct sample_part parts[] = {part_of(1, a, TRUE), part_of(2, NULL, FALSE)};
	parts[1].why = "it belongs to somebody else";
	take(members, trend, sum_make(parts, 2, START));
	g_assert_cmpuint(members_there(members), ==, 2);
	g_assert_cmpuint(members_unread(members), ==, 1);
	g_assert_cmpuint(members_read(members), ==, 1);
	struct member_type type;
	g_assert_false(member_type(members_all(members)->pdata[1], "app.Leaky", &type));
	g_assert_cmpint(row_named(trend, "app.Leaky")->baseline[TREND_COUNT], ==, 100);
}

static void test_baseline(void)
{
	g_autoptr(members_t) members = members_new();
	g_autoptr(trend_t) trend = trend_new();
	for (int i = 0; i < 20; i++)
		take(members, trend, workers_sum(i, 8));
	trend_set_baseline(trend);
	members_set_baseline(members);
	take(members, trend, workers_sum(20, 8));
	const struct trend_row *row = row_named(trend, "app.Leaky");
	g_assert_cmpint(row->last[TREND_COUNT] - row->baseline[TREND_COUNT], ==, 10);
}

/* ---- at a program's end ---- */

static GString *told;

static void take_line(const char *text)
{
	g_string_append(told, text);
}

/* Command lines about as long as there is room for. */
static void test_told(void)
{
	for (int length = 58; length < 66; length++) {
		g_autofree char *command = g_strnfill((gsize)length, 'x');
		struct grown growth = {.type = (char *)"app.Thing",
				       .rate = 2,
				       .until_us = 60 * G_USEC_PER_SEC,
				       .amount = 120,
				       .pid = 7,
				       .command = command};
		g_autoptr(GArray) growths = g_array_new(FALSE, FALSE, sizeof(struct grown));
		g_array_append_val(growths, growth);
		told = g_string_new(NULL);
		GPrintFunc before = g_set_printerr_handler(take_line);
		tree_summarize(growths, 1);
		g_set_printerr_handler(before);
		g_autofree char *shown = length <= 60 ? g_strdup(command) : g_strdup_printf("%.59s…", command);
		g_autofree char *expected = g_strdup_printf("in process 7 (%s)\n", shown);
		g_assert_true(g_str_has_prefix(told->str, "reftop: what grows in 1 process\n  app.Thing: "));
		g_assert_true(g_str_has_suffix(told->str, expected));
		g_string_free(told, TRUE);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sum/types", test_sum);
	g_test_add_func("/sum/names", test_names);
	g_test_add_func("/sum/unknown", test_unknown);
	g_test_add_func("/sum/unread", test_unread);
	g_test_add_func("/sum/empty", test_empty);
	g_test_add_func("/members/worst", test_worst);
	g_test_add_func("/members/come-and-go", test_come_and_go);
	g_test_add_func("/members/same-number", test_same_number);
	g_test_add_func("/members/never-read", test_never_read);
	g_test_add_func("/members/baseline", test_baseline);
	g_test_add_func("/members/told", test_told);
	return g_test_run();
}
