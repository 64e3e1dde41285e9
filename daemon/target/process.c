#include "daemon/target/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

#define PF_KTHREAD  0x00200000u /* include/linux/sched.h */
#define PF_EXITING  0x00000004u
#define FILE_BLOCK  4096
#define CMDLINE_MAX (2u << 20) /* ARG_MAX is 2 MiB with the default stack limit */

char *process_file(const char *path, size_t max, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	size_t have = 0, room = FILE_BLOCK;
	char *text = g_malloc(room + 1);
	while (have < max) {
		if (have == room)
			text = g_realloc(text, (room *= 2) + 1);
		ssize_t n = read(fd, text + have, MIN(room, max) - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int saved = errno;
			g_free(text);
			close(fd);
			errno = saved;
			return NULL;
		}
		if (!n)
			break;
		have += (size_t)n;
	}
	close(fd);
	text[have] = '\0';
	if (size)
		*size = have;
	return text;
}

bool process_parse_stat(const char *text, struct process *process)
{
	/* comm may hold spaces, newlines and parentheses: it ends at the last one */
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	if (!open || !close || close < open || close[1] != ' ')
		return false;
	process->pid = (pid_t)strtol(text, NULL, 10);
	size_t length = MIN((size_t)(close - open - 1), sizeof(process->comm) - 1);
	memcpy(process->comm, open + 1, length);
	process->comm[length] = '\0';
	process->state = close[2];
	if (!isalpha((unsigned char)process->state))
		return false;

	uint64_t field[25] = {0}; /* field[n] is number n of proc_pid_stat(5) */
	const char *at = close + 3;
	for (int i = 4; i < 25; i++) {
		char *end;
		field[i] = strtoull(at, &end, 10); /* negative ones wrap, and are not looked at */
		if (end == at)
			return false;
		at = end;
	}
	long page = sysconf(_SC_PAGESIZE);
	process->ppid = (pid_t)field[4];
	process->kernel_thread = field[9] & PF_KTHREAD;
	process->exiting = field[9] & PF_EXITING;
	process->cpu_ticks = field[14] + field[15];
	process->n_threads = (uint32_t)field[20];
	process->start_ticks = field[22];
	process->rss = field[24] > INT64_MAX / (uint64_t)page ? 0 : field[24] * (uint64_t)page;
	return true;
}

/* the text behind "name:\t" at the start of a line, or NULL */
static const char *status_field(const char *text, const char *name)
{
	size_t length = strlen(name);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (!strncmp(line, name, length) && line[length] == ':')
			return line + length + 1;
	}
	return NULL;
}

static bool status_ids(const char *text, const char *name, uint32_t id[4])
{
	const char *at = status_field(text, name);
	for (int i = 0; i < 4; i++) {
		char *end;
		if (!at)
			return false;
		id[i] = (uint32_t)strtoul(at, &end, 10);
		if (end == at)
			return false;
		at = end;
	}
	return true;
}

bool process_parse_status(const char *text, struct process *process)
{
	const char *tgid = status_field(text, "Tgid"), *tracer = status_field(text, "TracerPid");
	if (!tgid || !tracer || !status_ids(text, "Uid", process->uid) || !status_ids(text, "Gid", process->gid))
		return false;
	process->tgid = (pid_t)strtol(tgid, NULL, 10);
	process->tracer = (pid_t)strtol(tracer, NULL, 10);
	const char *permitted = status_field(text, "CapPrm");
	process->cap_permitted = permitted ? strtoull(permitted, NULL, 16) : 0;

	process->n_namespaces = 1;
	process->namespace_pid = process->pid;
	const char *at = status_field(text, "NSpid"); /* absent without CONFIG_PID_NS */
	uint32_t n = 0;
	while (at && *at != '\n') {
		char *end;
		long id = strtol(at, &end, 10);
		if (end == at)
			break;
		process->namespace_pid = (pid_t)id;
		process->n_namespaces = ++n;
		at = end;
	}
	return true;
}

bool process_read_stat(pid_t pid, struct process *process)
{
	char path[64];
	memset(process, 0, sizeof(*process));
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	g_autofree char *stat = process_file(path, FILE_BLOCK * 4, NULL);
	return stat && process_parse_stat(stat, process);
}

bool process_read(pid_t pid, struct process *process)
{
	char path[64];
	memset(process, 0, sizeof(*process));
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	g_autofree char *stat = process_file(path, FILE_BLOCK * 4, NULL);
	if (!stat)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	g_autofree char *status = process_file(path, FILE_BLOCK * 16, NULL);
	if (!status)
		return false;
	if (!process_parse_stat(stat, process) || !process_parse_status(status, process)) {
		errno = EINVAL;
		return false;
	}
	return true;
}

/* µs since the epoch at which the machine booted; the kernel tells it in whole seconds, and moves it only when the clock is set */
static int64_t boot_time(void)
{
	g_autofree char *text = process_file("/proc/stat", 16u << 20, NULL);
	const char *at = text ? strstr(text, "\nbtime ") : NULL;
	return at ? strtoll(at + strlen("\nbtime "), NULL, 10) * G_USEC_PER_SEC : 0;
}

int64_t process_start_time(const struct process *process)
{
	long hz = sysconf(_SC_CLK_TCK);
	return boot_time() + (int64_t)((double)process->start_ticks * (G_USEC_PER_SEC / (double)hz));
}

double process_uptime(const struct process *process)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	double started = (double)process->start_ticks / (double)sysconf(_SC_CLK_TCK);
	return MAX(0.0, (double)now.tv_sec + (double)now.tv_nsec / 1e9 - started);
}

char **process_cmdline(pid_t pid)
{
	char path[64];
	size_t size = 0;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	g_autofree char *text = process_file(path, CMDLINE_MAX, &size);
	GPtrArray *words = g_ptr_array_new();
	for (size_t at = 0; text && at < size; at += strlen(text + at) + 1)
		g_ptr_array_add(words, text_escape(text + at, strlen(text + at)));
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

char *process_exe(pid_t pid)
{
	char path[64], target[PATH_MAX];
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	ssize_t n = readlink(path, target, sizeof(target));
	return n < 0 ? g_strdup("") : text_escape(target, (gsize)n);
}

/* the numbers that are names in a directory; NULL with errno */
static GArray *directory_numbers(const char *path)
{
	DIR *directory = opendir(path);
	if (!directory)
		return NULL;
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(pid_t));
	struct dirent *entry;
	while ((entry = readdir(directory))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		pid_t number = (pid_t)strtol(entry->d_name, NULL, 10);
		g_array_append_val(numbers, number);
	}
	closedir(directory);
	return numbers;
}

static gint pid_compare(gconstpointer a, gconstpointer b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

GArray *process_list(void)
{
	GArray *pids = directory_numbers("/proc");
	if (!pids)
		return g_array_new(FALSE, FALSE, sizeof(pid_t));
	g_array_sort(pids, pid_compare);
	return pids;
}

GArray *process_threads(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return directory_numbers(path);
}
