/* `reftop explain`: one object: its refcount, and every holder of a reference to it. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/explain.h"
#include "daemon/store/json_references.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/output.h"

#define TEXT_ROWS 50

static gboolean parse_address(const char *text, uint64_t *address, GError **error)
{
	char *end;
	errno = 0;
	*address = g_ascii_strtoull(text, &end, g_str_has_prefix(text, "0x") || g_str_has_prefix(text, "0X") ? 16 : 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *address)
		return TRUE;
	usage_error(error, &command_explain, "an address is 0x7f12ab34cd50, or what id() returns",
		    "no such address: '%s'", text);
	return FALSE;
}

static void append_number(GString *text, int64_t number)
{
	char count[32];
	g_string_append(text, number == SAMPLE_UNKNOWN ? "-" : text_count(count, number));
}

static void append_object(GString *text, const explanation_t *explanation)
{
	const struct leak_object *object = &explanation->object;
	struct sample_type type = {.module = object->module, .qualname = object->qualname};
	g_autofree char *name = sample_type_name(&type);
	g_string_append_printf(text, "0x%" G_GINT64_MODIFIER "x  %s  %s\n", object->address, name, object->value);
	if (object->refcount == SAMPLE_UNKNOWN) {
		g_string_append(text, "immortal: its count says nothing\n\n");
		return;
	}
	g_string_append(text, "refcount ");
	append_number(text, object->refcount);
	g_string_append(text, " = ");
	append_number(text, object->exact);
	g_string_append(text, " exact + ");
	append_number(text, object->probable);
	g_string_append(text, " probable");
	if (object->unexplained) {
		g_string_append(text, " + ");
		append_number(text, object->unexplained);
		g_string_append(text, " that nothing explains");
	}
	if (object->deficit) {
		g_string_append(text, " - ");
		append_number(text, object->deficit);
		g_string_append(text, " too many");
	}
	g_string_append(text, "\n\n");
}

static void append_holders(GString *text, const explanation_t *explanation, size_t rows)
{
	if (!explanation->n_holders) {
		g_string_append(text, "Nobody holds it.\n");
		return;
	}
	g_string_append(text, "   COUNT  KIND               HOLDER\n");
	for (size_t i = 0; i < explanation->n_holders && i < rows; i++) {
		const struct holder *holder = &explanation->holders[i];
		struct sample_type type = {.module = holder->module, .qualname = holder->qualname};
		g_autofree char *name = *holder->qualname ? sample_type_name(&type) : g_strdup("");
		char count[32];
		g_string_append_printf(text, "%8s  %-17s%s ", text_count(count, holder->count),
				       reference_kind_names[holder->kind], holder->probable ? "?" : " ");
		if (*name)
			g_string_append_printf(text, "%s 0x%" G_GINT64_MODIFIER "x ", name, holder->address);
		g_string_append_printf(text, "%s\n", holder->label);
	}
	if (explanation->n_holders > rows)
		g_string_append_printf(text, "and %zu more holders\n", explanation->n_holders - rows);
	if (explanation->spare)
		g_string_append_printf(text,
				       "and %" G_GINT64_FORMAT " word%s that its count doesn't ask for: left over\n",
				       explanation->spare, explanation->spare == 1 ? "" : "s");
}

static void append_path(GString *text, const explanation_t *explanation)
{
	if (!explanation->n_path) {
		g_string_append(text, "\nNo way leads to it from a module, a frame or C code.\n");
		return;
	}
	g_string_append_printf(text, "\nThe shortest way to it, from %s:\n", explanation->root);
	for (size_t i = 0; i < explanation->n_path; i++) {
		const struct explain_step *step = &explanation->path[i];
		g_string_append_printf(text, "  %s", i ? "-> " : "   ");
		g_string_append_printf(text, "0x%" G_GINT64_MODIFIER "x %s %s  %s\n", step->address, step->qualname,
				       step->value, step->label);
	}
}

static int explain_run(const struct options *options, GError **error)
{
	uint64_t address;
	if (!parse_address(options->arguments[0], &address, error))
		return REFTOP_ERROR_USAGE;
	struct live_options live = {.nonblocking = options->nonblocking};
	g_autoptr(source_t) source = open_source(&command_explain, options, 1, &live, error);
	g_autoptr(explanation_t) explanation = source ? source->ops->explain(source, address, error) : NULL;
	if (!explanation)
		return REFTOP_ERROR_FAILED;
	g_autoptr(GString) text = NULL;
	if (options->json) {
		text = json_explanation(explanation);
	} else {
		text = g_string_new(NULL);
		append_object(text, explanation);
		append_holders(text, explanation, options->limit ? (size_t)options->limit : TEXT_ROWS);
		append_path(text, explanation);
	}
	return output_text(options->output, text->str, text->len, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_explain = {
	.name = "explain",
	.synopsis = "-p PID | -c FILE ADDRESS [EXE]",
	.summary = "one object: its refcount, and every holder of a reference to it",
	.details =
		"ADDRESS is 0x... or what id() returns in the process. Holders with a question mark are probable: a word that "
		"holds the object's address where the layout isn't known. Below them stands the shortest way to the object from a module, a "
		"frame, or C code.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_OUTPUT, OPTION_JSON,
					    OPTION_LIMIT, OPTION_NONBLOCKING, OPTION_END},
	.min_arguments = 1,
	.max_arguments = 2,
	.run = explain_run,
};
