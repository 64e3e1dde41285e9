#include "daemon/source/group.h"

#include <string.h>

#include "base/error.h"
#include "daemon/analysis/sum.h"
#include "daemon/source/family.h"
#include "daemon/source/remote.h"

#define RETRY_US  (2 * G_USEC_PER_SEC)  /* one that can't be read is tried no sooner again */
#define SILENT_US (30 * G_USEC_PER_SEC) /* a daemon that has no news for so long can't read it, or has no time */

struct one {
	struct python_process *python;
	gint64 start_us;
	char *command;
	source_t *source; /* NULL: not opened */
	gboolean remote;
	sample_t *last;
	char *why;
	gboolean fresh;
	gint64 retry_us;
};

struct group {
	source_t source;
	struct group_options options;
	family_t *family;
	GPtrArray *ones; /* struct one *, ascending pids */
	gboolean looked;
	pid_t first;        /* of those that were given */
	int64_t longest_us; /* that one was stopped for in this round, */
	int64_t paused_us;  /* and the sum of that over all rounds */
};

static void one_free(gpointer data)
{
	struct one *one = data;
	source_free(one->source);
	python_process_free(one->python);
	sample_unref(one->last);
	g_free(one->command);
	g_free(one->why);
	g_free(one);
}

static int by_pid(gconstpointer a, gconstpointer b)
{
	return (*(struct one *const *)a)->python->pid - (*(struct one *const *)b)->python->pid;
}

/* Who has come, who is gone. */
static void look(struct group *group)
{
	g_autoptr(GPtrArray) news = family_look(group->family);
	group->looked = TRUE;
	for (guint i = group->ones->len; i-- > 0;) {
		const struct one *one = group->ones->pdata[i];
		if (!family_has(group->family, one->python->pid, one->python->process.start_ticks))
			g_ptr_array_remove_index(group->ones, i);
	}
	g_ptr_array_set_free_func(news, NULL);
	for (guint i = 0; i < news->len; i++) {
		struct one *one = g_new0(struct one, 1);
		one->python = news->pdata[i];
		one->start_us = process_start_time(&one->python->process);
		one->command = one->python->cmdline ? g_strjoinv(" ", one->python->cmdline) : g_strdup("");
		g_ptr_array_add(group->ones, one);
	}
	g_ptr_array_sort(group->ones, by_pid);
}

/* ---- one of them ---- */

static gboolean open_one(const struct group *group, struct one *one, GError **error)
{
	const struct group_options *options = &group->options;
	if (one->source)
		return TRUE;
	pid_t pid = one->python->pid;
	one->source = options->no_daemon ? NULL : source_remote_new(pid, options->interval_us, &options->live);
	one->remote = one->source != NULL;
	if (!one->source)
		one->source = source_live_new(pid, &options->live, error);
	return one->source != NULL;
}

static void fail(struct one *one, const GError *error)
{
	g_free(one->why);
	const char *cause = strstr(error->message, "\n  cause: ");
	cause = cause ? cause + strlen("\n  cause: ") : error->message;
	one->why = g_strndup(cause, strcspn(cause, "\n"));
	one->retry_us = g_get_monotonic_time() + RETRY_US;
}

static void keep(struct one *one, sample_t *sample)
{
	g_clear_pointer(&one->why, g_free);
	one->fresh = TRUE;
	sample_unref(one->last);
	one->last = sample;
}

