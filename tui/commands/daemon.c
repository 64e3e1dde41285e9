/* `reftop daemon`: watch many processes, keep history, serve viewers and metrics. */
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "daemon/server/server.h"
#include "tui/commands/commands.h"

static gboolean configure(struct config *config, const struct options *options, GError **error)
{
	if (options->config && !config_load(config, options->config, error))
		return FALSE;
	if (options->interval_us)
		config->interval_us = options->interval_us;
	if (options->output) {
		g_free(config->store);
		config->store = g_strdup(options->output);
	}
	if (options->listen) {
		g_free(config->listen);
		config->listen = g_strdup(options->listen);
	}
	if (options->socket) {
		g_free(config->socket);
		config->socket = g_strdup(options->socket);
	}
	config->root = (pid_t)options->pid;
	config->children = options->subprocesses;
	config->quiet = options->quiet;
	if (!options->subprocesses || options->pid)
		return TRUE;
	usage_error(error, &command_daemon, "--subprocesses is about the process of --pid", "whose subprocesses?");
	return FALSE;
}

static int daemon_run(const struct options *options, GError **error)
{
	/* before anything is read or known */
	g_autoptr(nursery_t) nursery = nursery_new(error);
	if (!nursery)
		return REFTOP_ERROR_FAILED;
	struct config *config = config_new();
	if (!configure(config, options, error)) {
		config_free(config);
		return REFTOP_ERROR_USAGE;
	}
	signal(SIGXFSZ, SIG_IGN);
	g_autoptr(server_t) server = server_new(config, g_steal_pointer(&nursery), error);
	if (!server)
		return REFTOP_ERROR_FAILED;
	server_run(server);
	return 0;
}

const struct command command_daemon = {
	.name = "daemon",
	.synopsis = "[-p PID [-s]]",
	.summary = "watch many processes, keep history, serve viewers and metrics",
	.details =
		"It watches every Python process that it may read, or those that the rules of a key file name, or with -p "
		"one and with -s its descendants; new ones as they start. `reftop help watching` tells how, and what stands in the key file; `reftop help protocol` what its socket speaks. --output is "
		"where the history is stored. It ends with Ctrl-C or SIGTERM.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_SUBPROCESSES, OPTION_INTERVAL, OPTION_CONFIG,
					    OPTION_SOCKET, OPTION_LISTEN, OPTION_OUTPUT, OPTION_QUIET, OPTION_END},
	.run = daemon_run,
};
