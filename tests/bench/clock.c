/*
 * How fast the machine is just now: numbers negated of which each waits for the one before, one a cycle (an addition may take none), on all
 * processors at once; those of a rented machine share their time with strangers. Prints a thousand millions of them a second, the mean of the
 * processors.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5000000
#define MOST   64 /* processors */

static void *count(void *data)
{
	struct timespec begun, ended;
	unsigned long value = 1;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (long i = 0; i < ROUNDS; i++)
		__asm__ volatile("neg %0; neg %0; neg %0; neg %0; neg %0; neg %0; neg %0; neg %0" : "+r"(value));
	clock_gettime(CLOCK_MONOTONIC, &ended);
	double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) * 1e-9;
	*(double *)data = 8.0 * ROUNDS / seconds / 1e9;
	return NULL;
}

int main(void)
{
	pthread_t threads[MOST];
	double each[MOST] = {0}, sum = 0;
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	n = n > MOST ? MOST : n < 1 ? 1 : n;
	for (long i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, count, &each[i]);
	for (long i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (long i = 0; i < n; i++)
		sum += each[i];
	printf("%.3f\n", sum / (double)n);
	return 0;
}
