/* `reftop diff A B`: what grew between two samples. */
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/gate.h"
#include "daemon/store/json.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/output.h"
#include "tui/sides.h"

#define NAMED 3 /* types that tripped a gate and are said by name */

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
	g_string_append_printf(text, "%s: process %" G_GINT64_FORMAT ", CPython %s, %s, %s objects, %s%s\n", name,
			       sample->target.pid, sample->target.python, time,
			       text_count(count, sample->totals.objects), text_bytes(bytes, sample->totals.bytes),
			       sample->snapshot.consistent ? "" : ", INCONSISTENT");
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

/* ---- --fail-on-growth ---- */

static void gates_free(gpointer data)
{
	gate_free(data);
}

static GPtrArray *judge(const diff_t *diff, const struct option_gates *asked)
{
	GPtrArray *gates = g_ptr_array_new_with_free_func(gates_free);
	for (gsize i = 0; i < asked->n; i++) {
		g_autofree char *type = g_strndup(asked->at[i].type, asked->at[i].length);
		g_ptr_array_add(gates, gate_new(diff, type, asked->at[i].more_than));
	}
	return gates;
}

static void add_gate(JsonBuilder *builder, const struct option_gate *asked, const gate_t *gate)
{
	g_autofree char *type = g_strndup(asked->type, asked->length);
	json_builder_begin_object(builder);
	json_put_text(builder, "type", type);
	json_put_number(builder, "more_than", asked->more_than);
	json_put_bool(builder, "tripped", gate->n > 0);
	json_builder_set_member_name(builder, "types");
	json_builder_begin_array(builder);
	for (size_t i = 0; i < gate->n; i++) {
		json_builder_begin_object(builder);
		json_put_text(builder, "name", gate->rows[i].name);
		put_change(builder, "count", gate->rows[i].a, gate->rows[i].b);
		json_put_number(builder, "count_a", gate->rows[i].a);
		json_put_number(builder, "count_b", gate->rows[i].b);
		json_builder_end_object(builder);
	}
	json_builder_end_array(builder);
	json_builder_end_object(builder);
}

static void put_gates(JsonBuilder *builder, const struct option_gates *asked, const GPtrArray *gates)
{
	json_builder_set_member_name(builder, "fail_on_growth");
	json_builder_begin_array(builder);
	for (gsize i = 0; i < asked->n; i++)
		add_gate(builder, &asked->at[i], gates->pdata[i]);
	json_builder_end_array(builder);
}

/* "app.Thing by 412, dict by 40 (more than 10)" */
static void append_tripped(GString *text, const struct option_gate *asked, const gate_t *gate)
{
	char number[32];
	for (size_t i = 0; i < MIN(gate->n, NAMED); i++)
		g_string_append_printf(text, "%s%s by %s", text->len ? ", " : "", gate->rows[i].name,
				       text_count(number, gate->rows[i].b - gate->rows[i].a));
	if (gate->n > NAMED)
		g_string_append_printf(text, " and %zu more types", gate->n - NAMED);
	g_string_append_printf(text, " (more than %s)", text_count(number, asked->more_than));
}

/* What tripped, as an error of one line. */
static gboolean check_gates(const struct option_gates *asked, const GPtrArray *gates, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	for (gsize i = 0; i < asked->n; i++) {
		const gate_t *gate = gates->pdata[i];
		g_autofree char *type = g_strndup(asked->at[i].type, asked->at[i].length);
		g_autofree char *name = text_escape(type, strlen(type));
		if (gate->unknown) {
			error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, "one of the samples has no count of them",
				  NULL, "cannot tell whether %s grew (--fail-on-growth)", name);
			return FALSE;
		}
		if (!gate->matched)
			g_printerr("reftop: no type is called %s in either sample (--fail-on-growth)\n", name);
		if (gate->n)
			append_tripped(text, &asked->at[i], gate);
	}
	if (!text->len)
		return TRUE;
	error_set(error, FACE_ERROR, REFTOP_ERROR_GATE, NULL, NULL, "--fail-on-growth: grew: %s", text->str);
	return FALSE;
}

