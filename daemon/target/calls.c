#include "daemon/target/calls.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/target/process.h"

/* include/linux/errno.h: what a stopped thread's rax says when the call is to be taken up again */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

#define CODE_BEFORE 48 /* bytes in front of a `syscall` in which its number is set */
#define MAX_CLOCKS  12 /* clock ids below are static: CLOCK_REALTIME to CLOCK_TAI */
#define MAX_POLLED  1024
#define MAX_SOCKETS (8u << 20)

static const struct call_kind kinds[] = {
	{SYS_read, "read", CALL_FD, 0, -1, 0},
	{SYS_write, "write", CALL_FD, 0, -1, 0},
	{SYS_pread64, "pread64", CALL_FD, 0, -1, 0},
	{SYS_pwrite64, "pwrite64", CALL_FD, 0, -1, 0},
	{SYS_readv, "readv", CALL_FD, 0, -1, 0},
	{SYS_writev, "writev", CALL_FD, 0, -1, 0},
	{SYS_close, "close", CALL_FD, 0, -1, 0},
	{SYS_ioctl, "ioctl", CALL_FD, 0, -1, 0},
	{SYS_fcntl, "fcntl", CALL_FD, 0, -1, 0},
	{SYS_flock, "flock", CALL_FD, 0, -1, 0},
	{SYS_fsync, "fsync", CALL_FD, 0, -1, 0},
	{SYS_fdatasync, "fdatasync", CALL_FD, 0, -1, 0},
	{SYS_getdents64, "getdents64", CALL_FD, 0, -1, 0},
	{SYS_sendfile, "sendfile", CALL_FD, 0, -1, 0},
	{SYS_splice, "splice", CALL_FD, 0, -1, 0},
	{SYS_connect, "connect", CALL_FD, 0, -1, 0},
	{SYS_accept, "accept", CALL_FD, 0, -1, 0},
	{SYS_accept4, "accept4", CALL_FD, 0, -1, 0},
	{SYS_sendto, "sendto", CALL_FD, 0, -1, 0},
	{SYS_sendmsg, "sendmsg", CALL_FD, 0, -1, 0},
	{SYS_recvfrom, "recvfrom", CALL_FD, 0, -1, 0},
	{SYS_recvmsg, "recvmsg", CALL_FD, 0, -1, 0},
	{SYS_epoll_wait, "epoll_wait", CALL_FD, 0, 3, CALL_RELATIVE_MS},
	{SYS_epoll_pwait, "epoll_pwait", CALL_FD, 0, 3, CALL_RELATIVE_MS},
	{SYS_epoll_pwait2, "epoll_pwait2", CALL_FD, 0, 3, CALL_RELATIVE_TIMESPEC},
	{SYS_poll, "poll", CALL_POLL, 0, 2, CALL_RELATIVE_MS},
	{SYS_ppoll, "ppoll", CALL_POLL, 0, 2, CALL_RELATIVE_TIMESPEC},
	{SYS_select, "select", CALL_NOTHING, 0, 4, CALL_RELATIVE_TIMEVAL},
	{SYS_pselect6, "pselect6", CALL_NOTHING, 0, 4, CALL_RELATIVE_TIMESPEC},
	{SYS_nanosleep, "nanosleep", CALL_NOTHING, 0, 0, CALL_RELATIVE_TIMESPEC},
	{SYS_clock_nanosleep, "clock_nanosleep", CALL_NOTHING, 0, 2, CALL_NANOSLEEP},
	{SYS_futex, "futex", CALL_FUTEX, 0, 3, CALL_FUTEX_CLOCK},
	{SYS_wait4, "wait4", CALL_PID, 0, -1, 0},
	{SYS_waitid, "waitid", CALL_PID, 1, -1, 0},
	{SYS_rt_sigtimedwait, "rt_sigtimedwait", CALL_NOTHING, 0, 2, CALL_RELATIVE_TIMESPEC},
	{SYS_rt_sigsuspend, "rt_sigsuspend", CALL_NOTHING, 0, -1, 0},
	{SYS_pause, "pause", CALL_NOTHING, 0, -1, 0},
	{SYS_open, "open", CALL_NOTHING, 0, -1, 0},
	{SYS_openat, "openat", CALL_NOTHING, 0, -1, 0},
	{SYS_semop, "semop", CALL_NOTHING, 0, -1, 0},
	{SYS_semtimedop, "semtimedop", CALL_NOTHING, 0, 3, CALL_RELATIVE_TIMESPEC},
	{SYS_msgrcv, "msgrcv", CALL_NOTHING, 0, -1, 0},
	{SYS_msgsnd, "msgsnd", CALL_NOTHING, 0, -1, 0},
	{SYS_vfork, "vfork", CALL_NOTHING, 0, -1, 0},
	{SYS_io_uring_enter, "io_uring_enter", CALL_FD, 0, -1, 0},
	{SYS_restart_syscall, "restart_syscall", CALL_NOTHING, 0, -1, 0},
	{SYS_exit, "exit", CALL_NOTHING, 0, -1, 0},
};

