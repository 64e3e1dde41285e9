/* `reftop histo`: one table, a row per type, then exit. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/output.h"
#include "tui/rows.h"

static void append_cell(GString *text, const char *cell, int width)
{
	g_string_append_printf(text, "%*s", width, cell);
}

static void append_count(GString *text, int64_t count, int width)
{
	char buffer[32];
	append_cell(text, count == SAMPLE_UNKNOWN ? "-" : text_count(buffer, count), width);
}

static void append_bytes(GString *text, int64_t bytes, int width)
{
	char buffer[16];
	append_cell(text, bytes == SAMPLE_UNKNOWN ? "-" : text_bytes(buffer, bytes), width);
}

static void append_header(GString *text, const sample_t *sample)
{
	const struct sample_target *target = &sample->target;
	const struct sample_snapshot *snapshot = &sample->snapshot;
	char count[32], bytes[16], rss[16], copied[16];
	g_autofree char *cmdline = g_strjoinv(" ", (char **)target->cmdline);
	g_string_append_printf(text, "process %" G_GINT64_FORMAT "  CPython %s%s%s  RSS %s  %s\n", target->pid,
			       target->python, target->debug ? " debug" : "",
			       target->free_threaded ? " free-threaded" : "",
			       target->rss == SAMPLE_UNKNOWN ? "-" : text_bytes(rss, target->rss), cmdline);
	if (snapshot->skipped) {
		g_string_append_printf(text, "SKIPPED: %s\n", snapshot->skipped);
		return;
	}
	g_string_append_printf(text, "%s objects%s  %s", text_count(count, sample->totals.objects),
			       strcmp(snapshot->coverage, "gc") ? "" : " tracked by the collector",
			       text_bytes(bytes, sample->totals.bytes));
	if (!strcmp(snapshot->mode, "quiet"))
		g_string_append(text, "  not stopped");
	else if (snapshot->pause_us != SAMPLE_UNKNOWN && snapshot->pause_us)
		g_string_append_printf(text, "  stopped for %.1f ms", (double)snapshot->pause_us / 1e3);
	if (snapshot->bytes_copied != SAMPLE_UNKNOWN)
		g_string_append_printf(text, "  %s copied", text_bytes(copied, snapshot->bytes_copied));
	if (snapshot->streamed)
		g_string_append(text, "  in pieces");
	if (!snapshot->consistent)
		g_string_append(text, "  INCONSISTENT");
	if (snapshot->torn > 0)
		g_string_append_printf(text, "  %s TORN", text_count(count, snapshot->torn));
	if (sample->totals.unreadable > 0)
		g_string_append_printf(text, "  %s UNREADABLE", text_count(count, sample->totals.unreadable));
	g_string_append(text, "\n\n");
}

/* -v: where the resident memory is */
static void append_memory(GString *text, const sample_t *sample)
{
	struct sample_memory memory = sample->totals.memory;
	char bytes[16], count[32];
	for (size_t i = 0; i < SAMPLE_MEMORY_PARTS; i++)
		g_string_append_printf(text, "%10s  %s\n", text_bytes(bytes, *sample_memory_at(&memory, i)),
				       sample_memory_parts[i].label);
	g_string_append_printf(text, "%10s  RSS", text_bytes(bytes, sample->target.rss));
	if (sample->totals.allocated_blocks != SAMPLE_UNKNOWN)
		g_string_append_printf(text, "; %s allocated blocks",
				       text_count(count, sample->totals.allocated_blocks));
	g_string_append(text, "\n\n");
}

static GString *format_table(const sample_t *sample, const struct rows *rows, const struct rows_key *key,
			     gboolean verbose)
{
	GString *text = g_string_new(NULL);
	append_header(text, sample);
	if (sample->snapshot.skipped)
		return text;
	if (verbose && sample->totals.has_memory)
		append_memory(text, sample);
	g_string_append(text, "       COUNT   BYTES          REFS         MAX");
	if (key->title)
		append_cell(text, key->title, 12);
	g_string_append(text, "  TYPE\n");
	for (size_t i = 0; i < rows->n; i++) {
		const struct sample_type *type = rows->types[i];
		g_autofree char *name = sample_type_name(type);
		append_count(text, type->count, 12);
		append_bytes(text, type->bytes, 8);
		append_count(text, type->refs, 14);
		append_count(text, type->refs_max, 12);
		if (key->title) {
			int64_t value = *(const int64_t *)((const char *)type + key->position);
			(key->bytes ? append_bytes : append_count)(text, value, 12);
		}
		g_string_append_printf(text, "  %s\n", name);
	}
	if (rows->n < sample->n_types)
		g_string_append_printf(text, "and %zu more types\n", sample->n_types - rows->n);
	return text;
}

