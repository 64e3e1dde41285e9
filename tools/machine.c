/*
 * The first process of the machine that tools/machine.sh boots: it loads the modules, mounts the tree of the machine outside with a
 * layer in memory over it, runs the command there, and passes its output and exit status out by the ports of a virtual console.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOWER "/lower"
#define LAYER "/layer"
#define ROOT  "/whole"

static void die(const char *what)
{
	printf("machine: %s: %s\n", what, strerror(errno));
	reboot(RB_AUTOBOOT); // the machine ends: -no-reboot
	_exit(1);
}

static void make_mount(const char *type, const char *source, const char *place, unsigned long flags,
		       const char *options)
{
	mkdir(place, 0755);
	if (mount(source, place, type, flags, options))
		die(place);
}

// Those that this kernel doesn't have built in, each after what it needs.
static void load_modules(void)
{
	static const char *names[] = {"virtio",
				      "virtio_ring",
				      "virtio_pci_legacy_dev",
				      "virtio_pci_modern_dev",
				      "virtio_pci",
				      "virtio_console",
				      "netfs",
				      "fscache",
				      "9pnet",
				      "9pnet_virtio",
				      "9p",
				      "overlay"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/modules/%s.ko", names[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0))
			die(path);
		close(fd);
	}
}

// The strings of a file, each ended by a zero.
static char **strings(const char *path)
{
	size_t size = 0, room = 1 << 20, count = 0;
	char *text = calloc(1, room), **list = calloc(room / 8, sizeof(char *));
	FILE *file = fopen(path, "r");
	if (!file || !text || !list)
		die(path);
	size = fread(text, 1, room - 1, file);
	fclose(file);
	for (char *at = text; at < text + size; at += strlen(at) + 1)
		list[count++] = at;
	return list;
}

static int port(int number)
{
	char pattern[32];
	glob_t found = {0};
	snprintf(pattern, sizeof(pattern), "/dev/vport*p%d", number);
	for (int i = 0; i < 1000; i++) {
		int fd = glob(pattern, 0, NULL, &found) == 0 ? open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC) : -1;
		globfree(&found);
		if (fd >= 0)
			return fd;
		usleep(5000);
	}
	die(pattern);
	return -1;
}

// What there is to read goes to the port; whether there may be more.
static int pass_on(int from, int to)
{
	char piece[65536];
	ssize_t got = read(from, piece, sizeof(piece));
	if (got < 0)
		return errno == EINTR;
	for (ssize_t done = 0, n; done < got; done += n) {
		n = write(to, piece + done, (size_t)(got - done));
		if (n <= 0)
			die("a port");
	}
	return got > 0;
}

int main(void)
{
	char **command = strings("/command"), **environment = strings("/environment"), **folder = strings("/folder");
	make_mount("proc", "proc", "/proc", 0, NULL);
	make_mount("devtmpfs", "dev", "/dev", 0, NULL);
	load_modules();
	make_mount("9p", "root", LOWER, MS_RDONLY, "trans=virtio,version=9p2000.L,cache=loose,msize=512000");
	make_mount("tmpfs", "layer", LAYER, 0, "mode=755,size=80%");
	mkdir(LAYER "/upper", 0755);
	mkdir(LAYER "/work", 0755);
	make_mount("overlay", "whole", ROOT, 0, "lowerdir=" LOWER ",upperdir=" LAYER "/upper,workdir=" LAYER "/work");
	make_mount("proc", "proc", ROOT "/proc", 0, NULL);
	make_mount("sysfs", "sys", ROOT "/sys", 0, NULL);
	make_mount("devtmpfs", "dev", ROOT "/dev", 0, NULL);
	make_mount("devpts", "pts", ROOT "/dev/pts", 0, "mode=600,ptmxmode=666");
	make_mount("tmpfs", "shm", ROOT "/dev/shm", 0, "mode=1777");
	make_mount("tmpfs", "run", ROOT "/run", 0, "mode=755");
	symlink("/proc/self/fd", ROOT "/dev/fd");
	symlink("/proc/self/fd/0", ROOT "/dev/stdin");
	symlink("/proc/self/fd/1", ROOT "/dev/stdout");
	symlink("/proc/self/fd/2", ROOT "/dev/stderr");

	int ports[3], out[2], err[2];
	for (int i = 0; i < 3; i++)
		ports[i] = port(i + 1);
	if (chroot(ROOT) || chdir(folder[0]))
		die(folder[0]);
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("a pipe");
	pid_t child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);
		setsid();
		dup2(null, 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		environ = environment;
		execvp(command[0], command);
		dprintf(2, "machine: %s: %s\n", command[0], strerror(errno));
		_exit(127);
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	int status = 0, ended = 0;
	while (!ended) {
		struct pollfd both[2] = {{.fd = out[0], .events = POLLIN}, {.fd = err[0], .events = POLLIN}};
		poll(both, 2, 20);
		// whatever else has lost its parent is ours to bury
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
			if (pid == child) {
				ended = 1;
				break;
			}
		while (pass_on(out[0], ports[0]))
			;
		while (pass_on(err[0], ports[1]))
			;
	}
	dprintf(ports[2], "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	reboot(RB_AUTOBOOT);
	return 0;
}
