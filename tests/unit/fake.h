/*
 * A source that gives fixed answers about objects of the scripted process (script.h), and a view that asks it. For tests of the screens that
 * lead from a type to its objects.
 */
#pragma once
#include "base/error.h"
#include "daemon/analysis/explain.h"
#include "daemon/analysis/instances.h"
#include "tests/unit/script.h"

#define LEAKY  0x55d0c0a01000
#define OBJECT 0x7f3a1c0d4e80

struct fake {
	source_t source;
	struct view *view;
	gboolean slow;  /* answers wait for fake_answer() */
	GQueue waiting; /* struct request * */
	int looks, forgotten;
	GArray *watched; /* guint64 */
	char *sort;      /* asked for last */
};

G_GNUC_UNUSED static sample_t *origin_new(void)
{
	sample_t *origin = script_head(59);
	return origin;
}

G_GNUC_UNUSED static instances_t *fake_instances(source_t *source, const char *type, const char *sort, size_t limit,
						 GError **error)
{
	struct fake *fake = (struct fake *)source;
	fake->looks++;
	g_free(fake->sort);
	fake->sort = g_strdup(sort);
	if (strcmp(type, "0x55d0c0a01000") != 0) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, NULL, NULL, "no type is called %s", type);
		return NULL;
	}
	instances_t *instances = g_new0(instances_t, 1);
	instances->origin = origin_new();
	instances->n = 40;
	instances->all_objects = 59120;
	instances->objects = g_new0(struct instance, instances->n);
	for (size_t i = 0; i < instances->n; i++) {
		g_autofree char *value = g_strdup_printf(
			"<Leaky sku='A-%04zu' qty=%zu cart=<Cart owner='ann' items=[…]>>", 1009 + 7 * i, i % 4);
		int64_t refs = (int64_t)(2 + (41 - i) % 5 + (i == 3 ? 1200 : 0));
		instances->objects[i] = (struct instance){
			.object = {.address = OBJECT + 0xc0 * i,
				   .type = LEAKY,
				   .module = "app",
				   .qualname = "Leaky",
				   .refcount = i == 9 ? SAMPLE_UNKNOWN : refs,
				   .exact = MIN(refs - 1, 3),
				   .probable = i % 2,
				   .unexplained = i == 9 ? SAMPLE_UNKNOWN : refs - MIN(refs - 1, 3) - (int64_t)(i % 2),
				   .value = sample_text(instances->origin, value)},
			.bytes = 48 + 8 * (int64_t)(i % 3)};
	}
	return instances;
}

G_GNUC_UNUSED static explanation_t *fake_explain(source_t *source, uint64_t address, GError **error)
{
	((struct fake *)source)->looks++;
	if (address == 0xdead0) {
		error_set(error, HEAP_ERROR, REFTOP_ERROR_USAGE, NULL, NULL, "there is no object at 0xdead0");
		return NULL;
	}
	explanation_t *explanation = g_new0(explanation_t, 1);
	explanation->origin = origin_new();
	explanation->object =
		(struct leak_object){.address = address,
				     .type = LEAKY,
				     .module = "app",
				     .qualname = "Leaky",
				     .refcount = 6,
				     .exact = 4,
				     .probable = 1,
				     .unexplained = 1,
				     .value = "<Leaky sku='A-1009' qty=1 cart=<Cart owner='ann' items=[…]>>"};
	static const struct holder holders[] = {
		{REFERENCE_LIST_ITEM, FALSE, 1, 0x7f3a1bfe2a40, "builtins", "list", "[1042]", 0},
		{REFERENCE_DICT_VALUE, FALSE, 2, 0x7f3a10c41b00, "builtins", "dict", "['pending']", 0},
		{REFERENCE_ATTRIBUTE, FALSE, 1, 0x7f3a1c0d6120, "app.orders", "Queue", ".head", 0},
		{REFERENCE_STATIC_DATA, TRUE, 1, 0x7f3a20001238, "", "", "_cart.so: last_result+0x8", 0},
	};
	explanation->n_holders = G_N_ELEMENTS(holders);
	explanation->holders = g_memdup2(holders, sizeof(holders));
	static const struct referent referents[] = {
		{REFERENCE_TYPE, FALSE, LEAKY, "builtins", "type", "<class app.Leaky>", "", 59160},
		{REFERENCE_ATTRIBUTE, FALSE, 0x7f3a1c0d7000, "builtins", "str", "'A-1009'", ".sku", 1},
		{REFERENCE_ATTRIBUTE, FALSE, 0x955f80, "builtins", "int", "1", ".qty", SAMPLE_UNKNOWN},
		{REFERENCE_ATTRIBUTE, FALSE, 0x7f39e0aa1000, "app", "Cart", "<Cart owner='ann' items=[…]>", ".cart",
		 12},
	};
	explanation->n_referents = explanation->all_referents = G_N_ELEMENTS(referents);
	explanation->referents = g_memdup2(referents, sizeof(referents));
	static const struct explain_step path[] = {
		{0x7f3a10000000, "builtins", "module", "<module app>", ".__dict__"},
		{0x7f3a10c41b00, "builtins", "dict", "{…}", "['pending']"},
		{OBJECT, "app", "Leaky", "<Leaky>", ""},
	};
	explanation->root = "module";
	explanation->n_path = G_N_ELEMENTS(path);
	explanation->path = g_memdup2(path, sizeof(path));
	return explanation;
}

G_GNUC_UNUSED static gboolean fake_watch(source_t *source, uint64_t address, gboolean on)
{
	struct fake *fake = (struct fake *)source;
	for (guint i = 0; i < fake->watched->len; i++)
		if (g_array_index(fake->watched, guint64, i) == address)
			g_array_remove_index(fake->watched, i--);
	if (on)
		g_array_append_val(fake->watched, address);
	return TRUE;
}

G_GNUC_UNUSED static void fake_forget(source_t *source)
{
	((struct fake *)source)->forgotten++;
}

G_GNUC_UNUSED static void fake_answer(struct fake *fake)
{
	struct request *request = g_queue_pop_head(&fake->waiting);
	g_assert_nonnull(request);
	request->answer = request->kind->ask(&fake->source, request, &request->error);
	g_assert_true(!request->answer == !!request->error);
	view_answer(fake->view, request);
}

G_GNUC_UNUSED static void fake_ask(void *context, struct request *request)
{
	struct fake *fake = context;
	g_queue_push_tail(&fake->waiting, request);
	while (!fake->slow && fake->waiting.length)
		fake_answer(fake);
}

G_GNUC_UNUSED static void fake_init(struct fake *fake, int samples)
{
	static const struct source_ops ops = {.name = "live",
					      .instances = fake_instances,
					      .explain = fake_explain,
					      .watch = fake_watch,
					      .forget = fake_forget};
	memset(fake, 0, sizeof(*fake));
	fake->source.ops = &ops;
	fake->watched = g_array_new(FALSE, FALSE, sizeof(guint64));
	fake->view = view_after(samples, TRUE);
	fake->view->options.ask = fake_ask;
	fake->view->options.ask_context = fake;
	fixed_now += 3 * G_USEC_PER_SEC;
}

G_GNUC_UNUSED static void fake_clear(struct fake *fake)
{
	fake->view->options.ask = NULL;
	view_free(fake->view);
	g_queue_clear_full(&fake->waiting, (GDestroyNotify)request_free);
	g_array_unref(fake->watched);
	g_free(fake->sort);
}

G_GNUC_UNUSED static gboolean shows(struct view *view, const char *text)
{
	g_autofree char *screen = draw(view, 120, 30, FALSE);
	return strstr(screen, text) != NULL;
}
