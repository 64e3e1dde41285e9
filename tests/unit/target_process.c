/* The facts of /proc, and why a process can't be read. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "daemon/target/access.h"
#include "tests/unit/child.h"

static void test_stat(void)
{
	struct process process = {0};
	g_assert_true(process_parse_stat(
		"77 (a) b (\n) R 5 6 7 0 -1 4194304 121 0 0 0 30 12 0 0 20 0 3 0 66175 3932160 520 1 1\n", &process));
	g_assert_cmpint(process.pid, ==, 77);
	g_assert_cmpstr(process.comm, ==, "a) b (\n");
	g_assert_cmpint(process.state, ==, 'R');
	g_assert_cmpint(process.ppid, ==, 5);
	g_assert_false(process.kernel_thread);
	g_assert_cmpuint(process.cpu_ticks, ==, 42);
	g_assert_cmpuint(process.n_threads, ==, 3);
	g_assert_cmpuint(process.start_ticks, ==, 66175);
	g_assert_cmpuint(process.rss, ==, 520ul * (unsigned long)sysconf(_SC_PAGESIZE));
	g_assert_true(
		process_parse_stat("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0 1\n", &process));
	g_assert_true(process.kernel_thread);

	static const char *const bad[] = {
		"",          "77",
		"77 (a",     "77 (a)",
		"77 (a) ",   "77 (a) 5",
		"77 a) R 1", "77 (a) R 5 6",
		")(",        "77 (a) R 5 6 7 0 -1 4194304 121 0 0 0 30 x 0 0 20 0 3 0 66175 39 520 1"};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(process_parse_stat(bad[i], &process));
}

static void test_status(void)
{
	struct process process = {.pid = 9};
	g_assert_true(process_parse_status(
		"Name:\tx\\nTgid:\t1\nTgid:\t77\nTracerPid:\t4\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"
		"NSpid:\t77\t12\t1\nCapPrm:\t000001ffffffffff\n",
		&process));
	g_assert_cmpint(process.tgid, ==, 77);
	g_assert_cmpint(process.tracer, ==, 4);
	g_assert_cmpuint(process.uid[3], ==, 4);
	g_assert_cmpuint(process.gid[0], ==, 5);
	g_assert_cmpuint(process.n_namespaces, ==, 3);
	g_assert_cmpint(process.namespace_pid, ==, 1);
	g_assert_cmphex(process.cap_permitted, ==, 0x1ffffffffff);

	static const char *const bad[] = {"", "Tgid:\t77\n", "Tgid:\t77\nTracerPid:\t0\nUid:\t1\t2\nGid:\t5\t6\t7\t8\n",
					  "Tgid:\t77\nTracerPid:\t0\nGid:\t5\t6\t7\t8\n"};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(process_parse_status(bad[i], &process));
}

static void test_self(void)
{
	struct process process;
	g_assert_true(process_read(getpid(), &process));
	g_assert_cmpint(process.pid, ==, getpid());
	g_assert_cmpint(process.ppid, ==, getppid());
	g_assert_cmpint(process.tgid, ==, getpid());
	g_assert_cmpuint(process.uid[1], ==, geteuid());
	g_assert_cmpfloat(process_uptime(&process), <, 3600);
	int64_t age = g_get_real_time() - process_start_time(&process);
	g_assert_cmpint(age, >, -2 * G_USEC_PER_SEC); /* the boot time is known to the second */
	g_assert_cmpint(age, <, (int64_t)3600 * G_USEC_PER_SEC);
	g_autofree char *exe = process_exe(getpid());
	g_assert_true(g_str_has_suffix(exe, "target_process"));
	g_auto(GStrv) words = process_cmdline(getpid());
	g_assert_nonnull(words[0]);
	g_autoptr(GArray) pids = process_list();
	bool seen = false;
	for (guint i = 0; i < pids->len; i++)
		seen |= g_array_index(pids, pid_t, i) == getpid();
	g_assert_true(seen);
	g_assert_null(process_threads(0x7ffffff0));
	g_assert_cmpint(errno, ==, ENOENT);
	g_assert_false(process_read(0x7ffffff0, &process));
}

/* Check pid, and the error made of it. */
static void expect(pid_t pid, enum access_cause cause, enum reftop_error code, const char *word)
{
	struct access access;
	access_check(pid, &access);
	g_assert_cmpstr(access_name(access.cause), ==, access_name(cause));
	g_autoptr(GError) error = NULL;
	access_error(pid, &access, &error);
	if (cause == ACCESS_GRANTED) {
		g_assert_no_error(error);
	} else {
		g_assert_error(error, TARGET_ERROR, (int)code);
		g_assert_nonnull(strstr(error->message, "\n  cause: "));
		g_assert_nonnull(strstr(error->message, word));
		/* a traced process can still be looked at while it sleeps, and with --nonblocking */
		g_autoptr(target_t) target = target_open_any(pid, NULL);
		g_assert_true((target != NULL) == (cause == ACCESS_TRACED));
	}
	access_clear(&access);
}

static void still(struct child_ends ends, void *data)
{
	if (data)
		prctl(PR_SET_DUMPABLE, 0);
	child_say(ends, syscall(SYS_gettid));
	for (;;)
		pause();
}

