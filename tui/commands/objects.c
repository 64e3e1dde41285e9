/* `reftop objects`: the instances of a type. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/instances.h"
#include "daemon/store/json_references.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/output.h"

#define TEXT_ROWS 50
#define JSON_ROWS 100000

static gboolean check_sort(const char *sort, GError **error)
{
	for (const char *const *key = instances_sort_keys; *key; key++) {
		if (!sort || !strcmp(sort, *key))
			return TRUE;
	}
	g_autofree char *keys = g_strjoinv(" ", (char **)instances_sort_keys);
	usage_error(error, &command_objects, keys, "no such sort key: '%s'", sort);
	return FALSE;
}

static void append_count(GString *text, int64_t count, int width)
{
	char buffer[32];
	g_string_append_printf(text, "%*s", width, count == SAMPLE_UNKNOWN ? "-" : text_count(buffer, count));
}

static GString *format_table(const instances_t *instances)
{
	GString *text = g_string_new("     REFCOUNT    BYTES       LOST  OBJECT\n");
	for (size_t i = 0; i < instances->n; i++) {
		const struct instance *instance = &instances->objects[i];
		const struct leak_object *object = &instance->object;
		char bytes[16];
		append_count(text, object->refcount, 13);
		g_string_append_printf(text, "%9s",
				       instance->bytes == SAMPLE_UNKNOWN ? "-" : text_bytes(bytes, instance->bytes));
		append_count(text,
			     object->refcount == SAMPLE_UNKNOWN ? SAMPLE_UNKNOWN
								: object->unexplained - object->deficit,
			     11);
		g_string_append_printf(text, "  0x%" G_GINT64_MODIFIER "x %s\n", object->address, object->value);
	}
	char count[32];
	if ((int64_t)instances->n < instances->all_objects)
		g_string_append_printf(text, "and %s more objects\n",
				       text_count(count, instances->all_objects - (int64_t)instances->n));
	return text;
}

static int objects_run(const struct options *options, GError **error)
{
	if (!check_sort(options->sort, error))
		return REFTOP_ERROR_USAGE;
	struct live_options live = {.nonblocking = options->nonblocking, .precopy = options->precopy};
	size_t limit = options->limit ? (size_t)options->limit : options->json ? JSON_ROWS : TEXT_ROWS;
	g_autoptr(source_t) source = open_source(&command_objects, options, 1, &live, error);
	g_autoptr(instances_t) instances =
		source ? source->ops->instances(source, options->arguments[0], options->sort, limit, error) : NULL;
	if (!instances)
		return REFTOP_ERROR_FAILED;
	g_autoptr(GString) text = options->json ? json_instances(instances) : format_table(instances);
	return output_text(options->output, text->str, text->len, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_objects = {
	.name = "objects",
	.synopsis = "{-p PID | -c FILE} TYPE [EXE]",
	.summary = "the instances of a type, sorted by refcount or size",
	.details =
		"TYPE is module.qualname or qualname alone (`dict`, `collections.deque`, `Cart`), or the address of a type. LOST is "
		"what `reftop leaks` would say: references that nothing explains; below 0: more are held than were counted. Sort "
		"keys: refs (the default), bytes, unexplained, deficit.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_OUTPUT, OPTION_JSON,
					    OPTION_SORT, OPTION_LIMIT, OPTION_NO_DAEMON, OPTION_NONBLOCKING,
					    OPTION_PRECOPY, OPTION_END},
	.min_arguments = 1,
	.max_arguments = 2,
	.run = objects_run,
};
