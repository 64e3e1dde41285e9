/* `reftop diff A B`: what grew between two samples. */
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/diff.h"
#include "daemon/store/json.h"
#include "daemon/store/reference.h"
#include "tui/commands/commands.h"
#include "tui/output.h"

/* by which difference rows are sorted, largest first; then by name */
struct sort_key {
	const char *name;
	size_t position; /* in struct diff_side */
};

static const struct sort_key keys[] = {
	{"bytes", offsetof(struct diff_side, bytes)},
	{"count", offsetof(struct diff_side, count)},
	{"refs", offsetof(struct diff_side, refs)},
};

static const struct sort_key *find_key(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (!name || !strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int64_t side_value(const struct diff_side *side, const struct sort_key *key)
{
	return *(const int64_t *)((const char *)side + key->position);
}

static gint compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct diff_row *x = a, *y = b;
	const struct sort_key *key = data;
	int64_t p = diff_change(side_value(&x->a, key), side_value(&x->b, key));
	int64_t q = diff_change(side_value(&y->a, key), side_value(&y->b, key));
	if (p != q)
		return p < q ? 1 : -1;
	int order = strcmp(x->module, y->module);
	if (!order)
		order = strcmp(x->qualname, y->qualname);
	return order ? order : (x->address > y->address) - (x->address < y->address);
}

static bool changed(const struct diff_row *row)
{
	return memcmp(&row->a, &row->b, sizeof(row->a)) != 0;
}

/* "+1,234", "-5", "0", "-" */
static const char *format_change(char buffer[40], int64_t a, int64_t b)
{
	char count[32];
	if (!diff_known(a, b))
		return "-";
	g_snprintf(buffer, 40, "%s%s", b > a ? "+" : "", text_count(count, b - a));
	return buffer;
}

static const char *format_bytes(char buffer[40], int64_t a, int64_t b)
{
	char bytes[16];
	if (!diff_known(a, b))
		return "-";
	g_snprintf(buffer, 40, "%s%s", b > a ? "+" : "", text_bytes(bytes, b - a));
	return buffer;
}

static void append_origin(GString *text, const char *name, const sample_t *sample)
{
	g_autofree char *time = text_time(sample->time_us);
	char count[32], bytes[16];
	g_string_append_printf(text, "%s: process %" G_GINT64_FORMAT ", CPython %s, %s, %s objects, %s\n", name,
			       sample->target.pid, sample->target.python, time,
			       text_count(count, sample->totals.objects), text_bytes(bytes, sample->totals.bytes));
}

static GString *format_table(const diff_t *diff, size_t limit)
{
	GString *text = g_string_new(NULL);
	append_origin(text, "A", diff->a);
	append_origin(text, "B", diff->b);
	g_string_append(text, "\n      COUNT      +COUNT   +BYTES        +REFS  TYPE\n");
	size_t shown = 0, all = 0;
	for (size_t i = 0; i < diff->n; i++) {
		const struct diff_row *row = &diff->rows[i];
		if (!changed(row) || (all++, shown >= limit))
			continue;
		shown++;
		char now[32], count[40], bytes[40], refs[40];
		struct sample_type type = {.module = row->module, .qualname = row->qualname};
		g_autofree char *name = sample_type_name(&type);
		g_string_append_printf(text, "%11s %11s %8s %12s  %s\n",
				       row->b.count == SAMPLE_UNKNOWN ? "-" : text_count(now, row->b.count),
				       format_change(count, row->a.count, row->b.count),
				       format_bytes(bytes, row->a.bytes, row->b.bytes),
				       format_change(refs, row->a.refs, row->b.refs), name);
	}
	if (all > shown)
		g_string_append_printf(text, "and %zu more types that changed\n", all - shown);
	else if (!all)
		g_string_append(text, "nothing changed\n");
	return text;
}

/* a difference may well be -1, which SAMPLE_UNKNOWN is, too */
static void put_change(JsonBuilder *builder, const char *key, int64_t a, int64_t b)
{
	json_builder_set_member_name(builder, key);
	if (diff_known(a, b))
		json_builder_add_int_value(builder, b - a);
	else
		json_builder_add_null_value(builder);
}

static void put_side(JsonBuilder *builder, const char *key, const sample_t *sample)
{
	json_builder_set_member_name(builder, key);
	json_builder_begin_object(builder);
	json_put_origin(builder, sample);
	json_builder_end_object(builder);
}

static void add_row(JsonBuilder *builder, const struct diff_row *row)
{
	json_builder_begin_object(builder);
	json_put_address(builder, "address", row->address);
	json_builder_set_member_name(builder, "module");
	json_builder_add_string_value(builder, row->module);
	json_builder_set_member_name(builder, "qualname");
	json_builder_add_string_value(builder, row->qualname);
	put_change(builder, "count", row->a.count, row->b.count);
	put_change(builder, "bytes", row->a.bytes, row->b.bytes);
	put_change(builder, "refs", row->a.refs, row->b.refs);
	json_put_number(builder, "count_a", row->a.count);
	json_put_number(builder, "bytes_a", row->a.bytes);
	json_put_number(builder, "refs_a", row->a.refs);
	json_put_number(builder, "count_b", row->b.count);
	json_put_number(builder, "bytes_b", row->b.bytes);
	json_put_number(builder, "refs_b", row->b.refs);
	json_builder_end_object(builder);
}

static GString *format_json(const diff_t *diff, size_t limit)
{
	const struct sample_totals *a = &diff->a->totals, *b = &diff->b->totals;
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.diff/1");
	put_change(builder, "elapsed_us", diff->a->time_us, diff->b->time_us);
	put_side(builder, "a", diff->a);
	put_side(builder, "b", diff->b);
	json_builder_set_member_name(builder, "totals");
	json_builder_begin_object(builder);
	put_change(builder, "objects", a->objects, b->objects);
	put_change(builder, "bytes", a->bytes, b->bytes);
	put_change(builder, "refs", a->refs, b->refs);
	json_builder_end_object(builder);
	json_builder_set_member_name(builder, "types");
	json_builder_begin_array(builder);
	for (size_t i = 0, shown = 0; i < diff->n && shown < limit; i++) {
		if (!changed(&diff->rows[i]))
			continue;
		add_row(builder, &diff->rows[i]);
		shown++;
	}
	json_builder_end_array(builder);
	json_builder_end_object(builder);
	return json_line(builder);
}

/* the type that grew most by count, or NULL */
static const struct diff_row *grown(const diff_t *diff)
{
	const struct diff_row *most = NULL;
	for (size_t i = 0; i < diff->n; i++) {
		const struct diff_row *row = &diff->rows[i];
		if (diff_known(row->a.count, row->b.count) && row->b.count > row->a.count &&
		    (!most || row->b.count - row->a.count > most->b.count - most->a.count))
			most = row;
	}
	return most;
}

static gboolean check_growth(const diff_t *diff, GError **error)
{
	const struct diff_row *row = grown(diff);
	if (!row)
		return TRUE;
	char change[40];
	struct sample_type type = {.module = row->module, .qualname = row->qualname};
	g_autofree char *name = sample_type_name(&type);
	g_autofree char *cause = g_strdup_printf("%s objects of %s, the most of all types",
						 format_change(change, row->a.count, row->b.count), name);
	error_set(error, FACE_ERROR, REFTOP_ERROR_GATE, cause, NULL,
		  "objects grew between the samples (--fail-on-growth)");
	return FALSE;
}

static int diff_run(const struct options *options, GError **error)
{
	const struct sort_key *key = find_key(options->sort);
	if (!key) {
		usage_error(error, &command_diff, "bytes count refs", "no such sort key: '%s'", options->sort);
		return REFTOP_ERROR_USAGE;
	}
	g_autoptr(sample_t) a = sample_by_reference(options->arguments[0], error);
	g_autoptr(sample_t) b = a ? sample_by_reference(options->arguments[1], error) : NULL;
	if (!b)
		return REFTOP_ERROR_FAILED;
	g_autoptr(diff_t) diff = diff_new(a, b);
	g_qsort_with_data(diff->rows, (gint)diff->n, sizeof(*diff->rows), compare, (gpointer)key);
	size_t limit = options->limit ? (size_t)options->limit : SIZE_MAX;
	g_autoptr(GString) text = options->json ? format_json(diff, limit) : format_table(diff, limit);
	if (!output_text(options->output, text->str, text->len, error) ||
	    (options->fail_on_growth && !check_growth(diff, error)))
		return REFTOP_ERROR_FAILED;
	return 0;
}

const struct command command_diff = {
	.name = "diff",
	.synopsis = "A B",
	.summary = "what changed between two samples",
	.details = "A and B are samples: `run.db@1`, `run.db@last` (or just `run.db`), `run.db@14:05:00` (the last one "
		   "that isn't later in its "
		   "local time), and the same of files that `histo --json` or `record --json` wrote. Samples of "
		   "one process are compared "
		   "type by type, samples of different processes by the names of types. Sort keys: bytes (the "
		   "default), count, refs.",
	.options = (const enum option_id[]){OPTION_OUTPUT, OPTION_JSON, OPTION_SORT, OPTION_LIMIT,
					    OPTION_FAIL_ON_GROWTH, OPTION_END},
	.min_arguments = 2,
	.max_arguments = 2,
	.run = diff_run,
};
