/* What needs a look of its own at a process, asked by peers or, for the metrics, by the daemon itself. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/server/client.h"
#include "daemon/store/json_references.h"

#define AT_ONCE        1  /* each may take a quarter of the memory, */
#define MOST_WAITING   32 /* and so many wait for their turn, */
#define WAITING_A_USER 8
#define WAIT_US        (60 * G_USEC_PER_SEC) /* no longer than that */
#define QUESTION_BURST                                                                                                 \
	(5 * G_USEC_PER_SEC) /* CPU time, of a budget as large as that of the samples, that may be saved up */
#define ASSESS_SHARE   0.15  /* of the samples' budget, for looks that nobody asked for */
#define ASSESS_BURST   (1 * G_USEC_PER_SEC)
#define LOOKS_APART_US (1 * G_USEC_PER_SEC)

static void question_free(struct question *question)
{
	g_free(question->id);
	g_free(question->line);
	g_free(question);
}

static void reply(struct question *question, GString *line)
{
	if (question->client)
		client_answer(question->client, line->str, line->len);
	g_string_free(line, TRUE);
}

/* ---- asking ---- */

static bool too_many(const struct server *server, uid_t uid)
{
	int own = 0;
	for (const GList *at = server->questions.head; at; at = at->next) {
		const struct question *question = at->data;
		own += question->client && question->client->uid == uid;
	}
	return server->questions.length >= MOST_WAITING || own >= WAITING_A_USER;
}

GString *question_put(struct client *client, struct subject *subject, const char *id, enum question_kind kind,
		      char *line)
{
	g_autofree char *taken = line;
	struct server *server = client->server;
	if (!server->config->questions)
		return protocol_refusal(id, REFTOP_ERROR_DENIED, "this daemon answers no questions (questions=no)");
	if (too_many(server, client->uid))
		return protocol_refusal(id, REFTOP_ERROR_FAILED, "too many questions are waiting");
	struct question *question = g_new0(struct question, 1);
	question->kind = kind;
	question->client = client;
	question->subject = subject;
	question->id = g_strdup(id);
	question->line = g_steal_pointer(&taken);
	question->asked_us = g_get_monotonic_time();
	g_queue_push_tail(&server->questions, question);
	return NULL;
}

void questions_drop_client(struct client *client)
{
	struct server *server = client->server;
	for (GList *at = server->questions.head, *next; at; at = next) {
		struct question *question = at->data;
		next = at->next;
		if (question->client != client)
			continue;
		g_queue_delete_link(&server->questions, at);
		question_free(question);
	}
	/* what is being worked at goes on, for nobody */
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, server->subjects);
	while (client->waiting && g_hash_table_iter_next(&iter, NULL, &value)) {
		struct subject *subject = value;
		if (subject->question && subject->question->client == client)
			subject->question->client = NULL;
	}
}

void questions_drop_subject(struct subject *subject)
{
	struct server *server = subject->server;
	for (GList *at = server->questions.head, *next; at; at = next) {
		struct question *question = at->data;
		next = at->next;
		if (question->subject != subject)
			continue;
		g_queue_delete_link(&server->questions, at);
		reply(question, protocol_refusal(question->id, REFTOP_ERROR_GONE, "no such process is watched"));
		question_free(question);
	}
}

/* ---- what is lost, since when ---- */

static struct assessed_type *assessed_get(GHashTable *lost, const char *name)
{
	struct assessed_type *type = lost ? g_hash_table_lookup(lost, name) : NULL;
	return type;
}

/* Two looks have found it: that is what the metrics tell. */
static void remember(struct subject *subject, const leaks_t *leaks)
{
	struct assessment *assessment = &subject->assessment;
	GHashTable *lost = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	for (size_t i = 0; i < leaks->n_types; i++) {
		const struct leak_type *row = &leaks->types[i];
		struct sample_type named = {.module = row->module, .qualname = row->qualname};
		char *name = sample_type_name(&named);
		const struct assessed_type *before = assessed_get(assessment->lost, name);
		struct assessed_type *type = assessed_get(lost, name);
		if (!type) {
			type = g_new0(struct assessed_type, 1);
			type->since_us = before ? before->since_us : leaks->origin->time_us;
			g_hash_table_insert(lost, name, type);
		} else {
			g_free(name);
		}
		type->unexplained += row->unexplained;
		type->deficit += row->deficit;
	}
	g_clear_pointer(&assessment->lost, g_hash_table_destroy);
	assessment->lost = lost;
	assessment->time_us = leaks->origin->time_us;
	assessment->unexplained = leaks->totals.unexplained;
	assessment->deficit = leaks->totals.deficit;
}

