/* Threads that give way: the process that is looked at runs again, or still, and is to lose no CPU time to us. */
#pragma once
#include <glib.h>

/*
 * A thread of lower priority: nice 5 above its creator's, a quarter of a CPU that somebody else wants, all of one that nobody does; since Linux 6.12
 * it mostly gives way as soon as another thread wakes up. Join it with g_thread_join(). It never holds what a stopped process waits for.
 */
GThread *gentle_thread(const char *name, GThreadFunc function, void *data);
