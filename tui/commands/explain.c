/* `reftop explain`: one object: its refcount, and every holder of a reference to it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

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
		g_string_append_printf(
			text,
			"and %" G_GINT64_FORMAT
			" word%s of memory with its address, which the count doesn't cover: chance, or left over\n",
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

/* ---- several ---- */

struct telling {
	const struct options *options;
	output_t *output; /* opened when there is something to write */
	size_t found;
	bool several;
};

static GString *explanation_text(const explanation_t *explanation, size_t rows)
{
	GString *text = g_string_new(NULL);
	append_object(text, explanation);
	append_holders(text, explanation, rows);
	append_path(text, explanation);
	return text;
}

static bool tell(void *context, uint64_t address, explanation_t *given, const GError *problem, GError **error)
{
	struct telling *telling = context;
	const struct options *options = telling->options;
	g_autoptr(explanation_t) explanation = given;
	g_autoptr(GString) text = NULL;
	if (!explanation && !telling->several) {
		g_propagate_error(error, g_error_copy(problem));
		return false;
	}
	if (options->json)
		text = explanation ? json_explanation(explanation) : json_unexplainable(address, problem->message);
	else if (explanation)
		text = explanation_text(explanation, options->limit ? (size_t)options->limit : TEXT_ROWS);
	else
		g_string_printf(text = g_string_new(NULL), "%s\n", problem->message);
	if (telling->several && !options->json)
		g_string_append_c(text, '\n');
	telling->found += explanation != NULL;
	if (!telling->output && !(telling->output = output_open(options->output, error)))
		return false;
	return output_write(telling->output, text->str, text->len, error);
}

/* one address a word */
static gboolean read_addresses(GArray *addresses, GError **error)
{
	g_autoptr(GIOChannel) input = g_io_channel_unix_new(STDIN_FILENO);
	g_autofree char *text = NULL;
	g_io_channel_set_encoding(input, NULL, NULL);
	if (g_io_channel_read_to_end(input, &text, NULL, error) != G_IO_STATUS_NORMAL)
		return FALSE;
	g_auto(GStrv) words = g_strsplit_set(text, " \t\r\n", -1);
	for (char **word = words; *word; word++) {
		uint64_t address;
		if (!**word)
			continue;
		if (!parse_address(*word, &address, error))
			return FALSE;
		g_array_append_val(addresses, address);
	}
	if (addresses->len)
		return TRUE;
	usage_error(error, &command_explain, NULL, "there is no address on standard input");
	return FALSE;
}

/* The addresses among the arguments; how many arguments they are, 0 with *error. What follows them is the executable of a core file. */
static int parse_addresses(const struct options *options, GArray *addresses, GError **error)
{
	if (!strcmp(options->arguments[0], "-"))
		return read_addresses(addresses, error) ? 1 : 0;
	for (int i = 0; i < options->n_arguments; i++) {
		g_autoptr(GError) problem = NULL;
		uint64_t address;
		if (!parse_address(options->arguments[i], &address, &problem)) {
			if (i && options->core)
				return i;
			g_propagate_error(error, g_steal_pointer(&problem));
			return 0;
		}
		g_array_append_val(addresses, address);
	}
	return options->n_arguments;
}

static int explain_run(const struct options *options, GError **error)
{
	g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	int own = parse_addresses(options, addresses, error);
	if (!own)
		return REFTOP_ERROR_USAGE;
	struct live_options live = {.nonblocking = options->nonblocking, .precopy = options->precopy};
	g_autoptr(source_t) source = open_source(&command_explain, options, own, &live, error);
	struct telling telling = {.options = options, .several = addresses->len > 1};
	gboolean good = source && source->ops->explain_all(source, (const uint64_t *)addresses->data, addresses->len,
							   tell, &telling, error);
	if (!output_close(telling.output, good ? error : NULL) || !good)
		return REFTOP_ERROR_FAILED;
	if (telling.found)
		return 0;
	error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, "no object of the process is there now",
		  "take some from `reftop objects` or `reftop leaks`, or id() in the process",
		  "there is no object at any of the %u addresses", addresses->len);
	return REFTOP_ERROR_USAGE;
}

const struct command command_explain = {
	.name = "explain",
	.synopsis = "{-p PID | -c FILE} {ADDRESS... | -} [EXE]",
	.summary = "one object: its refcount, and every holder of a reference to it",
	.details =
		"ADDRESS is 0x... or what id() returns in the process. Holders with a question mark are probable: a word that "
		"holds the object's address where the layout isn't known. Below them stands the shortest way to the object from a module, a "
		"frame, or C code.\n"
		"Several addresses are explained in one look, which takes hardly longer than one; `-` reads them from standard "
		"input. With --json each is a line, in the order they were asked for; where no object is, \"object\" is null.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_OUTPUT, OPTION_JSON,
					    OPTION_LIMIT, OPTION_NO_DAEMON, OPTION_NONBLOCKING, OPTION_PRECOPY,
					    OPTION_END},
	.min_arguments = 1,
	.max_arguments = -1,
	.run = explain_run,
};