static void append_quoted(GString *text, const char *field)
{
	/* a leading = + - @ would be a formula to a spreadsheet; a type's name never starts so by itself */
	g_string_append_c(text, '"');
	for (; *field; field++) {
		if (*field == '"')
			g_string_append_c(text, '"');
		g_string_append_c(text, *field);
	}
	g_string_append_c(text, '"');
}

static GString *format_csv(const struct rows *rows)
{
	GString *text = g_string_new("address,module,qualname,count,gc_count,bytes,refs,refs_max,immortal,owned\r\n");
	for (size_t i = 0; i < rows->n; i++) {
		const struct sample_type *type = rows->types[i];
		g_string_append_printf(text, "0x%" G_GINT64_MODIFIER "x,", type->address);
		append_quoted(text, type->module);
		g_string_append_c(text, ',');
		append_quoted(text, type->qualname);
		const int64_t numbers[] = {type->count,    type->gc_count, type->bytes, type->refs,
					   type->refs_max, type->immortal, type->owned};
		for (size_t at = 0; at < G_N_ELEMENTS(numbers); at++) {
			g_string_append_c(text, ',');
			if (numbers[at] != SAMPLE_UNKNOWN)
				g_string_append_printf(text, "%" G_GINT64_FORMAT, numbers[at]);
		}
		g_string_append(text, "\r\n");
	}
	return text;
}

static gboolean write_sample(const sample_t *sample, const struct options *options, GError **error)
{
	struct rows rows;
	const struct rows_key *key = rows_key(options->sort);
	rows_init(&rows, sample, key, options->limit ? (size_t)options->limit : SIZE_MAX);
	g_autoptr(GString) text = options->json  ? json_sample(sample, rows.types, rows.n)
				  : options->csv ? format_csv(&rows)
						 : format_table(sample, &rows, key, options->verbose);
	rows_clear(&rows);
	return output_text(options->output, text->str, text->len, error);
}

static int histo_run(const struct options *options, GError **error)
{
	if (options->sort && !rows_key(options->sort)) {
		g_autofree char *keys = rows_key_names();
		if (!strcmp(options->sort, "help"))
			return output_text(NULL, keys, strlen(keys), error) ? 0 : REFTOP_ERROR_FAILED;
		g_strdelimit(g_strchomp(keys), "\n", ' ');
		usage_error(error, &command_histo, keys, "no such sort key: '%s'", options->sort);
		return REFTOP_ERROR_USAGE;
	}
	struct live_options live = {.nonblocking = options->nonblocking,
				    .precopy = options->precopy,
				    .max_pause_us = options->max_pause_us,
				    .memory = options->memory,
				    .gc_only = options->gc};
	g_autoptr(source_t) source = open_source(&command_histo, options, 0, &live, error);
	g_autoptr(sample_t) sample = source ? source_next(source, error) : NULL;
	if (!sample || !write_sample(sample, options, error) ||
	    (options->strict && !sample_check_strict(sample, error)))
		return REFTOP_ERROR_FAILED;
	return 0;
}

const struct command command_histo = {
	.name = "histo",
	.synopsis = "{-p PID | -c FILE [EXE]}",
	.summary = "one table, a row per type, then exit",
	.details =
		"COUNT is the number of live objects of exactly this type, BYTES the sum of what sys.getsizeof() "
		"would say, REFS and MAX "
		"the sum and the maximum of their reference counts, immortal objects apart. Sort keys: bytes (the "
		"default), count, refs, refs_max, name; and gc_count (objects in the collector's lists), immortal (immortal "
		"objects) and owned (bytes of the buffers they own beyond BYTES), which have a column then.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_OUTPUT, OPTION_JSON,
					    OPTION_CSV, OPTION_SORT, OPTION_LIMIT, OPTION_STRICT, OPTION_NONBLOCKING,
					    OPTION_PRECOPY, OPTION_MAX_PAUSE, OPTION_MEMORY, OPTION_GC,
					    OPTION_NO_DAEMON, OPTION_VERBOSE, OPTION_END},
	.max_arguments = 1,
	.run = histo_run,
};
