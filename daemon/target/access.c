#include "daemon/target/access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

#define CAP_PTRACE 19 /* CAP_SYS_PTRACE, <linux/capability.h> */

static const struct cause {
	const char *name;
	enum reftop_error code;
} causes[] = {
	[ACCESS_GRANTED] = {"granted", 0},
	[ACCESS_NO_PROCESS] = {"no-process", REFTOP_ERROR_GONE},
	[ACCESS_HIDDEN] = {"hidepid", REFTOP_ERROR_DENIED},
	[ACCESS_THREAD] = {"thread", REFTOP_ERROR_UNKNOWN},
	[ACCESS_ZOMBIE] = {"zombie", REFTOP_ERROR_GONE},
	[ACCESS_KERNEL_THREAD] = {"kernel-thread", REFTOP_ERROR_UNKNOWN},
	[ACCESS_ITSELF] = {"itself", REFTOP_ERROR_UNKNOWN},
	[ACCESS_TRACED] = {"traced", REFTOP_ERROR_DENIED},
	[ACCESS_SECCOMP] = {"seccomp", REFTOP_ERROR_DENIED},
	[ACCESS_YAMA_CHILDREN] = {"yama-1", REFTOP_ERROR_DENIED},
	[ACCESS_YAMA_ADMIN] = {"yama-2", REFTOP_ERROR_DENIED},
	[ACCESS_YAMA_NOBODY] = {"yama-3", REFTOP_ERROR_DENIED},
	[ACCESS_OTHER_USER] = {"other-user", REFTOP_ERROR_DENIED},
	[ACCESS_NAMESPACE] = {"user-namespace", REFTOP_ERROR_DENIED},
	[ACCESS_CAPABILITIES] = {"capabilities", REFTOP_ERROR_DENIED},
	[ACCESS_NOT_DUMPABLE] = {"not-dumpable", REFTOP_ERROR_DENIED},
	[ACCESS_SECURITY] = {"security-module", REFTOP_ERROR_DENIED},
};

const char *access_name(enum access_cause cause)
{
	return (size_t)cause < G_N_ELEMENTS(causes) ? causes[cause].name : "unknown";
}

void access_clear(struct access *access)
{
	g_clear_pointer(&access->text, g_free);
	g_clear_pointer(&access->fix, g_free);
}

static void refuse(struct access *access, enum access_cause cause, int number, const char *fix, const char *text, ...)
	G_GNUC_PRINTF(5, 6);

static void refuse(struct access *access, enum access_cause cause, int number, const char *fix, const char *text, ...)
{
	va_list args;
	va_start(args, text);
	access->cause = cause;
	access->number = number;
	access->text = g_strdup_vprintf(text, args);
	access->fix = g_strdup(fix);
	va_end(args);
}

/* "alice (uid 1000)", or "uid 1000" */
static char *user_name(uid_t uid)
{
	const struct passwd *entry = getpwuid(uid);
	if (!entry)
		return g_strdup_printf("uid %u", uid);
	g_autofree char *name = text_escape(entry->pw_name, strlen(entry->pw_name));
	return g_strdup_printf("%s (uid %u)", name, uid);
}

static uint64_t capabilities(const char *field)
{
	g_autofree char *text = process_file("/proc/self/status", 65536, NULL);
	const char *at = text ? strstr(text, field) : NULL;
	return at ? strtoull(at + strlen(field), NULL, 16) : 0;
}

static int yama_scope(void)
{
	g_autofree char *text = process_file("/proc/sys/kernel/yama/ptrace_scope", 64, NULL);
	return text ? atoi(text) : 0;
}

/* whether `pid` descends from this process */
static bool descendant(pid_t pid)
{
	for (int depth = 0; pid > 1 && depth < 1024; depth++) {
		struct process process;
		if (pid == getpid())
			return true;
		if (!process_read(pid, &process))
			return false;
		pid = process.ppid;
	}
	return false;
}

