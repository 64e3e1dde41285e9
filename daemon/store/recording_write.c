#include <json-glib/json-glib.h>
#include <string.h>

#include "base/error.h"
#include "daemon/store/recording_private.h"

enum { FIND_TARGET, ADD_TARGET, ADD_SAMPLE, ADD_TYPE, ADD_SAMPLE_TYPE, ADD_GC, ADD_GENERATION, ALL_TYPES, ADD_WATCHED };

static const char *const statements[RECORDING_STATEMENTS] = {
	/* start times are known to the clock tick, and to the second after clock changes */
	[FIND_TARGET] = "SELECT id FROM target WHERE exe IS ?1 AND python IS ?2 AND debug = ?3 AND free_threaded = ?4 "
			"AND pid = ?5 AND abs(start_time_us - ?6) <= 2000000 ORDER BY id DESC LIMIT 1",
	[ADD_TARGET] = "INSERT INTO target (exe, python, debug, free_threaded, pid, start_time_us, cmdline, layout) "
		       "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_SAMPLE] =
		"INSERT INTO sample (target, time_us, mode, consistent, coverage, pause_us, elapsed_us, "
		"bytes_copied, rss, "
		"objects, gc_objects, bytes, refs, immortal, unreadable, allocated_blocks, "
		"memory_objects, memory_blocks, memory_free_blocks, memory_free_pools, memory_malloc_heap, "
		"memory_anonymous, memory_file, memory_other, walk_us, torn) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
		"?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	/* the update does nothing but make RETURNING answer */
	[ADD_TYPE] = "INSERT INTO type (target, address, module, qualname) VALUES (?, ?, ?, ?) "
		     "ON CONFLICT DO UPDATE SET module = module RETURNING id",
	[ADD_SAMPLE_TYPE] =
		"INSERT INTO sample_type (sample, type, count, gc_count, bytes, refs, refs_max, immortal, owned, born, died) "
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_GC] = "INSERT INTO gc (sample, interpreter, enabled, collecting, permanent) VALUES (?, ?, ?, ?, ?)",
	[ADD_GENERATION] =
		"INSERT INTO gc_generation (sample, interpreter, generation, count, threshold, objects, collections) "
		"VALUES (?, ?, ?, ?, ?, ?, ?)",
	[ADD_WATCHED] = "INSERT INTO watched (sample, address, type, refcount, exact, probable, state, value, now) "
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ALL_TYPES] = "SELECT address, module, qualname, id FROM type WHERE target = ?",
};

struct type_key {
	uint64_t address;
	const char *module, *qualname;
};

static guint key_hash(gconstpointer data)
{
	const struct type_key *key = data;
	return g_int64_hash(&key->address) ^ g_str_hash(key->qualname);
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
	const struct type_key *x = a, *y = b;
	return x->address == y->address && !strcmp(x->qualname, y->qualname) && !strcmp(x->module, y->module);
}

static void key_free(gpointer data)
{
	struct type_key *key = data;
	g_free((char *)key->module);
	g_free((char *)key->qualname);
	g_free(key);
}

static void remember_type(recording_t *recording, uint64_t address, const char *module, const char *qualname,
			  int64_t id)
{
	struct type_key *key = g_new(struct type_key, 1);
	*key = (struct type_key){address, g_strdup(module), g_strdup(qualname)};
	int64_t *value = g_new(int64_t, 1);
	*value = id;
	g_hash_table_insert(recording->types, key, value);
}

gboolean recording_prepare_writer(recording_t *recording)
{
	recording->types = g_hash_table_new_full(key_hash, key_equal, key_free, g_free);
	for (size_t i = 0; i < RECORDING_STATEMENTS; i++)
		if (sqlite3_prepare_v3(recording->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &recording->statements[i], NULL) != SQLITE_OK)
			return FALSE;
	return TRUE;
}

static void bind_number(sqlite3_stmt *statement, int at, int64_t number)
{
	if (number == SAMPLE_UNKNOWN)
		sqlite3_bind_null(statement, at);
	else
		sqlite3_bind_int64(statement, at, number);
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
	sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static void bind_numbers(sqlite3_stmt *statement, int at, const int64_t *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bind_number(statement, at + (int)i, numbers[i]);
}

/* run a statement that gives no row */
static gboolean run(sqlite3_stmt *statement)
{
	gboolean done = sqlite3_step(statement) == SQLITE_DONE;
	/* the error is the step's: reset repeats it */
	sqlite3_reset(statement);
	return done;
}

/* run a statement that gives one number; 0 when it gave no row; false: it failed */
static gboolean run_for_number(sqlite3_stmt *statement, int64_t *number)
{
	int result = sqlite3_step(statement);
	*number = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
	int reset = sqlite3_reset(statement);
	return (result == SQLITE_ROW || result == SQLITE_DONE) && reset == SQLITE_OK;
}

static char *cmdline_json(const struct sample_target *target)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_array(builder);
	for (const char *const *word = target->cmdline; *word; word++)
		json_builder_add_string_value(builder, *word);
	json_builder_end_array(builder);
	g_autoptr(JsonNode) root = json_builder_get_root(builder);
	return json_to_string(root, FALSE);
}

