/* A process that is watched: its worker, its samples, its trend. */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/server/server_private.h"
#include "daemon/store/json.h"

#define TREND_MOMENTS 240
#define BACKOFF_US    (5 * G_USEC_PER_SEC)
#define LONGEST_US    (300 * G_USEC_PER_SEC)
#define JUDGE_SHARE   100 /* verdicts are renewed when that took no more than such a part of the time since */
#define READ_BYTES    262144

#define QUESTION_PAUSES 10 /* somebody waits: they may cost the process so many times what samples may */
#define ASSESS_AFTER_US (60 * G_USEC_PER_SEC) /* one that is just starting has much on its way */

/* Births and deaths cost up to 4 bytes an object between the samples: an eighth of the memory, who comes first. */
#define LOCATED_SHARE 8
#define LOCATED_BYTES 4

static bool is_dumpable(pid_t pid, uid_t uid)
{
	char path[32];
	struct stat status;
	g_snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return !stat(path, &status) && status.st_uid == uid;
}

bool subject_visible(const struct subject *subject, uid_t peer)
{
	return peer == 0 || (subject->visible && subject->uid == peer);
}

static int by_pid(gconstpointer a, gconstpointer b)
{
	return (*(struct subject *const *)a)->pid - (*(struct subject *const *)b)->pid;
}

GPtrArray *subjects_visible(struct server *server, uid_t peer)
{
	GPtrArray *subjects = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, server->subjects);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (subject_visible(value, peer))
			g_ptr_array_add(subjects, value);
	g_ptr_array_sort(subjects, by_pid);
	return subjects;
}

char *subject_name(const struct subject *subject)
{
	g_autofree char *words = subject->python->cmdline ? g_strjoinv(" ", subject->python->cmdline) : g_strdup("");
	if (g_utf8_strlen(words, -1) > 60)
		*g_utf8_offset_to_pointer(words, 60) = '\0';
	return g_strdup_printf("process %d (%s)", (int)subject->pid, words);
}

static size_t trend_room(const struct server *server)
{
	size_t n = MAX(g_hash_table_size(server->subjects), 50);
	return CLAMP((size_t)server->config->memory / 4 / 32 / n, 1000, TREND_POINTS);
}

static gboolean on_end(gint fd, GIOCondition condition, gpointer data)
{
	struct subject *subject = data;
	struct server *server = subject->server;
	subject->pid_source = 0;
	clients_tell(server, subject, NULL);
	g_hash_table_remove(server->subjects, subject->key);
	return G_SOURCE_REMOVE;
}

struct subject *subject_new(struct server *server, struct python_process *python, int64_t interval_us, const char *key)
{
	struct subject *subject = g_new0(struct subject, 1);
	const uid_t *uid = python->process.uid;
	subject->server = server;
	subject->python = python;
	subject->pid = python->pid;
	subject->key = g_strdup(key);
	subject->uid = uid[0];
	subject->gid = python->process.gid[0];
	subject->visible = uid[0] == uid[1] && uid[0] == uid[2] && is_dumpable(python->pid, uid[0]);
	subject->start_us = process_start_time(&python->process);
	subject->interval_us = interval_us;
	subject->budget.share = server->config->pause;
	subject->question_budget.share = MIN(server->config->pause * QUESTION_PAUSES, 1);
	subject->since_us = subject->due_us = g_get_monotonic_time();
	subject->channel = -1;
	subject->cpu_ns = -1;
	subject->in = g_byte_array_new();
	int64_t first_us = MIN(ASSESS_AFTER_US, server->config->leaks_us);
	subject->assessment.due_us = subject->since_us + first_us + subject->pid % 97 * first_us / 97;
	subject->assessment.ran_ns = -1;
	subject->trend = trend_new_bounded(TREND_MOMENTS, trend_room(server));
	subject->told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	trend_defer(subject->trend, true);
	subject->pidfd = (int)syscall(SYS_pidfd_open, subject->pid, 0);
	if (subject->pidfd >= 0)
		subject->pid_source = g_unix_fd_add(subject->pidfd, G_IO_IN, on_end, subject);
	store_recall(server, subject);
	return subject;
}

