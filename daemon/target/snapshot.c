#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/gentle.h"
#include "daemon/target/file.h"
#include "daemon/target/quiet.h"
#include "daemon/target/taking.h"

#define HUGE_WASTE    32            /* of the memory that a copy takes this part may be more than what is copied */
#define TWO_THREADS   (16ull << 20) /* bytes that make a second thread worth waking */
#define QUIET_SKIP    16            /* at most so many snapshots aren't tried quietly after failures */
#define MAPS_TRIES    50
#define QUIET_TRIES   2
#define QUIET_IDLE    10            /* a process that had less than one part in so many of a CPU is as good as idle */
#define QUIET_WATCHED (64ull << 20) /* bytes: to copy so much in vain takes longer than two looks */
#define QUIET_JUDGED  10000000      /* ns: from this time on what it used of a CPU says whether it is idle */
#define QUIET_PATIENT 20            /* times it is tried when a stop would take too long */
#define QUIET_NAP_US  5000

static int64_t now_us(clockid_t clock)
{
	return taking_clock(clock) / 1000;
}

bool taking_two_threads(uint64_t bytes)
{
	return bytes >= TWO_THREADS && sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

/* ---- the plan ---- */

/*
 * Read and parse the maps; *same when they are what the plan was made from. While the target runs they change under the reader's hands,
 * and two lines may contradict each other: then read them again. NULL without an error: the address space is gone.
 */
static struct maps *maps_again(struct taking *taking, bool *same, GError **error)
{
	for (int i = 0;; i++) {
		size_t size = 0;
		char *text = target_maps_text(taking->target, &size);
		*same = text && size && size == taking->maps_size && !memcmp(text, taking->maps_text, size);
		if (!text || !size || *same) {
			g_free(text);
			return NULL;
		}
		GError *failure = NULL;
		struct maps *maps = maps_parse(text, size, &failure);
		if (maps || i == MAPS_TRIES) {
			g_free(taking->maps_text);
			taking->maps_text = text;
			taking->maps_size = size;
			if (failure)
				g_propagate_error(error, failure);
			return maps;
		}
		g_clear_error(&failure);
		g_free(text);
	}
}

bool taking_plan(struct taking *taking, GError **error)
{
	target_t *target = taking->target;
	struct snapshot_private *own = taking->own;
	bool same;
	struct maps *maps = maps_again(taking, &same, error);
	if (!maps)
		return same;
	struct plan *before = own->plan;
	own->plan = plan_new(target->pid, target->mem, &target->presence, own->pool, &own->files, maps,
			     taking->options->extent, before);
	if (before)
		own->plan->bytes = before->bytes;
	own->plan->sparing = taking->options->sparing && taking->options->extent == SNAPSHOT_HEAP &&
			     !taking->options->precopy && !taking->snapshot->streamed;
	own->plan->barren = target->barren;
	barren_ranges_of(maps, &own->plan->ranges);
	plan_free(before);
	return true;
}

static void *prepare_main(void *data)
{
	plan_prepare(data);
	return NULL;
}

/* `most`: only see whether there is no more than that to copy, *fits; 0: prepare it. False: the target is gone. */
static bool prepare(struct taking *taking, uint64_t most, bool *fits)
{
	struct work work = {.plan = taking->own->plan, .most = most};
	taking->own->pool->huge_waste = target_anonymous(taking->target) / HUGE_WASTE;
	GThread *threads[2] = {gentle_thread("prepare", prepare_main, &work)};
	if (taking_two_threads(target_rss(taking->target)))
		threads[1] = gentle_thread("prepare", prepare_main, &work);
	for (size_t i = 0; i < G_N_ELEMENTS(threads) && threads[i]; i++)
		g_thread_join(threads[i]);
	*fits = !work.late;
	return !work.stop || work.late;
}

/* ---- copying ---- */

static void results_init(struct taking *taking)
{
	for (int i = 0; i < 2; i++)
		copy_result_init(&taking->results[i]);
}

void taking_discard(struct taking *taking)
{
	const struct plan *plan = taking->own->plan;
	for (int i = 0; i < 2; i++) {
		GArray *copied = taking->results[i].copied;
		for (guint k = 0; k < copied->len; k++) {
			const struct presence_run *run = &g_array_index(copied, struct presence_run, k);
			const struct mapping *mapping = maps_find(plan->maps, run->start);
			pool_dirty(plan->mappings[mapping - plan->maps->mappings].window, run, 1);
		}
	}
	for (int i = 0; i < 2; i++) {
		copy_result_clear(&taking->results[i]);
		copy_result_init(&taking->results[i]);
	}
}

static void results_clear(struct taking *taking)
{
	for (int i = 0; i < 2; i++)
		copy_result_clear(&taking->results[i]);
}

struct helper {
	struct work *work;
	struct copy_result *result;
};

static void *helper_main(void *data)
{
	struct helper *helper = data;
	plan_copy(helper->work, helper->result);
	return NULL;
}

bool taking_copy(struct taking *taking, struct work *work)
{
	struct helper helpers[2] = {{work, &taking->results[0]}, {work, &taking->results[1]}};
	/* where the process sleeps it is over soon, or in vain; where it runs, it comes first, and has a CPU to itself if there are two */
	bool running = work->pages == WORK_FIRST || work->pages == WORK_ROUND;
	bool two = taking_two_threads(work->plan->bytes) && (!running || sysconf(_SC_NPROCESSORS_ONLN) > 2);
	GThread *(*start)(const char *, GThreadFunc, void *) = running ? gentle_thread : g_thread_new;
	GThread *second = two ? start("copy", helper_main, &helpers[1]) : NULL;
	GThread *first = running ? start("copy", helper_main, &helpers[0]) : NULL;
	if (first)
		g_thread_join(first);
	else
		plan_copy(work, &taking->results[0]);
	if (second)
		g_thread_join(second);
	return !work->stop;
}

static bool copy_running(struct taking *taking)
{
	struct work work = {.plan = taking->own->plan};
	return taking_copy(taking, &work);
}

/* ---- threads ---- */

void taking_threads_looked(struct taking *taking)
{
	struct snapshot *snapshot = taking->snapshot;
	g_free(snapshot->threads);
	snapshot->n_threads = taking->look->len;
	snapshot->threads = g_new0(struct snapshot_thread, snapshot->n_threads);
	for (guint i = 0; i < taking->look->len; i++) {
		const struct quiet_thread *look = &g_array_index(taking->look, struct quiet_thread, i);
		struct snapshot_thread *thread = &snapshot->threads[i];
		thread->tid = look->tid;
		thread->state = look->state;
		memcpy(thread->name, look->name, sizeof(thread->name));
	}
}

/* ---- how it is taken ---- */

static bool look(struct taking *taking, bool counters)
{
	g_clear_pointer(&taking->look, g_array_unref);
	taking->look = quiet_look(taking->target->pid, counters);
	return taking->look != NULL;
}

/* Look at it before the copy is prepared, which takes its time. */
static void watch(struct taking *taking)
{
	const struct snapshot_options *options = taking->options;
	const target_t *target = taking->target;
	if (options->nonblocking || taking->snapshot->streamed || options->extent != SNAPSHOT_HEAP ||
	    target->quiet_skip || (target->tracker && options->precopy) || target_anonymous(target) < QUIET_WATCHED)
		return;
	taking->earlier = quiet_look(taking->target->pid, true);
	taking->earlier_ns = taking_clock(CLOCK_MONOTONIC);
}

/* Whether it ran in that time, asleep as it may be just now: a copy that it doesn't run meanwhile won't be had. */
static bool ran_meanwhile(struct taking *taking)
{
	g_autoptr(GArray) earlier = g_steal_pointer(&taking->earlier);
	int64_t passed = taking_clock(CLOCK_MONOTONIC) - taking->earlier_ns;
	return earlier && passed >= QUIET_JUDGED && quiet_used(earlier, taking->look) >= (uint64_t)passed / QUIET_IDLE;
}

/*
 * Copy while the target runs, and see whether it did. *valid: it didn't, this is a consistent snapshot. *again: it did, but looked idle: it woke
 * up for a moment, and another try may well succeed.
 * False without an error: the target is gone.
 */
static bool take_quietly(struct taking *taking, bool *valid, bool *again, GError **error)
{
	target_t *target = taking->target;
	int64_t begun = taking_clock(CLOCK_MONOTONIC);
	*valid = *again = false;
	if (!look(taking, true))
		return false;
	if (!quiet_asleep(taking->look) || ran_meanwhile(taking))
		return true; /* it is busy: not worth a try, and not the try's fault */
	if (!taking_plan(taking, error))
		return false;
	taking->snapshot->time_us = now_us(CLOCK_REALTIME);
	if (!copy_running(taking))
		return false;
	target->quiet_copies++;
	g_autoptr(GArray) after = quiet_look(target->pid, true);
	*valid = after && quiet_same(taking->look, after) && presence_alive(&target->presence);
	if (!*valid) {
		int64_t took = taking_clock(CLOCK_MONOTONIC) - begun;
		*again = after && quiet_used(taking->look, after) < (uint64_t)took / QUIET_IDLE;
		taking_discard(taking);
	}
	return true;
}

/* Try to do without a stop, `tries` times at most. *valid: it could be done. False without an error: the target is gone. */
static bool try_quietly(struct taking *taking, int tries, bool patient, bool *valid, GError **error)
{
	target_t *target = taking->target;
	uint64_t copies = target->quiet_copies;
	bool again = true;
	*valid = false;
	for (int i = 0; i < tries && again && !*valid; i++) {
		if (i && patient)
			g_usleep(QUIET_NAP_US);
		if (!take_quietly(taking, valid, &again, error))
			return false;
		again |= patient;
	}
	if (*valid) {
		target->quiet_misses = target->quiet_skip = 0;
		taking->snapshot->mode = SNAPSHOT_QUIET;
		taking->snapshot->consistent = true;
		taking_threads_looked(taking);
	} else if (target->quiet_copies != copies) {
		target->quiet_misses++;
		target->quiet_skip = MIN(1u << MIN(target->quiet_misses, 8), QUIET_SKIP) - 1;
	}
	return true;
}

static bool take_stopped(struct taking *taking, GError **error)
{
	struct work work = {.plan = taking->own->plan};
	if (!taking->look && !look(taking, false))
		return false;
	taking_threads_looked(taking);
	GError *skipped = NULL;
	if (!stop_allowed(taking, taking->own->plan->bytes, &skipped)) {
		/* registers are only had by a stop */
		bool valid = false;
		if (taking->options->extent == SNAPSHOT_HEAP &&
		    !try_quietly(taking, QUIET_PATIENT, true, &valid, error)) {
			g_error_free(skipped);
			return false;
		}
		if (valid)
			g_error_free(skipped);
		else
			g_propagate_error(error, skipped);
		return valid;
	}
	taking->snapshot->mode = SNAPSHOT_STOP;
	taking->snapshot->consistent = true;
	return stop_and_copy(taking, &work, error);
}

static bool take(struct taking *taking, GError **error)
{
	struct snapshot *snapshot = taking->snapshot;
	target_t *target = taking->target;
	if (taking->options->nonblocking || snapshot->streamed) {
		snapshot->mode = SNAPSHOT_NONBLOCKING;
		snapshot->time_us = now_us(CLOCK_REALTIME);
		if (!taking->look && !look(taking, false))
			return false;
		taking_threads_looked(taking);
		return copy_running(taking);
	}
	/* what is followed needs no copy of everything to find out that it didn't run */
	if (target->tracker && taking->options->precopy)
		return precopy_take(taking, error);
	if (taking->options->extent == SNAPSHOT_HEAP && !target->quiet_skip) {
		bool valid;
		if (!try_quietly(taking, QUIET_TRIES, false, &valid, error))
			return false;
		if (valid)
			return true;
	} else if (target->quiet_skip) {
		target->quiet_skip--;
	}
	return taking->options->precopy ? precopy_take(taking, error) : take_stopped(taking, error);
}

/* Decide whether to stream, and prepare that. False: the target is gone. */
static bool stream_open(struct taking *taking)
{
	const struct snapshot_options *options = taking->options;
	struct snapshot_private *own = taking->own;
	struct plan *plan = own->plan;
	if (!options->stream_limit || options->extent != SNAPSHOT_HEAP ||
	    target_anonymous(taking->target) <= options->stream_limit)
		return true;
	/* what it has beside its buffers may fit */
	if (plan->sparing) {
		bool fits;
		if (!prepare(taking, options->stream_limit, &fits))
			return false;
		plan->bytes = 0;
		if (fits)
			return true;
		plan->sparing = false;
	}
	if (!look(taking, true))
		return false;
	plan_stream(plan);
	g_autofree bool *wanted = g_new0(bool, plan->maps->n);
	for (size_t i = 0; i < plan->maps->n; i++)
		wanted[i] = plan->mappings[i].kind == PLAN_STREAM;
	/* what else there is, the type table and the like, has to fit in, too */
	own->stream = stream_new(plan->maps, wanted, taking->target->mem, &taking->target->presence,
				 options->stream_limit / 4 * 3);
	own->look = g_array_ref(taking->look);
	taking->snapshot->streamed = true;
	return own->stream != NULL;
}

bool snapshot_missed(const snapshot_t *snapshot)
{
	return snapshot->private && snapshot->private->missed;
}

void snapshot_settle(snapshot_t *snapshot)
{
	struct snapshot_private *own = snapshot->private;
	if (!snapshot->streamed)
		return;
	g_autoptr(GArray) after = quiet_look(own->target->pid, true);
	if (quiet_asleep(own->look) && after && quiet_same(own->look, after) &&
	    presence_alive(&own->target->presence)) {
		snapshot->mode = SNAPSHOT_QUIET;
		snapshot->consistent = true;
	}
	snapshot->bytes_copied += stream_read(own->stream);
	snapshot->bytes_missing += stream_missing(own->stream);
}

snapshot_t *target_snapshot(target_t *target, const struct snapshot_options *options, GError **error)
{
	int64_t begun = now_us(CLOCK_MONOTONIC), paused_ns = target->paused_ns;
	if (target->file)
		return file_snapshot(target->file);
	if (!target_alive(target)) {
		target_gone(target, error);
		return NULL;
	}
	g_autoptr(snapshot_t) snapshot = g_new0(struct snapshot, 1);
	struct snapshot_private *own = g_new0(struct snapshot_private, 1);
	struct taking taking = {.target = target, .options = options, .snapshot = snapshot, .own = own};
	snapshot->private = own;
	own->target = target;
	lazy_files_init(&own->files);
	g_mutex_lock(&target->lock);
	own->pool = g_steal_pointer(&target->idle);
	g_mutex_unlock(&target->lock);
	if (!own->pool)
		own->pool = pool_new();

	results_init(&taking);
	GError *failure = NULL;
	bool fits, good = taking_plan(&taking, &failure) && stream_open(&taking);
	watch(&taking);
	good = good && prepare(&taking, 0, &fits) && take(&taking, &failure);
	if (failure)
		g_propagate_error(error, failure);
	else if (!good)
		target_gone(target, error);
	if (good) {
		snapshot->resumed_us = now_us(CLOCK_MONOTONIC);
		picture_make(snapshot, taking.results);
		snapshot->memory.torn = !snapshot->consistent;
		snapshot->pause_us = (target->paused_ns - paused_ns + 999) / 1000;
		snapshot->elapsed_us = now_us(CLOCK_MONOTONIC) - begun;
	}
	if (!options->keep_tracking)
		g_clear_pointer(&target->tracker, track_free);
	results_clear(&taking);
	g_free(taking.maps_text);
	g_clear_pointer(&taking.look, g_array_unref);
	g_clear_pointer(&taking.earlier, g_array_unref);
	return good ? g_steal_pointer(&snapshot) : NULL;
}
