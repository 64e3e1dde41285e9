/*
 * Metrics for Prometheus, in OpenMetrics' text format, over HTTP by libmicrohttpd in the daemon's main loop.
 *
 * Whoever connects from this machine sees what their user may see (the owner of a loopback connection stands in /proc/net/tcp); with
 * token= in the key file whoever shows the token sees all. Cardinality is bounded: top= types a process.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <glib-unix.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/server/server_private.h"

#define CONNECTIONS 32
#define TIMEOUT_S   10
#define LOOK_MS     1000
#define MEMORY      16384 /* bytes for a request */
#define NOBODY      ((uid_t)-1)

struct metrics {
	struct MHD_Daemon *http;
	int listener;
	guint source, timer, accepting;
};

/* ---- the text ---- */

struct page {
	GString *out;
	bool open; /* OpenMetrics */
};

static void label_text(GString *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			g_string_append_c(out, '\\');
		if (*text == '\n')
			g_string_append(out, "\\n");
		else
			g_string_append_c(out, *text);
	}
}

/* name{pid="1",command="…"; more labels are the caller's, who closes the brace */
static void begin(GString *out, const char *name, const struct subject *subject)
{
	g_string_append_printf(out, "%s{pid=\"%d\",command=\"", name, (int)subject->pid);
	g_autofree char *command = subject->python->cmdline ? g_strjoinv(" ", subject->python->cmdline) : g_strdup("");
	if (g_utf8_strlen(command, -1) > 100)
		*g_utf8_offset_to_pointer(command, 100) = '\0';
	label_text(out, command);
	g_string_append(out, "\",user=\"");
	label_text(out, subject->python->user);
	g_string_append_c(out, '"');
}

static void number(GString *out, double value)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];
	g_string_append_printf(out, "} %s\n", g_ascii_dtostr(text, sizeof(text), value));
}

static int64_t get_objects(const struct subject *subject)
{
	return subject->last ? subject->last->totals.objects : SAMPLE_UNKNOWN;
}
static int64_t get_bytes(const struct subject *subject)
{
	return subject->last ? subject->last->totals.bytes : SAMPLE_UNKNOWN;
}
static int64_t get_refs(const struct subject *subject)
{
	return subject->last ? subject->last->totals.refs : SAMPLE_UNKNOWN;
}
static int64_t get_rss(const struct subject *subject)
{
	return subject->last ? subject->last->target.rss : SAMPLE_UNKNOWN;
}
static int64_t get_threads(const struct subject *subject)
{
	struct process process;
	return process_read_stat(subject->pid, &process) ? (int64_t)process.n_threads : SAMPLE_UNKNOWN;
}
static int64_t get_up(const struct subject *subject)
{
	return subject->last && !subject->why_name;
}
static int64_t get_samples(const struct subject *subject)
{
	return (int64_t)subject->samples;
}
static int64_t get_errors(const struct subject *subject)
{
	return (int64_t)subject->errors;
}
static int64_t get_crashes(const struct subject *subject)
{
	return (int64_t)subject->crashes;
}
static int64_t get_pause(const struct subject *subject)
{
	return subject->pause_sum_us;
}
static int64_t get_pause_max(const struct subject *subject)
{
	return subject->pause_max_us;
}

/* not measured: no series */
static int64_t get_unexplained(const struct subject *subject)
{
	return subject->assessment.time_us ? subject->assessment.unexplained : SAMPLE_UNKNOWN;
}
static int64_t get_deficit(const struct subject *subject)
{
	return subject->assessment.time_us ? subject->assessment.deficit : SAMPLE_UNKNOWN;
}
static int64_t get_assessed(const struct subject *subject)
{
	return subject->assessment.time_us ? subject->assessment.time_us : SAMPLE_UNKNOWN;
}

