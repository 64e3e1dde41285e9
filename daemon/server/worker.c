#include "daemon/server/worker.h"

#include <errno.h>
#include <malloc.h>
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

#define LARGE (64 * 1024) /* bytes */

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

static gboolean answer_error(int code, gint64 began, gint64 pause, const char *text)
{
	char head[96];
	g_snprintf(head, sizeof(head), "error %d %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %zu\n", code,
		   cpu_us() - began, pause, strlen(text));
	return answer(head, text, strlen(text));
}

static GString *take_sample(const struct worker_order *order, source_t *source, const char *line, GError **error)
{
	source_live_locate(source, (gsize)g_ascii_strtoull(line + strlen("sample "), NULL, 10));
	g_autoptr(sample_t) sample = source_next(source, error);
	return sample ? json_sample(sample, NULL, 0) : NULL;
}

/* One question. False: the channel is gone. */
static gboolean take(const struct worker_order *order, source_t **source, const char *line)
{
	const struct live_options options = {
		.lean = TRUE, .turnover = TRUE, .nonblocking = order->nonblocking, .memory = order->memory};
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) text = NULL;
	gboolean sample = g_str_has_prefix(line, "sample ");
	gint64 began = cpu_us();
	if (!*source)
		*source = source_live_new(order->pid, &options, &error);
	gint64 ran_ns = worker_ran_ns(order->pid), paused = *source ? source_paused(*source) : 0;
	if (*source)
		text = sample ? take_sample(order, *source, line, &error) : worker_look(*source, order, line, &error);
	gint64 pause = *source ? source_paused(*source) - paused : 0;
	if (*source && !sample)
		source_live_relax(*source);
	if (!text) {
		/* a question that makes no sense is nothing that opening it anew would mend */
		if (!error || error->code != REFTOP_ERROR_USAGE)
			g_clear_pointer(source, source_free);
		return answer_error(error ? error->code : REFTOP_ERROR_FAILED, began, pause,
				    error ? error->message : "");
	}
	char head[96];
	g_snprintf(head, sizeof(head), "%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %zu\n",
		   sample ? "sample" : "answer", cpu_us() - began, sample ? ran_ns : pause, text->len);
	return answer(head, text->str, text->len);
}

/* The next line without its newline; NULL: the channel is gone. Free with g_free(). */
static char *next_line(GString *in)
{
	char bytes[4096];
	for (;;) {
		char *end = memchr(in->str, '\n', in->len);
		if (end) {
			char *line = g_strndup(in->str, (gsize)(end - in->str));
			g_string_erase(in, 0, end - in->str + 1);
			return line;
		}
		ssize_t n = recv(SANDBOX_CHANNEL, bytes, sizeof(bytes), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		g_string_append_len(in, bytes, n);
	}
}

int worker_main(const struct worker_order *order, int channel)
{
	const char *what = "descriptors";
	if (!sandbox_descriptors(channel))
		return 1;
	if (!sandbox_enter(order->pid, order->uid, order->gid, &what)) {
		g_autofree char *text = g_strdup_printf("the worker cannot give up its %s", what);
		answer_error(REFTOP_ERROR_FAILED, cpu_us(), 0, text);
		return 1;
	}
	/* large pieces of memory go back to the kernel when they are freed, also those of the threads that count */
	mallopt(M_MMAP_THRESHOLD, LARGE);
	mallopt(M_TRIM_THRESHOLD, LARGE);
	source_t *source = NULL;
	GString *in = g_string_new(NULL);
	for (;;) {
		g_autofree char *line = next_line(in);
		if (!line || !take(order, &source, line))
			break;
		/* there are hundreds of us, most of the time waiting: what the answer was made from is given back */
		malloc_trim(0);
	}
	g_string_free(in, TRUE);
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
		answer->kind = WORKER_SAMPLE;
	else if (sscanf(line, "answer %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT "%n",
			&answer->cpu_us, &answer->pause_us, &size, &end) == 3)
		answer->kind = WORKER_ANSWER;
	else if (sscanf(line, "error %d %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT "%n",
			&answer->code, &answer->cpu_us, &answer->pause_us, &size, &end) == 4)
		answer->kind = WORKER_ERROR;
	else
		return FALSE;
	if (!end || line[end] || size > WORKER_MOST || answer->cpu_us < 0 || answer->cpu_us > G_MAXINT32 ||
	    answer->pause_us < 0 || answer->pause_us > G_MAXINT32 ||
	    (answer->kind == WORKER_ERROR && (answer->code < REFTOP_ERROR_FAILED || answer->code > REFTOP_ERROR_GATE)))
		return FALSE;
	answer->size = (gsize)size;
	return TRUE;
}
