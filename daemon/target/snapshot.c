#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/file.h"
#include "daemon/target/quiet.h"
#include "daemon/target/snapshot.h"
#include "daemon/target/target.h"

#define TWO_THREADS    (16ull << 20) /* bytes that make a second thread worth waking */
#define QUIET_SKIP     16            /* at most so many snapshots aren't tried quietly after failures */
#define MAPS_TRIES     50
#define QUIET_TRIES    2
#define QUIET_AGAIN_US 30000
#define RESCUE_NS      5000000 /* a freeze that takes longer may need freeze_rescue() */

/* a snapshot in the making */
struct taking {
	target_t *target;
	enum snapshot_extent extent;
	struct snapshot *snapshot;
	struct snapshot_private *own;
	char *maps_text; /* what the plan was made from */
	size_t maps_size;
	GArray *look; /* of struct quiet_thread */
	struct copy_result results[2];
	int64_t pause_ns;
};

static int64_t now_us(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

static bool two_threads(uint64_t bytes)
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

/*
 * Make the plan, or make it anew where the maps changed since; preparations that still hold are kept. False without an error: the
 * address space is gone, and the caller is to find out why, but not while the target is stopped.
 */
static bool plan_update(struct taking *taking, GError **error)
{
	target_t *target = taking->target;
	struct snapshot_private *own = taking->own;
	bool same;
	struct maps *maps = maps_again(taking, &same, error);
	if (!maps)
		return same;
	struct plan *before = own->plan;
	own->plan = plan_new(target->pid, target->mem, &target->presence, own->pool, &own->files, maps, taking->extent,
			     before);
	if (before)
		own->plan->bytes = before->bytes;
	plan_free(before);
	return true;
}

static void *prepare_main(void *data)
{
	plan_prepare(data);
	return NULL;
}

static bool prepare(struct taking *taking)
{
	struct work work = {.plan = taking->own->plan};
	GThread *helper = two_threads(target_rss(taking->target)) ? g_thread_new("prepare", prepare_main, &work) : NULL;
	plan_prepare(&work);
	if (helper)
		g_thread_join(helper);
	return !work.stop;
}

/* ---- copying ---- */

static void results_init(struct taking *taking)
{
	for (int i = 0; i < 2; i++)
		copy_result_init(&taking->results[i]);
}

/* A copy that doesn't count leaves its bytes behind. */
static void results_discard(struct taking *taking)
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

/* Copy with no stop. */
static bool copy_running(struct taking *taking)
{
	struct work work = {.plan = taking->own->plan};
	struct helper helper = {&work, &taking->results[1]};
	GThread *second = two_threads(work.plan->bytes) ? g_thread_new("copy", helper_main, &helper) : NULL;
	plan_copy(&work, &taking->results[0]);
	if (second)
		g_thread_join(second);
	return !taking->results[0].failure && !taking->results[1].failure;
}

/*
 * A copy of the stopped target: made by a thread of its own (freeze.h says why), helped by the one that asked for it. They share no
 * lock: the tracer must not wait for a thread of lower priority that isn't let run, while the target is stopped.
 */
struct stop {
	struct taking *taking;
	struct freeze freeze;
	struct work work;
	bool help; /* two threads copy */
	bool good;
	GError *error;
	sem_t asked;  /* the tracer wants help, or is done */
	sem_t helped; /* the helper is done */
	_Atomic bool copying;
};

static bool stop_copy(struct stop *stop)
{
	struct taking *taking = stop->taking;
	if (taking->extent == SNAPSHOT_ALL)
		freeze_registers(&stop->freeze);
	if (!presence_alive(&taking->target->presence) || !plan_update(taking, &stop->error))
		return false;
	stop->work.plan = taking->own->plan;
	taking->snapshot->time_us = now_us(CLOCK_REALTIME);
	if (stop->help) {
		stop->copying = true;
		sem_post(&stop->asked);
	}
	plan_copy(&stop->work, &taking->results[0]);
	if (stop->help) {
		while (sem_wait(&stop->helped) < 0)
			;
	}
	return !taking->results[0].failure && !taking->results[1].failure;
}

static void *stop_main(void *data)
{
	struct stop *stop = data;
	prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
	if (freeze_start(&stop->freeze, &stop->error)) {
		stop->good = stop_copy(stop);
		stop->taking->pause_ns = freeze_end(&stop->freeze);
	}
	sem_post(&stop->asked);
	return NULL;
}

/* What the asking thread does meanwhile: see to it that the freeze doesn't hang, then copy too, with the same priority. */
static void stop_help(struct stop *stop)
{
	struct timespec until;
	do {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += RESCUE_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		if (sem_timedwait(&stop->asked, &until) == 0)
			break;
		if (errno == ETIMEDOUT)
			freeze_rescue(stop->taking->target->pid);
	} while (true);
	if (!stop->copying)
		return;
	struct sched_param own, first = {.sched_priority = 1};
	int policy = sched_getscheduler(0);
	bool raised =
		policy == SCHED_OTHER && sched_getparam(0, &own) == 0 && sched_setscheduler(0, SCHED_FIFO, &first) == 0;
	plan_copy(&stop->work, &stop->taking->results[1]);
	sem_post(&stop->helped);
	if (raised)
		sched_setscheduler(0, policy, &own);
}

/*
 * Start the tracing thread: where it is permitted with a priority that nobody delays it by while the target waits. It must not be
 * the one that runs somebody's signal handler.
 */
static int tracer_start(pthread_t *tracer, struct stop *stop)
{
	sigset_t all, old;
	pthread_attr_t attributes;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attributes);
	pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
	pthread_attr_setschedparam(&attributes, &(struct sched_param){.sched_priority = 1});
	int number = pthread_create(tracer, &attributes, stop_main, stop);
	if (number == EPERM)
		number = pthread_create(tracer, NULL, stop_main, stop);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return number;
}