static const struct family {
	const char *name, *type, *unit, *help;
	int64_t (*get)(const struct subject *subject);
	double scale;
} families[] = {
	{"reftop_up", "gauge", NULL, "Whether the process can be read", get_up, 1},
	{"reftop_objects", "gauge", NULL, "Live objects", get_objects, 1},
	{"reftop_object_bytes", "gauge", "bytes", "Bytes of live objects, as sys.getsizeof() says", get_bytes, 1},
	{"reftop_references", "gauge", NULL, "Sum of the reference counts", get_refs, 1},
	{"reftop_unexplained_references", "gauge", NULL, "References that nothing in the process explains",
	 get_unexplained, 1},
	{"reftop_deficit_references", "gauge", NULL, "References that are held and were not counted", get_deficit, 1},
	{"reftop_assessed_timestamp_seconds", "gauge", "seconds", "When these two were last looked for", get_assessed,
	 1e-6},
	{"reftop_resident_bytes", "gauge", "bytes", "Resident memory", get_rss, 1},
	{"reftop_threads", "gauge", NULL, "Threads", get_threads, 1},
	{"reftop_samples", "counter", NULL, "Samples taken", get_samples, 1},
	{"reftop_sample_errors", "counter", NULL, "Samples that failed", get_errors, 1},
	{"reftop_worker_crashes", "counter", NULL, "Workers that ended while they read it", get_crashes, 1},
	{"reftop_pause_seconds", "counter", "seconds", "Time the process was stopped for samples", get_pause, 1e-6},
	{"reftop_pause_max_seconds", "gauge", "seconds", "The longest time it was stopped", get_pause_max, 1e-6},
};

/*
 * OpenMetrics names the family of a counter without its _total; the older text format, which is sent to whoever doesn't ask for
 * OpenMetrics, with it, and has no units.
 */
static void head(struct page *page, const char *name, const char *type, const char *unit, const char *help)
{
	const char *total = !page->open && !strcmp(type, "counter") ? "_total" : "";
	g_string_append_printf(page->out, "# TYPE %s%s %s\n", name, total, type);
	if (unit && page->open)
		g_string_append_printf(page->out, "# UNIT %s %s\n", name, unit);
	g_string_append_printf(page->out, "# HELP %s%s %s.\n", name, total, help);
}

static void put_families(struct page *page, const GPtrArray *subjects)
{
	GString *out = page->out;
	for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
		const struct family *family = &families[i];
		bool counter = !strcmp(family->type, "counter");
		g_autofree char *name = g_strconcat(family->name, counter ? "_total" : NULL, NULL);
		head(page, family->name, family->type, family->unit, family->help);
		for (guint j = 0; j < subjects->len; j++) {
			int64_t value = family->get(subjects->pdata[j]);
			if (value == SAMPLE_UNKNOWN)
				continue;
			begin(out, name, subjects->pdata[j]);
			number(out, (double)value * family->scale);
		}
	}
}

static void put_gc(struct page *page, const GPtrArray *subjects, bool collections)
{
	GString *out = page->out;
	if (collections)
		head(page, "reftop_gc_collections", "counter", NULL, "Collections by the garbage collector");
	else
		head(page, "reftop_gc_objects", "gauge", NULL, "Objects in the lists of the garbage collector");
	for (guint i = 0; i < subjects->len; i++) {
		const struct subject *subject = subjects->pdata[i];
		for (size_t j = 0; subject->last && j < subject->last->n_gc; j++) {
			const struct sample_gc *gc = &subject->last->gc[j];
			for (size_t g = 0; g < gc->n_generations; g++) {
				int64_t value =
					collections ? gc->generations[g].collections : gc->generations[g].objects;
				if (value == SAMPLE_UNKNOWN)
					continue;
				begin(out, collections ? "reftop_gc_collections_total" : "reftop_gc_objects", subject);
				g_string_append_printf(out, ",interpreter=\"%" G_GINT64_FORMAT "\",generation=\"%zu\"",
						       gc->interpreter, g);
				number(out, (double)value);
			}
		}
	}
}

/* ---- the largest types, and those that grow ---- */

static int by_bytes(gconstpointer a, gconstpointer b)
{
	const struct trend_row *x = *(struct trend_row *const *)a, *y = *(struct trend_row *const *)b;
	return (x->last[TREND_BYTES] < y->last[TREND_BYTES]) - (x->last[TREND_BYTES] > y->last[TREND_BYTES]);
}

