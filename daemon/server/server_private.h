/* What the files of the daemon share. */
#pragma once
#include <sys/types.h>

#include "daemon/server/server.h"
#include "daemon/server/worker.h"
#include "daemon/source/budget.h"
#include "daemon/store/history.h"

/* what the last look for unexplained references found, and since when (questions.c) */
struct assessment {
	int64_t time_us;              /* since the epoch; 0: there was none */
	int64_t unexplained, deficit; /* what two looks found */
	GHashTable *lost;             /* name of a type -> struct assessed_type * */
	int64_t due_us;               /* monotonic */
	bool second;                  /* the first look was, the other one is due */
	int64_t ran_ns;               /* CPU time of the process before the last look; -1: not known */
};
struct assessed_type {
	int64_t since_us; /* lost already then */
	int64_t unexplained, deficit;
};

/* a process that is watched */
struct subject {
	struct server *server;
	pid_t pid;
	int64_t start_us; /* since the epoch */
	struct python_process *python;
	uid_t uid;
	gid_t gid;
	bool visible; /* its user may see it: it is dumpable, and all its user numbers are the same */
	char *key;    /* pid and start in clock ticks */

	/* times of the monotonic clock, µs */
	int64_t interval_us, due_us, asked_us, judge_due_us;
	size_t judged_samples;
	struct budget budget;          /* of pauses */
	struct budget question_budget; /* the same, for what somebody waits for */
	int64_t viewer_us;             /* the shortest interval a viewer asked for; 0: none */
	bool urgent;                   /* somebody waits for it */

	guint worker; /* number; 0: there is none */
	int channel;
	guint source;
	GByteArray *in;
	struct worker_answer head;
	bool has_head, busy;
	struct question *question; /* that the worker is at; NULL: at a sample, or nothing */
	size_t located;            /* objects whose place the worker keeps, for births and deaths, */
	size_t may_locate;         /* and how many it may with the sample it is at */
	struct assessment assessment;

	int pidfd;
	guint pid_source;
	int64_t cpu_ns; /* of the process, when the last sample was done; -1: not known */

	trend_t *trend;
	sample_t *last;
	int failures;   /* in a row */
	char *why_name; /* why it can't be read now: "traced", "unsupported"...; NULL: it can */
	char *why;
	int64_t gap_from_us; /* nobody looked since then; 0: no gap */
	const char *gap_why;
	int64_t stored_us;

	/* sums, for metrics */
	uint64_t samples, repeats, errors, crashes;
	int64_t pause_sum_us, pause_max_us, cpu_sum_us;
	int64_t since_us; /* monotonic: watched since */
	noted_t *noted;   /* what grew; NULL: not remembered */
	GHashTable *told; /* rule and type -> time (monotonic), gint64 * */
};

struct server {
	struct config *config;
	nursery_t *nursery;
	GMainLoop *loop;
	GHashTable *subjects; /* key -> struct subject * */
	GHashTable *by_pid;   /* pid -> struct subject *, not owned */
	GHashTable *seen;     /* pid -> struct seen *: processes of this machine, and whether they are Pythons */
	GHashTable *workers;  /* number -> struct subject *, not owned */
	recording_t *store, *reader;
	char *store_trouble; /* why samples are not stored; NULL: they are */
	uint64_t store_errors;
	int64_t thinned_us, thin_due_us, store_retry_us;
	/* the budget, CPU µs */
	double tokens;
	int64_t token_time_us, own_cpu_us;
	int running; /* workers that are busy */
	int64_t worker_cpu_us;
	size_t located; /* of all subjects */

	/* questions.c */
	GQueue questions; /* struct question *, the oldest first; none of them is being worked at */
	int asking;       /* that are */
	double question_tokens, assess_tokens;
	int64_t question_time_us;
	guint tick, scan;
	uint64_t scans;

	/* the socket */
	int listen_fd;
	guint listen_source;
	char *socket_made; /* to be removed at the end */
	GPtrArray *clients;
	uint64_t refused;

	struct metrics *metrics; /* NULL: none */
	GPtrArray *signals;
	gboolean stopping;
	GArray *growths; /* struct grown, of those that ended; NULL: not remembered */
	guint processes; /* that ended and were read at least once */
	int64_t started_us;
};

