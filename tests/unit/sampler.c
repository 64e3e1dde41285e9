/* The sampling thread, with a source whose every step the test allows. Nothing here depends on how long something takes. */
#include <glib.h>
#include <poll.h>
#include <stdlib.h>

#include "base/error.h"
#include "daemon/source/budget.h"
#include "tui/pace.h"
#include "tui/sampler.h"

struct gate {
	source_t source;
	GMutex lock;
	GCond changed;
	int allowed; /* samples that may be finished */
	int begun, finished;
	int fail_at;  /* this one fails, but the target lives; 0: none */
	int end;      /* after so many the target is gone */
	int assessed; /* samples with a look at references */
	gboolean *freed;
};

static sample_t *gate_next(source_t *source, GError **error)
{
	struct gate *gate = (struct gate *)source;
	g_mutex_lock(&gate->lock);
	int number = ++gate->begun;
	g_cond_broadcast(&gate->changed);
	while (gate->allowed < number)
		g_cond_wait(&gate->changed, &gate->lock);
	gate->finished = number;
	g_mutex_unlock(&gate->lock);
	if (number > gate->end || number == gate->fail_at) {
		error_set(error, SOURCE_ERROR, number > gate->end ? REFTOP_ERROR_GONE : REFTOP_ERROR_FAILED, NULL, NULL,
			  "no");
		return NULL;
	}
	sample_t *sample = sample_new();
	sample->time_us = number;
	return sample;
}

static sample_t *gate_assess(source_t *source, size_t max_objects, struct leaks **leaks, GError **error)
{
	sample_t *sample = gate_next(source, error);
	((struct gate *)source)->assessed++;
	*leaks = NULL;
	if (!sample)
		return NULL;
	*leaks = g_new0(struct leaks, 1);
	(*leaks)->origin = sample_ref(sample);
	return sample;
}

static gboolean gate_alive(source_t *source)
{
	struct gate *gate = (struct gate *)source;
	g_mutex_lock(&gate->lock);
	gboolean alive = gate->finished < gate->end;
	g_mutex_unlock(&gate->lock);
	return alive;
}

static void gate_free(source_t *source)
{
	struct gate *gate = (struct gate *)source;
	*gate->freed = TRUE;
	g_mutex_clear(&gate->lock);
	g_cond_clear(&gate->changed);
	g_free(gate);
}

static struct gate *gate_new(int allowed, int end, gboolean *freed)
{
	static const struct source_ops ops = {
		.name = "gate", .next = gate_next, .alive = gate_alive, .free = gate_free, .assess = gate_assess};
	struct gate *gate = g_new0(struct gate, 1);
	gate->source.ops = &ops;
	gate->allowed = allowed;
	gate->end = end;
	gate->freed = freed;
	*freed = FALSE;
	g_mutex_init(&gate->lock);
	g_cond_init(&gate->changed);
	return gate;
}

static void gate_allow(struct gate *gate, int allowed)
{
	g_mutex_lock(&gate->lock);
	gate->allowed = allowed;
	g_cond_broadcast(&gate->changed);
	g_mutex_unlock(&gate->lock);
}

static void gate_wait_begun(struct gate *gate, int number)
{
	g_mutex_lock(&gate->lock);
	while (gate->begun < number)
		g_cond_wait(&gate->changed, &gate->lock);
	g_mutex_unlock(&gate->lock);
}

static struct sampler_news wait_news(sampler_t *sampler)
{
	struct sampler_news news;
	struct pollfd fd = {sampler_fd(sampler), POLLIN, 0};
	do
		g_assert_cmpint(poll(&fd, 1, 60000), ==, 1);
	while (!sampler_take(sampler, &news));
	return news;
}