static void threads_frozen(struct taking *taking, const struct freeze *freeze);

static bool copy_stopped(struct taking *taking, GError **error)
{
	struct stop stop = {.taking = taking, .help = two_threads(taking->own->plan->bytes)};
	freeze_init(&stop.freeze, taking->target->pid);
	sem_init(&stop.asked, 0, 0);
	sem_init(&stop.helped, 0, 0);
	/* Ctrl-Z waits until the target runs again: were we stopped, it would be too */
	sigset_t stops, old;
	sigemptyset(&stops);
	sigaddset(&stops, SIGTSTP);
	sigaddset(&stops, SIGTTIN);
	sigaddset(&stops, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &stops, &old);
	pthread_t tracer;
	int number = tracer_start(&tracer, &stop);
	if (number) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, g_strerror(number), NULL, "cannot start a thread");
	} else {
		stop_help(&stop);
		pthread_join(tracer, NULL);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (stop.good)
		threads_frozen(taking, &stop.freeze);
	else if (stop.error && stop.error->code != REFTOP_ERROR_GONE)
		g_propagate_error(error, g_steal_pointer(&stop.error));
	g_clear_error(&stop.error);
	freeze_clear(&stop.freeze);
	sem_destroy(&stop.asked);
	sem_destroy(&stop.helped);
	return stop.good;
}

/* ---- threads ---- */

static void threads_looked(struct taking *taking)
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

/* Those that were stopped, with their registers; what was known about them before stays. */
static void threads_frozen(struct taking *taking, const struct freeze *freeze)
{
	struct snapshot *snapshot = taking->snapshot;
	struct snapshot_thread *threads = g_new0(struct snapshot_thread, freeze->threads->len);
	size_t n = 0;
	for (guint i = 0; i < freeze->threads->len; i++) {
		const struct frozen_thread *frozen = &g_array_index(freeze->threads, struct frozen_thread, i);
		if (frozen->gone)
			continue;
		struct snapshot_thread *thread = &threads[n++];
		thread->tid = frozen->tid;
		thread->state = 'R'; /* started since we looked */
		for (size_t k = 0; k < snapshot->n_threads; k++) {
			if (snapshot->threads[k].tid == frozen->tid)
				*thread = snapshot->threads[k];
		}
		thread->has_registers = frozen->has_registers;
		memcpy(thread->registers, frozen->registers, sizeof(thread->registers));
	}
	g_free(snapshot->threads);
	snapshot->threads = threads;
	snapshot->n_threads = n;
}