/* What the history knows of the types that lost something. */
static void add_history(struct subject *subject, leaks_t *leaks)
{
	const GPtrArray *rows = trend_rows(subject_trend(subject));
	for (size_t i = 0; i < leaks->n_types; i++) {
		struct leak_type *type = &leaks->types[i];
		struct sample_type named = {.module = type->module, .qualname = type->qualname};
		g_autofree char *name = sample_type_name(&named);
		const struct assessed_type *lost = assessed_get(subject->assessment.lost, name);
		if (lost && lost->since_us < leaks->origin->time_us)
			type->lost_since_us = lost->since_us;
		for (guint k = 0; k < rows->len; k++) {
			const struct trend_row *row = rows->pdata[k];
			const struct growth *growth = &row->growth[TREND_COUNT];
			if (row->address != type->address || growth->verdict != GROWTH_STEADY)
				continue;
			type->grows_since_us = growth->since_us;
			type->grows_rate = growth->rate;
		}
	}
}

/* The worker's verdict with what the daemon knows; NULL with *error: the worker's is nonsense. */
static GString *tell_leaks(struct subject *subject, const char *text, gsize size, GError **error)
{
	g_autoptr(leaks_t) leaks = json_leaks_parse(text, size, error);
	if (!leaks)
		return NULL;
	if (leaks->origin->target.pid != subject->pid) {
		g_set_error_literal(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, "the worker told of another process");
		return NULL;
	}
	if (leaks->looks > 1)
		remember(subject, leaks);
	add_history(subject, leaks);
	return json_leaks(leaks, G_MAXSIZE);
}

/* ---- the answer ---- */

/* Whether it is one object on one line, so that it can stand in an answer: whoever reads it looks closer. */
static bool is_object_line(const char *text, gsize size)
{
	int depth = 0;
	bool in_string = false;
	if (!size || *text != '{' || text[size - 1] != '\n' || !g_utf8_validate(text, (gssize)size, NULL))
		return false;
	for (gsize i = 0; i + 1 < size; i++) {
		char c = text[i];
		if ((guchar)c < 0x20 || (i && !depth))
			return false;
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
	}
	return !depth && !in_string;
}

static GString *make_answer(struct question *question, const struct worker_answer *head, const char *text)
{
	g_autoptr(GError) error = NULL;
	if (!head)
		return protocol_refusal(question->id, REFTOP_ERROR_FAILED, "its worker ended");
	if (head->kind == WORKER_ERROR) {
		g_autofree char *valid = g_utf8_make_valid(text, (gssize)head->size);
		g_autofree char *clean = text_escape_lines(valid);
		return head->code == REFTOP_ERROR_USAGE ? protocol_denial(question->id, head->code, clean)
							: protocol_refusal(question->id, head->code, clean);
	}
	g_autoptr(GString) result = NULL;
	if (question->kind == QUESTION_LEAKS)
		result = tell_leaks(question->subject, text, head->size, &error);
	else if (is_object_line(text, head->size))
		result = g_string_new_len(text, (gssize)head->size);
	if (!result)
		return protocol_refusal(question->id, REFTOP_ERROR_FAILED,
					error ? error->message : "the worker's answer makes no sense");
	if (result->len > CLIENT_ANSWER)
		return protocol_refusal(question->id, REFTOP_ERROR_FAILED, "the answer is too long: ask for less");
	return protocol_acceptance(question->id, g_steal_pointer(&result));
}

/* The daemon's own looks: two, then none for a while. */
static void plan_next(struct subject *subject, bool good, int64_t ran_ns)
{
	struct assessment *assessment = &subject->assessment;
	int64_t now = g_get_monotonic_time();
	bool again = good && !assessment->second;
	assessment->second = again;
	assessment->due_us = now + (again ? LOOKS_APART_US : subject->server->config->leaks_us);
	assessment->ran_ns = good ? ran_ns : -1;
}

