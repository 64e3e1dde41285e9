#include "base/gentle.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GENTLE 5
/*
 * Nanoseconds that such a thread asks for at a time. Since Linux 6.12 a thread that wakes up takes the place of one that asked for more than it did; a
 * thread that didn't ask gets 2.8 ms at most (kernel/sched/fair.c, sysctl_sched_base_slice). Not much more, for a thread that never sleeps waits for it.
 */
#define SLICE 4000000

/* what sched_setattr() takes (Linux include/uapi/linux/sched/types.h, SCHED_ATTR_SIZE_VER0); glibc has it since 2.41 */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

struct call {
	GThreadFunc function;
	void *data;
};

static void be_gentle(void)
{
	id_t self = (id_t)gettid();
	struct attributes attributes = {.size = sizeof(attributes)};
	setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + GENTLE);
	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) < 0)
		return;
	attributes.runtime = SLICE;
	syscall(SYS_sched_setattr, 0, &attributes, 0); /* earlier kernels do without */
}

static void *gentle_main(void *data)
{
	g_autofree struct call *call = data;
	be_gentle();
	return call->function(call->data);
}

GThread *gentle_thread(const char *name, GThreadFunc function, void *data)
{
	struct call *call = g_new(struct call, 1);
	*call = (struct call){function, data};
	return g_thread_new(name, gentle_main, call);
}
