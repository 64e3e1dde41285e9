#include "daemon/store/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <json-glib/json-glib.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/recording_private.h"

#define BUSY_MS 5000

void recording_error(recording_t *recording, GError **error, const char *what)
{
	int code = sqlite3_errcode(recording->db) & 0xff;
	int os = code == SQLITE_IOERR ? sqlite3_system_errno(recording->db) : 0;
	const char *fix = NULL;
	if (code == SQLITE_FULL)
		fix = "free some space; the samples recorded before are kept";
	else if (code == SQLITE_IOERR) /* also a quota or a limit of the file's size */
		fix = "look after the disk and its limits; the samples recorded before are kept";
	else if (code == SQLITE_BUSY)
		fix = "another program holds the file; end it, or record into another file";
	else if (code == SQLITE_CORRUPT)
		fix = "`sqlite3 FILE .recover` saves what can be saved";
	g_autofree char *message = text_escape(sqlite3_errmsg(recording->db), G_MAXSIZE);
	g_autofree char *cause = os ? g_strdup_printf("%s: %s", message, g_strerror(os)) : g_strdup(message);
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, cause, fix, "cannot %s %s", what, recording->name);
}

gboolean recording_execute(recording_t *recording, const char *sql)
{
	return sqlite3_exec(recording->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int64_t query_number(recording_t *recording, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t number = SAMPLE_UNKNOWN;
	if (sqlite3_prepare_v2(recording->db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

void recording_free(recording_t *recording)
{
	if (!recording)
		return;
	for (size_t i = 0; i < RECORDING_STATEMENTS; i++)
		sqlite3_finalize(recording->statements[i]);
	if (recording->types)
		g_hash_table_destroy(recording->types);
	sqlite3_close(recording->db);
	g_free(recording->name);
	g_free(recording);
}

enum file_kind { FILE_EMPTY, FILE_RECORDING, FILE_NEWER, FILE_FOREIGN };

static uint32_t big_endian(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/*
 * What kind of file it is, from its first 100 bytes (sqlite.org/fileformat2.html: magic at 0, user_version at 60,
 * application_id at 68). SQLite is not asked: opening a foreign database could already change it, by rolling back a
 * journal.
 */
static enum file_kind file_kind(int fd)
{
	struct stat status;
	if (fstat(fd, &status) || !S_ISREG(status.st_mode))
		return FILE_FOREIGN;
	if (!status.st_size)
		return FILE_EMPTY;
	uint8_t header[100];
	if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header) || memcmp(header, "SQLite format 3", 16) ||
	    big_endian(header + 68) != RECORDING_APPLICATION)
		return FILE_FOREIGN;
	return big_endian(header + 60) > RECORDING_VERSION ? FILE_NEWER : FILE_RECORDING;
}

static recording_t *recording_new(const char *path)
{
	recording_t *recording = g_new0(recording_t, 1);
	recording->name = text_escape(path, G_MAXSIZE);
	return recording;
}

/* The kind of the file at `path`; a missing one is empty when it may be created. False with an error: it is of no use.
 */
static gboolean check_file(recording_t *recording, const char *path, gboolean create, enum file_kind *kind,
			   GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT && create) {
		*kind = FILE_EMPTY;
		return TRUE;
	}
	if (fd < 0) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL, "cannot open %s",
			  recording->name);
		return FALSE;
	}
	*kind = file_kind(fd);
	close(fd);
	if (*kind == FILE_NEWER) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "a newer reftop made it", "use that one",
			  "cannot open %s", recording->name);
		return FALSE;
	}
	if (*kind == FILE_FOREIGN || (*kind == FILE_EMPTY && !create)) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "it is not a recording of reftop",
			  create ? "record into another file; this one was left as it is"
				 : "make one with `reftop record -p PID -o FILE`",
			  "cannot open %s", recording->name);
		return FALSE;
	}
	return TRUE;
}

static gboolean open_database(recording_t *recording, const char *path, int flags)
{
	if (sqlite3_open_v2(path, &recording->db, flags, NULL) != SQLITE_OK)
		return FALSE;
	sqlite3_busy_timeout(recording->db, BUSY_MS);
	/* the file may be anybody's: no surprises from its schema */
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return TRUE;
}

/*
 * Make an empty file a recording: all of it or nothing, and still with a rollback journal, so that the header says what
 * it is from the first moment on.
 */
static gboolean create_schema(recording_t *recording)
{
	g_autofree char *sql = g_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d;",
					       RECORDING_APPLICATION, RECORDING_VERSION);
	if (!recording_execute(recording, "BEGIN IMMEDIATE"))
		return FALSE;
	/* somebody else may have been faster */
	if (query_number(recording, "PRAGMA application_id") == RECORDING_APPLICATION)
		return recording_execute(recording, "COMMIT");
	if (recording_execute(recording, sql) && recording_execute(recording, recording_schema) &&
	    recording_execute(recording, "COMMIT"))
		return TRUE;
	return FALSE;
}

const struct recording_column recording_added[] = {
	{"sample", "memory_objects", "INTEGER"},
	{"sample", "memory_blocks", "INTEGER"},
	{"sample", "memory_free_blocks", "INTEGER"},
	{"sample", "memory_free_pools", "INTEGER"},
	{"sample", "memory_malloc_heap", "INTEGER"},
	{"sample", "memory_anonymous", "INTEGER"},
	{"sample", "memory_file", "INTEGER"},
	{"sample", "memory_other", "INTEGER"},
	{"sample", "walk_us", "INTEGER"},
	{"sample", "torn", "INTEGER"},
	{"watched", "exact", "INTEGER"},
	{"watched", "probable", "INTEGER"},
	{"watched", "state", "TEXT NOT NULL DEFAULT 'alive'"},
	{"watched", "value", "TEXT"},
	{"watched", "now", "TEXT"},
	{"sample_type", "born", "INTEGER"},
	{"sample_type", "died", "INTEGER"},
	{NULL, NULL, NULL},
};

