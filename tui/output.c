#include "tui/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

struct output {
	int fd;
	char *name; /* escaped, for messages */
};

static gboolean set_error(const char *name, int code, const char *verb, GError **error)
{
	if (code == EPIPE) {
		g_set_error_literal(error, OUTPUT_ERROR, OUTPUT_CLOSED, "closed pipe");
		return FALSE;
	}
	const char *fix = "write to another place with -o FILE";
	if (code == ENOSPC || code == EDQUOT)
		fix = "free some space, or write to another place with -o FILE";
	error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, g_strerror(code), fix, "cannot %s %s", verb, name);
	return FALSE;
}

output_t *output_open(const char *path, GError **error)
{
	gboolean standard = !path || !strcmp(path, "-");
	g_autofree char *name = standard ? g_strdup("standard output") : text_escape(path, strlen(path));
	int fd = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
			  : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	if (fd < 0) {
		set_error(name, errno, standard ? "write to" : "create", error);
		return NULL;
	}
	output_t *output = g_new0(output_t, 1);
	output->fd = fd;
	output->name = g_steal_pointer(&name);
	return output;
}

gboolean output_write(output_t *output, const char *text, gsize size, GError **error)
{
	while (size) {
		gssize n = write(output->fd, text, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return set_error(output->name, errno, "write to", error);
		text += n;
		size -= (gsize)n;
	}
	return TRUE;
}

gboolean output_close(output_t *output, GError **error)
{
	if (!output)
		return TRUE;
	g_autofree char *name = g_steal_pointer(&output->name);
	int fd = output->fd;
	g_free(output);
	/* EINTR: the descriptor is gone all the same on Linux */
	if (close(fd) && errno != EINTR)
		return set_error(name, errno, "write to", error);
	return TRUE;
}

void output_free(output_t *output)
{
	output_close(output, NULL);
}

gboolean output_text(const char *path, const char *text, gsize size, GError **error)
{
	g_autoptr(output_t) output = output_open(path, error);
	if (!output || !output_write(output, text, size, error))
		return FALSE;
	return output_close(g_steal_pointer(&output), error);
}

gboolean output_color(gboolean no_color, int fd)
{
	const char *variable = g_getenv("NO_COLOR");
	return !no_color && !(variable && *variable) && isatty(fd);
}