/* Both in the same user namespace? True when it can't be told. */
static bool same_namespace(pid_t pid)
{
	char path[64], own[64], other[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	ssize_t a = readlink("/proc/self/ns/user", own, sizeof(own)), b = readlink(path, other, sizeof(other));
	return a < 0 || b < 0 || (a == b && !memcmp(own, other, (size_t)a));
}

/* The kernel hands the files of a process that may not be dumped to root. */
static bool dumpable(const struct process *process)
{
	char path[64];
	struct stat status;
	snprintf(path, sizeof(path), "/proc/%d/environ", process->pid);
	return stat(path, &status) < 0 || status.st_uid == process->uid[1];
}

static bool same_user(const struct process *process)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	for (int i = 0; i < 3; i++) {
		if (process->uid[i] != uid || process->gid[i] != gid)
			return false;
	}
	return true;
}

/* The kernel said no: find the rule that did. The order is that of the kernel's checks (kernel/ptrace.c), Yama's behind it. */
static void explain(struct access *access, int number)
{
	const struct process *process = &access->process;
	bool capable = capabilities("\nCapEff:\t") >> CAP_PTRACE & 1;
	int scope = yama_scope();
	g_autofree char *owner = user_name(process->uid[0]);
	if (!capable && !same_user(process)) {
		const struct passwd *entry = getpwuid(process->uid[0]);
		bool plain = entry && process->uid[0] == process->uid[1] && process->uid[0] == process->uid[2];
		g_autofree char *user = plain ? text_escape(entry->pw_name, strlen(entry->pw_name)) : NULL;
		g_autofree char *fix =
			user && strcmp(user, "root") != 0
				? g_strdup_printf("run it as that user, `sudo -u %s reftop …`, or with sudo", user)
				: g_strdup("run it with sudo");
		refuse(access, ACCESS_OTHER_USER, number, fix,
		       "the process belongs to %s, and this one lacks CAP_SYS_PTRACE", owner);
	} else if (!same_namespace(process->pid)) {
		refuse(access, ACCESS_NAMESPACE, number,
		       "run it with sudo outside of containers, or inside the target's own container",
		       "the process is in another user namespace, where this one has no rights");
	} else if (!capable && !dumpable(process)) {
		refuse(access, ACCESS_NOT_DUMPABLE, number, "run it with sudo",
		       "the process may not be dumped: set-uid, an executable its user may not read, or "
		       "PR_SET_DUMPABLE");
	} else if (!capable && process->cap_permitted & ~capabilities("\nCapPrm:\t")) {
		refuse(access, ACCESS_CAPABILITIES, number, "run it with sudo",
		       "the process has capabilities that this one lacks");
	} else if (scope >= 3) {
		refuse(access, ACCESS_YAMA_NOBODY, number,
		       "none until the next boot: set kernel.yama.ptrace_scope to 2 or less in /etc/sysctl.d, and "
		       "reboot",
		       "kernel.yama.ptrace_scope is 3: no process may read another's memory");
	} else if (scope == 2 && !capable) {
		refuse(access, ACCESS_YAMA_ADMIN, number, "run it with sudo",
		       "kernel.yama.ptrace_scope is 2 and this process lacks CAP_SYS_PTRACE");
	} else if (scope == 1 && !capable && !descendant(process->pid)) {
		g_autofree char *fix = g_strdup_printf("run it with sudo, or see `reftop why -p %d`", process->pid);
		refuse(access, ACCESS_YAMA_CHILDREN, number, fix,
		       "kernel.yama.ptrace_scope is 1 and this process lacks CAP_SYS_PTRACE");
	} else {
		refuse(access, ACCESS_SECURITY, number,
		       "look for a refusal in the system log (journalctl -k, ausearch -m avc)",
		       "the kernel refuses, and none of its own rules says why: a security module (SELinux, AppArmor) "
		       "most likely");
	}
}

