#include "tui/tree.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/server/server.h"
#include "tui/commands/commands.h"
#include "tui/frame.h"
#include "tui/screens/verdict.h"

#define INTERVAL_US  G_USEC_PER_SEC
#define CPU          0.5 /* of one core: somebody waits for the program, and wants to know */
#define MOST_TOLD    10
#define MOST_COMMAND 60 /* columns */

struct tree {
	server_t *server;
	pid_t pid;
	int status; /* as wait(2) says */
	gboolean ended;
};

static void on_end(GPid pid, gint status, gpointer data)
{
	struct tree *tree = data;
	tree->status = status;
	tree->ended = TRUE;
	server_stop(tree->server);
}

static struct config *configure(const struct options *options, pid_t pid, const char *directory)
{
	struct config *config = config_new();
	g_free(config->socket);
	config->socket = g_build_filename(directory, "reftop.sock", NULL);
	g_clear_pointer(&config->store, g_free);
	config->interval_us = options->interval_us ? options->interval_us : INTERVAL_US;
	config->cpu = CPU;
	config->root = pid;
	config->children = config->adopts = true;
	config->quiet = true;
	return config;
}

static void tell(const struct grown *growth)
{
	g_autofree char *rate = words_rate(growth->rate, FALSE);
	g_autofree char *time = words_duration(growth->until_us - growth->since_us, FALSE);
	g_autofree char *command = text_cut(growth->command, MOST_COMMAND);
	char amount[32];
	g_printerr("  %s: %s steadily for %s (+%s), in process %d (%s)\n", growth->type, rate, time,
		   text_count(amount, growth->amount), (int)growth->pid, command);
}

/* What grew, the program's own classes first; of the built-in types only where no class did: they hang on it. */
void tree_summarize(const GArray *growths, guint n)
{
	guint told = 0;
	gboolean own = growths->len && !g_array_index(growths, struct grown, 0).builtin;
	g_printerr("reftop: %s in %u process%s\n", growths->len ? "what grows" : "nothing grows steadily", n,
		   n == 1 ? "" : "es");
	for (guint i = 0; i < growths->len && told < MOST_TOLD; i++) {
		const struct grown *growth = &g_array_index(growths, struct grown, i);
		if (own && growth->builtin)
			break;
		tell(growth);
		told++;
	}
}

static gboolean start(const struct options *options, struct tree *tree, GError **error)
{
	g_autoptr(GError) problem = NULL;
	GSpawnFlags flags = G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CHILD_INHERITS_STDIN;
	if (g_spawn_async(NULL, options->program, NULL, flags, NULL, NULL, &tree->pid, &problem))
		return TRUE;
	g_autofree char *name = text_escape(options->program[0], strlen(options->program[0]));
	error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, problem->message, NULL, "cannot start %s", name);
	return FALSE;
}

int tree_run(const struct options *options, GError **error)
{
	struct tree tree = {0};
	g_autoptr(nursery_t) nursery = nursery_new(error);
	g_autofree char *directory = nursery ? g_dir_make_tmp("reftop-XXXXXX", error) : NULL;
	if (!directory)
		return REFTOP_ERROR_FAILED;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (!start(options, &tree, error)) {
		g_rmdir(directory);
		return REFTOP_ERROR_USAGE;
	}
	struct config *config = configure(options, tree.pid, directory);
	g_autoptr(server_t) server = server_new(config, g_steal_pointer(&nursery), error);
	if (server) {
		tree.server = server;
		server_remember(server);
		guint source = g_child_watch_add(tree.pid, on_end, &tree);
		server_run(server);
		if (!tree.ended)
			g_source_remove(source);
	}
	/* a Ctrl-C is the program's, too: how it ends is its business */
	if (!tree.ended)
		waitpid(tree.pid, &tree.status, 0);
	if (server) {
		g_autoptr(GArray) growths = server_growths(server);
		tree_summarize(growths, server_processes(server));
	}
	g_clear_pointer(&server, server_free);
	g_rmdir(directory);
	return WIFEXITED(tree.status) ? WEXITSTATUS(tree.status) : 128 + WTERMSIG(tree.status);
}
