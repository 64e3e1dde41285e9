/* What a daemon answers, read back: the same document and the same words, and no harm from any other bytes. */
#include <string.h>

#include "daemon/store/json_references.h"
#include "daemon/store/json_stacks.h"
#include "tui/leaks_text.h"
#include "tui/stacks_text.h"

static sample_t *make_origin(void)
{
	sample_t *origin = sample_new();
	origin->time_us = G_GINT64_CONSTANT(1795162502123456);
	origin->target.pid = 48213;
	origin->target.python = "3.12.1";
	sample_cmdline(origin, (const char *const[]){"python3", "a \"b\" \\ c", "", NULL});
	origin->snapshot.mode = "stop";
	origin->snapshot.coverage = "all";
	origin->snapshot.consistent = true;
	origin->snapshot.pause_us = 1234;
	return origin;
}

static struct leak_object make_object(uint64_t address)
{
	return (struct leak_object){.address = address,
				    .type = 0x7f0000001000,
				    .module = "shop",
				    .qualname = "Item.<locals>.X",
				    .refcount = 7,
				    .exact = 3,
				    .probable = 2,
				    .unexplained = 2,
				    .growth = SAMPLE_UNKNOWN,
				    .value = "{'a\\x1b': …}",
				    .kind = LEAK_STEADY};
}

/* ---- leaks ---- */

static leaks_t *make_leaks(void)
{
	leaks_t *leaks = g_new0(leaks_t, 1);
	leaks->origin = make_origin();
	leaks->totals = (struct audit_totals){
		.objects = 1, .refs = 2000, .exact = 3, .probable = 4, .unexplained = 5, .deficit = 6};
	leaks->totals.words = 8;
	leaks->totals.spare_words = 9;
	leaks->looks = 2;
	leaks->interval_us = 1000001;
	leaks->n_types = 3;
	leaks->types = g_new0(struct leak_type, 3);
	for (int i = 0; i < 3; i++)
		leaks->types[i] =
			(struct leak_type){.address = 0x7f0000001000 + (uint64_t)i,
					   .module = i == 1 ? "" : "shop",
					   .qualname = "Item",
					   .objects = 11,
					   .refs = 12,
					   .unexplained = i == 2 ? 0 : 13,
					   .orphans = 14,
					   .deficit = 15,
					   .unexplained_objects = 16,
					   .deficit_objects = 17,
					   .largest = 18,
					   .growth = i ? 19 : SAMPLE_UNKNOWN,
					   .kind = (enum leak_kind)i,
					   .suppressed = i == 1,
					   .of_types = i == 0,
					   .lost_since_us = i ? G_GINT64_CONSTANT(1795162000000000) : SAMPLE_UNKNOWN,
					   .grows_since_us = i ? SAMPLE_UNKNOWN : G_GINT64_CONSTANT(1795161000000000),
					   .grows_rate = i ? 0 : 12.5};
	leaks->n_objects = 2;
	leaks->all_objects = 20;
	leaks->objects = g_new0(struct leak_object, 2);
	leaks->objects[0] = make_object(0x7f0000002000);
	leaks->objects[1] = make_object(0x7f0000002010);
	leaks->objects[1].suppressed = true;
	leaks->objects[1].growth = 1;
	leaks->objects[1].kind = LEAK_GROWING;
	return leaks;
}

static void test_leaks(void)
{
	g_autoptr(leaks_t) leaks = make_leaks();
	g_autoptr(GString) text = json_leaks(leaks, G_MAXSIZE);
	g_autoptr(leaks_t) back = json_leaks_parse(text->str, text->len, NULL);
	g_assert_nonnull(back);
	g_autoptr(GString) again = json_leaks(back, G_MAXSIZE);
	g_assert_cmpstr(again->str, ==, text->str);
	g_autoptr(GString) words = leaks_text(leaks, 20, TRUE), same = leaks_text(back, 20, TRUE);
	g_assert_cmpstr(same->str, ==, words->str);
	g_assert_nonnull(strstr(words->str, "Its objects grow steadily since 20"));
	g_assert_nonnull(strstr(words->str, ", by 750 a minute, says the daemon."));
	g_assert_true(leaks_found(back) == leaks_found(leaks));
}

/* ---- explain, objects ---- */