/* Those that grow count before the large ones; a name that several types have is added up. */
static GPtrArray *choose_types(struct subject *subject, size_t most)
{
	const GPtrArray *all = trend_rows(subject_trend(subject));
	g_autoptr(GPtrArray) rows = g_ptr_array_new();
	for (int growing = 1; growing >= 0; growing--) {
		guint from = rows->len;
		for (guint i = 0; i < all->len; i++)
			if ((((struct trend_row *)all->pdata[i])->leaks != TREND_METRICS) == growing)
				g_ptr_array_add(rows, all->pdata[i]);
		if (rows->len > from)
			qsort(rows->pdata + from, rows->len - from, sizeof(gpointer), by_bytes);
	}
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	GPtrArray *chosen = g_ptr_array_new();
	for (guint i = 0; i < rows->len && chosen->len < most; i++) {
		struct trend_row *row = rows->pdata[i];
		if (g_hash_table_add(names, row->name))
			g_ptr_array_add(chosen, row);
	}
	return chosen;
}

static int64_t sum_of_name(const struct subject *subject, const char *name, enum trend_metric metric)
{
	int64_t sum = 0;
	const GPtrArray *all = trend_rows(subject->trend);
	for (guint i = 0; i < all->len; i++) {
		const struct trend_row *row = all->pdata[i];
		if (!strcmp(row->name, name) && row->last[metric] != SAMPLE_UNKNOWN)
			sum += row->last[metric];
	}
	return sum;
}

static void put_types(struct page *page, const GPtrArray *subjects, size_t most)
{
	GString *out = page->out;
	static const struct {
		const char *name, *unit, *help;
		enum trend_metric metric;
	} kinds[] = {
		{"reftop_type_objects", NULL, "Live objects of a type: of those that grow, and of the largest",
		 TREND_COUNT},
		{"reftop_type_bytes", "bytes", "Bytes of the objects of a type", TREND_BYTES},
	};
	g_autoptr(GPtrArray) chosen = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
	for (guint i = 0; i < subjects->len; i++)
		g_ptr_array_add(chosen, choose_types(subjects->pdata[i], most));
	for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
		head(page, kinds[k].name, "gauge", kinds[k].unit, kinds[k].help);
		for (guint i = 0; i < subjects->len; i++) {
			const GPtrArray *rows = chosen->pdata[i];
			for (guint j = 0; j < rows->len; j++) {
				const struct trend_row *row = rows->pdata[j];
				begin(out, kinds[k].name, subjects->pdata[i]);
				g_string_append(out, ",type=\"");
				label_text(out, row->name);
				g_string_append_c(out, '"');
				number(out, (double)sum_of_name(subjects->pdata[i], row->name, kinds[k].metric));
			}
		}
	}
	head(page, "reftop_type_growth_per_second", "gauge", NULL, "Objects a second by which a type grows steadily");
	for (guint i = 0; i < subjects->len; i++) {
		const GPtrArray *rows = chosen->pdata[i];
		for (guint j = 0; j < rows->len; j++) {
			const struct trend_row *row = rows->pdata[j];
			if (row->growth[TREND_COUNT].verdict != GROWTH_STEADY)
				continue;
			begin(out, "reftop_type_growth_per_second", subjects->pdata[i]);
			g_string_append(out, ",type=\"");
			label_text(out, row->name);
			g_string_append_c(out, '"');
			number(out, row->growth[TREND_COUNT].rate);
		}
	}
}

