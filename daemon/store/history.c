#include "daemon/store/history.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/recording_private.h"

#define MINUTE_US (INT64_C(60) * G_USEC_PER_SEC)

static const char extra_schema[] =
	"CREATE INDEX IF NOT EXISTS sample_target ON sample (target, time_us);"
	"CREATE TABLE IF NOT EXISTS gap (\n"
	"  sample  INTEGER PRIMARY KEY REFERENCES sample, -- the first one after it\n"
	"  from_us INTEGER NOT NULL,                      -- time of the last one before it\n"
	"  why     TEXT NOT NULL\n"
	");";

recording_t *history_open(const char *path, GError **error)
{
	recording_t *history = recording_open_writer(path,
						     "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
						     "PRAGMA wal_autocheckpoint = 1000; PRAGMA cache_size = -4096; "
						     "PRAGMA temp_store = MEMORY;",
						     NULL, error);
	if (history && !recording_execute(history, extra_schema)) {
		recording_error(history, error, "write to");
		g_clear_pointer(&history, recording_free);
	}
	return history;
}

static gboolean add_gap(recording_t *history, int64_t sample, int64_t from_us, const char *why)
{
	sqlite3_stmt *statement = NULL;
	gboolean done = sqlite3_prepare_v2(history->db, "INSERT OR REPLACE INTO gap VALUES (?, ?, ?)", -1, &statement,
					   NULL) == SQLITE_OK;
	if (done) {
		sqlite3_bind_int64(statement, 1, sample);
		sqlite3_bind_int64(statement, 2, from_us);
		sqlite3_bind_text(statement, 3, why, -1, SQLITE_STATIC);
		done = sqlite3_step(statement) == SQLITE_DONE;
	}
	sqlite3_finalize(statement);
	return done;
}

gboolean history_append(recording_t *history, const sample_t *sample, int64_t gap_from_us, const char *why,
			GError **error)
{
	int64_t id;
	if (!recording_append(history, sample, &id, error))
		return FALSE;
	if (!gap_from_us || add_gap(history, id, gap_from_us, why))
		return TRUE;
	recording_error(history, error, "write to");
	return FALSE;
}

/* Of the samples taken in (from, to] keep the first of each process and `step`; step 0: none. */
static gboolean keep_first(recording_t *history, int64_t from_us, int64_t to_us, int64_t step_us)
{
	if (to_us <= from_us)
		return TRUE;
	g_autofree char *kept =
		step_us ? g_strdup_printf(" AND id NOT IN (SELECT min(id) FROM sample WHERE time_us > %" G_GINT64_FORMAT
					  " AND time_us <= %" G_GINT64_FORMAT
					  " GROUP BY target, (time_us - 1) / %" G_GINT64_FORMAT ")",
					  from_us, to_us, step_us)
			: g_strdup("");
	g_autofree char *sql = g_strdup_printf(
		"BEGIN IMMEDIATE; CREATE TEMP TABLE doomed (id INTEGER PRIMARY KEY);"
		"INSERT INTO doomed SELECT id FROM sample WHERE time_us > %" G_GINT64_FORMAT
		" AND time_us <= %" G_GINT64_FORMAT "%s;"
		/* births and deaths were counted against a sample that goes: between those that stay they are not known */
		"UPDATE sample_type SET born = NULL, died = NULL WHERE born IS NOT NULL AND sample NOT IN doomed AND sample IN "
		"(SELECT (SELECT s.id FROM sample s WHERE s.target = d.target AND s.time_us > d.time_us ORDER BY s.time_us LIMIT 1) "
		"FROM doomed JOIN sample d ON d.id = doomed.id);"
		"DELETE FROM sample_type WHERE sample IN doomed; DELETE FROM gc WHERE sample IN doomed;"
		"DELETE FROM gc_generation WHERE sample IN doomed; DELETE FROM watched WHERE sample IN doomed;"
		/* a gap lies before the next sample that is kept */
		"UPDATE OR IGNORE gap SET sample = coalesce((SELECT min(id) FROM sample s WHERE s.id > gap.sample AND s.target = "
		"(SELECT target FROM sample WHERE id = gap.sample) AND s.id NOT IN doomed), gap.sample) WHERE sample IN doomed;"
		"DELETE FROM gap WHERE sample IN doomed; DELETE FROM sample WHERE id IN doomed;"
		"DROP TABLE doomed; COMMIT;",
		from_us, to_us, kept);
	if (recording_execute(history, sql))
		return TRUE;
	if (!sqlite3_get_autocommit(history->db))
		recording_execute(history, "ROLLBACK");
	return FALSE;
}

