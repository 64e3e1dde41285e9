/* Reading a recording. The file may come from anybody: all text is escaped again, numbers that make no sense are left
 * out. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"
#include "daemon/store/recording_private.h"

enum { ALL_SAMPLES, TIME, AFTER, SAMPLE, TYPES, GC, GENERATIONS, WATCHED };

static const char *const statements[RECORDING_STATEMENTS] = {
	/* ?1, ?2: PID and start time of recording_select(), or NULL */
	[ALL_SAMPLES] = "SELECT id FROM sample WHERE ?1 IS NULL OR target IN (SELECT id FROM target WHERE pid = ?1 AND "
			"(?2 IS NULL OR abs(start_time_us - ?2) <= 2000000)) ORDER BY id",
	[TIME] = "SELECT time_us FROM sample WHERE id = ?",
	[AFTER] = "SELECT min(id) FROM sample WHERE id > ?3 AND (?1 IS NULL OR target IN (SELECT id FROM target WHERE "
		  "pid = ?1 AND (?2 IS NULL OR abs(start_time_us - ?2) <= 2000000)))",
	[SAMPLE] =
		"SELECT time_us, pid, start_time_us, exe, cmdline, python, debug, free_threaded, layout, rss, mode, "
		"consistent, "
		"coverage, pause_us, elapsed_us, bytes_copied, objects, gc_objects, bytes, refs, immortal, unreadable, "
		"allocated_blocks, memory_objects, memory_blocks, memory_free_blocks, memory_free_pools, "
		"memory_malloc_heap, memory_anonymous, memory_file, memory_other, walk_us, torn "
		"FROM sample JOIN target ON target.id = sample.target WHERE sample.id = ?",
	[TYPES] =
		"SELECT address, module, qualname, count, gc_count, bytes, refs, refs_max, immortal, owned, born, died "
		"FROM sample_type JOIN type ON type.id = sample_type.type WHERE sample = ?",
	[GC] = "SELECT interpreter, enabled, collecting, permanent FROM gc WHERE sample = ? ORDER BY interpreter",
	[GENERATIONS] = "SELECT interpreter, generation, count, threshold, objects, collections FROM gc_generation "
			"WHERE sample = ?",
	[WATCHED] =
		"SELECT watched.address, type.address, module, qualname, refcount, exact, probable, state, value, now "
		"FROM watched LEFT JOIN type ON type.id = watched.type WHERE sample = ? ORDER BY watched.address",
};

/* A statement for the columns that there are: what the others would say is NULL. Free with g_free(). */
static char *for_columns(recording_t *recording, const char *statement)
{
	char *sql = g_strdup(statement);
	for (const struct recording_column *column = recording_added; column->table; column++) {
		g_autofree char *word = g_strdup_printf("\\b%s\\b", column->name);
		g_autoptr(GRegex) regex = g_regex_new(word, 0, 0, NULL);
		if (!g_regex_match(regex, sql, 0, NULL) || recording_has_column(recording, column))
			continue;
		char *without = g_regex_replace_literal(regex, sql, -1, 0, "NULL", 0, NULL);
		g_free(sql);
		sql = without;
	}
	return sql;
}

gboolean recording_prepare_reader(recording_t *recording)
{
	for (size_t i = 0; i < RECORDING_STATEMENTS && statements[i]; i++) {
		if (sqlite3_prepare_v3(recording->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &recording->statements[i], NULL) == SQLITE_OK)
			continue;
		g_autofree char *older = for_columns(recording, statements[i]);
		if (sqlite3_prepare_v3(recording->db, older, -1, SQLITE_PREPARE_PERSISTENT, &recording->statements[i],
				       NULL) != SQLITE_OK)
			return FALSE;
	}
	return TRUE;
}

static int64_t column_number(sqlite3_stmt *statement, int at)
{
	return sqlite3_column_type(statement, at) == SQLITE_NULL ? SAMPLE_UNKNOWN : sqlite3_column_int64(statement, at);
}

static const char *column_text(sqlite3_stmt *statement, int at, sample_t *sample)
{
	const char *raw = (const char *)sqlite3_column_text(statement, at);
	if (!raw)
		return "";
	g_autofree char *clean = text_escape(raw, (gsize)sqlite3_column_bytes(statement, at));
	return sample_text(sample, clean);
}

int64_t *recording_samples(recording_t *recording, size_t *n, GError **error)
{
	sqlite3_stmt *statement = recording->statements[ALL_SAMPLES];
	g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
	int result;
	while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(statement, 0);
		g_array_append_val(ids, id);
	}
	if (result != SQLITE_DONE)
		recording_error(recording, error, "read");
	sqlite3_reset(statement);
	if (result != SQLITE_DONE)
		return NULL;
	*n = ids->len;
	int64_t *out = g_new(int64_t, ids->len + 1);
	if (ids->len)
		memcpy(out, ids->data, ids->len * sizeof(int64_t));
	return out;
}

