#include "daemon/server/worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/server/sandbox.h"
#include "daemon/source/live.h"
#include "daemon/store/json.h"

static gint64 cpu_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * G_USEC_PER_SEC + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

gint64 worker_ran_ns(pid_t pid)
{
	clockid_t clock;
	struct timespec time;
	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		return -1;
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static gboolean send_all(const char *bytes, gsize size)
{
	while (size) {
		ssize_t n = send(SANDBOX_CHANNEL, bytes, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return FALSE;
		bytes += n;
		size -= (gsize)n;
	}
	return TRUE;
}

static gboolean answer(const char *head, const char *text, gsize size)
{
	return send_all(head, strlen(head)) && send_all(text, size);
}

static gboolean answer_error(int code, gint64 began, const char *text)
{
	char head[96];
	g_snprintf(head, sizeof(head), "error %d %" G_GINT64_FORMAT " %zu\n", code, cpu_us() - began, strlen(text));
	return answer(head, text, strlen(text));
}

/* One question. False: the channel is gone. */
static gboolean take(const struct worker_order *order, source_t **source)
{
	const struct live_options options = {
		.lean = TRUE, .turnover = order->turnover, .nonblocking = order->nonblocking, .memory = order->memory};
	g_autoptr(GError) error = NULL;
	gint64 began = cpu_us();
	if (!*source)
		*source = source_live_new(order->pid, &options, &error);
	gint64 ran_ns = worker_ran_ns(order->pid);
	g_autoptr(sample_t) sample = *source ? source_next(*source, &error) : NULL;
	if (!sample) {
		g_clear_pointer(source, source_free);
		return answer_error(error ? error->code : REFTOP_ERROR_FAILED, began, error ? error->message : "");
	}
	g_autoptr(GString) text = json_sample(sample, NULL, 0);
	char head[96];
	g_snprintf(head, sizeof(head), "sample %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %zu\n", cpu_us() - began,
		   ran_ns, text->len);
	return answer(head, text->str, text->len);
}

int worker_main(const struct worker_order *order, int channel)
{
	const char *what = "descriptors";
	if (!sandbox_descriptors(channel))
		return 1;
	if (!sandbox_enter(order->pid, order->uid, order->gid, &what)) {
		g_autofree char *text = g_strdup_printf("the worker cannot give up its %s", what);
		answer_error(REFTOP_ERROR_FAILED, cpu_us(), text);
		return 1;
	}
	source_t *source = NULL;
	char line[16];
	for (;;) {
		ssize_t n = recv(SANDBOX_CHANNEL, line, sizeof(line), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || !take(order, &source))
			break;
	}
	source_free(source);
	return 0;
}

gboolean worker_parse(const char *line, struct worker_answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	int end = 0;
	guint64 size;
	if (sscanf(line, "sample %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT "%n", &answer->cpu_us,
		   &answer->ran_ns, &size, &end) == 3)
		answer->sample = TRUE;
	else if (sscanf(line, "error %d %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT "%n", &answer->code, &answer->cpu_us,
			&size, &end) != 3)
		return FALSE;
	if (!end || line[end] || size > WORKER_MOST || answer->cpu_us < 0 || answer->cpu_us > G_MAXINT32 ||
	    (!answer->sample && (answer->code < REFTOP_ERROR_FAILED || answer->code > REFTOP_ERROR_GATE)))
		return FALSE;
	answer->size = (gsize)size;
	return TRUE;
}
