#include "daemon/target/look.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/error.h"
#include "daemon/target/calls.h"
#include "daemon/target/file.h"
#include "daemon/target/hold.h"
#include "daemon/target/pages.h"
#include "daemon/target/quiet.h"

#define HOLDS_MAX 3        /* attempts to stop the one that has the lock, which may have passed it on */
#define RESCUE_NS 50000000 /* a freeze that takes longer may need freeze_rescue() */

/* a look in the making */
struct looking {
	target_t *target;
	const struct look_options *options;
	look_visit *visit;
	void *context;
	snapshot_t *snapshot;
	snapshot_t *rehearsal; /* what was seen while it ran */
	GArray *wanted;        /* the pages that were looked at then (pages.h) */
	GArray *threads;       /* of struct quiet_thread */
	GArray *natives; /* of pid_t, one a thread: their numbers in their own pid namespace; NULL: that is ours */
	GArray *locks;   /* of struct hold_lock; NULL: none known */
	bool visited;
	int64_t pause_ns;
	struct freeze freeze;
	sem_t done;
	GError *error;
};

static int64_t now_us(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

static void release(snapshot_t *snapshot, void *storage)
{
	pages_free(storage);
	maps_free(snapshot->maps);
	snapshot->memory.regions = NULL; /* the pages' */
}

/* A snapshot of what is there now, nothing of it read yet. */
static bool snapshot_begin(struct looking *looking, GError **error)
{
	target_t *target = looking->target;
	g_clear_pointer(&looking->snapshot, snapshot_free);
	size_t size = 0;
	g_autofree char *text = target_maps_text(target, &size);
	if (!text || !size) {
		target_gone(target, error);
		return false;
	}
	struct maps *maps = maps_parse(text, size, error);
	if (!maps)
		return false;
	snapshot_t *snapshot = g_new0(snapshot_t, 1);
	snapshot->maps = maps;
	snapshot->residence = g_new0(struct snapshot_residence, maps->n);
	snapshot->storage = pages_new(target, maps, &snapshot->memory);
	snapshot->release = release;
	snapshot->time_us = now_us(CLOCK_REALTIME);
	snapshot->rss = UINT64_MAX; /* nobody looks for what is resident */
	looking->snapshot = snapshot;
	return true;
}

static void threads_fill(struct looking *looking)
{
	snapshot_t *snapshot = looking->snapshot;
	snapshot->n_threads = looking->threads->len;
	snapshot->threads = g_new0(struct snapshot_thread, snapshot->n_threads);
	for (size_t i = 0; i < snapshot->n_threads; i++) {
		const struct quiet_thread *look = &g_array_index(looking->threads, struct quiet_thread, i);
		struct snapshot_thread *thread = &snapshot->threads[i];
		thread->tid = look->tid;
		thread->native = looking->natives ? g_array_index(looking->natives, pid_t, i) : 0;
		thread->state = look->state;
		memcpy(thread->name, look->name, sizeof(thread->name));
	}
}

static struct snapshot_thread *thread_find(snapshot_t *snapshot, pid_t tid)
{
	for (size_t i = 0; i < snapshot->n_threads; i++) {
		if (snapshot->threads[i].tid == tid)
			return &snapshot->threads[i];
	}
	return NULL;
}

/* What the stop tells: threads started since the look are added, with their registers like all others. */
static void threads_frozen(struct looking *looking)
{
	snapshot_t *snapshot = looking->snapshot;
	GArray *frozen = looking->freeze.threads;
	snapshot->threads = g_renew(struct snapshot_thread, snapshot->threads, snapshot->n_threads + frozen->len);
	for (guint i = 0; i < frozen->len; i++) {
		const struct frozen_thread *from = &g_array_index(frozen, struct frozen_thread, i);
		if (from->gone)
			continue;
		struct snapshot_thread *thread = thread_find(snapshot, from->tid);
		if (!thread) {
			thread = &snapshot->threads[snapshot->n_threads++];
			*thread = (struct snapshot_thread){.tid = from->tid, .state = 'R'};
		}
		thread->has_registers = from->has_registers;
		memcpy(thread->registers, from->registers, sizeof(thread->registers));
		if (from->has_registers)
			call_of_registers(thread->registers, &thread->call);
		else
			call_of_thread(looking->target->pid, thread->tid, &thread->call);
	}
}

static void natives_read(struct looking *looking)
{
	struct process process = {0};
	g_clear_pointer(&looking->natives, g_array_unref);
	if (!process_read(looking->target->pid, &process) || process.n_namespaces < 2)
		return;
	looking->natives = g_array_new(FALSE, TRUE, sizeof(pid_t));
	for (guint i = 0; i < looking->threads->len; i++) {
		struct process thread = {0};
		process_read(g_array_index(looking->threads, struct quiet_thread, i).tid, &thread);
		g_array_append_val(looking->natives, thread.namespace_pid);
	}
}

static bool look_threads(struct looking *looking, bool counters, GError **error)
{
	g_clear_pointer(&looking->threads, g_array_unref);
	looking->threads = quiet_look(looking->target->pid, counters);
	if (looking->threads) {
		natives_read(looking);
		return true;
	}
	target_gone(looking->target, error);
	return false;
}

static bool visit(struct looking *looking, GError **error)
{
	looking->visited = looking->visit(looking->context, looking->snapshot, error);
	looking->snapshot->bytes_copied = pages_bytes(looking->snapshot->storage);
	return looking->visited;
}

/* ---- without a stop ---- */

static void calls_fill(struct looking *looking)
{
	for (size_t i = 0; i < looking->snapshot->n_threads; i++)
		call_of_thread(looking->target->pid, looking->snapshot->threads[i].tid,
			       &looking->snapshot->threads[i].call);
}

static bool look_running(struct looking *looking, GError **error)
{
	if (!look_threads(looking, false, error) || !snapshot_begin(looking, error))
		return false;
	threads_fill(looking);
	calls_fill(looking);
	looking->snapshot->mode = SNAPSHOT_NONBLOCKING;
	return visit(looking, error);
}

/* *valid: nobody ran meanwhile. A visit that failed may have met a process that ran: it doesn't count either then. */
static bool look_quietly(struct looking *looking, bool *valid, GError **error)
{
	g_autoptr(GError) problem = NULL;
	if (!look_threads(looking, true, error))
		return false;
	if (!quiet_asleep(looking->threads))
		return true;
	if (!snapshot_begin(looking, error))
		return false;
	threads_fill(looking);
	calls_fill(looking);
	looking->snapshot->mode = SNAPSHOT_QUIET;
	looking->snapshot->consistent = true;
	bool good = visit(looking, &problem);
	g_autoptr(GArray) after = quiet_look(looking->target->pid, true);
	*valid = after && quiet_same(looking->threads, after) && presence_alive(&looking->target->presence);
	if (*valid && !good) {
		g_propagate_error(error, g_steal_pointer(&problem));
		return false;
	}
	return true;
}

/* ---- with one ---- */

/* `held`: only some threads are stopped. */
static bool stopped_visit(struct looking *looking, bool held)
{
	freeze_registers(&looking->freeze);
	if (!presence_alive(&looking->target->presence)) {
		target_gone(looking->target, &looking->error);
		return false;
	}
	if (!snapshot_begin(looking, &looking->error))
		return false;
	if (looking->rehearsal) {
		pages_adopt(looking->snapshot->storage, looking->rehearsal->storage);
		pages_preload(looking->snapshot->storage, looking->wanted);
	}
	threads_fill(looking);
	if (held)
		calls_fill(looking);
	threads_frozen(looking);
	looking->snapshot->mode = SNAPSHOT_STOP;
	looking->snapshot->consistent = true;
	return visit(looking, &looking->error);
}

static void thaw(struct looking *looking)
{
	int64_t pause = freeze_end(&looking->freeze);
	looking->pause_ns += pause;
	looking->target->paused_ns += pause;
}

/* No thread is there that the look before the stop didn't see. */
static bool threads_known(const struct looking *looking)
{
	g_autoptr(GArray) tids = process_threads(looking->target->pid);
	for (guint i = 0; tids && i < tids->len; i++) {
		guint k = 0;
		while (k < looking->threads->len &&
		       g_array_index(looking->threads, struct quiet_thread, k).tid != g_array_index(tids, pid_t, i))
			k++;
		if (k == looking->threads->len)
			return false;
	}
	return tids != NULL;
}

/* Stop those that have the locks, and visit. False: they passed them on, and what was seen doesn't count; nothing is stopped then. */
static bool visit_held(struct looking *looking)
{
	int mem = looking->target->mem;
	g_autoptr(GArray) tids = hold_threads(looking->locks, mem);
	if (!tids || !freeze_start(&looking->freeze, tids, NULL))
		return false;
	bool good = hold_stands(looking->locks, mem, tids) && threads_known(looking) && stopped_visit(looking, true) &&
		    hold_stands(looking->locks, mem, tids);
	thaw(looking);
	looking->visited = good;
	g_clear_error(&looking->error); /* met in what doesn't count */
	return good;
}

static void visit_stopped(struct looking *looking)
{
	if (!freeze_start(&looking->freeze, NULL, &looking->error))
		return;
	looking->visited = stopped_visit(looking, false);
	thaw(looking);
}

/* The tracer: freeze.h says why it is a thread of its own. */
static void *stop_main(void *data)
{
	struct looking *looking = data;
	bool good = false;
	prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
	looking->visited = false;
	for (int i = 0; looking->locks && i < HOLDS_MAX && !good; i++) {
		good = visit_held(looking);
		freeze_clear(&looking->freeze);
		freeze_init(&looking->freeze, looking->target->pid);
	}
	if (!good)
		visit_stopped(looking);
	sem_post(&looking->done);
	return NULL;
}

/* Where it is permitted nobody delays us while the target waits. */
static int tracer_start(pthread_t *tracer, struct looking *looking)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
	pthread_attr_setschedparam(&attributes, &(struct sched_param){.sched_priority = 1});
	int number = pthread_create(tracer, &attributes, stop_main, looking);
	if (number == EPERM)
		number = pthread_create(tracer, NULL, stop_main, looking);
	pthread_attr_destroy(&attributes);
	return number;
}

