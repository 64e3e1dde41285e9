#include "tui/lister.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/source/machine.h"
#include "tui/quiet_thread.h"

struct lister {
	machine_t *machine;
	GThread *thread;
	int fd;
	GMutex lock;
	GCond changed; /* anything below */
	gboolean hold, stop;
	GPtrArray *look;
};

static gpointer lister_loop(gpointer data)
{
	struct lister *lister = data;
	gint64 due = 0;
	g_mutex_lock(&lister->lock);
	while (!lister->stop) {
		if (lister->hold || lister->look) {
			g_cond_wait(&lister->changed, &lister->lock);
			continue;
		}
		if (g_get_monotonic_time() < due) {
			g_cond_wait_until(&lister->changed, &lister->lock, due);
			continue;
		}
		g_mutex_unlock(&lister->lock);
		gint64 began = g_get_monotonic_time();
		GPtrArray *look = machine_look(lister->machine);
		due = MAX(began + LISTER_US, g_get_monotonic_time() + LISTER_US / 4);
		g_mutex_lock(&lister->lock);
		lister->look = look;
		/* can only fail when the counter is full: then it is readable anyway */
		(void)eventfd_write(lister->fd, 1);
	}
	g_mutex_unlock(&lister->lock);
	return NULL;
}

lister_t *lister_new(gboolean no_daemon)
{
	struct lister *lister = g_new0(struct lister, 1);
	lister->machine = machine_new(no_daemon);
	lister->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_mutex_init(&lister->lock);
	g_cond_init(&lister->changed);
	lister->thread = quiet_thread("lister", lister_loop, lister);
	return lister;
}

void lister_free(lister_t *lister)
{
	if (!lister)
		return;
	g_mutex_lock(&lister->lock);
	lister->stop = TRUE;
	g_cond_broadcast(&lister->changed);
	g_mutex_unlock(&lister->lock);
	g_thread_join(lister->thread);
	g_clear_pointer(&lister->look, g_ptr_array_unref);
	machine_free(lister->machine);
	close(lister->fd);
	g_mutex_clear(&lister->lock);
	g_cond_clear(&lister->changed);
	g_free(lister);
}

int lister_fd(const lister_t *lister)
{
	return lister->fd;
}

GPtrArray *lister_take(lister_t *lister)
{
	eventfd_t count;
	g_mutex_lock(&lister->lock);
	(void)eventfd_read(lister->fd, &count);
	GPtrArray *look = g_steal_pointer(&lister->look);
	g_cond_broadcast(&lister->changed);
	g_mutex_unlock(&lister->lock);
	return look;
}

void lister_hold(lister_t *lister, gboolean hold)
{
	g_mutex_lock(&lister->lock);
	lister->hold = hold;
	g_cond_broadcast(&lister->changed);
	g_mutex_unlock(&lister->lock);
}
