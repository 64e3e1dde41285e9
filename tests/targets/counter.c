/* A handler in C that counts every delivery of a queued signal, however many come between two steps of an interpreter. */
#define _GNU_SOURCE
#include <signal.h>

static _Atomic long counted;

static void count(int number)
{
	(void)number;
	counted++;
}

int counter_start(void)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
	return sigaction(SIGRTMIN, &action, 0) ? -1 : SIGRTMIN;
}

long counter_read(void)
{
	return counted;
}
