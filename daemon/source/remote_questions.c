/*
 * Questions about references, objects and stacks: asked of the daemon, whose worker looks at the process; where that can't, the process is
 * opened here. Who drills down (live_options.keep) has answers of one and the same picture only from a process opened here: that comes
 * first then.
 */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/analysis/stacks.h"
#include "daemon/source/remote_private.h"
#include "daemon/store/json.h"
#include "daemon/store/json_references.h"
#include "daemon/store/json_stacks.h"

#define QUESTION_S     150  /* a minute it may wait for its turn, another one it may take */
#define MOST_ADDRESSES 1000 /* in a question */

/* A question, its members still to come. */
static JsonBuilder *question_new(const struct remote *remote, const char *op)
{
	JsonBuilder *builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "op", op);
	json_put_number(builder, "pid", remote->pid);
	return builder;
}

/* The process itself; when that may not be read, `why` (what the daemon said, or NULL) is the reason. */
static source_t *fall_back(struct remote *remote, const char *why, GError **error)
{
	g_autoptr(GError) problem = NULL;
	source_t *live = remote_need_live(remote, &problem);
	if (live)
		return live;
	if (!why || problem->code != REFTOP_ERROR_DENIED) {
		g_propagate_error(error, g_steal_pointer(&problem));
		return NULL;
	}
	g_auto(GStrv) lines = g_strsplit(why, "\n  cause: ", 2);
	g_autofree char *cause = lines[0] && lines[1] ? g_strndup(lines[1], strcspn(lines[1], "\n"))
						      : g_strndup(why, strcspn(why, "\n"));
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_DENIED, cause, NULL,
		  "the daemon does not say it of process %d, which may not be read here", (int)remote->pid);
	return NULL;
}

/* The text of a refusal; NULL: it didn't come to that. *looked: the process was looked at, and that is the answer. */
static char *refusal_of(JsonObject *answer, gboolean *looked, int *code)
{
	JsonNode *node = answer ? json_object_get_member(answer, "error") : NULL;
	const char *text = node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
	*looked = text && json_object_get_boolean_member_with_default(answer, "looked", FALSE);
	*code = text ? (int)json_object_get_int_member_with_default(answer, "code", 0) : 0;
	return text ? text_escape_lines(text) : NULL;
}

/*
 * Ask. The result as JSON; or NULL with *live, to be asked instead; or NULL with *error. Takes the builder over. Free with g_free().
 */
static char *ask_daemon(struct remote *remote, JsonBuilder *builder, source_t **live, GError **error)
{
	json_builder_end_object(builder);
	g_autoptr(GString) line = json_line(builder);
	g_object_unref(builder);
	*live = remote->options.keep ? remote_need_live(remote, NULL) : NULL;
	if (*live)
		return NULL;
	JsonObject *answer = remote_answer(remote, line->str, QUESTION_S);
	JsonNode *result = answer ? json_object_get_member(answer, "result") : NULL;
	char *text = result && JSON_NODE_HOLDS_OBJECT(result) ? json_to_string(result, FALSE) : NULL;
	gboolean looked;
	int code;
	g_autofree char *why = text ? NULL : refusal_of(answer, &looked, &code);
	g_clear_pointer(&answer, json_object_unref);
	if (text)
		return text;
	if (why && looked)
		g_set_error_literal(error, SOURCE_ERROR, code, why);
	else
		*live = fall_back(remote, why, error);
	return NULL;
}

/* Whether an answer is about our process; else *error. */
static gboolean is_ours(const struct remote *remote, const sample_t *origin, GError **error)
{
	if (origin->target.pid == remote->pid)
		return TRUE;
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, "it told of another process", NULL,
		  "the daemon's answer about process %d makes no sense", (int)remote->pid);
	return FALSE;
}

struct leaks *remote_leaks(source_t *source, size_t max_objects, GError **error)
{
	struct remote *remote = (struct remote *)source;
	source_t *live;
	JsonBuilder *question = question_new(remote, "leaks");
	json_put_number(question, "objects", (int64_t)max_objects);
	g_autofree char *text = ask_daemon(remote, question, &live, error);
	if (!text)
		return live ? live->ops->leaks(live, max_objects, error) : NULL;
	g_autoptr(leaks_t) leaks = json_leaks_parse(text, strlen(text), error);
	return leaks && is_ours(remote, leaks->origin, error) ? g_steal_pointer(&leaks) : NULL;
}

sample_t *remote_assess(source_t *source, size_t max_objects, struct leaks **leaks, GError **error)
{
	struct remote *remote = (struct remote *)source;
	source_t *live = remote_need_live(remote, NULL);
	*leaks = NULL;
	if (live)
		return live->ops->assess(live, max_objects, leaks, error);
	g_autoptr(sample_t) sample = source_next(source, error);
	*leaks = sample ? remote_leaks(source, max_objects, error) : NULL;
	return *leaks ? g_steal_pointer(&sample) : NULL;
}

