#include "daemon/target/freeze.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/target/process.h"

#define PASSES_MAX   64                 /* over the list of threads, until no new one appears */
#define REFUSALS_MAX 25                 /* passes in which a thread may be refused, 0.2 ms each */
#define STOP_WAIT_NS (2ll * 1000000000) /* for a thread that can run but doesn't stop: the machine is overloaded */
#define LOOK_NS      (1000000ll)        /* from then on look whether the thread can stop at all */
#define NAP_MIN_NS   5000
#define NAP_MAX_NS   200000
#define CODE_EINTR   ((uint64_t)-4)
#define CODE_RESTART ((uint64_t)-514) /* -ERESTARTNOHAND, include/linux/errno.h */
#define CS_64        0x33             /* code segment of 64-bit user code */

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

void freeze_init(struct freeze *freeze, pid_t pid)
{
	memset(freeze, 0, sizeof(*freeze));
	freeze->pid = pid;
	freeze->threads = g_array_sized_new(FALSE, TRUE, sizeof(struct frozen_thread), 64);
	freeze->held = g_hash_table_new(NULL, NULL);
}

void freeze_clear(struct freeze *freeze)
{
	g_array_unref(freeze->threads);
	g_hash_table_unref(freeze->held);
}

static struct frozen_thread *thread_at(struct freeze *freeze, guint i)
{
	return &g_array_index(freeze->threads, struct frozen_thread, i);
}

/* state of one thread from its stat file, '\0': no such thread */
static char thread_state(pid_t pid, pid_t tid)
{
	char path[64];
	struct process thread = {0};
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	g_autofree char *text = process_file(path, 4096, NULL);
	if (!text || !process_parse_stat(text, &thread))
		return '\0';
	return thread.state;
}

/*
 * Undo what the interruption did to a system call. The word of rax is all that is written, and only if it says EINTR in a call.
 */
static void restart_call(pid_t tid)
{
	errno = 0;
	long code = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user_regs_struct, rax), 0);
	if (errno || (uint64_t)code != CODE_EINTR)
		return;
	long call = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user_regs_struct, orig_rax), 0);
	if (errno || call < 0)
		return;
	long segment = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user_regs_struct, cs), 0);
	if (errno || segment != CS_64)
		return;
	ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), (void *)CODE_RESTART);
}

static bool ended(const siginfo_t *info)
{
	return info->si_code == CLD_EXITED || info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED;
}

/*
 * Look whether the thread stopped, without taking the news away: were we killed now, the kernel would still deliver the signal
 * that a signal-delivery-stop holds.
 */
static void thread_poll(struct frozen_thread *thread)
{
	siginfo_t info = {0};
	int options = WSTOPPED | WEXITED | WNOWAIT | WNOHANG | __WALL;
	if (waitid(P_PID, (id_t)thread->tid, &info, options) < 0) {
		thread->gone = errno != EINTR;
		return;
	}
	if (!info.si_pid)
		return;
	if (ended(&info)) {
		thread->gone = true;
		return;
	}
	thread->stopped = true;
	/* the status holds a ptrace event above the signal; without one it is a signal on its way to the thread */
	if (!(info.si_status >> 8))
		thread->signal = info.si_status & 0x7f;
	restart_call(thread->tid);
}

/*
 * Collect a thread that ended: it stays, and its execve'ing sibling waits, until its tracer does. The leader is its parent's. Look
 * first: of a traced thread the kernel tells stops too, asked or not, and a stop that is told is not told again.
 */
static void thread_collect(pid_t pid, pid_t tid)
{
	siginfo_t info = {0};
	int options = WEXITED | WNOHANG | __WALL;
	if (tid != pid && waitid(P_PID, (id_t)tid, &info, options | WNOWAIT) == 0 && info.si_pid && ended(&info))
		waitid(P_PID, (id_t)tid, &info, options);
}

static bool fail_seize(struct freeze *freeze, pid_t tid, int number, GError **error)
{
	struct process process;
	if (!process_read(freeze->pid, &process) || process_dead(&process)) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "it ended", NULL, "cannot read process %d",
			  freeze->pid);
		return false;
	}
	g_autofree char *cause = NULL;
	g_autofree char *fix = g_strdup_printf("see `reftop why -p %d`", freeze->pid);
	if (process.tracer) {
		cause = g_strdup_printf("process %d traces it already (a debugger, strace?)", process.tracer);
		g_free(fix);
		fix = g_strdup("end that one first; --nonblocking reads without stopping it");
	} else {
		cause = g_strdup_printf("the kernel refuses to stop its thread %d: %s", tid, g_strerror(number));
	}
	error_set(error, TARGET_ERROR, REFTOP_ERROR_DENIED, cause, fix, "cannot read process %d: %s", freeze->pid,
		  g_strerror(number));
	return false;
}

static bool traced_by_us(pid_t pid, pid_t tid)
{
	char path[64];
	struct process thread = {0};
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	g_autofree char *text = process_file(path, 16384, NULL);
	return text && process_parse_status(text, &thread) && thread.tracer == gettid();
}

/*
 * Seize the threads that are there now (or of `only`) and not yet ours, then interrupt those. Returns how many, -1 on failure. *refused is a
 * thread that the kernel refused, 0: none. During an exec that passes: the leader is dead then until the thread that calls exec
 * takes its place.
 */