static explanation_t *make_explanation(void)
{
	explanation_t *explanation = g_new0(explanation_t, 1);
	explanation->origin = make_origin();
	explanation->object = make_object(0x7f0000002000);
	explanation->n_holders = REFERENCE_KINDS;
	explanation->holders = g_new0(struct holder, REFERENCE_KINDS);
	for (int i = 0; i < REFERENCE_KINDS; i++)
		explanation->holders[i] = (struct holder){.kind = (enum reference_kind)i,
							  .probable = i % 2,
							  .count = i + 1,
							  .address = i % 3 ? 0x7f0000003000 + (uint64_t)i : 0,
							  .module = i % 3 ? "shop" : "",
							  .qualname = i % 3 ? "Cart" : "",
							  .label = "['pending']",
							  .container = i == 5 ? 0x7f0000004000 : 0};
	explanation->n_referents = 1;
	explanation->all_referents = 5;
	explanation->referents = g_new0(struct referent, 1);
	explanation->referents[0] = (struct referent){REFERENCE_SLOT, true, 0x10, "m", "q", "v", ".l", SAMPLE_UNKNOWN};
	explanation->spare = 3;
	explanation->root = "module";
	explanation->n_path = 2;
	explanation->path = g_new0(struct explain_step, 2);
	explanation->path[0] = (struct explain_step){0x7f0000005000, "builtins", "module", "<module shop>", ".kept"};
	explanation->path[1] = (struct explain_step){0x7f0000002000, "shop", "Item", "<Item>", ""};
	return explanation;
}

static void test_explanation(void)
{
	g_autoptr(explanation_t) explanation = make_explanation();
	g_autoptr(GString) text = json_explanation(explanation);
	g_autofree char *problem = NULL;
	g_autoptr(explanation_t) back = json_explanation_parse(text->str, text->len, &problem, NULL);
	g_assert_nonnull(back);
	g_assert_null(problem);
	g_autoptr(GString) again = json_explanation(back);
	g_assert_cmpstr(again->str, ==, text->str);
	g_assert_cmpuint(back->holders[0].address, ==, 0);
	g_autoptr(GString) none = json_unexplainable(0x1234, "there is none\n  cause: of\x1b[2J it");
	g_assert_null(json_explanation_parse(none->str, none->len, &problem, NULL));
	g_assert_cmpstr(problem, ==, "there is none\n  cause: of\\x1b[2J it");
}

static void test_instances(void)
{
	g_autoptr(instances_t) instances = g_new0(instances_t, 1);
	instances->origin = make_origin();
	instances->n = 2;
	instances->all_objects = 7;
	instances->objects = g_new0(struct instance, 2);
	instances->objects[0] = (struct instance){make_object(0x7f0000002000), 48};
	instances->objects[1] = (struct instance){make_object(0x7f0000002010), SAMPLE_UNKNOWN};
	instances->objects[1].object.refcount = SAMPLE_UNKNOWN;
	g_autoptr(GString) text = json_instances(instances);
	g_autoptr(instances_t) back = json_instances_parse(text->str, text->len, NULL);
	g_assert_nonnull(back);
	g_autoptr(GString) again = json_instances(back);
	g_assert_cmpstr(again->str, ==, text->str);
	g_assert_cmpint(back->objects[1].bytes, ==, SAMPLE_UNKNOWN);
}

/* ---- stacks ---- */

static const struct stacks_options everything = {.locals = true, .native = true, .tasks = true};

static struct stack_frame *make_frames(size_t *n)
{
	struct stack_frame *frames = g_new0(struct stack_frame, *n = 2);
	frames[0] = (struct stack_frame){.function = "read", .file = "libc.so", .native = true, .offset = 0x42};
	frames[1] = (struct stack_frame){.function = "Cart.add", .file = "cart.py", .line = 31, .entry = true};
	frames[1].n_variables = 1;
	frames[1].variables = g_new0(struct stack_variable, 1);
	frames[1].variables[0] = (struct stack_variable){"item", "shop.Item", "<Item>", 0x7f0000002000};
	return frames;
}

