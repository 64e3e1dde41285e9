#include "tui/quiet_thread.h"

#include <signal.h>

GThread *quiet_thread(const char *name, GThreadFunc function, gpointer data)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	sigset_t all, before;
	sigfillset(&all);
	for (size_t i = 0; i < G_N_ELEMENTS(crashes); i++)
		sigdelset(&all, crashes[i]);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	GThread *thread = g_thread_new(name, function, data);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return thread;
}
