#include "daemon/analysis/gate.h"

#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "daemon/store/json.h"
#include "daemon/store/recording.h"
#include "daemon/store/reference.h"

static sample_t *make_sample(int64_t pid, int64_t time_us, const struct sample_type *types, size_t n)
{
	sample_t *sample = sample_new();
	sample->time_us = time_us;
	sample->target.pid = pid;
	sample->target.start_time_us = 1000000;
	sample->target.python = "3.12.1";
	sample->n_types = n;
	sample->types = g_memdup2(types, n * sizeof(*types));
	sample_seal(sample);
	return sample;
}

static const struct sample_type before[] = {
	{.address = 1, .module = "app", .qualname = "A", .count = 10, .bytes = 100, .refs = 20},
	{.address = 2, .module = "app", .qualname = "B", .count = 5, .bytes = SAMPLE_UNKNOWN, .refs = 5},
	{.address = 3, .module = "app", .qualname = "C", .count = 7, .bytes = 70, .refs = 7},
};
static const struct sample_type after[] = {
	{.address = 1, .module = "app", .qualname = "A", .count = 9, .bytes = 90, .refs = 21},
	{.address = 2, .module = "app", .qualname = "B", .count = 5, .bytes = 50, .refs = 5},
	{.address = 4, .module = "app", .qualname = "A", .count = 3, .bytes = 30, .refs = 3},
};

static const struct diff_row *find(const diff_t *diff, uint64_t address, const char *qualname)
{
	for (size_t i = 0; i < diff->n; i++)
		if (diff->rows[i].address == address && !strcmp(diff->rows[i].qualname, qualname))
			return &diff->rows[i];
	return NULL;
}

static void test_one_process(void)
{
	g_autoptr(sample_t) a = make_sample(7, 0, before, G_N_ELEMENTS(before));
	g_autoptr(sample_t) b = make_sample(7, 1, after, G_N_ELEMENTS(after));
	g_autoptr(diff_t) diff = diff_new(a, b);
	g_assert_cmpuint(diff->n, ==, 4);
	const struct diff_row *row = find(diff, 1, "A");
	g_assert_cmpint(row->a.count, ==, 10);
	g_assert_cmpint(row->b.count, ==, 9);
	g_assert_cmpint(diff_change(row->a.refs, row->b.refs), ==, 1);
	row = find(diff, 2, "B");
	g_assert_false(diff_known(row->a.bytes, row->b.bytes));
	g_assert_cmpint(diff_change(row->a.bytes, row->b.bytes), ==, SAMPLE_UNKNOWN);
	row = find(diff, 3, "C"); /* gone */
	g_assert_cmpint(row->b.count, ==, 0);
	row = find(diff, 4, "A"); /* a new type of an old name */
	g_assert_cmpint(row->a.count, ==, 0);
	g_assert_cmpint(row->b.count, ==, 3);
}

static void test_two_processes(void)
{
	g_autoptr(sample_t) a = make_sample(7, 0, before, G_N_ELEMENTS(before));
	g_autoptr(sample_t) b = make_sample(8, 1, after, G_N_ELEMENTS(after));
	g_autoptr(diff_t) diff = diff_new(a, b);
	g_assert_cmpuint(diff->n, ==, 3);
	const struct diff_row *row = find(diff, 0, "A");
	g_assert_cmpint(row->a.count, ==, 10);
	g_assert_cmpint(row->b.count, ==, 12);
}

static void check_gate(const diff_t *diff, const char *type, int64_t more_than, const char *names)
{
	g_autoptr(gate_t) gate = gate_new(diff, type, more_than);
	g_autoptr(GString) got = g_string_new(NULL);
	for (size_t i = 0; i < gate->n; i++)
		g_string_append_printf(got, "%s%s", i ? " " : "", gate->rows[i].name);
	g_assert_cmpstr(got->str, ==, names);
	g_assert_cmpuint(gate->unknown, ==, 0);
}