/* watch.c: look which Python processes there are; starts and ends subjects. */
void watch_scan(struct server *server);
void watch_clear(struct server *server);

/* subject.c */
struct subject *subject_new(struct server *server, struct python_process *python, int64_t interval_us, const char *key);
void subject_free(gpointer data);
/* Ask its worker for a sample; makes the worker when there is none. */
void subject_ask(struct subject *subject);
/* Its worker ended. */
void subject_worker_ended(struct subject *subject, int status);
/* Have its worker answer this question; it is subject->question then. False with *error: it can't. */
bool subject_look(struct subject *subject, struct question *question, GError **error);
/* Take its worker away; it gets another one with the next sample. */
void subject_drop_worker(struct subject *subject);
/* The verdicts of its types, up to date. */
const trend_t *subject_trend(struct subject *subject);
/* Whether a peer with this user number may see it. */
bool subject_visible(const struct subject *subject, uid_t peer);
/* All that a peer may see, by number: struct subject *, not owned. */
GPtrArray *subjects_visible(struct server *server, uid_t peer);
/* A few words for logs: "process 123 (python3 app.py)". */
char *subject_name(const struct subject *subject);

/* schedule.c */
void schedule_start(struct server *server);
void schedule_stop(struct server *server);
void schedule_spend(struct server *server, int64_t cpu_us);
/* When a subject that was asked at `now` is due again. */
int64_t schedule_interval(const struct subject *subject);

/*
 * questions.c: what needs a look of its own at a process: leaks, explain, objects, stacks. One at a time for all of the daemon, each by the
 * worker of its process; how much CPU they may take together is bounded by a budget like that of the samples.
 */
struct client;
enum question_kind { QUESTION_LEAKS, QUESTION_EXPLAIN, QUESTION_OBJECTS, QUESTION_STACKS };
struct question {
	enum question_kind kind;
	struct client *client; /* who waits for it; NULL: the daemon itself, or nobody any more */
	bool own;              /* the daemon's */
	struct subject *subject;
	char *id, *line;
	int64_t asked_us, sent_us; /* monotonic */
	int64_t ran_ns;            /* CPU time of the process just before */
};
/* A peer asks. NULL: it will be answered; else why not, as a line. `line` (with its newline, worker.h) is taken over. */
GString *question_put(struct client *client, struct subject *subject, const char *id, enum question_kind kind,
		      char *line);
/* The worker has answered, or `head` is NULL: it ended, or its process did. Frees the question. */
void question_done(struct question *question, const struct worker_answer *head, const char *text);
/* Go on: begin what may begin, refuse what has waited too long. */
void questions_turn(struct server *server);
void questions_drop_client(struct client *client);
void questions_drop_subject(struct subject *subject);

/* store.c: opening, writing and thinning of the history */
void store_open(struct server *server);
void store_add(struct server *server, struct subject *subject, const sample_t *sample);
/* Before the first sample of a subject: what an earlier daemon saw of it. */
void store_recall(struct server *server, struct subject *subject);
void store_tend(struct server *server);
void store_close(struct server *server);

/* client.c: connections. protocol.c answers a line. */
gboolean clients_open(struct server *server, GError **error);
void clients_close(struct server *server);
/* There is a new sample of the subject, or (sample NULL) it has ended. */
void clients_tell(struct server *server, struct subject *subject, const sample_t *sample);

/* server.c: remember what grows; and when it ends, what grew in it. */
void server_note(struct server *server, struct subject *subject);
void server_forget(struct server *server, struct subject *subject);

/* rules.c */
void rules_check(struct server *server, struct subject *subject);

/* metrics.c */
gboolean metrics_open(struct server *server, GError **error);
void metrics_close(struct server *server);
/* The text of /metrics: what `peer` may see, as OpenMetrics or in the older text format. */
GString *metrics_text(struct server *server, uid_t peer, bool open);

/* Logs to the journal when the daemon runs under systemd, else to standard error. */
void server_log(struct server *server, GLogLevelFlags level, const char *format, ...) G_GNUC_PRINTF(3, 4);