static int seize_new(struct freeze *freeze, GArray *only, pid_t *refused, int *number, GError **error)
{
	*refused = 0;
	g_autoptr(GArray) tids = only ? g_array_ref(only) : process_threads(freeze->pid);
	if (!tids) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "it ended", NULL, "cannot read process %d",
			  freeze->pid);
		return -1;
	}
	guint first = freeze->threads->len;
	for (guint i = 0; i < tids->len; i++) {
		pid_t tid = g_array_index(tids, pid_t, i);
		if (g_hash_table_contains(freeze->held, GINT_TO_POINTER(tid)))
			continue;
		if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) {
			*number = errno;
			if (*number == ESRCH)
				continue;
			/* a thread that ended (a leader waiting for its threads, for one) can't be seized and needn't be */
			char state = thread_state(freeze->pid, tid);
			if (state == 'Z' || state == 'X' || !state)
				continue;
			if (!traced_by_us(freeze->pid, tid)) {
				*refused = tid;
				continue;
			}
			/* a thread we had under another number: it took the leader's in an exec */
		}
		struct frozen_thread thread = {.tid = tid};
		g_array_append_val(freeze->threads, thread);
		g_hash_table_add(freeze->held, GINT_TO_POINTER(tid));
	}
	if (!freeze->started)
		freeze->started = now_ns();
	for (guint i = first; i < freeze->threads->len; i++)
		ptrace(PTRACE_INTERRUPT, thread_at(freeze, i)->tid, 0, 0);
	return (int)(freeze->threads->len - first);
}

/* Wait until each thread from `first` on stopped, ended, or sleeps where it can't be woken. */
static bool wait_stopped(struct freeze *freeze, guint first, GError **error)
{
	int64_t since = now_ns();
	for (guint i = first; i < freeze->threads->len; i++) {
		struct frozen_thread *thread = thread_at(freeze, i);
		for (;;) {
			thread_poll(thread);
			if (thread->stopped || thread->gone)
				break;
			int64_t waited = now_ns() - since;
			char state = waited > LOOK_NS ? thread_state(freeze->pid, thread->tid) : 'R';
			if (state == 'D')
				break;
			if (state == 'Z' || state == 'X' || !state) {
				thread->gone = true; /* a leader's end isn't told as long as there are other threads */
				break;
			}
			if (waited > STOP_WAIT_NS) {
				g_autofree char *cause = g_strdup_printf("its thread %d did not stop within %d s",
									 thread->tid, (int)(STOP_WAIT_NS / 1000000000));
				error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED, cause,
					  "try again, or read without stopping: --nonblocking",
					  "cannot stop process %d", freeze->pid);
				return false;
			}
			nanosleep(&(struct timespec){.tv_nsec = CLAMP(waited / 8, NAP_MIN_NS, NAP_MAX_NS)}, NULL);
		}
		if (thread->gone)
			g_hash_table_remove(freeze->held, GINT_TO_POINTER(thread->tid));
	}
	return true;
}

bool freeze_start(struct freeze *freeze, GArray *only, GError **error)
{
	int refusals = 0;
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		guint first = freeze->threads->len;
		pid_t refused;
		int number, fresh = seize_new(freeze, only, &refused, &number, error);
		if (fresh < 0)
			break;
		if (refused && ++refusals > REFUSALS_MAX) {
			fail_seize(freeze, refused, number, error);
			break;
		}
		if (refused && !fresh) {
			freeze_rescue(freeze->pid); /* an exec in progress waits for the threads we hold */
			nanosleep(&(struct timespec){.tv_nsec = NAP_MAX_NS}, NULL);
			continue;
		}
		if (!fresh && freeze->threads->len)
			return true; /* all stopped, and a stopped thread starts no new one */
		if (!fresh) {
			error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, "all its threads ended", NULL,
				  "cannot read process %d", freeze->pid);
			break;
		}
		if (!wait_stopped(freeze, first, error))
			break;
		if (pass == PASSES_MAX - 1)
			error_set(error, TARGET_ERROR, REFTOP_ERROR_FAILED,
				  "it starts threads faster than they can be stopped",
				  "try again, or read without stopping: --nonblocking", "cannot stop process %d",
				  freeze->pid);
	}
	freeze_end(freeze);
	return false;
}

void freeze_registers(struct freeze *freeze)
{
	G_STATIC_ASSERT(sizeof(struct user_regs_struct) == sizeof(((struct frozen_thread *)0)->registers));
	for (guint i = 0; i < freeze->threads->len; i++) {
		struct frozen_thread *thread = thread_at(freeze, i);
		thread->has_registers =
			thread->stopped && ptrace(PTRACE_GETREGS, thread->tid, 0, thread->registers) == 0;
	}
}

int64_t freeze_end(struct freeze *freeze)
{
	for (guint i = 0; i < freeze->threads->len; i++) {
		struct frozen_thread *thread = thread_at(freeze, i);
		if (!thread->stopped && !thread->gone)
			thread_poll(thread); /* of the sleeping ones some may have stopped by now */
		if (thread->stopped)
			ptrace(PTRACE_DETACH, thread->tid, 0, thread->signal);
	}
	int64_t pause = freeze->started ? now_ns() - freeze->started : 0;
	for (guint i = 0; i < freeze->threads->len; i++)
		thread_collect(freeze->pid, thread_at(freeze, i)->tid);
	return pause;
}

void freeze_rescue(pid_t pid)
{
	g_autoptr(GArray) tids = process_threads(pid);
	for (guint i = 0; tids && i < tids->len; i++)
		thread_collect(pid, g_array_index(tids, pid_t, i));
}
