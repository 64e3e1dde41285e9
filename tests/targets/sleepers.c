/*
 * Waits in plain C, called by tests/targets/sleepers.py through ctypes: unlike Python's own, they don't retry after EINTR, so a
 * snapshot that disturbed one would show. And spin(): a thread that keeps the CPU without touching memory.
 *
 * Every wait_*(milliseconds) returns 0 when it ended as it should, else an errno, or -1 for something that is none.
 * milliseconds > 0: until the timeout; 0: until release().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SIGNAL_OURS (SIGRTMIN + 3)

static int ended(long result, long expected, int expected_errno)
{
	if (result == expected && (result >= 0 || errno == expected_errno))
		return 0;
	return result < 0 ? errno : -1;
}

static struct timespec span(int milliseconds)
{
	return (struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L};
}

static int pipe_of[2] = {-1, -1};   /* nothing in it before release() */
static int idle_pipe[2] = {-1, -1}; /* nothing in it ever */
static int futex_word;
static int semaphore_id = -1, queue_id = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int condition_true;

int prepare(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGNAL_OURS);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	semaphore_id = semget(IPC_PRIVATE, 1, 0600);
	queue_id = msgget(IPC_PRIVATE, 0600);
	return pipe(pipe_of) || pipe(idle_pipe) || semaphore_id < 0 || queue_id < 0 ? errno : 0;
}

void cleanup(void)
{
	semctl(semaphore_id, 0, IPC_RMID);
	msgctl(queue_id, IPC_RMID, NULL);
}

/* end every wait without a timeout, in the proper way */
void release(void)
{
	char bytes[64] = {0};
	struct sembuf up = {0, 1, 0};
	struct {
		long type;
		char text[1];
	} message = {1, {0}};
	if (write(pipe_of[1], bytes, sizeof(bytes)) != sizeof(bytes))
		perror("release");
	semop(semaphore_id, &up, 1);
	msgsnd(queue_id, &message, 1, 0);
	kill(getpid(), SIGNAL_OURS);
	__atomic_store_n(&futex_word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &futex_word, FUTEX_WAKE, 100, NULL, NULL, 0);
	pthread_mutex_lock(&mutex);
	condition_true = 1;
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&mutex);
}

int wait_nanosleep(int milliseconds)
{
	struct timespec time = span(milliseconds);
	return ended(nanosleep(&time, NULL), 0, 0);
}

int wait_select(int milliseconds)
{
	int watched = milliseconds ? idle_pipe[0] : pipe_of[0];
	fd_set set;
	FD_ZERO(&set);
	FD_SET(watched, &set);
	struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
	return ended(select(watched + 1, &set, NULL, NULL, milliseconds ? &time : NULL), !milliseconds, 0);
}

int wait_poll(int milliseconds)
{
	int watched = milliseconds ? idle_pipe[0] : pipe_of[0];
	struct pollfd fd = {watched, POLLIN, 0};
	return ended(poll(&fd, 1, milliseconds ? milliseconds : -1), !milliseconds, 0);
}

int wait_epoll(int milliseconds)
{
	int watched = milliseconds ? idle_pipe[0] : pipe_of[0];
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN};
	epoll_ctl(fd, EPOLL_CTL_ADD, watched, &event);
	int result = ended(epoll_wait(fd, &event, 1, milliseconds ? milliseconds : -1), !milliseconds, 0);
	close(fd);
	return result;
}

int wait_signal(int milliseconds)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, milliseconds ? SIGNAL_OURS + 1 : SIGNAL_OURS);
	struct timespec time = span(milliseconds);
	if (milliseconds)
		return ended(sigtimedwait(&set, NULL, &time), -1, EAGAIN);
	return ended(sigwaitinfo(&set, NULL), SIGNAL_OURS, 0);
}

int wait_semaphore(int milliseconds)
{
	struct sembuf down = {0, -1, 0};
	struct timespec time = span(milliseconds);
	if (!milliseconds)
		return ended(semop(semaphore_id, &down, 1), 0, 0);
	int own = semget(IPC_PRIVATE, 1, 0600);
	int result = ended(semtimedop(own, &down, 1, &time), -1, EAGAIN);
	semctl(own, 0, IPC_RMID);
	return result;
}

