/*
 * libFuzzer over what the daemon takes from others: a request on its socket (first byte 'p'), the first line of a worker's answer ('w'), a
 * sample as a worker or a daemon sends it ('s'), what either answers to questions ('a'), and a file of samples ('l'). `make fuzz` builds and
 * runs it.
 */
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include "daemon/server/client.h"
#include "daemon/store/archive.h"
#include "daemon/store/json.h"
#include "daemon/store/json_references.h"
#include "daemon/store/json_stacks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct subject *make_subject(struct server *server)
{
	struct subject *subject = g_new0(struct subject, 1);
	subject->server = server;
	subject->pid = 42;
	subject->uid = 1000;
	subject->visible = true;
	subject->key = g_strdup("42-1");
	subject->python = g_new0(struct python_process, 1);
	subject->python->user = g_strdup("somebody");
	subject->python->exe = g_strdup("/usr/bin/python3");
	subject->trend = trend_new();
	for (int i = 0; i < 20; i++) {
		sample_t *sample = sample_new();
		sample->time_us = (int64_t)(1700000000 + i) * G_USEC_PER_SEC;
		sample->target.pid = 42;
		sample->types = g_new0(struct sample_type, 1);
		sample->types[0] =
			(struct sample_type){.address = 0x1000, .module = "app", .qualname = "Thing", .count = i * 100};
		sample->n_types = 1;
		sample_seal(sample);
		trend_add(subject->trend, sample);
		sample_unref(subject->last);
		subject->last = sample;
	}
	return subject;
}

static struct client *make_client(void)
{
	static struct client client;
	struct server *server = g_new0(struct server, 1);
	server->config = config_new();
	server->subjects = g_hash_table_new(g_str_hash, g_str_equal);
	server->by_pid = g_hash_table_new(NULL, NULL);
	server->clients = g_ptr_array_new();
	struct subject *subject = make_subject(server);
	g_hash_table_insert(server->subjects, subject->key, subject);
	g_hash_table_insert(server->by_pid, GINT_TO_POINTER(42), subject);
	client = (struct client){.server = server, .fd = -1, .uid = 1000};
	client.in = g_string_new(NULL);
	client.out = g_string_new(NULL);
	client.subscriptions = g_array_new(FALSE, TRUE, sizeof(struct subscription));
	g_ptr_array_add(server->clients, &client);
	return &client;
}

static void fuzz_request(const char *line, size_t size)
{
	static struct client *client;
	if (!client)
		client = make_client();
	GString *answer = protocol_answer(client, line, size);
	/* a question: its answer would come later */
	if (!answer) {
		questions_drop_client(client);
		return;
	}
	/* one line, and JSON */
	if (answer->len < 3 || answer->str[answer->len - 1] != '\n' || strlen(answer->str) != answer->len ||
	    strchr(answer->str, '\n') != answer->str + answer->len - 1)
		abort();
	JsonParser *parser = json_parser_new();
	if (!json_parser_load_from_data(parser, answer->str, (gssize)answer->len, NULL))
		abort();
	g_object_unref(parser);
	g_string_free(answer, TRUE);
}

/* What can be read back can be written and told. */
static void fuzz_answer(const char *text, size_t size)
{
	const struct stacks_options options = {.locals = true, .native = true, .tasks = true};
	g_autofree char *problem = NULL;
	g_autoptr(leaks_t) leaks = json_leaks_parse(text, size, NULL);
	g_autoptr(explanation_t) explanation = json_explanation_parse(text, size, &problem, NULL);
	g_autoptr(instances_t) instances = json_instances_parse(text, size, NULL);
	g_autoptr(stacks_t) stacks = json_stacks_parse(text, size, NULL);
	if (leaks)
		g_string_free(json_leaks(leaks, G_MAXSIZE), TRUE);
	if (explanation)
		g_string_free(json_explanation(explanation), TRUE);
	if (instances)
		g_string_free(json_instances(instances), TRUE);
	if (stacks)
		g_string_free(json_stacks(stacks, &options), TRUE);
}

/* Every sample that is listed has a time, and is read or refused. */
static void fuzz_file(const uint8_t *bytes, size_t size)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	g_autoptr(archive_t) archive = archive_open(path, NULL);
	close(fd);
	if (!archive)
		return;
	g_autoptr(GArray) processes = archive_processes(archive, NULL);
	for (guint i = 0; i < processes->len; i++) {
		const struct archive_process *process = &g_array_index(processes, struct archive_process, i);
		archive_select(archive, process->pid, process->start_time_us);
		size_t n = 0;
		g_autofree int64_t *ids = archive_samples(archive, &n, NULL);
		if (process->pid > 0 && !n)
			abort();
		for (size_t k = 0; k < n; k++) {
			archive_time(archive, ids[k]);
			sample_unref(archive_load(archive, ids[k], NULL));
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
	struct worker_answer head;
	if (*data == 'p' && !memchr(text, '\n', size - 1)) {
		fuzz_request(text, size - 1);
	} else if (*data == 'l') {
		fuzz_file(data + 1, size - 1);
	} else if (*data == 'w' && worker_parse(text, &head)) {
		if (head.size > WORKER_MOST)
			abort();
	} else if (*data == 'a') {
		fuzz_answer(text, size - 1);
	} else if (*data == 's') {
		sample_t *sample = json_sample_parse(text, size - 1, NULL);
		if (sample) {
			g_string_free(json_sample(sample, NULL, 0), TRUE);
			sample_t *again = sample_repeat(sample, 1);
			trend_t *trend = trend_new_bounded(16, 1000);
			trend_add(trend, sample);
			trend_add(trend, again);
			trend_free(trend);
			sample_unref(again);
		}
		sample_unref(sample);
	}
	return 0;
}
