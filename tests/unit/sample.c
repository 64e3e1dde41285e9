#include "daemon/analysis/sample.h"

#include <string.h>

static void test_empty(void)
{
	g_autoptr(sample_t) sample = sample_new();
	g_assert_cmpint(sample->target.pid, ==, SAMPLE_UNKNOWN);
	g_assert_cmpint(sample->snapshot.pause_us, ==, SAMPLE_UNKNOWN);
	g_assert_null(sample->target.cmdline[0]);
	g_assert_cmpstr(sample->target.exe, ==, "");
	sample_seal(sample);
	g_assert_cmpuint(sample->n_types, ==, 0);
	sample_unref(NULL);
}

static void test_text(void)
{
	g_autoptr(sample_t) sample = sample_new();
	char text[] = "builtins";
	const char *first = sample_text(sample, text);
	g_assert_true(first != text);
	g_assert_true(sample_text(sample, "builtins") == first);
	text[0] = 'x';
	g_assert_cmpstr(first, ==, "builtins");
}

static void test_cmdline(void)
{
	g_autoptr(sample_t) sample = sample_new();
	sample_cmdline(sample, (const char *const[]){"python3", "-c", "pass", NULL});
	sample_cmdline(sample, (const char *const[]){"python3", "app.py", NULL});
	g_assert_cmpuint(g_strv_length((char **)sample->target.cmdline), ==, 2);
	g_assert_cmpstr(sample->target.cmdline[1], ==, "app.py");
}

static void test_seal_sorts(void)
{
	g_autoptr(sample_t) sample = sample_new();
	static const struct sample_type types[] = {
		{.address = 1, .module = "builtins", .qualname = "int", .bytes = 5},
		{.address = 9, .module = "app", .qualname = "B", .bytes = 70},
		{.address = 8, .module = "app", .qualname = "B", .bytes = 70},
		{.address = 3, .module = "app", .qualname = "A", .bytes = 70},
		{.address = 4, .module = "zzz", .qualname = "Z", .bytes = INT64_MAX},
		{.address = 5, .module = "zzz", .qualname = "U", .bytes = SAMPLE_UNKNOWN},
	};
	static const uint64_t expected[] = {4, 3, 8, 9, 1, 5};
	sample->n_types = G_N_ELEMENTS(types);
	sample->types = g_memdup2(types, sizeof(types));
	sample_seal(sample);
	for (size_t i = 0; i < sample->n_types; i++)
		g_assert_cmpuint(sample->types[i].address, ==, expected[i]);
}

static gpointer share(gpointer data)
{
	for (int i = 0; i < 50000; i++)
		sample_unref(sample_ref(data));
	sample_unref(data);
	return NULL;
}

static void test_shared_by_threads(void)
{
	sample_t *sample = sample_new();
	GThread *threads[4];
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		threads[i] = g_thread_new("share", share, sample_ref(sample));
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		g_thread_join(threads[i]);
	g_assert_cmpint(g_atomic_int_get(&sample->references), ==, 1);
	sample_unref(sample);
}

static void test_type_name(void)
{
	struct sample_type type = {.module = "builtins", .qualname = "dict"};
	g_autofree char *builtin = sample_type_name(&type);
	g_assert_cmpstr(builtin, ==, "dict");
	type.module = "shop.cart";
	type.qualname = "Cart.Item";
	g_autofree char *own = sample_type_name(&type);
	g_assert_cmpstr(own, ==, "shop.cart.Cart.Item");
	type.module = "";
	g_autofree char *bare = sample_type_name(&type);
	g_assert_cmpstr(bare, ==, "Cart.Item");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sample/empty", test_empty);
	g_test_add_func("/sample/text", test_text);
	g_test_add_func("/sample/cmdline", test_cmdline);
	g_test_add_func("/sample/seal-sorts", test_seal_sorts);
	g_test_add_func("/sample/shared-by-threads", test_shared_by_threads);
	g_test_add_func("/sample/type-name", test_type_name);
	return g_test_run();
}