static void set_located(struct subject *subject, size_t located)
{
	subject->server->located += located - subject->located;
	subject->located = located;
}

void subject_drop_worker(struct subject *subject)
{
	struct server *server = subject->server;
	if (subject->source)
		g_source_remove(subject->source);
	subject->source = 0;
	if (subject->channel >= 0)
		close(subject->channel);
	subject->channel = -1;
	if (subject->worker)
		g_hash_table_remove(server->workers, GUINT_TO_POINTER(subject->worker));
	subject->worker = 0;
	g_byte_array_set_size(subject->in, 0);
	subject->has_head = false;
	if (subject->busy)
		server->running--;
	subject->busy = false;
	set_located(subject, 0);
	if (subject->question)
		question_done(g_steal_pointer(&subject->question), NULL, NULL);
}

void subject_free(gpointer data)
{
	struct subject *subject = data;
	struct server *server = subject->server;
	server_forget(server, subject);
	if (subject->worker && server->nursery)
		nursery_kill(server->nursery, subject->worker);
	subject_drop_worker(subject);
	questions_drop_subject(subject);
	g_clear_pointer(&subject->assessment.lost, g_hash_table_destroy);
	if (g_hash_table_lookup(server->by_pid, GINT_TO_POINTER(subject->pid)) == subject)
		g_hash_table_remove(server->by_pid, GINT_TO_POINTER(subject->pid));
	if (subject->pid_source)
		g_source_remove(subject->pid_source);
	if (subject->pidfd >= 0)
		close(subject->pidfd);
	python_process_free(subject->python);
	g_byte_array_unref(subject->in);
	trend_free(subject->trend);
	sample_unref(subject->last);
	g_hash_table_destroy(subject->told);
	g_clear_pointer(&subject->noted, g_hash_table_destroy);
	g_free(subject->why_name);
	g_free(subject->why);
	g_free(subject->key);
	g_free(subject);
}

/* ---- what comes of a question ---- */

/* It can't be read now. Takes both. */
static void refuse(struct subject *subject, const char *name, char *why)
{
	bool news = g_strcmp0(subject->why_name, name) != 0;
	g_free(subject->why_name);
	g_free(subject->why);
	subject->why_name = g_strdup(name);
	subject->why = why;
	subject->errors++;
	subject->failures++;
	if (subject->last && !subject->gap_from_us) {
		subject->gap_from_us = subject->last->time_us;
		subject->gap_why = "it could not be read";
	}
	int64_t wait = MIN(BACKOFF_US << MIN(subject->failures - 1, 6), LONGEST_US);
	subject->due_us = g_get_monotonic_time() + wait;
	g_autofree char *words = subject_name(subject), *first = g_strndup(why, strcspn(why, "\n"));
	if (news)
		server_log(subject->server, G_LOG_LEVEL_MESSAGE, "%s: %s (%s)", words, first, name);
}

static void take_error(struct subject *subject, int code, const char *text)
{
	struct access access;
	if (code == REFTOP_ERROR_GONE) {
		/* ended: the next look at /proc takes it away; or another program runs in it */
		refuse(subject, "gone", g_strdup(text));
		subject->due_us = g_get_monotonic_time() + G_USEC_PER_SEC;
		return;
	}
	access_check(subject->pid, &access);
	const char *name = access.cause != ACCESS_GRANTED ? access_name(access.cause)
			   : code == REFTOP_ERROR_UNKNOWN ? "unsupported"
							  : "failed";
	refuse(subject, name, g_strdup(text));
	access_clear(&access);
}