static gboolean load_types(recording_t *recording)
{
	sqlite3_stmt *statement = recording->statements[ALL_TYPES];
	g_hash_table_remove_all(recording->types);
	sqlite3_bind_int64(statement, 1, recording->target);
	int result;
	while ((result = sqlite3_step(statement)) == SQLITE_ROW)
		remember_type(recording, (uint64_t)sqlite3_column_int64(statement, 0),
			      (const char *)sqlite3_column_text(statement, 1),
			      (const char *)sqlite3_column_text(statement, 2), sqlite3_column_int64(statement, 3));
	sqlite3_reset(statement);
	return result == SQLITE_DONE;
}

/* the row of `target` for what the process is now; it changes when it execs. Its title may change at any time and
 * doesn't count. */
static gboolean use_target(recording_t *recording, const struct sample_target *target)
{
	int64_t id;
	for (int i = FIND_TARGET; i <= ADD_TARGET; i++) {
		bind_text(recording->statements[i], 1, target->exe);
		bind_text(recording->statements[i], 2, target->python);
		sqlite3_bind_int(recording->statements[i], 3, target->debug);
		sqlite3_bind_int(recording->statements[i], 4, target->free_threaded);
		bind_number(recording->statements[i], 5, target->pid);
		bind_number(recording->statements[i], 6, target->start_time_us);
	}
	if (!run_for_number(recording->statements[FIND_TARGET], &id))
		return FALSE;
	if (!id) {
		sqlite3_stmt *statement = recording->statements[ADD_TARGET];
		g_autofree char *cmdline = cmdline_json(target);
		bind_text(statement, 7, cmdline);
		bind_text(statement, 8, target->layout);
		gboolean done = run(statement);
		sqlite3_clear_bindings(statement);
		if (!done)
			return FALSE;
		id = sqlite3_last_insert_rowid(recording->db);
	}
	if (id == recording->target)
		return TRUE;
	recording->target = id;
	return load_types(recording);
}

static gboolean add_sample(recording_t *recording, const sample_t *sample, int64_t *id)
{
	sqlite3_stmt *statement = recording->statements[ADD_SAMPLE];
	const struct sample_snapshot *snapshot = &sample->snapshot;
	const struct sample_totals *totals = &sample->totals;
	sqlite3_bind_int64(statement, 1, recording->target);
	sqlite3_bind_int64(statement, 2, sample->time_us);
	bind_text(statement, 3, snapshot->mode);
	sqlite3_bind_int(statement, 4, snapshot->consistent);
	bind_text(statement, 5, snapshot->coverage);
	const int64_t numbers[] = {
		snapshot->pause_us, snapshot->elapsed_us, snapshot->bytes_copied,  sample->target.rss,
		totals->objects,    totals->gc_objects,   totals->bytes,           totals->refs,
		totals->immortal,   totals->unreadable,   totals->allocated_blocks};
	bind_numbers(statement, 6, numbers, G_N_ELEMENTS(numbers));
	struct sample_memory memory = totals->memory;
	int64_t parts[SAMPLE_MEMORY_PARTS];
	for (size_t i = 0; i < SAMPLE_MEMORY_PARTS; i++)
		parts[i] = totals->has_memory ? *sample_memory_at(&memory, i) : SAMPLE_UNKNOWN;
	bind_numbers(statement, 6 + (int)G_N_ELEMENTS(numbers), parts, SAMPLE_MEMORY_PARTS);
	bind_numbers(statement, 6 + (int)G_N_ELEMENTS(numbers) + SAMPLE_MEMORY_PARTS,
		     (int64_t[]){snapshot->walk_us, snapshot->torn}, 2);
	if (!run(statement))
		return FALSE;
	*id = sqlite3_last_insert_rowid(recording->db);
	return TRUE;
}