const struct call_kind *call_kind(int64_t number)
{
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (kinds[i].number == number)
			return &kinds[i];
	}
	return NULL;
}

/* ---- where a thread is ---- */

void call_of_registers(const uint64_t registers[27], struct snapshot_call *call)
{
	struct user_regs_struct at;
	memcpy(&at, registers, sizeof(at));
	*call = (struct snapshot_call){.number = (int64_t)at.orig_rax, .stack_pointer = at.rsp, .instruction = at.rip};
	int64_t result = -(int64_t)at.rax;
	if (call->number < 0 || (result != ERESTARTSYS && result != ERESTARTNOINTR && result != ERESTARTNOHAND &&
				 result != ERESTART_RESTARTBLOCK && result != EINTR))
		return;
	const uint64_t arguments[6] = {at.rdi, at.rsi, at.rdx, at.r10, at.r8, at.r9};
	memcpy(call->arguments, arguments, sizeof(arguments));
	call->in_call = true;
}

bool call_parse(const char *text, struct snapshot_call *call)
{
	uint64_t *a = call->arguments;
	*call = (struct snapshot_call){0};
	int n = sscanf(text,
		       "%" SCNi64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64
		       " 0x%" SCNx64 " 0x%" SCNx64,
		       &call->number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &call->stack_pointer,
		       &call->instruction);
	if (n == 9 && call->number >= 0) {
		call->in_call = true;
		return true;
	}
	/* "running", or "-1 sp pc": blocked, but not in a call */
	*call = (struct snapshot_call){0};
	return g_str_has_prefix(text, "running") || g_str_has_prefix(text, "-1 ");
}

bool call_of_thread(pid_t pid, pid_t tid, struct snapshot_call *call)
{
	char path[96];
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	g_autofree char *text = process_file(path, 1024, NULL);
	return text && call_parse(text, call);
}

static int64_t number_by_code(const struct snapshot_call *call, const struct memory *memory)
{
	uint8_t code[CODE_BEFORE];
	if (call->instruction < CODE_BEFORE ||
	    !memory_read(memory, call->instruction - CODE_BEFORE, code, sizeof(code)))
		return -1;
	for (int i = CODE_BEFORE - 5; i >= 0; i--) {
		uint32_t number;
		memcpy(&number, code + i + 1, sizeof(number));
		if (code[i] == 0xb8 && call_kind((int64_t)number))
			return (int64_t)number;
	}
	return -1;
}

static bool is_timespec(const struct memory *memory, uint64_t address)
{
	uint64_t seconds, part;
	return memory_u64(memory, address, &seconds) && memory_u64(memory, address + 8, &part) &&
	       seconds <= INT64_MAX && part < 1000000000;
}

