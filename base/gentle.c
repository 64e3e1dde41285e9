#include "base/gentle.h"

#include <sys/resource.h>
#include <unistd.h>

#define GENTLE 5

struct call {
	GThreadFunc function;
	void *data;
};

static void *gentle_main(void *data)
{
	g_autofree struct call *call = data;
	id_t self = (id_t)gettid();
	setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + GENTLE);
	return call->function(call->data);
}

GThread *gentle_thread(const char *name, GThreadFunc function, void *data)
{
	struct call *call = g_new(struct call, 1);
	*call = (struct call){function, data};
	return g_thread_new(name, gentle_main, call);
}
