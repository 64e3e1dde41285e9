/* What the files of the remote source share. */
#pragma once
#include <json-glib/json-glib.h>

#include "daemon/source/remote.h"
#include "daemon/target/process.h"

struct explanation;

struct remote {
	source_t source;
	int fd; /* -1: the daemon is gone */
	GString *in;
	pid_t pid;
	struct process process; /* as it was when opened */
	gint64 interval_us;
	struct live_options options;
	source_t *live;    /* NULL: nobody needed it */
	gboolean watching; /* objects: the samples are taken here */
	sample_t *news;    /* came while something else was waited for */
	gboolean ended;
	gint64 given_us;     /* time of the sample given out last */
	GArray *times, *ids; /* gint64: of the daemon's history */
};

/* The process opened here; NULL with *error. */
source_t *remote_need_live(struct remote *remote, GError **error);
/* Send a line, wait for what answers it, be it a refusal; NULL: the daemon is gone. Free with json_object_unref(). */
JsonObject *remote_answer(struct remote *remote, const char *line, int seconds);

/* remote_questions.c */
struct leaks *remote_leaks(source_t *source, size_t max_objects, GError **error);
sample_t *remote_assess(source_t *source, size_t max_objects, struct leaks **leaks, GError **error);
struct explanation *remote_explain(source_t *source, uint64_t address, GError **error);
gboolean remote_explain_all(source_t *source, const uint64_t *addresses, size_t n,
			    bool (*each)(void *context, uint64_t address, struct explanation *explanation,
					 const GError *problem, GError **error),
			    void *context, GError **error);
struct instances *remote_instances(source_t *source, const char *type, const char *sort, size_t limit, GError **error);
struct stacks *remote_stacks(source_t *source, const struct stacks_options *options, GError **error);