void question_done(struct question *question, const struct worker_answer *head, const char *text)
{
	struct subject *subject = question->subject;
	struct server *server = subject->server;
	server->asking--;
	if (head && question->own) {
		schedule_spend(server, head->cpu_us);
		server->assess_tokens -= (double)head->cpu_us;
	} else if (head) {
		server->question_tokens -= (double)head->cpu_us;
		budget_spent(&subject->question_budget, question->sent_us, head->pause_us);
	}
	GString *line = make_answer(question, head, text);
	if (question->own)
		plan_next(subject, head && head->kind == WORKER_ANSWER, question->ran_ns);
	reply(question, line);
	question_free(question);
}

/* ---- whose turn it is ---- */

static void fill(struct server *server)
{
	int64_t now = g_get_monotonic_time();
	double more = server->question_time_us ? (double)(now - server->question_time_us) * server->config->cpu
					       : (double)QUESTION_BURST;
	server->question_tokens = MIN(server->question_tokens + more, QUESTION_BURST);
	server->assess_tokens = MIN(server->assess_tokens + more * ASSESS_SHARE, ASSESS_BURST);
	server->question_time_us = now;
}

static bool may_look(const struct subject *subject, const struct budget *budget, int64_t now)
{
	return !subject->busy && budget->due_us <= now;
}

/* Takes the question over. */
static void begin(struct question *question)
{
	g_autoptr(GError) error = NULL;
	struct subject *subject = question->subject;
	struct server *server = subject->server;
	question->sent_us = g_get_monotonic_time();
	question->ran_ns = worker_ran_ns(subject->pid);
	subject->asked_us = question->sent_us;
	if (subject_look(subject, question, &error)) {
		server->asking++;
		return;
	}
	if (question->own)
		plan_next(subject, false, -1);
	reply(question, protocol_refusal(question->id, REFTOP_ERROR_FAILED, error->message));
	question_free(question);
}

static void take_turn(struct server *server)
{
	int64_t now = g_get_monotonic_time();
	for (GList *at = server->questions.head, *next; at; at = next) {
		struct question *question = at->data;
		next = at->next;
		if (now - question->asked_us > WAIT_US) {
			g_queue_delete_link(&server->questions, at);
			reply(question, protocol_refusal(question->id, REFTOP_ERROR_FAILED,
							 "the daemon's budget allowed no look at it within a minute"));
			question_free(question);
		} else if (server->asking < AT_ONCE && server->question_tokens > 0 &&
			   may_look(question->subject, &question->subject->question_budget, now)) {
			g_queue_delete_link(&server->questions, at);
			begin(question);
		}
	}
}

/* What has not run since it was looked at has lost nothing more. */
static bool still_holds(struct subject *subject)
{
	struct assessment *assessment = &subject->assessment;
	if (assessment->second || !assessment->time_us || assessment->ran_ns < 0 ||
	    worker_ran_ns(subject->pid) != assessment->ran_ns)
		return false;
	assessment->time_us = g_get_real_time();
	assessment->due_us = g_get_monotonic_time() + subject->server->config->leaks_us;
	return true;
}

/* Look for what is lost where nobody did for the longest time. */
static void assess(struct server *server)
{
	int64_t now = g_get_monotonic_time();
	struct subject *best = NULL;
	GHashTableIter iter;
	gpointer value;
	if (!server->config->leaks_us || server->asking || server->assess_tokens <= 0)
		return;
	g_hash_table_iter_init(&iter, server->subjects);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct subject *subject = value;
		if (subject->assessment.due_us <= now && subject->last && !subject->failures &&
		    may_look(subject, &subject->budget, now) &&
		    (!best || subject->assessment.due_us < best->assessment.due_us))
			best = subject;
	}
	if (!best || still_holds(best))
		return;
	struct question *question = g_new0(struct question, 1);
	question->kind = QUESTION_LEAKS;
	question->own = true;
	question->subject = best;
	question->line = g_strdup("leaks 0\n");
	begin(question);
}

void questions_turn(struct server *server)
{
	fill(server);
	take_turn(server);
	assess(server);
}
