/* `reftop save`: a snapshot of a process as a file that all reading commands take with -c, also on another machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"

static gboolean fail_file(const char *path, int number, GError **error)
{
	g_autofree char *name = text_escape(path, G_MAXSIZE);
	error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, g_strerror(number), NULL, "cannot write %s", name);
	return FALSE;
}

static void tell(const struct options *options, uint64_t bytes, int64_t pause_us)
{
	char size[16];
	g_autofree char *name = text_escape(options->output, G_MAXSIZE);
	if (options->quiet)
		return;
	fprintf(stderr, "%s: %s", name, text_bytes(size, (int64_t)bytes));
	if (pause_us > 0)
		fprintf(stderr, ", the process was stopped for %.1f ms", (double)pause_us / 1e3);
	else if (!pause_us)
		fprintf(stderr, ", the process was not stopped");
	fprintf(stderr, "\n");
}

/* A device or a pipe, which must be written to and not replaced. */
static gboolean is_special(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

/* Into a file beside it first: what stands there is complete, or what it was. */
static gboolean save(source_t *source, const struct options *options, GError **error)
{
	gboolean special = is_special(options->output);
	g_autofree char *draft = special ? g_strdup(options->output) : g_strdup_printf("%s.part", options->output);
	uint64_t bytes;
	int64_t pause_us;
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_file(draft, errno, error);
	gboolean good = source_save(source, fd, &bytes, &pause_us, error);
	if (close(fd) < 0 && good)
		good = fail_file(draft, errno, error);
	if (good && !special && rename(draft, options->output) < 0)
		good = fail_file(options->output, errno, error);
	if (!good && !special)
		unlink(draft);
	if (good)
		tell(options, bytes, pause_us);
	return good;
}

static int save_run(const struct options *options, GError **error)
{
	struct live_options live = {.nonblocking = options->nonblocking, .precopy = options->precopy};
	if (!options->output || !strcmp(options->output, "-")) {
		usage_error(error, &command_save, NULL, "which file? -o FILE");
		return REFTOP_ERROR_USAGE;
	}
	g_autoptr(source_t) source = open_source(&command_save, options, 0, &live, error);
	return source && save(source, options, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_save = {
	.name = "save",
	.synopsis = "{-p PID | -c FILE [EXE]} -o FILE",
	.summary = "write an image of a process that every reading command takes with -c",
	.details =
		"The image has the memory, the registers, the maps and the layout of the interpreter: `reftop histo -c FILE`, and leaks, objects, "
		"explain and stacks, say of it what they would have said of the process, on any machine. It is written after the "
		"process goes on: the pause is that of a snapshot. It is compressed, and readable by its owner only: all that "
		"the process knew stands in it, passwords too.\n\n"
		"With -c a core file becomes an image.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_OUTPUT, OPTION_NONBLOCKING,
					    OPTION_PRECOPY, OPTION_QUIET, OPTION_END},
	.max_arguments = 1,
	.run = save_run,
};
