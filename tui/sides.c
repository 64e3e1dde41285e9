#include "tui/sides.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/source/live.h"
#include "daemon/store/reference.h"
#include "daemon/target/image.h"
#include "tui/opening.h"

#define PREFIX "pid:"

/* The digits of a reference to a process, or NULL: it is of a file. *when: what follows an @, or NULL. Free both. */
static char *process_of(const char *reference, char **when)
{
	const char *number = g_str_has_prefix(reference, PREFIX) ? reference + strlen(PREFIX) : NULL;
	if (number) {
		const char *at = strchr(number, '@');
		*when = at ? g_strdup(at + 1) : NULL;
		return at ? g_strndup(number, (gsize)(at - number)) : g_strdup(number);
	}
	char *path = reference_split(reference, when);
	if (*path && strspn(path, "0123456789") == strlen(path) && !g_file_test(path, G_FILE_TEST_EXISTS))
		return path;
	g_clear_pointer(when, g_free);
	g_free(path);
	return NULL;
}

/* A core file, or anything else that is ELF and says so itself, or an image. */
static gboolean has_memory(const char *path)
{
	char magic[4] = "";
	if (!g_file_test(path, G_FILE_TEST_IS_REGULAR))
		return FALSE;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	gboolean has = fd >= 0 && ((pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
				    !memcmp(magic, "\177ELF", sizeof(magic))) ||
				   image_is_one(fd));
	if (fd >= 0)
		close(fd);
	return has;
}

gboolean side_open(struct side *side, const struct command *command, const struct options *options,
		   const char *reference, GError **error)
{
	const struct live_options live = {.nonblocking = options->nonblocking,
					  .precopy = options->precopy,
					  .max_pause_us = options->max_pause_us,
					  .memory = options->memory};
	*side = (struct side){.name = text_escape(reference, G_MAXSIZE)};
	g_autofree char *number = process_of(reference, &side->when);
	gint64 pid;
	if (number) {
		if (!parse_pid(command, number, &pid, error))
			return FALSE;
		side->source = open_process(options, (pid_t)pid, 0, &live, error);
		return side->source != NULL;
	}
	if (has_memory(reference)) {
		const struct file_options file = {.path = reference};
		side->source = source_file_new(&file, &live, error);
		return side->source != NULL;
	}
	side->sample = sample_by_reference(reference, options->pid, error);
	return side->sample != NULL;
}

/* What the daemon remembers. */
static sample_t *remembered(const struct side *side, GError **error)
{
	source_t *source = side->source;
	if (!source->ops->moments || !source->ops->load) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, "no daemon watches this process",
			  "record it: `reftop record -p PID`, or start `reftop daemon`", "there is no history: %s",
			  side->name);
		return NULL;
	}
	g_autoptr(GArray) moments = source->ops->moments(source, error);
	if (!moments)
		return NULL;
	g_autofree int64_t *times = g_new(int64_t, moments->len + 1);
	for (guint i = 0; i < moments->len; i++)
		times[i] = g_array_index(moments, struct source_moment, i).time_us;
	gssize at = reference_choose(side->when, times, moments->len, error);
	return at < 0 ? NULL
		      : source->ops->load(source, g_array_index(moments, struct source_moment, (guint)at).id, error);
}

sample_t *side_take(struct side *side, GError **error)
{
	if (!side->sample)
		side->sample = side->when ? remembered(side, error) : source_next(side->source, error);
	if (!side->sample || !side->sample->snapshot.skipped)
		return side->sample;
	error_set(error, FACE_ERROR, REFTOP_ERROR_SKIPPED, side->sample->snapshot.skipped, "a longer --max-pause",
		  "there is no sample of %s", side->name);
	return NULL;
}

void side_clear(struct side *side)
{
	g_free(side->name);
	g_free(side->when);
	source_free(side->source);
	sample_unref(side->sample);
	memset(side, 0, sizeof(*side));
}