void recording_select(recording_t *recording, int64_t pid, int64_t start_time_us)
{
	static const int selecting[] = {ALL_SAMPLES, AFTER};
	for (size_t i = 0; i < G_N_ELEMENTS(selecting); i++) {
		sqlite3_stmt *statement = recording->statements[selecting[i]];
		sqlite3_clear_bindings(statement);
		if (pid > 0)
			sqlite3_bind_int64(statement, 1, pid);
		if (pid > 0 && start_time_us > 0)
			sqlite3_bind_int64(statement, 2, start_time_us);
	}
}

static int64_t lookup(recording_t *recording, int which, int64_t id)
{
	sqlite3_stmt *statement = recording->statements[which];
	sqlite3_bind_int64(statement, which == AFTER ? 3 : 1, id);
	int64_t number = sqlite3_step(statement) == SQLITE_ROW ? column_number(statement, 0) : SAMPLE_UNKNOWN;
	sqlite3_reset(statement);
	return number;
}

int64_t recording_time(recording_t *recording, int64_t id)
{
	return lookup(recording, TIME, id);
}

int64_t recording_after(recording_t *recording, int64_t id)
{
	int64_t after = lookup(recording, AFTER, id);
	return after == SAMPLE_UNKNOWN ? 0 : after;
}

char **recording_words(const char *text)
{
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	GPtrArray *words = g_ptr_array_new();
	gboolean parsed =
		text && !json_too_deep(text, strlen(text)) && json_parser_load_from_data(parser, text, -1, NULL);
	JsonNode *root = parsed ? json_parser_get_root(parser) : NULL;
	JsonArray *array = root && JSON_NODE_HOLDS_ARRAY(root) ? json_node_get_array(root) : NULL;
	for (guint i = 0; array && i < json_array_get_length(array); i++) {
		JsonNode *node = json_array_get_element(array, i);
		const char *word = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
		if (word)
			g_ptr_array_add(words, text_escape(word, strlen(word)));
	}
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

/* columns in the order of statements[SAMPLE] */
static void read_sample(sqlite3_stmt *row, sample_t *sample)
{
	struct sample_target *target = &sample->target;
	struct sample_snapshot *snapshot = &sample->snapshot;
	sample->time_us = column_number(row, 0);
	target->pid = column_number(row, 1);
	target->start_time_us = column_number(row, 2);
	target->exe = column_text(row, 3, sample);
	g_auto(GStrv) cmdline = recording_words((const char *)sqlite3_column_text(row, 4));
	sample_cmdline(sample, (const char *const *)cmdline);
	target->python = column_text(row, 5, sample);
	target->debug = sqlite3_column_int(row, 6);
	target->free_threaded = sqlite3_column_int(row, 7);
	target->layout = column_text(row, 8, sample);
	target->rss = column_number(row, 9);
	snapshot->mode = column_text(row, 10, sample);
	snapshot->consistent = sqlite3_column_int(row, 11);
	snapshot->coverage = column_text(row, 12, sample);
	snapshot->pause_us = column_number(row, 13);
	snapshot->elapsed_us = column_number(row, 14);
	snapshot->bytes_copied = column_number(row, 15);
	struct sample_totals *totals = &sample->totals;
	totals->objects = column_number(row, 16);
	totals->gc_objects = column_number(row, 17);
	totals->bytes = column_number(row, 18);
	totals->refs = column_number(row, 19);
	totals->immortal = column_number(row, 20);
	totals->unreadable = column_number(row, 21);
	totals->allocated_blocks = column_number(row, 22);
	totals->has_memory = sqlite3_column_type(row, 23) != SQLITE_NULL;
	for (size_t i = 0; totals->has_memory && i < SAMPLE_MEMORY_PARTS; i++)
		*sample_memory_at(&totals->memory, i) = column_number(row, 23 + (int)i);
	snapshot->walk_us = column_number(row, 23 + SAMPLE_MEMORY_PARTS);
	snapshot->torn = column_number(row, 24 + SAMPLE_MEMORY_PARTS);
}

static gboolean read_types(recording_t *recording, sample_t *sample, int64_t id)
{
	sqlite3_stmt *row = recording->statements[TYPES];
	g_autoptr(GArray) types = g_array_new(FALSE, FALSE, sizeof(struct sample_type));
	sqlite3_bind_int64(row, 1, id);
	int result;
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		struct sample_type type = {
			.address = (uint64_t)sqlite3_column_int64(row, 0),
			.module = column_text(row, 1, sample),
			.qualname = column_text(row, 2, sample),
			.count = column_number(row, 3),
			.gc_count = column_number(row, 4),
			.bytes = column_number(row, 5),
			.refs = column_number(row, 6),
			.refs_max = column_number(row, 7),
			.immortal = column_number(row, 8),
			.owned = column_number(row, 9),
			.born = column_number(row, 10),
			.died = column_number(row, 11),
		};
		sample->has_turnover |= type.born != SAMPLE_UNKNOWN;
		g_array_append_val(types, type);
	}
	sqlite3_reset(row);
	sample->n_types = types->len;
	sample->types = (struct sample_type *)(void *)g_array_free(g_steal_pointer(&types), FALSE);
	return result == SQLITE_DONE;
}