/* ---- how it is taken ---- */

static bool look(struct taking *taking, bool counters)
{
	g_clear_pointer(&taking->look, g_array_unref);
	taking->look = quiet_look(taking->target->pid, counters);
	return taking->look != NULL;
}

/*
 * Copy while the target runs, and see whether it did. *valid: it didn't, this is a consistent snapshot. *again: it did, and another
 * try costs little.
 * False without an error: the target is gone.
 */
static bool take_quietly(struct taking *taking, bool *valid, bool *again, GError **error)
{
	target_t *target = taking->target;
	int64_t begun = now_us(CLOCK_MONOTONIC);
	*valid = *again = false;
	if (!look(taking, true))
		return false;
	if (!quiet_asleep(taking->look))
		return true; /* it is busy: not worth a try, and not the try's fault */
	if (!plan_update(taking, error))
		return false;
	taking->snapshot->time_us = now_us(CLOCK_REALTIME);
	if (!copy_running(taking))
		return false;
	g_autoptr(GArray) after = quiet_look(target->pid, true);
	*valid = after && quiet_same(taking->look, after) && presence_alive(&target->presence);
	if (*valid) {
		target->quiet_misses = 0;
	} else {
		target->quiet_misses++;
		target->quiet_skip = MIN(1u << MIN(target->quiet_misses, 8), QUIET_SKIP) - 1;
		*again = now_us(CLOCK_MONOTONIC) - begun < QUIET_AGAIN_US;
		results_discard(taking);
	}
	return true;
}

static bool take(struct taking *taking, const struct snapshot_options *options, GError **error)
{
	struct snapshot *snapshot = taking->snapshot;
	target_t *target = taking->target;
	if (options->nonblocking) {
		snapshot->mode = SNAPSHOT_NONBLOCKING;
		snapshot->time_us = now_us(CLOCK_REALTIME);
		if (!look(taking, false))
			return false;
		threads_looked(taking);
		return copy_running(taking);
	}
	/* registers are only had by a stop */
	if (taking->extent == SNAPSHOT_HEAP && !target->quiet_skip) {
		bool valid = false, again = true;
		for (int i = 0; i < QUIET_TRIES && again && !valid; i++) {
			if (!take_quietly(taking, &valid, &again, error))
				return false;
		}
		if (valid) {
			snapshot->mode = SNAPSHOT_QUIET;
			snapshot->consistent = true;
			threads_looked(taking);
			return true;
		}
	} else if (target->quiet_skip) {
		target->quiet_skip--;
	}
	if (!taking->look && !look(taking, false))
		return false;
	threads_looked(taking);
	snapshot->mode = SNAPSHOT_STOP;
	snapshot->consistent = true;
	return copy_stopped(taking, error);
}

snapshot_t *target_snapshot(target_t *target, const struct snapshot_options *options, GError **error)
{
	int64_t begun = now_us(CLOCK_MONOTONIC);
	if (target->file)
		return file_snapshot(target->file);
	if (!target_alive(target)) {
		target_gone(target, error);
		return NULL;
	}
	g_autoptr(snapshot_t) snapshot = g_new0(struct snapshot, 1);
	struct snapshot_private *own = g_new0(struct snapshot_private, 1);
	struct taking taking = {.target = target, .extent = options->extent, .snapshot = snapshot, .own = own};
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
	bool good = plan_update(&taking, &failure) && prepare(&taking) && take(&taking, options, &failure);
	if (failure)
		g_propagate_error(error, failure);
	else if (!good)
		target_gone(target, error);
	if (good) {
		snapshot->resumed_us = now_us(CLOCK_MONOTONIC);
		picture_make(snapshot, taking.results);
		snapshot->memory.torn = !snapshot->consistent;
		snapshot->pause_us = snapshot->mode == SNAPSHOT_STOP ? (taking.pause_ns + 999) / 1000 : 0;
		snapshot->elapsed_us = now_us(CLOCK_MONOTONIC) - begun;
	}
	results_clear(&taking);
	g_free(taking.maps_text);
	g_clear_pointer(&taking.look, g_array_unref);
	return good ? g_steal_pointer(&snapshot) : NULL;
}