static void take_sample(struct subject *subject, sample_t *sample)
{
	struct server *server = subject->server;
	gint64 pause = MAX(sample->snapshot.pause_us, 0);
	subject->failures = 0;
	g_clear_pointer(&subject->why_name, g_free);
	g_clear_pointer(&subject->why, g_free);
	subject->samples++;
	subject->pause_sum_us += pause;
	subject->pause_max_us = MAX(subject->pause_max_us, pause);
	trend_add(subject->trend, sample);
	store_add(server, subject, sample);
	subject->gap_from_us = 0;
	sample_unref(subject->last);
	subject->last = sample_ref(sample);
	subject->urgent = false;
	budget_spent(&subject->budget, subject->asked_us, pause);
	subject->due_us = MAX(subject->asked_us + schedule_interval(subject), subject->budget.due_us);
	clients_tell(server, subject, sample);
	rules_check(server, subject);
	server_note(server, subject);
}

/* What a look cost the process counts as the pauses of samples do. */
static void book_pause(struct subject *subject, int64_t began_us, int64_t pause_us)
{
	subject->pause_sum_us += pause_us;
	subject->pause_max_us = MAX(subject->pause_max_us, pause_us);
	budget_spent(&subject->budget, began_us, pause_us);
	subject->due_us = MAX(subject->due_us, subject->budget.due_us);
}

static void take_answer(struct subject *subject, const char *text)
{
	struct server *server = subject->server;
	const struct worker_answer *head = &subject->head;
	subject->busy = false;
	server->running--;
	subject->cpu_sum_us += head->cpu_us;
	server->worker_cpu_us += head->cpu_us;
	if (subject->question) {
		book_pause(subject, subject->question->sent_us, head->pause_us);
		question_done(g_steal_pointer(&subject->question), head, text);
		return;
	}
	schedule_spend(server, head->cpu_us);
	if (head->kind == WORKER_ERROR) {
		g_autofree char *clean = g_utf8_make_valid(text, (gssize)head->size);
		take_error(subject, head->code, clean);
		return;
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(sample_t) sample = json_sample_parse(text, head->size, &error);
	/* it reads one process; if it says something of another one, it isn't ours any more */
	if (!sample || sample->target.pid != subject->pid) {
		refuse(subject, "failed", g_strdup(sample ? "the worker told of another process" : error->message));
		nursery_kill(server->nursery, subject->worker);
		subject_drop_worker(subject);
		return;
	}
	subject->cpu_ns = !strcmp(sample->snapshot.mode, "quiet") ? head->ran_ns : -1;
	size_t objects = (size_t)MAX(sample->totals.objects, 0);
	set_located(subject, objects <= subject->may_locate ? objects : 0);
	take_sample(subject, sample);
}

/* What has come in makes whole answers? False: nonsense. */
static bool take_input(struct subject *subject)
{
	GByteArray *in = subject->in;
	if (!subject->has_head) {
		const uint8_t *end = memchr(in->data, '\n', MIN(in->len, 128));
		if (!end)
			return in->len < 128;
		g_autofree char *line = g_strndup((char *)in->data, (gsize)(end - in->data));
		if (!subject->busy || !worker_parse(line, &subject->head) ||
		    (subject->head.kind != WORKER_ERROR &&
		     subject->head.kind != (subject->question ? WORKER_ANSWER : WORKER_SAMPLE)))
			return false;
		g_byte_array_remove_range(in, 0, (guint)(end - in->data) + 1);
		subject->has_head = true;
	}
	if (in->len < subject->head.size)
		return true;
	subject->has_head = false;
	guint8 nul = 0;
	guint size = (guint)subject->head.size;
	bool exact = in->len == size;
	g_byte_array_append(in, &nul, 1);
	g_autoptr(GByteArray) text = g_steal_pointer(&subject->in);
	subject->in = g_byte_array_new();
	take_answer(subject, (char *)text->data);
	return exact;
}

static gboolean on_answer(gint fd, GIOCondition condition, gpointer data)
{
	struct subject *subject = data;
	guint had = subject->in->len;
	g_byte_array_set_size(subject->in, had + READ_BYTES);
	ssize_t n = recv(fd, subject->in->data + had, READ_BYTES, 0);
	g_byte_array_set_size(subject->in, had + (guint)MAX(n, 0));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n > 0 && take_input(subject))
		return subject->source ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
	/* nonsense, or its end, which the nursery tells about */
	if (n > 0 && subject->worker)
		nursery_kill(subject->server->nursery, subject->worker);
	subject->source = 0;
	return G_SOURCE_REMOVE;
}

