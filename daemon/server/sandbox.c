#include "daemon/server/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#define MOST_FILES 512 /* below the channel */

gboolean sandbox_descriptors(int channel)
{
	struct rlimit files = {SANDBOX_CHANNEL + 1, SANDBOX_CHANNEL + 1};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	setrlimit(RLIMIT_NOFILE, &files);
	if (null < 0 || dup3(channel, SANDBOX_CHANNEL, O_CLOEXEC) < 0)
		return FALSE;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null, fd) < 0)
			return FALSE;
	if (syscall(SYS_close_range, 3, SANDBOX_CHANNEL - 1, 0) ||
	    syscall(SYS_close_range, SANDBOX_CHANNEL + 1, ~0U, 0))
		return FALSE;
	files = (struct rlimit){MOST_FILES, MOST_FILES};
	return setrlimit(RLIMIT_NOFILE, &files) == 0;
}

static gboolean drop_capabilities(uid_t uid, gid_t gid)
{
	if (geteuid() != 0)
		return TRUE;
	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, -1);
	return capng_change_id((int)uid, (int)gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) == 0;
}

static const int plain_calls[] = {
	SCMP_SYS(read),
	SCMP_SYS(pread64),
	SCMP_SYS(readv),
	SCMP_SYS(preadv),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(lseek),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64),
	SCMP_SYS(fcntl),
	SCMP_SYS(ioctl),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(mincore),
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getpriority),
	SCMP_SYS(setpriority),
	SCMP_SYS(sched_setscheduler),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_get_priority_max),
	SCMP_SYS(sched_get_priority_min),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrusage),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(recvfrom),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(getrandom),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(membarrier),
	SCMP_SYS(getcpu),
	SCMP_SYS(times),
	SCMP_SYS(openat2),
	SCMP_SYS(tgkill),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(kcmp),
	SCMP_SYS(get_robust_list),
	SCMP_SYS(capget),
	/* native stacks (daemon/target/unwind.c): the vdso is read from a file in memory. Nothing else is open for writing. */
	SCMP_SYS(dup),
	SCMP_SYS(memfd_create),
	SCMP_SYS(pwrite64),
};

#define READ_ONLY_MASK (O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

static int allow_tracing(scmp_filter_ctx filter, pid_t pid)
{
	static const unsigned requests[] = {PTRACE_SEIZE,     PTRACE_INTERRUPT, PTRACE_PEEKUSER,   PTRACE_GETREGS,
					    PTRACE_GETREGSET, PTRACE_DETACH,    PTRACE_GETSIGINFO, PTRACE_GETEVENTMSG};
	const scmp_datum_t rax = offsetof(struct user_regs_struct, rax);
	int bad = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(requests); i++)
		bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ptrace), 1, SCMP_A0(SCMP_CMP_EQ, requests[i]));
	/* a system call that would return EINTR is told to restart, see daemon/target/freeze.c */
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ptrace), 2, SCMP_A0(SCMP_CMP_EQ, PTRACE_POKEUSER),
				SCMP_A2(SCMP_CMP_EQ, rax, 0));
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(process_vm_readv), 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)pid));
	/* of itself: daemon/target/access.c asks so whether the call is there at all */
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(process_vm_readv), 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return bad;
}

static gboolean filter_calls(pid_t pid)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return FALSE;
	int bad = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(plain_calls); i++)
		bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, READ_ONLY_MASK, O_RDONLY));
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, READ_ONLY_MASK, O_RDONLY));
	/* threads, not processes */
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, SANDBOX_CHANNEL));
	bad |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, SCMP_A0(SCMP_CMP_EQ, SANDBOX_CHANNEL));
	/* its flags can't be seen: the C library takes clone() where there is none */
	bad |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	bad |= allow_tracing(filter, pid);
	bad |= seccomp_load(filter);
	seccomp_release(filter);
	return bad == 0;
}

gboolean sandbox_enter(pid_t pid, uid_t uid, gid_t gid, const char **what)
{
	*what = "capabilities";
	if (!drop_capabilities(uid, gid))
		return FALSE;
	*what = "new privileges";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return FALSE;
	*what = "system calls";
	return filter_calls(pid);
}