/* Its next sample. FALSE: it is none of the group any more. */
static gboolean take(struct group *group, struct one *one)
{
	g_autoptr(GError) error = NULL;
	one->fresh = FALSE;
	if (g_get_monotonic_time() < one->retry_us)
		return TRUE;
	if (!open_one(group, one, &error)) {
		fail(one, error);
		return error->code != REFTOP_ERROR_GONE;
	}
	int64_t paused = source_paused(one->source);
	g_autoptr(sample_t) sample =
		one->remote ? source_remote_newest(one->source, &error) : source_next(one->source, &error);
	group->longest_us = MAX(group->longest_us, source_paused(one->source) - paused);
	if (sample && !sample->snapshot.skipped) {
		keep(one, g_steal_pointer(&sample));
	} else if (sample) {
		g_set_error_literal(&error, SOURCE_ERROR, REFTOP_ERROR_SKIPPED, sample->snapshot.skipped);
		fail(one, error);
	} else if (error) {
		fail(one, error);
		/* it ended, or runs another program: whoever it is now is found by the next look */
		if (error->code != REFTOP_ERROR_GONE)
			return TRUE;
		family_again(group->family, one->python->pid);
		return FALSE;
	} else if (one->last &&
		   g_get_real_time() - one->last->time_us > MAX(SILENT_US, 5 * group->options.interval_us)) {
		g_free(one->why);
		one->why = g_strdup("the daemon has had no sample of it for a while");
	}
	return TRUE;
}

/* ---- the source ---- */

/* They are read one after the other: the middle of that is when the sum held. */
static gint64 time_of(const struct group *group)
{
	gint64 first = 0, sum = 0;
	int n = 0;
	for (guint i = 0; i < group->ones->len; i++) {
		const struct one *one = group->ones->pdata[i];
		if (!one->fresh || !one->last)
			continue;
		first = n ? first : one->last->time_us;
		sum += one->last->time_us - first;
		n++;
	}
	return n ? first + sum / n : g_get_real_time();
}

static sample_t *add_up(struct group *group)
{
	g_autofree struct sample_part *parts = g_new0(struct sample_part, group->ones->len);
	for (guint i = 0; i < group->ones->len; i++) {
		const struct one *one = group->ones->pdata[i];
		parts[i] = (struct sample_part){.pid = one->python->pid,
						.start_time_us = one->start_us,
						.command = one->command,
						.sample = one->last,
						.fresh = one->fresh,
						.why = one->why};
	}
	return sum_make(parts, group->ones->len, time_of(group));
}

static sample_t *group_next(source_t *source, GError **error)
{
	struct group *group = (struct group *)source;
	const struct one *unread = NULL;
	size_t read = 0;
	gboolean looked = group->looked;
	look(group);
	if (!family_alive(group->family) && !looked && group->first) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, NULL, NULL, "there is no process %d",
			  (int)group->first);
		return NULL;
	}
	if (!family_alive(group->family)) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, "all have ended", NULL,
			  "there is no process of these any more");
		return NULL;
	}
	group->longest_us = 0;
	for (guint i = group->ones->len; i-- > 0;)
		if (!take(group, group->ones->pdata[i]))
			g_ptr_array_remove_index(group->ones, i);
	group->paused_us += group->longest_us;
	for (guint i = 0; i < group->ones->len; i++) {
		const struct one *one = group->ones->pdata[i];
		read += one->last != NULL;
		unread = one->why ? one : unread;
	}
	if (read || !unread)
		return add_up(group);
	error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, unread->why, NULL,
		  group->ones->len == 1 ? "process %d cannot be read"
					: "none of the processes can be read: %d, and others",
		  (int)unread->python->pid);
	return NULL;
}

static gboolean group_alive(source_t *source)
{
	struct group *group = (struct group *)source;
	return !group->looked || family_alive(group->family);
}

static int64_t group_paused(source_t *source)
{
	return ((struct group *)source)->paused_us;
}

static void group_free(source_t *source)
{
	struct group *group = (struct group *)source;
	g_ptr_array_unref(group->ones);
	family_free(group->family);
	g_free(group);
}

static const struct source_ops group_ops = {
	.name = GROUP_NAME,
	.next = group_next,
	.alive = group_alive,
	.free = group_free,
	.paused = group_paused,
};

source_t *source_group_new(const struct group_options *options)
{
	struct group *group = g_new0(struct group, 1);
	group->source.ops = &group_ops;
	group->options = *options;
	group->first = options->n ? options->pids[0] : 0;
	group->options.pids = NULL; /* they may be gone by then */
	group->family = family_new(options->pids, options->n, options->children, options->adopts);
	group->ones = g_ptr_array_new_with_free_func(one_free);
	return &group->source;
}
