#include "daemon/source/family.h"

#include <string.h>
#include <unistd.h>

#include "daemon/target/process.h"

/* so long a process may take to become a Python without a change of its name: libpython is yet to be mapped */
#define YOUNG_S 10.0

struct relative {
	uint64_t start; /* clock ticks since boot */
	char comm[PROCESS_COMM];
	bool member, told;
	guint look;
};

struct family {
	GArray *pids; /* pid_t: the given ones */
	bool children, adopts;
	GHashTable *seen; /* pid -> struct relative * */
	guint looks, alive;
};

family_t *family_new(const pid_t *pids, size_t n, bool children, bool adopts)
{
	family_t *family = g_new0(family_t, 1);
	family->pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
	g_array_append_vals(family->pids, pids, (guint)n);
	family->children = children;
	family->adopts = adopts;
	family->seen = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return family;
}

void family_free(family_t *family)
{
	if (!family)
		return;
	g_array_unref(family->pids);
	g_hash_table_destroy(family->seen);
	g_free(family);
}

/* A number that was given stands for who had it at the first look. */
static bool is_given(const family_t *family, pid_t pid)
{
	for (guint i = 0; family->looks == 1 && i < family->pids->len; i++)
		if (g_array_index(family->pids, pid_t, i) == pid)
			return true;
	return false;
}

static bool belongs(const family_t *family, const struct process *process)
{
	if (is_given(family, process->pid))
		return true;
	if (!family->children)
		return false;
	const struct relative *parent = g_hash_table_lookup(family->seen, GINT_TO_POINTER(process->ppid));
	return (family->adopts && process->ppid == getpid()) || (parent && parent->member);
}

/* whether its maps are worth another look: it is new, young, or runs another program */
static bool is_news(const struct process *process, struct relative *relative)
{
	bool same = !strcmp(relative->comm, process->comm);
	g_strlcpy(relative->comm, process->comm, sizeof(relative->comm));
	return !relative->told && (!same || process_uptime(process) < YOUNG_S);
}

static void look(family_t *family, pid_t pid, GPtrArray *news)
{
	struct process process;
	if (!process_read_stat(pid, &process) || process.kernel_thread || process_dead(&process))
		return;
	struct relative *relative = g_hash_table_lookup(family->seen, GINT_TO_POINTER(pid));
	if (!relative || relative->start != process.start_ticks) {
		relative = g_new0(struct relative, 1);
		relative->start = process.start_ticks;
		g_hash_table_insert(family->seen, GINT_TO_POINTER(pid), relative);
	}
	relative->look = family->looks;
	/* once a descendant, always one: its parent may end, and it becomes a child of init */
	relative->member = relative->member || belongs(family, &process);
	family->alive += relative->member;
	if (!relative->member || !is_news(&process, relative))
		return;
	struct python_process *python = python_process_look(pid);
	relative->told = python && python->python && python->process.start_ticks == relative->start;
	if (relative->told)
		g_ptr_array_add(news, python);
	else
		python_process_free(python);
}

static gboolean is_stale(gpointer key, gpointer value, gpointer data)
{
	return ((struct relative *)value)->look != ((family_t *)data)->looks;
}

GPtrArray *family_look(family_t *family)
{
	GPtrArray *news = g_ptr_array_new_with_free_func((GDestroyNotify)python_process_free);
	g_autoptr(GArray) pids = process_list();
	family->looks++;
	family->alive = 0;
	/* parents come before their children, but for wrapped numbers: those wait for the next look */
	for (guint i = 0; i < pids->len; i++)
		if (g_array_index(pids, pid_t, i) != getpid())
			look(family, g_array_index(pids, pid_t, i), news);
	g_hash_table_foreach_remove(family->seen, is_stale, family);
	return news;
}

bool family_has(const family_t *family, pid_t pid, uint64_t start_ticks)
{
	const struct relative *relative = g_hash_table_lookup(family->seen, GINT_TO_POINTER(pid));
	return relative && relative->start == start_ticks;
}

void family_again(family_t *family, pid_t pid)
{
	struct relative *relative = g_hash_table_lookup(family->seen, GINT_TO_POINTER(pid));
	if (!relative)
		return;
	relative->told = false;
	relative->comm[0] = '\0';
}

bool family_alive(const family_t *family)
{
	return family->alive > 0;
}