/* ptrace and process_vm_readv may be forbidden to this process altogether: ask for what can't succeed, and look at the refusal */
static bool calls_forbidden(void)
{
	errno = 0;
	ptrace(PTRACE_INTERRUPT, getpid(), 0, 0); /* not traced by us: ESRCH */
	if (errno == EPERM || errno == ENOSYS || errno == EACCES)
		return true;
	char byte;
	struct iovec local = {&byte, 1}, remote = {NULL, 1};
	errno = 0;
	process_vm_readv(getpid(), &local, 1, &remote, 1, 0); /* EFAULT */
	return errno == EPERM || errno == ENOSYS || errno == EACCES;
}

/* No /proc/PID: is it hidden, or not there? */
static void check_absent(pid_t pid, struct access *access)
{
	if (pid > 0 && kill(pid, 0) < 0 && errno == EPERM)
		refuse(access, ACCESS_HIDDEN, EPERM, "run it with sudo, or remount /proc without hidepid",
		       "/proc is mounted with hidepid and doesn't show it");
	else
		refuse(access, ACCESS_NO_PROCESS, ESRCH, "see `reftop ps` for the Python processes there are",
		       "it ended, or never was");
}

static void check_permission(pid_t pid, struct access *access)
{
	const struct process *process = &access->process;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC), number = errno;
	if (fd < 0 && (number == ENOENT || number == ESRCH)) {
		check_absent(pid, access);
		return;
	}
	if (fd < 0) {
		explain(access, number);
		return;
	}
	close(fd);
	if (process->tracer) {
		struct process tracer;
		g_autofree char *name = process_read(process->tracer, &tracer)
						? text_escape(tracer.comm, strlen(tracer.comm))
						: g_strdup("?");
		refuse(access, ACCESS_TRACED, EPERM, "end that one first; --nonblocking reads without stopping it",
		       "it is being traced by process %d (%s), and a process has one tracer", process->tracer, name);
	} else if (calls_forbidden()) {
		refuse(access, ACCESS_SECCOMP, EPERM,
		       "give the container CAP_SYS_PTRACE (docker run --cap-add SYS_PTRACE)",
		       "a seccomp filter forbids this process ptrace or process_vm_readv");
	}
}

void access_check(pid_t pid, struct access *access)
{
	memset(access, 0, sizeof(*access));
	struct process *process = &access->process;
	if (pid <= 0 || !process_read(pid, process)) {
		memset(process, 0, sizeof(*process));
		check_absent(pid, access);
	} else if (process->tgid != pid) {
		g_autofree char *fix = g_strdup_printf("use the number of the process: -p %d", process->tgid);
		refuse(access, ACCESS_THREAD, 0, fix, "it is a thread of process %d", process->tgid);
	} else if (process->kernel_thread) {
		refuse(access, ACCESS_KERNEL_THREAD, 0, NULL,
		       "it is a thread of the kernel and has no memory of its own");
	} else if (process_dead(process) && process->n_threads > 1) {
		refuse(access, ACCESS_ZOMBIE, 0, NULL,
		       "its main thread ended, and the kernel shows no memory for those that are left");
	} else if (process_dead(process)) {
		refuse(access, ACCESS_ZOMBIE, 0, NULL,
		       "it is a zombie: it ended, and its parent %d has not collected it yet", process->ppid);
	} else if (pid == getpid()) {
		refuse(access, ACCESS_ITSELF, 0, "see `reftop ps` for the Python processes there are",
		       "it is reftop itself");
	} else {
		check_permission(pid, access);
	}
}

void access_error(pid_t pid, const struct access *access, GError **error)
{
	if (access->cause == ACCESS_GRANTED)
		return;
	if (access->cause == ACCESS_NO_PROCESS) {
		error_set(error, TARGET_ERROR, REFTOP_ERROR_GONE, access->text, access->fix, "no process %d", pid);
		return;
	}
	const char *number = access->number ? g_strerror(access->number) : NULL;
	error_set(error, TARGET_ERROR, causes[access->cause].code, access->text, access->fix,
		  "cannot read process %d%s%s", pid, number ? ": " : "", number ? number : "");
}