static gboolean drop_old(recording_t *history, int64_t before_us)
{
	static const char orphans[] = "BEGIN IMMEDIATE;"
				      "DELETE FROM type WHERE target NOT IN (SELECT target FROM sample);"
				      "DELETE FROM target WHERE id NOT IN (SELECT target FROM sample); COMMIT;";
	if (!keep_first(history, 0, before_us, 0))
		return FALSE;
	gboolean done = recording_execute(history, orphans);
	if (!sqlite3_get_autocommit(history->db))
		recording_execute(history, "ROLLBACK");
	/* what was remembered of rows may be gone */
	history->target = 0;
	g_hash_table_remove_all(history->types);
	return done;
}

/* The last whole step of this length that is older than `age`. */
static int64_t step_before(int64_t now_us, int64_t age_us, int64_t step_us)
{
	return MAX(now_us - age_us, 0) / step_us * step_us;
}

gboolean history_thin(recording_t *history, int64_t now_us, const struct history_keep *keep, int64_t *done_us,
		      GError **error)
{
	int64_t before = *done_us;
	int64_t minutes_to = step_before(now_us, keep->full_us, MINUTE_US);
	int64_t tens_to = step_before(now_us, keep->minutes_us, 10 * MINUTE_US);
	int64_t minutes_from = before ? step_before(before, keep->full_us, MINUTE_US) : 0;
	int64_t tens_from = before ? step_before(before, keep->minutes_us, 10 * MINUTE_US) : 0;
	if (keep_first(history, tens_from, tens_to, 10 * MINUTE_US) &&
	    keep_first(history, MAX(minutes_from, tens_to), minutes_to, MINUTE_US) &&
	    (before / (10 * MINUTE_US) == now_us / (10 * MINUTE_US) ||
	     drop_old(history, now_us - keep->retention_us))) {
		*done_us = now_us;
		return TRUE;
	}
	recording_error(history, error, "thin out");
	return FALSE;
}

static void target_clear(gpointer data)
{
	g_free(((struct history_target *)data)->cmdline);
}

GArray *history_targets(recording_t *recording, GError **error)
{
	static const char sql[] =
		"SELECT pid, start_time_us, min(time_us), max(time_us), count(*), cmdline FROM sample "
		"JOIN target ON target.id = sample.target GROUP BY target.id ORDER BY 3";
	sqlite3_stmt *row = NULL;
	g_autoptr(GArray) targets = g_array_new(FALSE, TRUE, sizeof(struct history_target));
	g_array_set_clear_func(targets, target_clear);
	int result = sqlite3_prepare_v2(recording->db, sql, -1, &row, NULL);
	while (result == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW) {
		struct history_target target = {sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1),
						sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3),
						sqlite3_column_int64(row, 4), NULL};
		g_auto(GStrv) words = recording_words((const char *)sqlite3_column_text(row, 5));
		target.cmdline = g_strjoinv(" ", words);
		g_array_append_val(targets, target);
	}
	if (result == SQLITE_OK)
		result = sqlite3_finalize(row);
	if (result != SQLITE_OK) {
		recording_error(recording, error, "read");
		return NULL;
	}
	return g_steal_pointer(&targets);
}