static struct sample_gc *find_gc(sample_t *sample, int64_t interpreter)
{
	for (size_t i = 0; i < sample->n_gc; i++)
		if (sample->gc[i].interpreter == interpreter)
			return &sample->gc[i];
	return NULL;
}

static gboolean read_gc(recording_t *recording, sample_t *sample, int64_t id)
{
	sqlite3_stmt *row = recording->statements[GC];
	g_autoptr(GArray) gcs = g_array_new(FALSE, TRUE, sizeof(struct sample_gc));
	sqlite3_bind_int64(row, 1, id);
	int result;
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		struct sample_gc gc = {.interpreter = sqlite3_column_int64(row, 0),
				       .enabled = sqlite3_column_int(row, 1),
				       .collecting = sqlite3_column_int(row, 2),
				       .permanent = column_number(row, 3)};
		g_array_append_val(gcs, gc);
	}
	sqlite3_reset(row);
	sample->n_gc = gcs->len;
	sample->gc = (struct sample_gc *)(void *)g_array_free(g_steal_pointer(&gcs), FALSE);
	if (result != SQLITE_DONE)
		return FALSE;

	row = recording->statements[GENERATIONS];
	sqlite3_bind_int64(row, 1, id);
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		struct sample_gc *gc = find_gc(sample, sqlite3_column_int64(row, 0));
		int64_t g = sqlite3_column_int64(row, 1);
		if (!gc || g < 0 || g >= SAMPLE_MAX_GENERATIONS)
			continue;
		gc->generations[g] = (struct sample_generation){column_number(row, 2), column_number(row, 3),
								column_number(row, 4), column_number(row, 5)};
		gc->n_generations = MAX(gc->n_generations, (size_t)g + 1);
	}
	sqlite3_reset(row);
	return result == SQLITE_DONE;
}

static enum sample_watched_state column_state(sqlite3_stmt *row, int at)
{
	const char *text = (const char *)sqlite3_column_text(row, at);
	for (int state = WATCHED_DEAD; state <= WATCHED_REUSED; state++)
		if (!g_strcmp0(text, sample_watched_states[state]))
			return (enum sample_watched_state)state;
	return WATCHED_ALIVE;
}

static gboolean read_watched(recording_t *recording, sample_t *sample, int64_t id)
{
	sqlite3_stmt *row = recording->statements[WATCHED];
	g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, sizeof(struct sample_watched));
	sqlite3_bind_int64(row, 1, id);
	int result;
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		struct sample_watched watched = {
			.address = (uint64_t)sqlite3_column_int64(row, 0),
			.type = (uint64_t)sqlite3_column_int64(row, 1),
			.module = column_text(row, 2, sample),
			.qualname = column_text(row, 3, sample),
			.refcount = column_number(row, 4),
			.exact = column_number(row, 5),
			.probable = column_number(row, 6),
			.state = column_state(row, 7),
			.value = column_text(row, 8, sample),
			.now = column_text(row, 9, sample),
		};
		g_array_append_val(rows, watched);
	}
	sqlite3_reset(row);
	sample->n_watched = rows->len;
	sample->watched = (struct sample_watched *)(void *)g_array_free(g_steal_pointer(&rows), FALSE);
	return result == SQLITE_DONE;
}

/* the reads see one state of the file, whoever writes to it */
static gboolean load(recording_t *recording, sample_t *sample, int64_t id, gboolean *found)
{
	sqlite3_stmt *row = recording->statements[SAMPLE];
	sqlite3_bind_int64(row, 1, id);
	int result = sqlite3_step(row);
	*found = result == SQLITE_ROW;
	if (*found)
		read_sample(row, sample);
	sqlite3_reset(row);
	if (!*found)
		return result == SQLITE_DONE;
	return read_types(recording, sample, id) && read_gc(recording, sample, id) &&
	       read_watched(recording, sample, id);
}

sample_t *recording_load(recording_t *recording, int64_t id, GError **error)
{
	g_autoptr(sample_t) sample = sample_new();
	gboolean found = FALSE;
	gboolean good = recording_execute(recording, "BEGIN") && load(recording, sample, id, &found);
	if (!good)
		recording_error(recording, error, "read");
	if (!sqlite3_get_autocommit(recording->db))
		recording_execute(recording, "COMMIT");
	if (!good)
		return NULL;
	if (!found) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "there is no such sample", NULL,
			  "cannot read sample %" G_GINT64_FORMAT " of %s", id, recording->name);
		return NULL;
	}
	sample_seal(sample);
	return g_steal_pointer(&sample);
}