static void *idle_thread(void *data)
{
	*(_Atomic pid_t *)data = (pid_t)syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

static void threaded(struct child_ends ends, void *data)
{
	static _Atomic pid_t tid;
	pthread_t thread;
	pthread_create(&thread, NULL, idle_thread, (void *)&tid);
	while (!tid)
		sched_yield();
	child_say(ends, tid);
	for (;;)
		pause();
}

static void test_refused(void)
{
	expect(0x7ffffff0, ACCESS_NO_PROCESS, REFTOP_ERROR_GONE, "no process 2147483632");
	expect(0, ACCESS_NO_PROCESS, REFTOP_ERROR_GONE, "no process 0");
	expect(-5, ACCESS_NO_PROCESS, REFTOP_ERROR_GONE, "no process -5");
	expect(getpid(), ACCESS_ITSELF, REFTOP_ERROR_UNKNOWN, "itself");
	struct process process;
	if (process_read(2, &process) && process.kernel_thread)
		expect(2, ACCESS_KERNEL_THREAD, REFTOP_ERROR_UNKNOWN, "kernel");

	struct child child = child_start(threaded, NULL);
	pid_t tid = (pid_t)child_hear(&child);
	expect(child.pid, ACCESS_GRANTED, 0, "");
	g_autofree char *hint = g_strdup_printf("-p %d", child.pid);
	expect(tid, ACCESS_THREAD, REFTOP_ERROR_UNKNOWN, hint);
	kill(child.pid, SIGKILL);
	do
		g_assert_true(process_read(child.pid, &process));
	while (!process_dead(&process) || process.n_threads > 1);
	expect(child.pid, ACCESS_ZOMBIE, REFTOP_ERROR_GONE, "zombie");
	waitpid(child.pid, NULL, 0);
	expect(child.pid, ACCESS_NO_PROCESS, REFTOP_ERROR_GONE, "no process");
	close(child.from);
	close(child.to);
}

static void tracing(struct child_ends ends, void *data)
{
	pid_t pid = *(pid_t *)data;
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
		_exit(9);
	child_say(ends, 0);
	for (;;)
		pause();
}

static void test_traced(void)
{
	struct child child = child_start(still, NULL);
	child_hear(&child);
	g_autoptr(target_t) target = child_target(&child);
	struct child tracer = child_start(tracing, &child.pid);
	child_hear(&tracer);
	g_autofree char *number = g_strdup_printf("process %d", tracer.pid);
	expect(child.pid, ACCESS_TRACED, REFTOP_ERROR_DENIED, number);
	/* the tracer came after we had opened it */
	struct snapshot_options options = {.extent = SNAPSHOT_ALL};
	g_autoptr(GError) error = NULL;
	g_assert_null(target_snapshot(target, &options, &error));
	g_assert_error(error, TARGET_ERROR, REFTOP_ERROR_DENIED);
	g_assert_nonnull(strstr(error->message, number));
	g_clear_error(&error);
	options = (struct snapshot_options){.nonblocking = true};
	snapshot_free(target_snapshot(target, &options, &error));
	g_assert_no_error(error);
	child_end(&tracer);
	options = (struct snapshot_options){.extent = SNAPSHOT_ALL};
	g_autoptr(snapshot_t) snapshot = target_snapshot(target, &options, &error);
	g_assert_no_error(error);
	child_end(&child);
}

/* as somebody else: `data` is the pid; says the cause it found, and the exit status */
static void stranger(struct child_ends ends, void *data)
{
	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(9);
	for (int i = 0; i < 2; i++) {
		struct access access;
		access_check(((pid_t *)data)[i], &access);
		g_autoptr(GError) error = NULL;
		access_error(((pid_t *)data)[i], &access, &error);
		child_say(ends, access.cause);
		child_say(ends, error ? error->code : 0);
	}
}

/* a process of the stranger's own, that may not be dumped */
static void secretive(struct child_ends ends, void *data)
{
	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(9);
	still(ends, data);
}

static void test_not_permitted(void)
{
	if (getuid() != 0) {
		g_test_skip("needs root, to become somebody else");
		return;
	}
	struct child child = child_start(still, NULL), other = child_start(secretive, GINT_TO_POINTER(1));
	child_hear(&child);
	child_hear(&other);
	pid_t pids[] = {child.pid, other.pid};
	struct child looker = child_start(stranger, pids);
	g_assert_cmpint(child_hear(&looker), ==, ACCESS_OTHER_USER);
	g_assert_cmpint(child_hear(&looker), ==, REFTOP_ERROR_DENIED);
	g_assert_cmpint(child_hear(&looker), ==, ACCESS_NOT_DUMPABLE);
	g_assert_cmpint(child_hear(&looker), ==, REFTOP_ERROR_DENIED);
	child_end(&looker);
	child_end(&other);
	child_end(&child);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/target/process/stat", test_stat);
	g_test_add_func("/target/process/status", test_status);
	g_test_add_func("/target/process/self", test_self);
	g_test_add_func("/target/access/refused", test_refused);
	g_test_add_func("/target/access/traced", test_traced);
	g_test_add_func("/target/access/not-permitted", test_not_permitted);
	return g_test_run();
}