static void test_gates(void)
{
	static const struct sample_type then[] = {
		{.address = 1, .module = "app", .qualname = "A", .count = 10},
		{.address = 2, .module = "builtins", .qualname = "dict", .count = 100},
		{.address = 3, .module = "app", .qualname = "Lost", .count = SAMPLE_UNKNOWN},
	};
	/* A was defined again: still 10 to 13, and not 10 to 4 and 0 to 9 */
	static const struct sample_type now[] = {
		{.address = 1, .module = "app", .qualname = "A", .count = 4},
		{.address = 4, .module = "app", .qualname = "A", .count = 9},
		{.address = 2, .module = "builtins", .qualname = "dict", .count = 120},
		{.address = 3, .module = "app", .qualname = "Lost", .count = 5},
		{.address = 5, .module = "other", .qualname = "A", .count = 1},
	};
	g_autoptr(sample_t) a = make_sample(7, 0, then, G_N_ELEMENTS(then));
	g_autoptr(sample_t) b = make_sample(7, 1, now, G_N_ELEMENTS(now));
	a->totals.objects = 110;
	b->totals.objects = 134;
	g_autoptr(diff_t) diff = diff_new(a, b);
	check_gate(diff, "app.A", 2, "app.A");
	check_gate(diff, "app.A", 3, "");
	check_gate(diff, "A", 0, "app.A other.A");
	check_gate(diff, "dict", 19, "dict");
	check_gate(diff, "builtins.dict", 20, "");
	check_gate(diff, "*.A", 2, "app.A");
	check_gate(diff, "total", 23, "total");
	check_gate(diff, "total", 24, "");
	g_autoptr(gate_t) all = gate_new(diff, "*", 0);
	g_assert_cmpuint(all->n, ==, 3);
	g_assert_cmpstr(all->rows[0].name, ==, "dict");
	g_assert_cmpuint(all->unknown, ==, 1);
	g_autoptr(gate_t) none = gate_new(diff, "app.B", 0);
	g_assert_false(none->matched);
	g_autoptr(diff_t) back = diff_new(b, a);
	check_gate(back, "*.A", 0, "");
}

static void check_reference(const char *directory, const char *reference, int64_t time_us)
{
	g_autofree char *path = g_build_filename(directory, reference, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(sample_t) sample = sample_by_reference(path, 0, &error);
	g_assert_no_error(error);
	g_assert_cmpint(sample->time_us, ==, time_us);
}

static void check_no_reference(const char *directory, const char *reference, enum reftop_error code)
{
	g_autofree char *path = g_build_filename(directory, reference, NULL);
	g_autoptr(GError) error = NULL;
	g_assert_null(sample_by_reference(path, 0, &error));
	g_assert_cmpint(error->code, ==, code);
}

static void test_references(void)
{
	g_setenv("TZ", "UTC", TRUE);
	g_autofree char *directory = g_dir_make_tmp("reftop-test-XXXXXX", NULL);
	g_autofree char *db = g_build_filename(directory, "run.db", NULL),
			*json = g_build_filename(directory, "run.json", NULL);
	g_autofree char *one = g_build_filename(directory, "one@home.json", NULL);
	/* 23:59:50 and then every 20 s, over midnight */
	int64_t start = (G_GINT64_CONSTANT(1795132800) + 86390) * G_USEC_PER_SEC;
	g_autoptr(GString) lines = g_string_new(NULL);
	recording_t *recording = NULL;
	for (int i = 0; i < 4; i++) {
		g_autoptr(sample_t) sample =
			make_sample(7, start + i * 20 * G_USEC_PER_SEC, before, G_N_ELEMENTS(before));
		g_autoptr(GString) line = json_sample(sample, NULL, 0);
		g_string_append(lines, line->str);
		if (!recording)
			recording = recording_append_to(db, sample, NULL);
		g_assert_true(recording_append(recording, sample, NULL, NULL));
		if (!i)
			g_assert_true(g_file_set_contents(one, line->str, -1, NULL));
	}
	recording_free(recording);
	g_assert_true(g_file_set_contents(json, lines->str, -1, NULL));
	static const char *const files[] = {"run.db", "run.json"};
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		static const struct {
			const char *suffix;
			int index; /* -1: failed, -2: usage */
		} cases[] = {{"", 3},    {"@last", 3},     {"@1", 0},        {"@first", 0},   {"@4", 3},
			     {"@5", -1}, {"@00:00:30", 2}, {"@00:00:29", 1}, {"@00:01", 3},   {"@23:59:50", 0},
			     {"@0", -2}, {"@never", -2},   {"@25:00", -2},   {"@1:2:3x", -2}, {"@00:00:05", 0}};
		for (size_t c = 0; c < G_N_ELEMENTS(cases); c++) {
			g_autofree char *reference = g_strconcat(files[i], cases[c].suffix, NULL);
			if (cases[c].index >= 0)
				check_reference(directory, reference, start + cases[c].index * 20 * G_USEC_PER_SEC);
			else
				check_no_reference(directory, reference,
						   cases[c].index == -1 ? REFTOP_ERROR_FAILED : REFTOP_ERROR_USAGE);
		}
	}
	check_reference(directory, "one@home.json", start);
	check_reference(directory, "one@home.json@1", start);
	check_no_reference(directory, "missing.db", REFTOP_ERROR_FAILED);
	check_no_reference(directory, "missing.db@1", REFTOP_ERROR_FAILED);
	check_no_reference(directory, "", REFTOP_ERROR_FAILED); /* a directory */
	g_unlink(db);
	g_unlink(json);
	g_unlink(one);
	g_rmdir(directory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/diff/one-process", test_one_process);
	g_test_add_func("/diff/two-processes", test_two_processes);
	g_test_add_func("/diff/gates", test_gates);
	g_test_add_func("/diff/references", test_references);
	return g_test_run();
}