void subject_worker_ended(struct subject *subject, int status)
{
	g_autofree char *how = WIFSIGNALED(status) ? g_strdup_printf("killed by signal %d (%s)", WTERMSIG(status),
								     g_strsignal(WTERMSIG(status)))
						   : g_strdup_printf("exit status %d", WEXITSTATUS(status));
	g_autofree char *words = subject_name(subject);
	subject_drop_worker(subject);
	subject->crashes++;
	server_log(subject->server, G_LOG_LEVEL_WARNING, "the worker of %s ended: %s; it gets another one", words, how);
	refuse(subject, "crashed", g_strdup_printf("its worker ended: %s", how));
}

/* ---- asking ---- */

static bool worker_make(struct subject *subject, GError **error)
{
	struct server *server = subject->server;
	struct worker_order order = {
		.pid = subject->pid,
		.uid = subject->uid,
		.gid = subject->gid,
		/* two work at once, and the rest of the daemon needs some, too */
		.memory = server->config->memory / 4,
		/* one question at a time: the copy, and the tables that are made of it */
		.picture = server->config->memory / 4,
	};
	subject->channel = nursery_spawn(server->nursery, &order, &subject->worker, error);
	if (subject->channel < 0)
		return false;
	g_hash_table_insert(server->workers, GUINT_TO_POINTER(subject->worker), subject);
	subject->source = g_unix_fd_add(subject->channel, G_IO_IN | G_IO_HUP, on_answer, subject);
	return true;
}

/* What has not run since it was read holds what it held. */
static bool repeat(struct subject *subject)
{
	if (!subject->last || subject->failures || subject->cpu_ns < 0 ||
	    worker_ran_ns(subject->pid) != subject->cpu_ns)
		return false;
	g_autoptr(sample_t) again = sample_repeat(subject->last, g_get_real_time());
	subject->repeats++;
	take_sample(subject, again);
	return true;
}

/* How many objects its worker may remember the places of. */
static size_t room_to_locate(const struct subject *subject)
{
	const struct server *server = subject->server;
	size_t room = (size_t)server->config->memory / LOCATED_SHARE / LOCATED_BYTES;
	size_t others = server->located - subject->located;
	return room > others ? room - others : 0;
}

/* False: its worker has ended; that is told in a moment. */
static bool send_line(struct subject *subject, const char *line)
{
	size_t size = strlen(line);
	if (send(subject->channel, line, size, MSG_NOSIGNAL) != (ssize_t)size)
		return false;
	subject->busy = true;
	subject->server->running++;
	return true;
}

void subject_ask(struct subject *subject)
{
	g_autoptr(GError) error = NULL;
	subject->asked_us = g_get_monotonic_time();
	if (repeat(subject))
		return;
	if (!subject->worker && !worker_make(subject, &error)) {
		refuse(subject, "failed", g_strdup(error->message));
		return;
	}
	g_autofree char *line = g_strdup_printf("sample %zu\n", subject->may_locate = room_to_locate(subject));
	send_line(subject, line);
}

bool subject_look(struct subject *subject, struct question *question, GError **error)
{
	if (!subject->worker && !worker_make(subject, error))
		return false;
	if (!send_line(subject, question->line)) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, NULL, NULL, "its worker ended");
		return false;
	}
	subject->question = question;
	return true;
}

const trend_t *subject_trend(struct subject *subject)
{
	gint64 now = g_get_monotonic_time();
	if (subject->judged_samples != trend_samples(subject->trend) && now >= subject->judge_due_us) {
		trend_defer(subject->trend, false);
		trend_defer(subject->trend, true);
		subject->judged_samples = trend_samples(subject->trend);
		subject->judge_due_us = now + (g_get_monotonic_time() - now) * JUDGE_SHARE;
	}
	return subject->trend;
}