static void wait_or_rescue(struct looking *looking)
{
	for (;;) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += RESCUE_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		if (sem_timedwait(&looking->done, &until) == 0)
			return;
		if (errno == ETIMEDOUT)
			freeze_rescue(looking->target->pid);
	}
}

/*
 * Visit while it runs, to learn which pages are needed: stopped, it waits only until these are read at once, and for what has become
 * different meanwhile. A visit that met a process that ran has done that already.
 */
static void rehearse(struct looking *looking)
{
	g_autoptr(GError) problem = NULL;
	if (!looking->snapshot) {
		if (!snapshot_begin(looking, &problem))
			return;
		threads_fill(looking);
		calls_fill(looking);
		looking->snapshot->mode = SNAPSHOT_NONBLOCKING;
		visit(looking, &problem);
	}
	looking->rehearsal = g_steal_pointer(&looking->snapshot);
	looking->wanted = pages_touched(looking->rehearsal->storage);
}

static bool look_stopped(struct looking *looking, GError **error)
{
	sigset_t all, old;
	pthread_t tracer;
	if (!looking->threads && !look_threads(looking, false, error))
		return false;
	rehearse(looking);
	looking->locks = looking->options->locks && !looking->options->registers
				 ? looking->options->locks(looking->context)
				 : NULL;
	freeze_init(&looking->freeze, looking->target->pid);
	sem_init(&looking->done, 0, 0);
	/* the tracer must not be the one that runs somebody's signal handler */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int number = tracer_start(&tracer, looking);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (number) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, g_strerror(number), NULL, "cannot start a thread");
	} else {
		wait_or_rescue(looking);
		pthread_join(tracer, NULL);
		if (looking->error)
			g_propagate_error(error, looking->error);
	}
	freeze_clear(&looking->freeze);
	sem_destroy(&looking->done);
	return !number && looking->visited;
}

