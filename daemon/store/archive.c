#include "daemon/store/archive.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/history.h"
#include "daemon/store/lines.h"

#define SAME_START (2 * G_USEC_PER_SEC) /* start times are computed from the boot time, which is known to the second */

struct archive {
	char *name;             /* escaped */
	recording_t *recording; /* or */
	lines_t *lines;
	int64_t pid, start_time_us; /* of lines: selected; pid 0: all */
};

static bool is_sqlite(const char *path)
{
	char magic[16] = "";
	g_autofree char *text = NULL;
	/* a pipe must not lose what it says */
	if (!g_file_test(path, G_FILE_TEST_IS_REGULAR))
		return false;
	FILE *file = fopen(path, "re");
	bool is = file && fread(magic, 1, sizeof(magic), file) == sizeof(magic) &&
		  !memcmp(magic, "SQLite format 3", sizeof(magic));
	if (file)
		fclose(file);
	return is;
}

archive_t *archive_open(const char *path, GError **error)
{
	g_autoptr(archive_t) archive = g_new0(archive_t, 1);
	archive->name = text_escape(path, G_MAXSIZE);
	if (is_sqlite(path))
		archive->recording = recording_open(path, error);
	else
		archive->lines = lines_open(path, error);
	return archive->recording || archive->lines ? g_steal_pointer(&archive) : NULL;
}

void archive_free(archive_t *archive)
{
	if (!archive)
		return;
	recording_free(archive->recording);
	lines_free(archive->lines);
	g_free(archive->name);
	g_free(archive);
}

/* ---- processes ---- */

static void process_clear(gpointer data)
{
	g_free(((struct archive_process *)data)->cmdline);
}

static gint compare_first(gconstpointer a, gconstpointer b)
{
	const struct archive_process *x = a, *y = b;
	int first = (x->first_us > y->first_us) - (x->first_us < y->first_us);
	return first ? first : (x->pid > y->pid) - (x->pid < y->pid);
}

/* The file may say anything of either. */
static bool near(int64_t a_us, int64_t b_us)
{
	return (a_us > b_us ? (uint64_t)a_us - (uint64_t)b_us : (uint64_t)b_us - (uint64_t)a_us) <= SAME_START;
}

static bool is_same(const struct archive_process *process, int64_t pid, int64_t start_time_us)
{
	return process->pid == pid && near(process->start_time_us, start_time_us);
}

/* Add what is known of a process, or of one program it ran: exec doesn't make it another. Takes `cmdline`. */
static void add_process(GArray *processes, const struct archive_process *seen)
{
	for (guint i = processes->len; i-- > 0;) {
		struct archive_process *process = &g_array_index(processes, struct archive_process, i);
		if (!is_same(process, seen->pid, seen->start_time_us))
			continue;
		bool later = seen->last_us >= process->last_us;
		process->first_us = MIN(process->first_us, seen->first_us);
		process->last_us = MAX(process->last_us, seen->last_us);
		process->samples += seen->samples;
		g_free(later ? process->cmdline : seen->cmdline);
		if (later)
			process->cmdline = seen->cmdline;
		return;
	}
	g_array_append_vals(processes, seen, 1);
}

static bool processes_of_recording(recording_t *recording, GArray *processes, GError **error)
{
	GArray *targets = history_targets(recording, error);
	if (!targets)
		return false;
	for (guint i = 0; i < targets->len; i++) {
		struct history_target *target = &g_array_index(targets, struct history_target, i);
		const struct archive_process process = {target->pid,      target->start_time_us,
							target->first_us, target->last_us,
							target->samples,  g_steal_pointer(&target->cmdline)};
		add_process(processes, &process);
	}
	g_array_unref(targets);
	return true;
}

