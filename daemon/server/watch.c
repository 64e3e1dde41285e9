/* Which Python processes there are: /proc is looked through once a second; only what is new costs more than a line of it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/server/server_private.h"
#include "daemon/target/process.h"

#define YOUNG_S                                                                                                        \
	10.0 /* so long a process may take to become a Python without a change of its name: libpython is yet to be mapped */

/* a process of this machine */
struct seen {
	uint64_t start; /* clock ticks since boot */
	char comm[PROCESS_COMM];
	bool member; /* with --pid: it is the root, or descends from it */
	uint64_t scan;
};

static char *key_of(const struct process *process)
{
	return g_strdup_printf("%d-%" G_GUINT64_FORMAT, (int)process->pid, (guint64)process->start_ticks);
}

static bool is_member(struct server *server, const struct process *process)
{
	pid_t root = server->config->root;
	if (!root || process->pid == root)
		return true;
	const struct seen *parent = g_hash_table_lookup(server->seen, GINT_TO_POINTER(process->ppid));
	/* a descendant whose parent has ended comes to us, where we asked for that (PR_SET_CHILD_SUBREAPER) */
	bool ours = server->config->adopts && process->ppid == getpid();
	return server->config->children && (process->ppid == root || ours || (parent && parent->member));
}

static void begin(struct server *server, struct python_process *python, const char *key)
{
	int64_t interval_us;
	if (!config_matches(server->config, python, &interval_us)) {
		python_process_free(python);
		return;
	}
	struct subject *subject = subject_new(server, python, interval_us, key);
	g_hash_table_insert(server->subjects, subject->key, subject);
	g_hash_table_insert(server->by_pid, GINT_TO_POINTER(subject->pid), subject);
}

/* whether its maps are worth another look: it is new, young, or runs another program */
static bool is_news(const struct process *process, struct seen *seen)
{
	bool same = seen->start == process->start_ticks && !strcmp(seen->comm, process->comm);
	seen->start = process->start_ticks;
	g_strlcpy(seen->comm, process->comm, sizeof(seen->comm));
	return !same || process_uptime(process) < YOUNG_S;
}

static void look(struct server *server, pid_t pid)
{
	struct process process;
	if (!process_read_stat(pid, &process) || process.kernel_thread || process_dead(&process))
		return;
	struct seen *seen = g_hash_table_lookup(server->seen, GINT_TO_POINTER(pid));
	if (!seen) {
		seen = g_new0(struct seen, 1);
		g_hash_table_insert(server->seen, GINT_TO_POINTER(pid), seen);
	}
	if (seen->start != process.start_ticks)
		seen->member = false;
	seen->scan = server->scans;
	/* once a descendant, always one: its parent may end, and it becomes a child of init */
	seen->member = seen->member || is_member(server, &process);
	if (!is_news(&process, seen) || !seen->member)
		return;
	g_autofree char *key = key_of(&process);
	if (g_hash_table_contains(server->subjects, key))
		return;
	struct python_process *python = python_process_look(pid);
	if (!python || !python->python) {
		python_process_free(python);
		return;
	}
	begin(server, python, key);
}

static gboolean is_stale(gpointer key, gpointer value, gpointer data)
{
	return ((struct seen *)value)->scan != ((struct server *)data)->scans;
}

static gboolean has_gone(gpointer key, gpointer value, gpointer data)
{
	struct subject *subject = value;
	struct server *server = data;
	if (g_hash_table_contains(server->seen, GINT_TO_POINTER(subject->pid)))
		return FALSE;
	clients_tell(server, subject, NULL);
	return TRUE;
}

void watch_scan(struct server *server)
{
	if (!server->seen)
		server->seen = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	server->scans++;
	g_autoptr(GArray) pids = process_list();
	/* parents come before their children, but for wrapped numbers: those wait for the next scan */
	for (guint i = 0; i < pids->len; i++)
		if (g_array_index(pids, pid_t, i) != getpid())
			look(server, g_array_index(pids, pid_t, i));
	g_hash_table_foreach_remove(server->seen, is_stale, server);
	g_hash_table_foreach_remove(server->subjects, has_gone, server);
}

void watch_clear(struct server *server)
{
	g_clear_pointer(&server->seen, g_hash_table_destroy);
}