/* ---- explain ---- */

/* The explanations in the daemon's answer, one for each address. */
static gboolean give_each(struct remote *remote, const char *text, const uint64_t *addresses, size_t n,
			  explain_each *each, void *context, GError **error)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonNode *root = json_parser_load_from_data(parser, text, -1, NULL) ? json_parser_get_root(parser) : NULL;
	JsonNode *node = root && JSON_NODE_HOLDS_OBJECT(root)
				 ? json_object_get_member(json_node_get_object(root), "explanations")
				 : NULL;
	JsonArray *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
	if (!array || json_array_get_length(array) != n) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, "explanations are missing", NULL,
			  "the daemon's answer about process %d makes no sense", (int)remote->pid);
		return FALSE;
	}
	for (guint i = 0; i < n; i++) {
		g_autofree char *one = json_to_string(json_array_get_element(array, i), FALSE), *none = NULL;
		explanation_t *explanation = json_explanation_parse(one, strlen(one), &none, error);
		if ((!explanation && !none) || (explanation && !is_ours(remote, explanation->origin, error))) {
			explanation_free(explanation);
			return FALSE;
		}
		g_autoptr(GError) problem = none ? g_error_new_literal(HEAP_ERROR, REFTOP_ERROR_USAGE, none) : NULL;
		if (!each(context, addresses[i], explanation, problem, error))
			return FALSE;
	}
	return TRUE;
}

gboolean remote_explain_all(source_t *source, const uint64_t *addresses, size_t n, explain_each *each, void *context,
			    GError **error)
{
	struct remote *remote = (struct remote *)source;
	g_autofree char *text = NULL;
	source_t *live = NULL;
	if (n <= MOST_ADDRESSES) {
		JsonBuilder *question = question_new(remote, "explain");
		json_builder_set_member_name(question, "addresses");
		json_builder_begin_array(question);
		for (size_t i = 0; i < n; i++) {
			g_autofree char *address = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", addresses[i]);
			json_builder_add_string_value(question, address);
		}
		json_builder_end_array(question);
		text = ask_daemon(remote, question, &live, error);
	} else {
		live = fall_back(remote, "it explains no more than 1,000 objects at once", error);
	}
	if (text)
		return give_each(remote, text, addresses, n, each, context, error);
	return live && live->ops->explain_all(live, addresses, n, each, context, error);
}

static bool take_one(void *context, uint64_t address, explanation_t *explanation, const GError *problem, GError **error)
{
	*(explanation_t **)context = explanation;
	if (!explanation)
		g_propagate_error(error, g_error_copy(problem));
	return explanation != NULL;
}

struct explanation *remote_explain(source_t *source, uint64_t address, GError **error)
{
	struct remote *remote = (struct remote *)source;
	explanation_t *explanation = NULL;
	source_t *live = remote->options.keep ? remote_need_live(remote, NULL) : NULL;
	/* a live source explains one object in the picture it kept */
	if (live)
		return live->ops->explain(live, address, error);
	remote_explain_all(source, &address, 1, take_one, &explanation, error);
	return explanation;
}

/* ---- objects, stacks ---- */

struct instances *remote_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error)
{
	struct remote *remote = (struct remote *)source;
	source_t *live;
	JsonBuilder *question = question_new(remote, "objects");
	json_put_text(question, "type", type);
	json_put_text(question, "sort", sort);
	json_put_number(question, "limit", (int64_t)limit);
	g_autofree char *text = ask_daemon(remote, question, &live, error);
	if (!text)
		return live ? live->ops->instances(live, type, sort, limit, error) : NULL;
	g_autoptr(instances_t) instances = json_instances_parse(text, strlen(text), error);
	return instances && is_ours(remote, instances->origin, error) ? g_steal_pointer(&instances) : NULL;
}

struct stacks *remote_stacks(source_t *source, const struct stacks_options *options, GError **error)
{
	struct remote *remote = (struct remote *)source;
	source_t *live;
	JsonBuilder *question = question_new(remote, "stacks");
	json_put_bool(question, "locals", options->locals);
	json_put_bool(question, "native", options->native);
	json_put_number(question, "limit", (int64_t)options->max_frames);
	g_autofree char *text = ask_daemon(remote, question, &live, error);
	if (!text)
		return live ? live->ops->stacks(live, options, error) : NULL;
	g_autoptr(stacks_t) stacks = json_stacks_parse(text, strlen(text), error);
	return stacks && is_ours(remote, stacks->origin, error) ? g_steal_pointer(&stacks) : NULL;
}