static void test_every_sample_in_order(void)
{
	gboolean freed;
	struct gate *gate = gate_new(G_MAXINT, 20, &freed);
	sampler_t *sampler = sampler_new(&gate->source, 1, TRUE);
	for (int i = 1; i <= 20; i++) {
		struct sampler_news news = wait_news(sampler);
		g_assert_nonnull(news.sample);
		g_assert_cmpint(news.sample->time_us, ==, i);
		g_assert_no_error(news.error);
		sample_unref(news.sample);
	}
	struct sampler_news news = wait_news(sampler);
	g_assert_null(news.sample);
	g_assert_true(news.ended);
	g_assert_error(news.error, SOURCE_ERROR, REFTOP_ERROR_GONE);
	g_clear_error(&news.error);
	sampler_free(sampler);
	g_assert_true(freed);
}

/* While a sample is being taken, the reader is not held up. */
static void test_reader_never_waits(void)
{
	gboolean freed;
	struct sampler_news news;
	struct gate *gate = gate_new(0, 100, &freed);
	sampler_t *sampler = sampler_new(&gate->source, 1, TRUE);
	gate_wait_begun(gate, 1);
	g_assert_false(sampler_take(sampler, &news));
	sampler_set_interval(sampler, 5);
	sampler_hold(sampler, TRUE, FALSE);
	sampler_hold(sampler, FALSE, FALSE);
	g_assert_false(sampler_take(sampler, &news));
	gate_allow(gate, 1);
	news = wait_news(sampler);
	g_assert_cmpint(news.sample->time_us, ==, 1);
	sample_unref(news.sample);
	gate_allow(gate, G_MAXINT);
	sampler_free(sampler);
	g_assert_true(freed);
}

static gpointer allow_later(gpointer data)
{
	gate_allow(data, G_MAXINT);
	return NULL;
}

/* Held and waited for, no sample is in progress: the target can't be stopped by us then. */
static void test_hold(void)
{
	gboolean freed;
	struct gate *gate = gate_new(0, 1000000, &freed);
	sampler_t *sampler = sampler_new(&gate->source, 1, FALSE);
	gate_wait_begun(gate, 1);
	GThread *thread = g_thread_new("allow", allow_later, gate);
	sampler_hold(sampler, TRUE, TRUE);
	g_assert_cmpint(gate->begun, ==, gate->finished);
	int finished = gate->finished;
	g_assert_cmpint(finished, >=, 1);
	g_thread_join(thread);
	sampler_hold(sampler, FALSE, FALSE);
	gate_wait_begun(gate, finished + 1);
	sampler_free(sampler);
	g_assert_true(freed);
}

static void test_goes_on_after_an_error(void)
{
	gboolean freed;
	struct gate *gate = gate_new(G_MAXINT, 5, &freed);
	gate->fail_at = 1;
	sampler_t *sampler = sampler_new(&gate->source, 1, TRUE);
	struct sampler_news news = wait_news(sampler);
	g_assert_error(news.error, SOURCE_ERROR, REFTOP_ERROR_FAILED);
	g_assert_false(news.ended);
	g_clear_error(&news.error);
	news = wait_news(sampler);
	g_assert_cmpint(news.sample->time_us, ==, 2);
	sample_unref(news.sample);
	sampler_free(sampler);
	g_assert_true(freed);
}

/* The end is told without waiting for an interval of a day, also while held. */
static void test_end_while_waiting(void)
{
	for (int held = 0; held < 2; held++) {
		gboolean freed;
		struct gate *gate = gate_new(G_MAXINT, 1, &freed);
		sampler_t *sampler = sampler_new(&gate->source, G_TIME_SPAN_DAY, FALSE);
		struct sampler_news news = wait_news(sampler);
		sample_unref(news.sample);
		sampler_hold(sampler, held, FALSE);
		if (!news.ended) {
			news = wait_news(sampler);
			g_assert_true(news.ended);
		}
		g_clear_error(&news.error);
		sampler_free(sampler);
		g_assert_true(freed);
	}
}

/* ---- questions ---- */

static gpointer echo(source_t *source, const struct request *request, GError **error)
{
	if (request->flag) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL, "no");
		return NULL;
	}
	return g_strdup(request->text);
}