static gboolean find_type(recording_t *recording, const struct sample_type *type, int64_t *id)
{
	struct type_key key = {type->address, type->module, type->qualname};
	const int64_t *known = g_hash_table_lookup(recording->types, &key);
	if (known) {
		*id = *known;
		return TRUE;
	}
	sqlite3_stmt *statement = recording->statements[ADD_TYPE];
	sqlite3_bind_int64(statement, 1, recording->target);
	sqlite3_bind_int64(statement, 2, (int64_t)type->address);
	bind_text(statement, 3, type->module);
	bind_text(statement, 4, type->qualname);
	if (!run_for_number(statement, id))
		return FALSE;
	remember_type(recording, type->address, type->module, type->qualname, *id);
	return TRUE;
}

static gboolean add_types(recording_t *recording, const sample_t *sample, int64_t id)
{
	sqlite3_stmt *statement = recording->statements[ADD_SAMPLE_TYPE];
	sqlite3_bind_int64(statement, 1, id);
	for (size_t i = 0; i < sample->n_types; i++) {
		const struct sample_type *type = &sample->types[i];
		int64_t type_id;
		if (!find_type(recording, type, &type_id))
			return FALSE;
		sqlite3_bind_int64(statement, 2, type_id);
		bool counted = sample->has_turnover;
		const int64_t numbers[] = {type->count,
					   type->gc_count,
					   type->bytes,
					   type->refs,
					   type->refs_max,
					   type->immortal,
					   type->owned,
					   counted ? type->born : SAMPLE_UNKNOWN,
					   counted ? type->died : SAMPLE_UNKNOWN};
		bind_numbers(statement, 3, numbers, G_N_ELEMENTS(numbers));
		if (!run(statement))
			return FALSE;
	}
	return TRUE;
}

static gboolean add_gc(recording_t *recording, const sample_t *sample, int64_t id)
{
	for (size_t i = 0; i < sample->n_gc; i++) {
		const struct sample_gc *gc = &sample->gc[i];
		const int64_t row[] = {id, gc->interpreter, gc->enabled, gc->collecting, gc->permanent};
		bind_numbers(recording->statements[ADD_GC], 1, row, G_N_ELEMENTS(row));
		if (!run(recording->statements[ADD_GC]))
			return FALSE;
		for (size_t g = 0; g < gc->n_generations; g++) {
			const struct sample_generation *generation = &gc->generations[g];
			const int64_t numbers[] = {id,
						   gc->interpreter,
						   (int64_t)g,
						   generation->count,
						   generation->threshold,
						   generation->objects,
						   generation->collections};
			bind_numbers(recording->statements[ADD_GENERATION], 1, numbers, G_N_ELEMENTS(numbers));
			if (!run(recording->statements[ADD_GENERATION]))
				return FALSE;
		}
	}
	return TRUE;
}

static gboolean add_watched(recording_t *recording, const sample_t *sample, int64_t id)
{
	sqlite3_stmt *statement = recording->statements[ADD_WATCHED];
	for (size_t i = 0; i < sample->n_watched; i++) {
		const struct sample_watched *watched = &sample->watched[i];
		struct sample_type type = {
			.address = watched->type, .module = watched->module, .qualname = watched->qualname};
		int64_t type_id = SAMPLE_UNKNOWN;
		if (watched->type && !find_type(recording, &type, &type_id))
			return FALSE;
		sqlite3_bind_int64(statement, 1, id);
		sqlite3_bind_int64(statement, 2, (int64_t)watched->address);
		const int64_t numbers[] = {type_id, watched->refcount, watched->exact, watched->probable};
		bind_numbers(statement, 3, numbers, G_N_ELEMENTS(numbers));
		bind_text(statement, 7, sample_watched_states[watched->state]);
		bind_text(statement, 8, watched->value);
		bind_text(statement, 9, *watched->now ? watched->now : NULL);
		if (!run(statement))
			return FALSE;
	}
	return TRUE;
}

gboolean recording_append(recording_t *recording, const sample_t *sample, int64_t *id, GError **error)
{
	int64_t own;
	if (recording_execute(recording, "BEGIN IMMEDIATE") && use_target(recording, &sample->target) &&
	    add_sample(recording, sample, &own) && add_types(recording, sample, own) &&
	    add_gc(recording, sample, own) && add_watched(recording, sample, own) &&
	    recording_execute(recording, "COMMIT")) {
		if (id)
			*id = own;
		return TRUE;
	}
	recording_error(recording, error, "write to");
	/* some errors have already rolled back; what was remembered of this transaction is not true any more */
	if (!sqlite3_get_autocommit(recording->db))
		recording_execute(recording, "ROLLBACK");
	recording->target = 0;
	g_hash_table_remove_all(recording->types);
	return FALSE;
}