bool recording_has_column(recording_t *recording, const struct recording_column *column)
{
	g_autofree char *sql = g_strdup_printf("SELECT count(*) FROM pragma_table_info('%s') WHERE name = '%s'",
					       column->table, column->name);
	return query_number(recording, sql) > 0;
}

/* Make an older recording one of this version. */
static gboolean upgrade_schema(recording_t *recording)
{
	if (query_number(recording, "PRAGMA user_version") >= RECORDING_VERSION)
		return TRUE;
	g_autoptr(GString) sql = g_string_new(NULL);
	/* somebody else may have been faster */
	if (!recording_execute(recording, "BEGIN IMMEDIATE"))
		return FALSE;
	if (query_number(recording, "PRAGMA user_version") >= RECORDING_VERSION)
		return recording_execute(recording, "COMMIT");
	for (const struct recording_column *column = recording_added; column->table; column++) {
		if (!recording_has_column(recording, column))
			g_string_append_printf(sql, "ALTER TABLE %s ADD COLUMN %s %s; ", column->table, column->name,
					       column->declaration);
	}
	g_string_append_printf(sql, "PRAGMA user_version = %d; COMMIT;", RECORDING_VERSION);
	return recording_execute(recording, sql->str);
}

/* Whether the recording is of the process the sample is of. Start times are known to the clock tick, and to the second
 * after clock changes. */
static gboolean check_target(recording_t *recording, const sample_t *sample, GError **error)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(recording->db, "SELECT pid, start_time_us FROM target ORDER BY id LIMIT 1", -1,
			       &statement, NULL) != SQLITE_OK) {
		recording_error(recording, error, "read");
		return FALSE;
	}
	gboolean same = TRUE;
	int64_t pid = 0;
	if (sqlite3_step(statement) == SQLITE_ROW) {
		pid = sqlite3_column_int64(statement, 0);
		int64_t apart = sqlite3_column_int64(statement, 1) - sample->target.start_time_us;
		same = pid == sample->target.pid && apart <= 2 * G_USEC_PER_SEC && apart >= -2 * G_USEC_PER_SEC;
	}
	sqlite3_finalize(statement);
	if (same)
		return TRUE;
	g_autofree char *cause =
		pid == sample->target.pid
			? g_strdup_printf("it is the recording of an earlier process %" G_GINT64_FORMAT, pid)
			: g_strdup_printf("it is the recording of process %" G_GINT64_FORMAT, pid);
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, cause,
		  "record into another file; this one was left as it is",
		  "cannot record process %" G_GINT64_FORMAT " into %s", sample->target.pid, recording->name);
	return FALSE;
}

recording_t *recording_append_to(const char *path, const sample_t *sample, GError **error)
{
	/*
	 * NORMAL: a crash of the machine may lose the last samples, never the file. A checkpoint after every sample
	 * keeps the WAL as small as one sample, so that a full disk holds the recording once and not twice, and can be
	 * read.
	 */
	return recording_open_writer(
		path, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1;", sample,
		error);
}

recording_t *recording_open_writer(const char *path, const char *pragmas, const sample_t *sample, GError **error)
{
	g_autoptr(recording_t) recording = recording_new(path);
	enum file_kind kind;
	if (!check_file(recording, path, TRUE, &kind, error))
		return NULL;
	if (!open_database(recording, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) {
		recording_error(recording, error, "open");
		return NULL;
	}
	gboolean ready = kind == FILE_RECORDING || create_schema(recording);
	if (ready && sample && !check_target(recording, sample, error))
		return NULL;
	ready = ready && upgrade_schema(recording);
	if (!ready || !recording_execute(recording, pragmas) || !recording_prepare_writer(recording)) {
		recording_error(recording, error, "write to");
		return NULL;
	}
	return g_steal_pointer(&recording);
}

/*
 * A WAL database needs its -shm file, also for reading. Where we may not make one and there is no WAL, the file is all
 * there is and can be read as it stands.
 */
static gboolean open_reader(recording_t *recording, const char *path)
{
	static const char probe[] = "SELECT count(*) FROM sample";
	if (open_database(recording, path, SQLITE_OPEN_READONLY) && query_number(recording, probe) != SAMPLE_UNKNOWN)
		return TRUE;
	int code = sqlite3_errcode(recording->db) & 0xff;
	g_autofree char *absolute = g_canonicalize_filename(path, NULL);
	g_autofree char *wal = g_strconcat(absolute, "-wal", NULL);
	struct stat status;
	if ((code != SQLITE_CANTOPEN && code != SQLITE_READONLY) || (!stat(wal, &status) && status.st_size))
		return FALSE;
	sqlite3_close(recording->db);
	recording->db = NULL;
	g_autofree char *escaped = g_uri_escape_string(absolute, "/", FALSE);
	g_autofree char *uri = g_strdup_printf("file://%s?immutable=1", escaped);
	return open_database(recording, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI) &&
	       query_number(recording, probe) != SAMPLE_UNKNOWN;
}

recording_t *recording_open(const char *path, GError **error)
{
	g_autoptr(recording_t) recording = recording_new(path);
	enum file_kind kind;
	if (!check_file(recording, path, FALSE, &kind, error))
		return NULL;
	if (!open_reader(recording, path) || !recording_prepare_reader(recording)) {
		recording_error(recording, error, "open");
		return NULL;
	}
	return g_steal_pointer(&recording);
}