static struct request *question(const char *text, gboolean fail)
{
	static const struct request_kind kind = {echo, g_free};
	struct request *request = g_new0(struct request, 1);
	request->kind = &kind;
	request->text = g_strdup(text);
	request->flag = fail;
	return request;
}

static struct request *wait_answer(sampler_t *sampler)
{
	struct request *answer;
	while (!(answer = sampler_answer(sampler))) {
		struct sampler_news news = wait_news(sampler);
		sample_unref(news.sample);
		leaks_free(news.leaks);
		g_clear_error(&news.error);
	}
	return answer;
}

/* Answered in the order asked, between samples, also when a day lies between them and while they are held. */
static void test_questions(void)
{
	for (int held = 0; held < 2; held++) {
		gboolean freed;
		struct gate *gate = gate_new(G_MAXINT, 1000000, &freed);
		sampler_t *sampler = sampler_new(&gate->source, G_TIME_SPAN_DAY, FALSE);
		sampler_hold(sampler, held, FALSE);
		for (int i = 0; i < 10; i++) {
			g_autofree char *text = g_strdup_printf("%d", i);
			sampler_ask(sampler, question(text, i == 5));
		}
		for (int i = 0; i < 10; i++) {
			struct request *answer = wait_answer(sampler);
			g_assert_cmpint(atoi(answer->text), ==, i);
			if (i == 5)
				g_assert_error(answer->error, SOURCE_ERROR, REFTOP_ERROR_FAILED);
			else
				g_assert_cmpstr(answer->answer, ==, answer->text);
			request_free(answer);
		}
		sampler_free(sampler);
	}
}

/* Held and waited for, nothing is asked either: the target can't be stopped by us then. */
static void test_questions_wait_for_hold(void)
{
	gboolean freed;
	struct gate *gate = gate_new(G_MAXINT, 1000000, &freed);
	sampler_t *sampler = sampler_new(&gate->source, G_TIME_SPAN_DAY, FALSE);
	sampler_hold(sampler, TRUE, TRUE);
	struct sampler_news news;
	sampler_take(sampler, &news);
	sample_unref(news.sample);
	sampler_ask(sampler, question("later", FALSE));
	struct pollfd fd = {sampler_fd(sampler), POLLIN, 0};
	/* nothing to wait for but that nothing comes */
	g_assert_cmpint(poll(&fd, 1, 100), ==, 0);
	g_assert_null(sampler_answer(sampler));
	sampler_hold(sampler, FALSE, FALSE);
	struct request *answer = wait_answer(sampler);
	g_assert_cmpstr(answer->answer, ==, "later");
	request_free(answer);
	sampler_free(sampler);
}

/* Nobody waits for ever: when the source has ended, there is an error. */
static void test_questions_at_the_end(void)
{
	gboolean freed;
	struct gate *gate = gate_new(G_MAXINT, 0, &freed);
	sampler_t *sampler = sampler_new(&gate->source, 1, FALSE);
	sampler_ask(sampler, question("one", FALSE));
	struct request *answer = wait_answer(sampler);
	g_assert_true(!answer->answer == !!answer->error); /* it may have been asked in time */
	request_free(answer);
	struct sampler_news news = {0};
	sampler_free(sampler);
	gate = gate_new(G_MAXINT, 0, &freed);
	sampler = sampler_new(&gate->source, 1, FALSE);
	while (!news.ended) {
		news = wait_news(sampler);
		g_clear_error(&news.error);
	}
	sampler_ask(sampler, question("two", FALSE));
	answer = wait_answer(sampler);
	g_assert_error(answer->error, SOURCE_ERROR, REFTOP_ERROR_GONE);
	request_free(answer);
	sampler_ask(sampler, question("nobody takes it", FALSE));
	sampler_free(sampler);
	g_assert_true(freed);
}