static GString *format_json(const diff_t *diff, size_t limit, const struct option_gates *asked, const GPtrArray *gates)
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
	put_gates(builder, asked, gates);
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

/* ---- the command ---- */

/* What the collector tracks can't be compared with everything. */
static gboolean check_coverage(const sample_t *a, const sample_t *b, GError **error)
{
	if (!*a->snapshot.coverage || !*b->snapshot.coverage || !strcmp(a->snapshot.coverage, b->snapshot.coverage))
		return TRUE;
	error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED,
		  "one has all objects, the other those that the collector tracks",
		  "take both the same way, with --gc or without", "cannot compare these samples");
	return FALSE;
}

static gboolean compare_sides(const struct options *options, const struct sort_key *key, sample_t *a, sample_t *b,
			      GError **error)
{
	if (!check_coverage(a, b, error))
		return FALSE;
	g_autoptr(diff_t) diff = diff_new(a, b);
	g_autoptr(GPtrArray) gates = judge(diff, &options->gates);
	g_qsort_with_data(diff->rows, (gint)diff->n, sizeof(*diff->rows), compare, (gpointer)key);
	size_t limit = options->limit ? (size_t)options->limit : SIZE_MAX;
	g_autoptr(GString) text =
		options->json ? format_json(diff, limit, &options->gates, gates) : format_table(diff, limit);
	if (!output_text(options->output, text->str, text->len, error))
		return FALSE;
	if (options->strict && (!sample_check_strict(a, error) || !sample_check_strict(b, error)))
		return FALSE;
	return check_gates(&options->gates, gates, error);
}

static int diff_run(const struct options *options, GError **error)
{
	const struct sort_key *key = find_key(options->sort);
	if (!key) {
		usage_error(error, &command_diff, "bytes count refs", "no such sort key: '%s'", options->sort);
		return REFTOP_ERROR_USAGE;
	}
	struct side a = {0}, b = {0};
	gboolean good = side_open(&a, &command_diff, options, options->arguments[0], error) &&
			side_open(&b, &command_diff, options, options->arguments[1], error) && side_take(&a, error) &&
			side_take(&b, error) && compare_sides(options, key, a.sample, b.sample, error);
	side_clear(&a);
	side_clear(&b);
	return good ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_diff = {
	.name = "diff",
	.synopsis = "A B",
	.summary = "what changed between two samples",
	.details =
		"A and B are samples: `run.db@1`, `run.db@last` (or just `run.db`), `run.db@14:05:00` (the last one that isn't later in its local "
		"time), and the same of files that `histo --json` or `record --json` wrote; with -p of this process, where the file has several. A "
		"process is one, too, `pid:1234`, or `1234` where no file is called so, and is sampled now; `1234@14:05` is what the daemon remembers of "
		"it. So is a core file, or an image that `reftop save` wrote. Both are opened before the first is read.\n\n"
		"Samples of one process are compared type by type, samples of different processes by the names of types. Sort keys: bytes (the "
		"default), count, refs.\n\n"
		"With --fail-on-growth TYPE=N the exit status is 7 when there are more than N objects of TYPE more in B than in A. TYPE is "
		"`dict`, `app.Thing`, `Thing` of whatever module, a pattern over module and name as `app.*` (`*` and `?`; each type that matches "
		"is judged by itself), or `total`, all objects. Without TYPE=N no type may grow at all.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_OUTPUT, OPTION_JSON, OPTION_SORT, OPTION_LIMIT,
					    OPTION_FAIL_ON_GROWTH, OPTION_STRICT, OPTION_NONBLOCKING, OPTION_PRECOPY,
					    OPTION_MAX_PAUSE, OPTION_MEMORY, OPTION_NO_DAEMON, OPTION_END},
	.min_arguments = 2,
	.max_arguments = 2,
	.run = diff_run,
};
