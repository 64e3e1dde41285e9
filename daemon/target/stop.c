/* Stopping the target for a copy, and how long that would take. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/target/taking.h"

#define RESCUE_NS    5000000       /* a freeze that takes longer may need freeze_rescue() */
#define MEASURE      (16ull << 20) /* bytes copied to find out how fast that goes */
#define STOP_NS      300000        /* of a stop, whatever is copied: stop, maps, detach */
#define STOP_THREAD  8000          /* and for every thread of the target */
#define PREDICT_MORE 1.15          /* a measure taken while the target runs misses what stopping it costs */

/*
 * A copy of the stopped target: made by a thread of its own (freeze.h says why), helped by the one that asked for it. They share no
 * lock: the tracer must not wait for a thread of lower priority that isn't let run, while the target is stopped.
 */
struct stop {
	struct taking *taking;
	struct freeze freeze;
	struct work *work;
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
	if (taking->options->extent == SNAPSHOT_ALL)
		freeze_registers(&stop->freeze);
	if (!presence_alive(&taking->target->presence) || !taking_plan(taking, &stop->error))
		return false;
	stop->work->plan = taking->own->plan;
	taking->snapshot->time_us = taking_clock(CLOCK_REALTIME) / 1000;
	if (taking->options->max_pause_us)
		stop->work->deadline_ns = stop->freeze.started + taking->options->max_pause_us * 1000;
	if (stop->help) {
		stop->copying = true;
		sem_post(&stop->asked);
	}
	plan_copy(stop->work, &taking->results[0]);
	if (stop->help) {
		while (sem_wait(&stop->helped) < 0)
			;
	}
	return !stop->work->stop;
}

static void *stop_main(void *data)
{
	struct stop *stop = data;
	prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
	if (freeze_start(&stop->freeze, NULL, &stop->error)) {
		stop->good = stop_copy(stop);
		stop->taking->pause_ns = freeze_end(&stop->freeze);
	}
	sem_post(&stop->asked);
	return NULL;
}

/* What the asking thread does meanwhile: see to it that the freeze doesn't hang, then copy too. */
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
	if (stop->copying) {
		plan_copy(stop->work, &stop->taking->results[1]);
		sem_post(&stop->helped);
	}
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

/* ---- how long it takes ---- */

static int64_t stop_base(const struct taking *taking, size_t n_threads)
{
	return STOP_NS + (int64_t)n_threads * STOP_THREAD;
}

/* What a stop took says how fast copying goes while the target is stopped. */
static void stop_learn(struct taking *taking, size_t n_threads)
{
	uint64_t bytes = taking->results[0].bytes + taking->results[1].bytes;
	int64_t took = taking->pause_ns - stop_base(taking, n_threads);
	if (bytes < MEASURE / 2 || took <= 0)
		return;
	double now = (double)took / (double)bytes, before = taking->target->ns_per_byte;
	/* one that was slow, because somebody else had the CPU, is not forgotten at once */
	taking->target->ns_per_byte = before > 0 ? (now > before ? now : (now + before) / 2) : now;
}

static void measure(struct taking *taking)
{
	struct plan *plan = taking->own->plan;
	struct work work = {.plan = plan};
	uint64_t content = 0;
	while (work.limit < plan->n_chunks && content < MEASURE)
		content += plan->chunks[work.limit++].content;
	/* CPU time: during a stop nobody else gets the CPUs, now others may */
	int64_t begun = taking_clock(CLOCK_PROCESS_CPUTIME_ID);
	int n = taking_two_threads(plan->bytes) ? 2 : 1;
	if (content && taking_copy(taking, &work))
		taking->target->ns_per_byte =
			PREDICT_MORE * (double)(taking_clock(CLOCK_PROCESS_CPUTIME_ID) - begun) / n / (double)content;
	taking_discard(taking);
}

int64_t stop_predict(struct taking *taking, uint64_t bytes)
{
	if (taking->target->ns_per_byte <= 0)
		measure(taking);
	return stop_base(taking, taking->look ? taking->look->len : 1) +
	       (int64_t)(taking->target->ns_per_byte * (double)bytes);
}

/* A snapshot that isn't taken: `what` took, or would take, so long. */
static void skip(const struct taking *taking, int64_t ns, const char *what, GError **error)
{
	g_autofree char *most = text_milliseconds(taking->options->max_pause_us);
	g_autofree char *time = text_milliseconds((ns + 999) / 1000);
	g_autofree char *cause = g_strdup_printf("%s %s; --max-pause is %s", what, time, most);
	error_set(error, TARGET_ERROR, REFTOP_ERROR_SKIPPED, cause,
		  "a longer --max-pause, or --precopy, or --nonblocking", "the snapshot of process %d was skipped",
		  taking->target->pid);
}

bool stop_allowed(struct taking *taking, uint64_t bytes, GError **error)
{
	if (!taking->options->max_pause_us)
		return true;
	int64_t predicted = stop_predict(taking, bytes);
	if (predicted <= taking->options->max_pause_us * 1000)
		return true;
	skip(taking, predicted, "the process would be stopped for about", error);
	return false;
}

/* ---- the threads that were stopped ---- */

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

bool stop_and_copy(struct taking *taking, struct work *work, GError **error)
{
	target_t *target = taking->target;
	struct stop stop = {.taking = taking, .work = work, .help = taking_two_threads(taking->own->plan->bytes)};
	freeze_init(&stop.freeze, target->pid);
	sem_init(&stop.asked, 0, 0);
	sem_init(&stop.helped, 0, 0);
	/* Ctrl-Z waits until the target runs again: were we stopped, it would be too */
	sigset_t stops, old;
	sigemptyset(&stops);
	sigaddset(&stops, SIGTSTP);
	sigaddset(&stops, SIGTTIN);
	sigaddset(&stops, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &stops, &old);
	/* before there is a tracer, which would have this thread's CPU at once: on one that waits for a CPU the copy has one thread */
	struct sched_param own, first = {.sched_priority = 1};
	int policy = sched_getscheduler(0);
	bool raised =
		policy == SCHED_OTHER && sched_getparam(0, &own) == 0 && sched_setscheduler(0, SCHED_FIFO, &first) == 0;
	pthread_t tracer;
	int number = tracer_start(&tracer, &stop);
	if (number) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, g_strerror(number), NULL, "cannot start a thread");
	} else {
		stop_help(&stop);
		pthread_join(tracer, NULL);
	}
	if (raised)
		sched_setscheduler(0, policy, &own);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	target->paused_ns += taking->pause_ns;
	if (stop.good)
		stop_learn(taking, stop.freeze.threads->len);
	if (stop.good)
		threads_frozen(taking, &stop.freeze);
	else if (work->late)
		skip(taking, taking->pause_ns, "the copy was given up after a stop of", error);
	else if (stop.error && stop.error->code != REFTOP_ERROR_GONE)
		g_propagate_error(error, g_steal_pointer(&stop.error));
	g_clear_error(&stop.error);
	freeze_clear(&stop.freeze);
	sem_destroy(&stop.asked);
	sem_destroy(&stop.helped);
	return stop.good;
}