static bool look(struct looking *looking, GError **error)
{
	bool valid = false;
	if (looking->options->nonblocking)
		return look_running(looking, error);
	if (!looking->options->registers && !look_quietly(looking, &valid, error))
		return false;
	return valid || look_stopped(looking, error);
}

snapshot_t *target_look(target_t *target, const struct look_options *options, look_visit *visit_function, void *context,
			GError **error)
{
	int64_t begun = now_us(CLOCK_MONOTONIC);
	struct looking looking = {.target = target, .options = options, .visit = visit_function, .context = context};
	if (target->file) {
		g_autoptr(snapshot_t) snapshot = file_snapshot(target->file);
		return visit_function(context, snapshot, error) ? g_steal_pointer(&snapshot) : NULL;
	}
	if (!target_alive(target)) {
		target_gone(target, error);
		return NULL;
	}
	bool good = look(&looking, error);
	g_clear_pointer(&looking.threads, g_array_unref);
	g_clear_pointer(&looking.wanted, g_array_unref);
	g_clear_pointer(&looking.locks, g_array_unref);
	g_clear_pointer(&looking.natives, g_array_unref);
	snapshot_free(looking.rehearsal);
	if (!good) {
		snapshot_free(looking.snapshot);
		return NULL;
	}
	pages_release(looking.snapshot->storage);
	looking.snapshot->pause_us = looking.snapshot->mode == SNAPSHOT_STOP ? (looking.pause_ns + 999) / 1000 : 0;
	looking.snapshot->elapsed_us = now_us(CLOCK_MONOTONIC) - begun;
	return looking.snapshot;
}
