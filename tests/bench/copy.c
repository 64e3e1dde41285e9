/*
 * The yardstick: a plain bulk copy of a process's private writable memory, what is present of it, by process_vm_readv in pieces of 1 MB into
 * memory populated beforehand. The process is not stopped. Prints bytes and microseconds.
 *
 *	copy PID [THREADS]
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PIECE    (1ul << 20)
#define PAGE     4096ul
#define MAX_RUNS (1u << 20)
#define PRESENT  (1ull << 63)

struct run {
	uint64_t start, size;
	char *to;
};

static struct run runs[MAX_RUNS];
static size_t n_runs;
static _Atomic size_t next_run;
static _Atomic uint64_t copied;
static pid_t pid;

static void add_run(uint64_t start, uint64_t size)
{
	while (size && n_runs < MAX_RUNS) {
		uint64_t piece = size < PIECE ? size : PIECE;
		runs[n_runs++] = (struct run){start, piece, NULL};
		start += piece;
		size -= piece;
	}
}

static void add_mapping(int pagemap, uint64_t start, uint64_t end)
{
	uint64_t entries[512], run = 0;
	for (uint64_t at = start; at < end;) {
		size_t want = (end - at) / PAGE < 512 ? (end - at) / PAGE : 512;
		ssize_t got = pread(pagemap, entries, want * 8, (off_t)(at / PAGE * 8));
		if (got <= 0)
			break;
		for (size_t i = 0; i < (size_t)got / 8; i++, at += PAGE) {
			if (entries[i] & PRESENT) {
				run += PAGE;
				continue;
			}
			add_run(at - run, run);
			run = 0;
		}
	}
	add_run(end - run, run);
}

static void *copy_runs(void *unused)
{
	(void)unused;
	size_t i;
	while ((i = atomic_fetch_add(&next_run, 1)) < n_runs) {
		struct iovec to = {runs[i].to, runs[i].size}, from = {(void *)runs[i].start, runs[i].size};
		ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);
		if (got > 0)
			atomic_fetch_add(&copied, (uint64_t)got);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	pid = atoi(argv[1]);
	int threads = argc > 2 ? atoi(argv[2]) : 1;
	char path[64], line[512];
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	int pagemap = open(path, O_RDONLY);
	if (!maps || pagemap < 0) {
		perror(path);
		return 1;
	}
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end;
		char mode[8];
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, mode) == 3 && !strncmp(mode, "rw-p", 4) &&
		    !strstr(line, "[v"))
			add_mapping(pagemap, start, end);
	}
	uint64_t bytes = 0;
	for (size_t i = 0; i < n_runs; i++)
		bytes += runs[i].size;
	char *memory = mmap(NULL, bytes + PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	madvise(memory, bytes, MADV_HUGEPAGE);
	memset(memory, 1, bytes);
	for (size_t i = 0; i < n_runs; i++) {
		runs[i].to = memory;
		memory += runs[i].size;
	}
	struct timespec before, after;
	pthread_t thread[64];
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (int i = 1; i < threads && i < 64; i++)
		pthread_create(&thread[i], NULL, copy_runs, NULL);
	copy_runs(NULL);
	for (int i = 1; i < threads && i < 64; i++)
		pthread_join(thread[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("%" PRIu64 " %ld\n", (uint64_t)copied,
	       (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000);
	return 0;
}