static int by_unexplained(gconstpointer a, gconstpointer b, gpointer lost)
{
	const struct assessed_type *x = g_hash_table_lookup(lost, *(const char *const *)a);
	const struct assessed_type *y = g_hash_table_lookup(lost, *(const char *const *)b);
	if (x->unexplained != y->unexplained)
		return x->unexplained < y->unexplained ? 1 : -1;
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_unexplained(struct page *page, const GPtrArray *subjects, size_t most)
{
	static const char name[] = "reftop_type_unexplained_references";
	head(page, name, "gauge", NULL, "Unexplained references to the objects of a type: of those with the most");
	for (guint i = 0; i < subjects->len; i++) {
		const struct subject *subject = subjects->pdata[i];
		GHashTable *lost = subject->assessment.lost;
		guint n = 0;
		g_autofree char **types = lost ? (char **)g_hash_table_get_keys_as_array(lost, &n) : NULL;
		if (n)
			g_qsort_with_data(types, (gint)n, sizeof(*types), by_unexplained, lost);
		for (guint k = 0; k < n && k < most; k++) {
			const struct assessed_type *type = g_hash_table_lookup(lost, types[k]);
			if (!type->unexplained)
				break;
			begin(page->out, name, subject);
			g_string_append(page->out, ",type=\"");
			label_text(page->out, types[k]);
			g_string_append_c(page->out, '"');
			number(page->out, (double)type->unexplained);
		}
	}
}

GString *metrics_text(struct server *server, uid_t peer, bool open)
{
	GString *out = g_string_new(NULL);
	struct page page = {out, open};
	g_autoptr(GPtrArray) subjects = peer == NOBODY ? g_ptr_array_new() : subjects_visible(server, peer);
	put_families(&page, subjects);
	put_gc(&page, subjects, false);
	put_gc(&page, subjects, true);
	put_types(&page, subjects, (size_t)server->config->top);
	put_unexplained(&page, subjects, (size_t)server->config->top);
	head(&page, "reftop_store_errors", "counter", NULL, "Samples that could not be stored");
	g_string_append_printf(out, "reftop_store_errors_total %" G_GUINT64_FORMAT "\n", (guint64)server->store_errors);
	if (open)
		g_string_append(out, "# EOF\n");
	return out;
}

/* ---- HTTP ---- */

/* Whose the other end of a loopback connection is, from the lines of /proc/net/tcp; NOBODY: not known. */
static uid_t owner_of(const struct sockaddr *peer)
{
	const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)peer;
	if (!peer || peer->sa_family != AF_INET || (ntohl(address->sin_addr.s_addr) >> 24) != 127)
		return NOBODY;
	g_autofree char *text = process_file("/proc/net/tcp", 64u << 20, NULL);
	g_autofree char *wanted = g_strdup_printf("%08X:%04X", address->sin_addr.s_addr, ntohs(address->sin_port));
	for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		char local[64], remote[64];
		unsigned uid, state;
		if (sscanf(line, " %*u: %63s %63s %x %*s %*s %*s %u", local, remote, &state, &uid) == 4 &&
		    !strcmp(local, wanted))
			return uid;
	}
	return NOBODY;
}