static void processes_of_lines(const lines_t *lines, GArray *processes)
{
	struct lines_sample at;
	for (size_t id = 1; id <= lines_n(lines); id++) {
		if (!lines_at(lines, (int64_t)id, &at))
			continue;
		const struct archive_process process = {at.pid, at.start_time_us, at.time_us, at.time_us, 1, NULL};
		add_process(processes, &process);
	}
	/* what it runs is on every line, and one is enough */
	for (size_t id = lines_n(lines); id > 0; id--) {
		struct archive_process *process = NULL;
		for (guint i = 0; lines_at(lines, (int64_t)id, &at) && i < processes->len && !process; i++) {
			struct archive_process *one = &g_array_index(processes, struct archive_process, i);
			process = !one->cmdline && is_same(one, at.pid, at.start_time_us) ? one : NULL;
		}
		g_autoptr(sample_t) sample = process ? lines_load(lines, (int64_t)id, NULL) : NULL;
		if (process)
			process->cmdline = sample ? g_strjoinv(" ", (char **)sample->target.cmdline) : g_strdup("");
	}
}

GArray *archive_processes(archive_t *archive, GError **error)
{
	g_autoptr(GArray) processes = g_array_new(FALSE, TRUE, sizeof(struct archive_process));
	g_array_set_clear_func(processes, process_clear);
	if (archive->lines)
		processes_of_lines(archive->lines, processes);
	else if (!processes_of_recording(archive->recording, processes, error))
		return NULL;
	g_array_sort(processes, compare_first);
	return g_steal_pointer(&processes);
}

void archive_select(archive_t *archive, int64_t pid, int64_t start_time_us)
{
	archive->pid = pid;
	archive->start_time_us = start_time_us;
	if (archive->recording)
		recording_select(archive->recording, pid, start_time_us);
}

bool archive_choose(archive_t *archive, int64_t pid, GError **error)
{
	g_autoptr(GArray) processes = archive_processes(archive, error);
	if (!processes)
		return false;
	for (guint i = processes->len; i-- > 0;) {
		const struct archive_process *process = &g_array_index(processes, struct archive_process, i);
		if (process->pid != pid)
			continue;
		archive_select(archive, pid, process->start_time_us);
		return true;
	}
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "there are none of that process in it", NULL,
		  "cannot find samples of process %" G_GINT64_FORMAT " in %s", pid, archive->name);
	return false;
}

/* ---- samples ---- */

static bool is_selected(const archive_t *archive, int64_t id, struct lines_sample *at)
{
	return lines_at(archive->lines, id, at) &&
	       (!archive->pid || (at->pid == archive->pid && near(at->start_time_us, archive->start_time_us)));
}

int64_t *archive_samples(archive_t *archive, size_t *n, GError **error)
{
	if (archive->recording)
		return recording_samples(archive->recording, n, error);
	int64_t *ids = g_new(int64_t, lines_n(archive->lines) + 1);
	*n = 0;
	for (int64_t id = 0; (id = archive_after(archive, id));)
		ids[(*n)++] = id;
	/* a file of samples that were skipped says why */
	g_autoptr(sample_t) first = *n ? NULL : lines_load(archive->lines, 1, error);
	if (!*n && !first)
		g_clear_pointer(&ids, g_free);
	return ids;
}

int64_t archive_time(archive_t *archive, int64_t id)
{
	struct lines_sample at;
	if (archive->recording)
		return recording_time(archive->recording, id);
	return lines_at(archive->lines, id, &at) ? at.time_us : SAMPLE_UNKNOWN;
}

int64_t archive_after(archive_t *archive, int64_t id)
{
	struct lines_sample at;
	if (archive->recording)
		return recording_after(archive->recording, id);
	while (++id <= (int64_t)lines_n(archive->lines))
		if (is_selected(archive, id, &at))
			return id;
	return 0;
}

sample_t *archive_load(archive_t *archive, int64_t id, GError **error)
{
	return archive->recording ? recording_load(archive->recording, id, error)
				  : lines_load(archive->lines, id, error);
}
