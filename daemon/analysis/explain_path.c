/*
 * The shortest way to an object from a root: backwards over all references, level by level, until a holder is met that is a root
 * itself, or is held by one.
 */
#include <string.h>

#include "daemon/analysis/explain_private.h"
#include "daemon/heap/type.h"
#include "daemon/heap/values.h"

#define VALUE_WIDTH 60
#define MAX_STEPS   1000

/* who holds whom: the holders of object i are holders[first[i] .. first[i + 1]) */
struct graph {
	audit_t *audit;
	uint64_t *first;
	uint32_t *holders;
	uint64_t *at;    /* where the next one goes */
	uint8_t *rooted; /* held by a frame or by C code */
	uint32_t *next;  /* the object that each holds on the way to the one asked about; TABLE_NONE: not met */
	uint32_t *queue; /* those that were met */
	uint32_t current;
	bool filling;
};

enum { NOT_ROOTED, ROOTED_FRAME, ROOTED_MAYBE, ROOTED_STATIC, ROOTED_STACK, ROOTED_INTERPRETER, ROOTED_OTHER };
static const char *const root_names[] = {
	[ROOTED_FRAME] = "frame",
	[ROOTED_MAYBE] = "frame",
	[ROOTED_STATIC] = "static data",
	[ROOTED_STACK] = "thread stack",
	[ROOTED_INTERPRETER] = "interpreter",
	[ROOTED_OTHER] = "memory of C code",
};

static void visit_edge(void *context, const struct reference *reference)
{
	struct graph *graph = context;
	uint32_t index = table_find(&graph->audit->table, reference->target);
	/* the type of every instance is no way that tells anything */
	if (index == TABLE_NONE || reference->kind == REFERENCE_TYPE)
		return;
	if (graph->current == TABLE_NONE && reference->probable)
		graph->rooted[index] = graph->rooted[index] ? graph->rooted[index] : ROOTED_MAYBE;
	else if (graph->current == TABLE_NONE)
		graph->rooted[index] = reference->kind == REFERENCE_INTERPRETER ? ROOTED_INTERPRETER : ROOTED_FRAME;
	else if (graph->filling)
		graph->holders[graph->at[index]++] = graph->current;
	else
		graph->first[index + 1]++;
}

static void visit_all(struct graph *graph)
{
	audit_t *audit = graph->audit;
	references_begin(audit->references, visit_edge, NULL, graph);
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		graph->current = (uint32_t)i;
		if (object_at(audit->heap, audit->table.objects[i].address, &object))
			references_of_object(audit->references, &object);
	}
	graph->current = TABLE_NONE;
	references_of_runtime(audit->references);
}

struct root_search {
	struct explaining *explaining;
	struct graph *graph;
};

static const uint8_t rooted_by[OWNERS_CLASSES] = {[OWNERS_STATIC] = ROOTED_STATIC,
						  [OWNERS_STACK] = ROOTED_STACK,
						  [OWNERS_BLOCK] = ROOTED_OTHER,
						  [OWNERS_CHUNK] = ROOTED_OTHER,
						  [OWNERS_OTHER] = ROOTED_OTHER};

static void root_word(void *context, uint64_t address, uint64_t word)
{
	struct root_search *search = context;
	struct graph *graph = search->graph;
	uint32_t index = table_find(&graph->audit->table, word);
	if (index == TABLE_NONE || graph->rooted[index])
		return;
	graph->rooted[index] = explain_interpreter_at(search->explaining, address)
				       ? ROOTED_INTERPRETER
				       : rooted_by[owners_class_of(&graph->audit->owners, address)];
}

static void find_roots(struct explaining *explaining, struct graph *graph)
{
	const struct cover *cover = &graph->audit->owners.cover;
	struct root_search search = {.explaining = explaining, .graph = graph};
	for (size_t i = 0; i < cover->n; i++)
		cover_walk(cover, &cover->regions[i], root_word, &search);
}

static bool graph_build(struct explaining *explaining, struct graph *graph)
{
	size_t n = explaining->audit->table.n;
	graph->audit = explaining->audit;
	graph->first = g_try_new0(uint64_t, n + 2);
	graph->rooted = g_try_new0(uint8_t, n + 1);
	graph->next = g_try_new(uint32_t, n + 1);
	graph->queue = g_try_new(uint32_t, n + 1);
	if (!graph->first || !graph->rooted || !graph->next || !graph->queue)
		return false;
	memset(graph->next, 0xff, (n + 1) * sizeof(*graph->next));
	visit_all(graph);
	for (size_t i = 0; i < n; i++)
		graph->first[i + 1] += graph->first[i];
	graph->holders = g_try_new(uint32_t, graph->first[n] + 1);
	graph->at = g_try_new(uint64_t, n + 1);
	if (!graph->holders || !graph->at)
		return false;
	memcpy(graph->at, graph->first, n * sizeof(*graph->at));
	graph->filling = true;
	visit_all(graph);
	find_roots(explaining, graph);
	return true;
}

static void graph_free(struct graph *graph)
{
	g_free(graph->first);
	g_free(graph->holders);
	g_free(graph->at);
	g_free(graph->rooted);
	g_free(graph->next);
	g_free(graph->queue);
	g_free(graph);
}

/* The graph; NULL: there is not enough memory for it. */
static struct graph *graph_get(struct explaining *explaining)
{
	if (!explaining->graph) {
		struct graph *graph = g_new0(struct graph, 1);
		if (graph_build(explaining, graph))
			explaining->graph = graph;
		else
			graph_free(graph);
	}
	return explaining->graph;
}

void explain_forget_graph(struct explaining *explaining)
{
	g_clear_pointer(&explaining->graph, graph_free);
}