/* References are looked at with the first sample after it was asked for, then not again soon. */
static void test_assess(void)
{
	gboolean freed;
	struct gate *gate = gate_new(G_MAXINT, 1000000, &freed);
	sampler_t *sampler = sampler_new(&gate->source, 1, TRUE);
	for (int i = 0; i < 3; i++) {
		struct sampler_news news = wait_news(sampler);
		g_assert_null(news.leaks);
		sample_unref(news.sample);
	}
	sampler_assess(sampler, TRUE);
	int looks = 0;
	for (int i = 0; i < 50; i++) {
		struct sampler_news news = wait_news(sampler);
		/* the sample in progress may have begun before */
		g_assert_true(looks || i < 2 || news.leaks);
		if (news.leaks)
			g_assert_true(news.leaks->origin == news.sample);
		looks += news.leaks != NULL;
		leaks_free(news.leaks);
		sample_unref(news.sample);
	}
	g_assert_cmpint(looks, ==, gate->assessed);
	g_assert_cmpint(looks, >=, 1);
	sampler_free(sampler);
}

/* All looks together take a 20th of the time at most, and the process is stopped for a 200th of it. */
static void test_pace(void)
{
	struct pace pace = {0};
	g_assert_true(pace_due(&pace, 0));
	pace_ran(&pace, 1000, 2000, 0);
	g_assert_false(pace_due(&pace, 1000 + PACE_LEAST_US - 1));
	g_assert_true(pace_due(&pace, 1000 + PACE_LEAST_US));
	pace_ran(&pace, 0, G_USEC_PER_SEC, SAMPLE_UNKNOWN);
	g_assert_false(pace_due(&pace, 20 * G_USEC_PER_SEC - 1));
	g_assert_true(pace_due(&pace, 20 * G_USEC_PER_SEC));
	pace_ran(&pace, 0, G_USEC_PER_SEC / 10, G_USEC_PER_SEC / 20);
	g_assert_false(pace_due(&pace, 10 * G_USEC_PER_SEC - 1));
	g_assert_true(pace_due(&pace, 10 * G_USEC_PER_SEC));
}

/* However often, and however long each one was: the pauses before any moment are at most the share of the time until then. */
static void test_budget(void)
{
	g_autoptr(GRand) dice = g_rand_new_with_seed(4);
	for (int share = 1; share <= 100; share += 33) {
		struct budget budget = {.share = share / 100.0};
		gint64 now = 1000000, start = now, sum = 0;
		for (int i = 0; i < 1000; i++) {
			now = MAX(now + g_rand_int_range(dice, 0, 2000), budget.due_us);
			g_assert_cmpfloat((double)sum, <=, (double)(now - start) * budget.share + 1000);
			gint64 pause = g_rand_int_range(dice, 0, 50000);
			budget_spent(&budget, now, pause);
			sum += pause;
			now += pause;
		}
	}
	/* what isn't known costs nothing, and nobody asked for is 1 % */
	struct budget budget = {0};
	budget_spent(&budget, 500, SAMPLE_UNKNOWN);
	g_assert_cmpint(budget.due_us, ==, 500);
	budget_spent(&budget, 1000, 10);
	g_assert_cmpint(budget.due_us, ==, 2000);
}

static void test_free_at_once(void)
{
	for (int i = 0; i < 50; i++) {
		gboolean freed;
		struct gate *gate = gate_new(G_MAXINT, 1000000, &freed);
		sampler_free(sampler_new(&gate->source, 1, i % 2));
		g_assert_true(freed);
	}
	sampler_free(NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/sampler/" #name, test_##name)
	TEST(every_sample_in_order);
	TEST(reader_never_waits);
	TEST(hold);
	TEST(goes_on_after_an_error);
	TEST(end_while_waiting);
	TEST(budget);
	TEST(free_at_once);
	TEST(questions);
	TEST(questions_wait_for_hold);
	TEST(questions_at_the_end);
	TEST(assess);
	TEST(pace);
	return g_test_run();
}