/* The four calls that go on so (kernel: who sets restart_block.fn) have arguments that tell them apart. */
static int64_t number_by_arguments(const struct snapshot_call *call, const struct memory *memory)
{
	const uint64_t *a = call->arguments;
	uint64_t operation = a[1] & ~(uint64_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
	uint32_t word;
	if (a[0] < MAX_CLOCKS && !a[1] && a[2] > UINT32_MAX && is_timespec(memory, a[2]))
		return SYS_clock_nanosleep;
	/* glibc waits for any bit (sysdeps/nptl/futex-internal.c), and so does CPython's own code */
	if (operation == FUTEX_WAIT_BITSET && (uint32_t)a[5] == FUTEX_BITSET_MATCH_ANY &&
	    memory_u32(memory, a[0], &word))
		return SYS_futex;
	if (a[1] && a[1] <= MAX_POLLED && memory_u32(memory, a[0], &word) &&
	    memory_u32(memory, a[0] + (a[1] - 1) * sizeof(struct pollfd), &word))
		return SYS_poll;
	return -1;
}

void call_restarted(struct snapshot_call *call, const struct memory *memory)
{
	if (!call->in_call || call->number != SYS_restart_syscall)
		return;
	int64_t number = number_by_code(call, memory);
	if (number < 0)
		number = number_by_arguments(call, memory);
	if (number >= 0)
		call->number = number;
}

/* ---- until when ---- */

static bool read_time(const struct memory *memory, uint64_t address, int64_t unit, int64_t *us)
{
	uint64_t seconds, part;
	if (!address || !memory_u64(memory, address, &seconds) || !memory_u64(memory, address + 8, &part) ||
	    seconds > (uint64_t)INT64_MAX / 2000000 || part > 1000000000)
		return false;
	*us = (int64_t)seconds * G_USEC_PER_SEC + (int64_t)part / unit;
	return true;
}

static int64_t clock_us(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

bool call_timeout(const struct call_kind *kind, const struct snapshot_call *call, const struct memory *memory,
		  int64_t now_us, int64_t *timeout_us, bool *left)
{
	*left = false;
	if (!call->in_call || kind->timeout < 0)
		return false;
	uint64_t argument = call->arguments[kind->timeout];
	bool absolute = false, wall = false;
	switch (kind->clock) {
	case CALL_RELATIVE_MS:
		*timeout_us = (int64_t)(int32_t)argument * 1000;
		return *timeout_us >= 0;
	case CALL_RELATIVE_TIMEVAL:
		return read_time(memory, argument, 1, timeout_us);
	case CALL_RELATIVE_TIMESPEC:
		break;
	case CALL_FUTEX_CLOCK:
		absolute = (call->arguments[1] & FUTEX_CMD_MASK) != FUTEX_WAIT;
		wall = call->arguments[1] & FUTEX_CLOCK_REALTIME;
		break;
	case CALL_NANOSLEEP:
		absolute = call->arguments[1] & TIMER_ABSTIME;
		wall = call->arguments[0] == CLOCK_REALTIME;
		break;
	}
	if (!read_time(memory, argument, 1000, timeout_us))
		return false;
	*left = absolute;
	if (absolute)
		*timeout_us = MAX(*timeout_us - (wall ? now_us : clock_us(CLOCK_MONOTONIC)), 0);
	return true;
}

/* ---- descriptors ---- */

/* "0100007F:1F90" of /proc/net/tcp: words of the address in host order */
static bool append_address(GString *text, const char *field)
{
	uint32_t words[4];
	unsigned port;
	char buffer[INET6_ADDRSTRLEN];
	if (sscanf(field, "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 ":%X", &words[0], &words[1], &words[2],
		   &words[3], &port) == 5)
		g_string_append_printf(text, "[%s]:%u", inet_ntop(AF_INET6, words, buffer, sizeof(buffer)), port);
	else if (sscanf(field, "%8" SCNx32 ":%X", &words[0], &port) == 2)
		g_string_append_printf(text, "%s:%u", inet_ntop(AF_INET, words, buffer, sizeof(buffer)), port);
	else
		return false;
	return true;
}

static char *find_inet(const char *table, const char *protocol, const char *inode)
{
	g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
	for (char **line = lines; *line && *++line;) {
		char local[80], remote[80], state[8], found[32];
		if (sscanf(*line, "%*s %79s %79s %7s %*s %*s %*s %*s %*s %31s", local, remote, state, found) != 4 ||
		    strcmp(found, inode) != 0)
			continue;
		g_autoptr(GString) text = g_string_new(protocol);
		g_string_append_c(text, ' ');
		bool listens = !strcmp(protocol, "tcp") && !strcmp(state, "0A");
		if (!append_address(text, local))
			return NULL;
		if (listens)
			g_string_append(text, " (listening)");
		else if (!g_str_has_suffix(remote, ":0000"))
			append_address(g_string_append(text, " -> "), remote);
		return g_string_free(g_steal_pointer(&text), FALSE);
	}
	return NULL;
}

static char *find_unix(const char *table, const char *inode)
{
	g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
	for (char **line = lines; *line; line++) {
		char found[32], name[256] = "";
		if (sscanf(*line, "%*s %*s %*s %*s %*s %*s %31s %255[^\n]", found, name) < 1 ||
		    strcmp(found, inode) != 0)
			continue;
		return *name ? g_strdup_printf("unix socket %s", name) : g_strdup("unix socket");
	}
	return NULL;
}

static char *socket_text(pid_t pid, const char *inode)
{
	static const struct {
		const char *file, *protocol;
	} tables[] = {{"tcp", "tcp"}, {"tcp6", "tcp"}, {"udp", "udp"}, {"udp6", "udp"}, {"unix", NULL}};
	char *text = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(tables) && !text; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, tables[i].file);
		g_autofree char *table = process_file(path, MAX_SOCKETS, NULL);
		if (table)
			text = tables[i].protocol ? find_inet(table, tables[i].protocol, inode)
						  : find_unix(table, inode);
	}
	return text ? text : g_strdup("socket");
}

char *descriptor_text(pid_t pid, int fd)
{
	char path[64], link[4096];
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return NULL;
	link[n] = '\0';
	g_autofree char *text = NULL;
	if (g_str_has_prefix(link, "socket:[")) {
		g_autofree char *inode = g_strndup(link + 8, strcspn(link + 8, "]"));
		text = socket_text(pid, inode);
	} else if (g_str_has_prefix(link, "pipe:[")) {
		text = g_strdup("pipe");
	} else if (g_str_has_prefix(link, "anon_inode:")) {
		text = g_strdup(link + strlen("anon_inode:"));
		g_strdelimit(text, "[]", ' ');
		g_strstrip(text);
	}
	return text_escape(text ? text : link, G_MAXSIZE);
}