static bool is_module(const struct graph *graph, uint32_t index)
{
	const struct type *type = type_nth(graph->audit->heap, graph->audit->table.objects[index].type);
	return strcmp(type->qualname, "module") == 0 && strcmp(type->module, "builtins") == 0;
}

static const char *root_of(const struct graph *graph, uint32_t index)
{
	if (is_module(graph, index))
		return "module";
	/* a word of C code's or of a running frame's stack that the count doesn't ask for is left over from earlier */
	uint8_t rooted = graph->rooted[index];
	bool believed = rooted == ROOTED_FRAME || graph->audit->table.objects[index].probable;
	return rooted && believed ? root_names[rooted] : NULL;
}

/* A module that holds the object, or TABLE_NONE. */
static uint32_t module_of(const struct graph *graph, uint32_t index)
{
	for (uint64_t i = graph->first[index]; i < graph->first[index + 1]; i++) {
		if (is_module(graph, graph->holders[i]))
			return graph->holders[i];
	}
	return TABLE_NONE;
}

/* A frame's globals are those of a module: that says more than the frame. */
static uint32_t prefer_module(struct graph *graph, uint32_t index)
{
	uint32_t *next = graph->next, held = index, module = module_of(graph, index);
	if (module == TABLE_NONE && !is_module(graph, index)) {
		held = next[index];
		module = module_of(graph, held);
	}
	if (module == TABLE_NONE || module == held || is_module(graph, index))
		return index;
	next[module] = held;
	return module;
}

/* Fill graph->next from `from` on; graph->queue has the `met` objects for which it did. Returns the one at the root, or TABLE_NONE. */
static uint32_t walk_back(struct graph *graph, uint32_t from, size_t *met)
{
	uint32_t *next = graph->next, *queue = graph->queue;
	size_t head = 0, tail = 0;
	queue[tail++] = from;
	next[from] = from;
	while (head < tail) {
		uint32_t index = queue[head++];
		*met = tail;
		if (root_of(graph, index))
			return prefer_module(graph, index);
		for (uint64_t i = graph->first[index]; i < graph->first[index + 1]; i++) {
			uint32_t holder = graph->holders[i];
			if (next[holder] != TABLE_NONE)
				continue;
			next[holder] = index;
			queue[tail++] = holder;
		}
	}
	*met = tail;
	return TABLE_NONE;
}

/* Make it ready for the next walk: `root` may be a module that was put in front of what was met. */
static void forget_walk(struct graph *graph, size_t met, uint32_t root)
{
	for (size_t i = 0; i < met; i++)
		graph->next[graph->queue[i]] = TABLE_NONE;
	if (root != TABLE_NONE)
		graph->next[root] = TABLE_NONE;
}

/* the reference by which one object holds another */
struct link {
	uint64_t target;
	struct reference reference;
	bool found;
};

static void visit_link(void *context, const struct reference *reference)
{
	struct link *link = context;
	if (!link->found && reference->target == link->target && reference->kind != REFERENCE_TYPE) {
		link->reference = *reference;
		link->found = true;
	}
}

static const char *link_label(struct explaining *explaining, uint32_t holder, uint32_t held)
{
	audit_t *audit = explaining->audit;
	struct link link = {.target = audit->table.objects[held].address};
	struct object object;
	if (holder == held || !object_at(audit->heap, audit->table.objects[holder].address, &object))
		return "";
	references_begin(audit->references, visit_link, NULL, &link);
	references_of_object(audit->references, &object);
	return link.found ? explain_label_text(explaining, &link.reference) : "";
}

/* "frame of worker.run (worker.py:88)": a frame says more than that it is one */
static const char *root_text(struct explaining *explaining, const struct graph *graph, uint32_t index)
{
	const char *root = root_of(graph, index);
	struct link link = {.target = explaining->audit->table.objects[index].address};
	if (strcmp(root, root_names[ROOTED_FRAME]) != 0)
		return sample_text(explaining->result->origin, root);
	references_begin(explaining->audit->references, visit_link, NULL, &link);
	references_of_runtime(explaining->audit->references);
	if (!link.found || !link.reference.code)
		return sample_text(explaining->result->origin, root);
	g_autofree char *text = g_strdup_printf("frame: %s", explain_label_text(explaining, &link.reference));
	return sample_text(explaining->result->origin, text);
}

void explain_find_path(struct explaining *explaining)
{
	explanation_t *result = explaining->result;
	sample_t *origin = result->origin;
	audit_t *audit = explaining->audit;
	struct graph *graph = graph_get(explaining);
	size_t met = 0;
	if (!graph)
		return;
	uint32_t root = walk_back(graph, explaining->index, &met), at = root;
	GArray *path = g_array_new(FALSE, FALSE, sizeof(struct explain_step));
	if (root != TABLE_NONE)
		result->root = root_text(explaining, graph, root);
	for (size_t i = 0; at != TABLE_NONE && i < MAX_STEPS; i++) {
		const struct table_object *object = &audit->table.objects[at];
		const struct type *type = type_nth(audit->heap, object->type);
		g_autofree char *value = value_text(audit->references, object->address, VALUE_WIDTH);
		struct explain_step step = {.address = object->address,
					    .module = sample_text(origin, type->module),
					    .qualname = sample_text(origin, type->qualname),
					    .value = sample_text(origin, value),
					    .label = link_label(explaining, at, graph->next[at])};
		g_array_append_val(path, step);
		at = graph->next[at] == at ? TABLE_NONE : graph->next[at];
	}
	forget_walk(graph, met, root);
	result->n_path = path->len;
	result->path = (struct explain_step *)g_array_free(path, FALSE);
}
