/* A worker's answers about single objects, references and stacks: each from a look of its own at the process. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/stacks.h"
#include "daemon/server/worker.h"
#include "daemon/source/live.h"
#include "daemon/store/json_references.h"
#include "daemon/store/json_stacks.h"

/* Memory of the process that is of no file, bytes; -1: not known. */
static gint64 own_memory(pid_t pid)
{
	char path[32];
	unsigned long long size, resident, shared;
	g_snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL) ||
	    sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3 || shared > resident)
		return -1;
	return (gint64)(resident - shared) * sysconf(_SC_PAGESIZE);
}

/* References are looked for in a copy of all of it, which has to fit. */
static gboolean may_copy(const struct worker_order *order, GError **error)
{
	gint64 memory = own_memory(order->pid);
	char has[16], may[16];
	if (memory <= order->picture)
		return TRUE;
	g_autofree char *cause = g_strdup_printf("it has %s of memory, the daemon copies no more than %s",
						 text_bytes(has, memory), text_bytes(may, order->picture));
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, cause, "a larger memory= in its key file, or --no-daemon",
		  "process %d is too large for the daemon", (int)order->pid);
	return FALSE;
}

static GString *look_leaks(source_t *source, const char *arguments, GError **error)
{
	g_autoptr(leaks_t) leaks = source->ops->leaks(source, (gsize)g_ascii_strtoull(arguments, NULL, 10), error);
	return leaks ? json_leaks(leaks, G_MAXSIZE) : NULL;
}

static bool add_explanation(void *context, uint64_t address, explanation_t *given, const GError *problem,
			    GError **error)
{
	GString *out = context;
	g_autoptr(explanation_t) explanation = given;
	g_autoptr(GString) text =
		explanation ? json_explanation(explanation) : json_unexplainable(address, problem->message);
	if (out->str[out->len - 1] != '[')
		g_string_append_c(out, ',');
	g_string_append_len(out, text->str, (gssize)text->len - 1);
	return true;
}

static GString *look_explain(source_t *source, const char *arguments, GError **error)
{
	g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_auto(GStrv) words = g_strsplit(arguments, " ", -1);
	for (char **word = words; *word; word++) {
		uint64_t address = g_ascii_strtoull(*word, NULL, 16);
		g_array_append_val(addresses, address);
	}
	g_autoptr(GString) out = g_string_new("{\"schema\":\"reftop.explanations/1\",\"explanations\":[");
	if (!source->ops->explain_all(source, (const uint64_t *)(const void *)addresses->data, addresses->len,
				      add_explanation, out, error))
		return NULL;
	g_string_append(out, "]}\n");
	return g_steal_pointer(&out);
}

static GString *look_objects(source_t *source, const char *arguments, GError **error)
{
	g_auto(GStrv) words = g_strsplit(arguments, " ", 3);
	if (g_strv_length(words) != 3)
		return NULL;
	g_autoptr(instances_t) instances =
		source->ops->instances(source, words[2], strcmp(words[1], "-") ? words[1] : NULL,
				       (gsize)g_ascii_strtoull(words[0], NULL, 10), error);
	return instances ? json_instances(instances) : NULL;
}

static GString *look_stacks(source_t *source, const char *arguments, GError **error)
{
	int locals, native;
	gsize limit;
	if (sscanf(arguments, "%d %d %zu", &locals, &native, &limit) != 3)
		return NULL;
	const struct stacks_options options = {.locals = locals, .native = native, .tasks = true, .max_frames = limit};
	g_autoptr(stacks_t) stacks = source->ops->stacks(source, &options, error);
	return stacks ? json_stacks(stacks, &options) : NULL;
}

static const struct look {
	const char *word;
	gboolean picture; /* all of its memory is copied */
	GString *(*take)(source_t *source, const char *arguments, GError **error);
} looks[] = {
	{"leaks ", TRUE, look_leaks},
	{"explain ", TRUE, look_explain},
	{"objects ", TRUE, look_objects},
	{"stacks ", FALSE, look_stacks},
};

GString *worker_look(source_t *source, const struct worker_order *order, const char *line, GError **error)
{
	for (gsize i = 0; i < G_N_ELEMENTS(looks); i++) {
		if (!g_str_has_prefix(line, looks[i].word))
			continue;
		if (looks[i].picture && !may_copy(order, error))
			return NULL;
		return looks[i].take(source, line + strlen(looks[i].word), error);
	}
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL, "the worker knows no such question");
	return NULL;
}