int wait_message(int milliseconds)
{
	struct {
		long type;
		char text[1];
	} message;
	if (milliseconds)
		return wait_nanosleep(milliseconds);
	return ended(msgrcv(queue_id, &message, 1, 0, 0), 1, 0);
}

int wait_futex(int milliseconds)
{
	struct timespec time = span(milliseconds);
	int own = 0;
	if (milliseconds)
		return ended(syscall(SYS_futex, &own, FUTEX_WAIT, 0, &time, NULL, 0), -1, ETIMEDOUT);
	return ended(syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, NULL, NULL, 0), 0, 0);
}

int wait_condition(int milliseconds)
{
	struct timespec until;
	int result = 0;
	if (milliseconds) {
		pthread_mutex_t own_mutex = PTHREAD_MUTEX_INITIALIZER;
		pthread_cond_t own = PTHREAD_COND_INITIALIZER;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += milliseconds / 1000;
		until.tv_nsec += milliseconds % 1000 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		pthread_mutex_lock(&own_mutex);
		result = pthread_cond_timedwait(&own, &own_mutex, &until);
		return result == ETIMEDOUT ? 0 : result ? result : -1;
	}
	pthread_mutex_lock(&mutex);
	while (!condition_true && !result)
		result = pthread_cond_wait(&condition, &mutex);
	pthread_mutex_unlock(&mutex);
	return result;
}

int wait_read(int milliseconds)
{
	char byte;
	if (milliseconds)
		return wait_nanosleep(milliseconds);
	return ended(read(pipe_of[0], &byte, 1), 1, 0);
}

/* SO_RCVTIMEO makes the kernel fail the call with EINTR instead of restarting it */
int wait_receive(int milliseconds)
{
	int pair[2];
	char byte;
	struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
	if (!milliseconds)
		return wait_read(0);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	int result = ended(recv(pair[0], &byte, 1, 0), -1, EAGAIN);
	close(pair[0]);
	close(pair[1]);
	return result;
}

int wait_accept(int milliseconds)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX}; /* autobound */
	struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
	if (!milliseconds)
		return wait_read(0);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t));
	listen(fd, 1);
	int result = ended(accept(fd, NULL, NULL), -1, EAGAIN);
	close(fd);
	return result;
}

/* io_uring_enter(IORING_ENTER_GETEVENTS) until a timeout request, or a poll of the pipe, completes; ENOSYS, EPERM: not here */
int wait_uring(int milliseconds)
{
	struct io_uring_params params = {0};
	int fd = syscall(SYS_io_uring_setup, 4, &params);
	if (fd < 0)
		return errno;
	size_t ring_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	char *ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *entries = mmap(NULL, params.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE,
					    MAP_SHARED, fd, IORING_OFF_SQES);
	if (ring == MAP_FAILED || entries == MAP_FAILED)
		return errno;
	struct __kernel_timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000LL};
	memset(&entries[0], 0, sizeof(entries[0]));
	if (milliseconds) {
		entries[0].opcode = IORING_OP_TIMEOUT;
		entries[0].addr = (uintptr_t)&time;
		entries[0].len = 1;
	} else {
		entries[0].opcode = IORING_OP_POLL_ADD;
		entries[0].fd = pipe_of[0];
		entries[0].poll32_events = POLLIN;
	}
	((unsigned *)(ring + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(ring + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	/* submitted first, so that the wait itself is a call that can only wait */
	if (syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0) != 1)
		return errno;
	int result = ended(syscall(SYS_io_uring_enter, fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0), 0, 0);
	munmap(entries, params.sq_entries * sizeof(*entries));
	munmap(ring, ring_size);
	close(fd);
	return result;
}

static volatile int spinning;

static void *spin_body(void *unused)
{
	while (spinning)
		for (unsigned i = 0; i < 100000; i++)
			__asm__ volatile("");
	return NULL;
}

static pthread_t spinner;

/* a thread of no Python that always runs: no snapshot is quiet, and no reference count moves */
int spin(int on)
{
	if (on) {
		spinning = 1;
		return pthread_create(&spinner, NULL, spin_body, NULL);
	}
	spinning = 0;
	return pthread_join(spinner, NULL);
}
