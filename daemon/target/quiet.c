#include "daemon/target/quiet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/target/process.h"

static char *thread_file(pid_t pid, pid_t tid, const char *name)
{
	char path[96];
	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	return process_file(path, 16384, NULL);
}

static uint64_t status_number(const char *text, const char *name)
{
	const char *at = text ? strstr(text, name) : NULL;
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* False: the thread is gone. */
static bool thread_look(pid_t pid, struct quiet_thread *thread, bool counters)
{
	if (counters) { /* before everything else: see the header */
		g_autofree char *schedstat = thread_file(pid, thread->tid, "schedstat");
		if (schedstat)
			sscanf(schedstat, "%" SCNu64 " %*u %" SCNu64, &thread->cpu_ns, &thread->slices);
		g_autofree char *call = thread_file(pid, thread->tid, "syscall");
		thread->asleep = call && *call && strncmp(call, "running", strlen("running")) != 0;
		g_autofree char *status = thread_file(pid, thread->tid, "status");
		thread->voluntary = status_number(status, "\nvoluntary_ctxt_switches:");
		thread->involuntary = status_number(status, "\nnonvoluntary_ctxt_switches:");
	}
	struct process process = {0};
	g_autofree char *stat = thread_file(pid, thread->tid, "stat");
	if (!stat || !process_parse_stat(stat, &process))
		return false;
	thread->state = process.state;
	memcpy(thread->name, process.comm, sizeof(thread->name) - 1);
	if (process.state == 'R')
		thread->asleep = false;
	return true;
}

GArray *quiet_look(pid_t pid, bool counters)
{
	g_autoptr(GArray) tids = process_threads(pid);
	if (!tids)
		return NULL;
	GArray *look = g_array_sized_new(FALSE, FALSE, sizeof(struct quiet_thread), tids->len);
	for (guint i = 0; i < tids->len; i++) {
		struct quiet_thread thread = {.tid = g_array_index(tids, pid_t, i)};
		if (!thread_look(pid, &thread, counters))
			continue;
		g_array_append_val(look, thread);
		counters &= thread.asleep; /* once one runs, the others' counters are no use any more */
	}
	return look;
}

bool quiet_asleep(const GArray *look)
{
	for (guint i = 0; i < look->len; i++) {
		const struct quiet_thread *thread = &g_array_index(look, struct quiet_thread, i);
		/* no thread exists that never had a time slice: 0 is a kernel without CONFIG_SCHED_INFO */
		if (!thread->asleep || !thread->slices)
			return false;
	}
	return look->len > 0;
}

bool quiet_same(const GArray *first, const GArray *second)
{
	if (first->len != second->len)
		return false;
	for (guint i = 0; i < first->len; i++) {
		const struct quiet_thread *x = &g_array_index(first, struct quiet_thread, i);
		const struct quiet_thread *y = &g_array_index(second, struct quiet_thread, i);
		if (x->tid != y->tid || !y->asleep || x->slices != y->slices || x->cpu_ns != y->cpu_ns ||
		    x->voluntary != y->voluntary || x->involuntary != y->involuntary)
			return false;
	}
	return true;
}

uint64_t quiet_used(const GArray *first, const GArray *second)
{
	uint64_t used = 0;
	for (guint i = 0, k = 0; i < second->len; i++) {
		const struct quiet_thread *now = &g_array_index(second, struct quiet_thread, i);
		/* both as the kernel lists them: in the order they were made; one that is passed by has ended */
		while (k < first->len && g_array_index(first, struct quiet_thread, k).tid != now->tid)
			k++;
		uint64_t before = k < first->len ? g_array_index(first, struct quiet_thread, k).cpu_ns : 0;
		used += now->cpu_ns > before ? now->cpu_ns - before : 0;
	}
	return used;
}