static bool shows_token(const struct server *server, struct MHD_Connection *connection)
{
	const char *shown = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
	if (!server->config->token || !shown || !g_str_has_prefix(shown, "Bearer "))
		return false;
	const char *a = shown + strlen("Bearer "), *b = server->config->token;
	size_t n = strlen(b);
	unsigned char differ = strlen(a) != n;
	for (size_t i = 0; i < n && a[i]; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return !differ;
}

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type, const char *text,
			       size_t size)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, (void *)text, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Connection", "close");
	enum MHD_Result done = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return done;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *text)
{
	return respond(connection, status, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *body, size_t *body_size, void **state)
{
	struct server *server = context;
	static int begun;
	if (!*state) {
		*state = &begun; /* the first call of a request comes before its body */
		return MHD_YES;
	}
	if (*body_size) {
		*body_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
	if (strcmp(url, "/metrics"))
		return refuse(connection, MHD_HTTP_NOT_FOUND, "there is /metrics\n");
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	uid_t peer = shows_token(server, connection) ? 0 : owner_of(info ? info->client_addr : NULL);
	if (peer == NOBODY)
		return refuse(connection, MHD_HTTP_FORBIDDEN,
			      "from other machines only with the token (token= in the key file)\n");
	const char *accepts = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
	bool open = accepts && strstr(accepts, "application/openmetrics-text");
	g_autoptr(GString) text = metrics_text(server, peer, open);
	return respond(connection, MHD_HTTP_OK,
		       open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			    : "text/plain; version=0.0.4; charset=utf-8",
		       text->str, text->len);
}

static gboolean on_time(gpointer data);

/* Let it work, and look when it wants to again. */
static void serve(struct metrics *metrics)
{
	MHD_UNSIGNED_LONG_LONG wait = 0;
	MHD_run(metrics->http);
	if (metrics->timer)
		g_source_remove(metrics->timer);
	metrics->timer = 0;
	if (MHD_get_timeout(metrics->http, &wait) == MHD_YES)
		metrics->timer = g_timeout_add((guint)MIN(wait, LOOK_MS) + 1, on_time, metrics);
}

static gboolean on_time(gpointer data)
{
	struct metrics *metrics = data;
	metrics->timer = 0;
	serve(metrics);
	return G_SOURCE_REMOVE;
}

static gboolean on_event(gint fd, GIOCondition condition, gpointer data)
{
	serve(data);
	return G_SOURCE_CONTINUE;
}

/*
 * Connections are taken here and handed over: libmicrohttpd 0.9.75 stops taking any once it was at its limit, when somebody else runs the
 * main loop. So whoever is one too many is told so.
 */
static gboolean on_connection(gint listener, GIOCondition condition, gpointer data)
{
	static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 21\r\n\r\n"
				   "too many connections\n";
	struct metrics *metrics = data;
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return G_SOURCE_CONTINUE;
	serve(metrics); /* some may have gone */
	if (MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections >= CONNECTIONS) {
		(void)!send(fd, busy, strlen(busy), MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	} else if (MHD_add_connection(metrics->http, fd, (struct sockaddr *)&peer, size) == MHD_YES) {
		serve(metrics);
	}
	return G_SOURCE_CONTINUE;
}

static gboolean parse_address(const char *text, struct sockaddr_in *address, GError **error)
{
	g_autofree char *copy = g_strdup(text), *name = text_escape(text, strlen(text));
	char *colon = strrchr(copy, ':');
	guint64 port = 0;
	if (colon) {
		*colon = '\0';
		*address = (struct sockaddr_in){.sin_family = AF_INET};
		if (inet_pton(AF_INET, copy, &address->sin_addr) == 1 &&
		    g_ascii_string_to_unsigned(colon + 1, 10, 0, 65535, &port, NULL)) {
			address->sin_port = htons((uint16_t)port);
			return TRUE;
		}
	}
	error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, "an IPv4 address and a port are needed, as 127.0.0.1:9464",
		  NULL, "bad value of --listen: '%s'", name);
	return FALSE;
}

gboolean metrics_open(struct server *server, GError **error)
{
	struct sockaddr_in address;
	char text[INET_ADDRSTRLEN];
	if (!server->config->listen)
		return TRUE;
	if (!parse_address(server->config->listen, &address, error))
		return FALSE;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(address);
	struct MHD_Daemon *http = NULL;
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	    !bind(fd, (struct sockaddr *)&address, size) && !listen(fd, 128) &&
	    !getsockname(fd, (struct sockaddr *)&address, &size))
		http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, server,
					MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS * 2,
					MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
					MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_END);
	if (!http) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL, "cannot listen on %s",
			  server->config->listen);
		if (fd >= 0)
			close(fd);
		return FALSE;
	}
	struct metrics *metrics = server->metrics = g_new0(struct metrics, 1);
	metrics->http = http;
	metrics->listener = fd;
	metrics->accepting = g_unix_fd_add(fd, G_IO_IN, on_connection, metrics);
	metrics->source = g_unix_fd_add(MHD_get_daemon_info(http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, G_IO_IN,
					on_event, metrics);
	server_log(server, G_LOG_LEVEL_MESSAGE, "metrics: http://%s:%u/metrics",
		   inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text)), (unsigned)ntohs(address.sin_port));
	return TRUE;
}

void metrics_close(struct server *server)
{
	struct metrics *metrics = g_steal_pointer(&server->metrics);
	if (!metrics)
		return;
	g_source_remove(metrics->source);
	g_source_remove(metrics->accepting);
	close(metrics->listener);
	if (metrics->timer)
		g_source_remove(metrics->timer);
	MHD_stop_daemon(metrics->http);
	g_free(metrics);
}