static stacks_t *make_stacks(void)
{
	static const char letters[] = "RSDTtZ";
	stacks_t *stacks = g_new0(stacks_t, 1);
	stacks->origin = make_origin();
	stacks->strings = g_string_chunk_new(64);
	stacks->deadlocks = g_new0(const char *, 1);
	stacks->deadlocks[0] = "Deadlock: two wait for each other";
	stacks->n_deadlocks = 1;
	stacks->n_threads = WAIT_THREAD + 1;
	stacks->threads = g_new0(struct stack_thread, stacks->n_threads);
	for (int i = 0; i <= WAIT_THREAD; i++) {
		struct stack_thread *thread = &stacks->threads[i];
		bool object = i > WAIT_GIL;
		*thread = (struct stack_thread){.tid = i ? 100 + i : 0,
						.ident = i ? 0x7f0000000000 + (uint64_t)i : 0,
						.interpreter = i - 1,
						.name = "worker",
						.comm = "python3",
						.state = letters[i],
						.daemon = (enum answer)(i % 3 - 1),
						.holds_gil = (enum answer)(i % 2),
						.truncated = i == 3,
						.broken = i == 4 ? "no unwind information" : "",
						.address = 0x7f0000009000,
						.in_deadlock = i == 5};
		thread->wait = (struct stack_wait){.kind = (enum wait_kind)i,
						   .call = "futex",
						   .detail = i == 1 ? "/var/log/x" : "",
						   .timed = i == 2,
						   .timeout_us = i == 2 ? 1500000 : -1,
						   .timeout_left = i == 2,
						   .object = object ? 0x7f000000a000 : 0,
						   .object_type = object ? "threading.Lock" : "",
						   .holder = object ? "self.lock" : "",
						   .state = object ? "full" : "",
						   .owner = i == WAIT_LOCK ? 1 : -1,
						   .owner_place = i == WAIT_LOCK ? "a.py:3 in f" : "",
						   .orphan = i == WAIT_EVENT,
						   .full = i == WAIT_EVENT};
		thread->frames = i ? make_frames(&thread->n_frames) : NULL;
	}
	stacks->n_tasks = 2;
	stacks->tasks = g_new0(struct stack_task, 2);
	for (int i = 0; i < 2; i++) {
		struct stack_task *task = &stacks->tasks[i];
		*task = (struct stack_task){0x10, "Task-1", "pending", i ? "" : "task Task-2", i ? -1 : 1, i ? -1 : 2,
					    NULL, 0,        i};
		task->frames = make_frames(&task->n_frames);
	}
	return stacks;
}

static void test_stacks(void)
{
	g_autoptr(stacks_t) stacks = make_stacks();
	g_autoptr(GString) text = json_stacks(stacks, &everything);
	g_autoptr(stacks_t) back = json_stacks_parse(text->str, text->len, NULL);
	g_assert_nonnull(back);
	g_autoptr(GString) again = json_stacks(back, &everything);
	g_assert_cmpstr(again->str, ==, text->str);
	g_autoptr(GString) words = stacks_to_text(stacks), same = stacks_to_text(back);
	g_assert_cmpstr(same->str, ==, words->str);
	g_assert_nonnull(strstr(words->str, "held by"));
}

/* ---- what is no such document ---- */

static void parse_any(const char *text, gsize size)
{
	g_autofree char *problem = NULL;
	GError *errors[4] = {NULL};
	leaks_free(json_leaks_parse(text, size, &errors[0]));
	explanation_free(json_explanation_parse(text, size, &problem, &errors[1]));
	instances_free(json_instances_parse(text, size, &errors[2]));
	stacks_t *stacks = json_stacks_parse(text, size, &errors[3]);
	if (stacks)
		g_string_free(stacks_to_text(stacks), TRUE); /* indexes are those of what is there */
	stacks_free(stacks);
	for (int i = 0; i < 4; i++)
		g_clear_error(&errors[i]);
}

static void mutate(GString *text)
{
	static const char bytes[] = "{}[]\",:019-nullZ\\";
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);
	for (int i = 0; i < 1500; i++) {
		g_autofree char *copy = g_memdup2(text->str, text->len + 1);
		int changes = g_rand_int_range(rand, 1, 4);
		while (changes--)
			copy[g_rand_int_range(rand, 0, (gint32)text->len)] =
				bytes[g_rand_int_range(rand, 0, sizeof(bytes) - 1)];
		parse_any(copy, text->len);
	}
	for (gsize size = 0; size < text->len; size += 7)
		parse_any(text->str, size);
	g_string_free(text, TRUE);
}

static void test_nonsense(void)
{
	g_autoptr(leaks_t) leaks = make_leaks();
	g_autoptr(explanation_t) explanation = make_explanation();
	g_autoptr(stacks_t) stacks = make_stacks();
	mutate(json_leaks(leaks, G_MAXSIZE));
	mutate(json_explanation(explanation));
	mutate(json_stacks(stacks, &everything));
	static const char *const documents[] = {"",
						"{}",
						"[]",
						"null",
						"{\"schema\":5}",
						"{\"schema\":\"reftop.leaks/1\"}",
						"{\"schema\":\"reftop.stacks/1\"}",
						"{\"schema\":\"reftop.objects/2\"}"};
	for (size_t i = 0; i < G_N_ELEMENTS(documents); i++) {
		g_autofree char *problem = NULL;
		gsize size = strlen(documents[i]);
		g_assert_null(json_leaks_parse(documents[i], size, NULL));
		g_assert_null(json_explanation_parse(documents[i], size, &problem, NULL));
		g_assert_null(json_instances_parse(documents[i], size, NULL));
		g_assert_null(json_stacks_parse(documents[i], size, NULL));
		g_assert_null(problem);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/answers/leaks", test_leaks);
	g_test_add_func("/answers/explanation", test_explanation);
	g_test_add_func("/answers/instances", test_instances);
	g_test_add_func("/answers/stacks", test_stacks);
	g_test_add_func("/answers/nonsense", test_nonsense);
	return g_test_run();
}
