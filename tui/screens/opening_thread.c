#include "tui/screens/opening_thread.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "tui/quiet_thread.h"

/* shared by the thread and who waits for it; the last one frees it */
struct opening {
	source_t *(*open)(void *context, const struct choice *choice, GError **error);
	void *context;
	struct choice *choice;
	source_t *source;
	GError *error;
	int fd;
};

static void opening_clear(gpointer data)
{
	struct opening *opening = data;
	choice_free(opening->choice);
	source_free(opening->source);
	g_clear_error(&opening->error);
	close(opening->fd);
}

static gpointer run(gpointer data)
{
	struct opening *opening = data;
	opening->source = opening->open(opening->context, opening->choice, &opening->error);
	(void)eventfd_write(opening->fd, 1);
	g_atomic_rc_box_release_full(opening, opening_clear);
	return NULL;
}

struct opening *opening_new(const struct top_options *options, struct choice *choice)
{
	struct opening *opening = g_atomic_rc_box_new0(struct opening);
	opening->open = options->open;
	opening->context = options->open_context;
	opening->choice = choice;
	opening->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_thread_unref(quiet_thread("opening", run, g_atomic_rc_box_acquire(opening)));
	return opening;
}

void opening_abandon(struct opening *opening)
{
	if (opening)
		g_atomic_rc_box_release_full(opening, opening_clear);
}

int opening_fd(const struct opening *opening)
{
	return opening->fd;
}

gboolean opening_take(struct opening *opening, source_t **source, GError **error)
{
	eventfd_t count;
	if (eventfd_read(opening->fd, &count))
		return FALSE;
	*source = g_steal_pointer(&opening->source);
	*error = g_steal_pointer(&opening->error);
	opening_abandon(opening);
	return TRUE;
}
