#include "daemon/store/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/source/recorded.h"
#include "daemon/store/json.h"

#define START_US G_GINT64_CONSTANT(1795162000000000)

struct fixture {
	char *directory, *path;
};

static void set_up(struct fixture *fixture, gconstpointer unused)
{
	fixture->directory = g_dir_make_tmp("reftop-test-XXXXXX", NULL);
	fixture->path = g_build_filename(fixture->directory, "run.db", NULL);
}

static void tear_down(struct fixture *fixture, gconstpointer unused)
{
	GDir *dir = g_dir_open(fixture->directory, 0, NULL);
	const char *name;
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(fixture->directory, name, NULL);
		g_assert_cmpint(g_unlink(path), ==, 0);
	}
	g_dir_close(dir);
	g_assert_cmpint(g_rmdir(fixture->directory), ==, 0);
	g_free(fixture->directory);
	g_free(fixture->path);
}

/* sample number `at` of a process that has 1000 more app.Leak each minute, one every 6 s, and `n` types that stand
 * still */
static sample_t *make_sample(int64_t pid, int at, size_t n)
{
	sample_t *sample = sample_new();
	sample->time_us = START_US + (int64_t)(at + 1) * 6 * G_USEC_PER_SEC;
	sample->target.pid = pid;
	sample->target.start_time_us = START_US;
	sample->target.exe = "/usr/bin/python3.12";
	sample->target.python = "3.12.1";
	sample->target.layout = "builtin";
	sample->target.rss = 1000 + at;
	sample_cmdline(sample, (const char *const[]){"python3", "a \"quoted\" one", NULL});
	sample->snapshot = (struct sample_snapshot){.mode = "stop",
						    .consistent = true,
						    .coverage = "gc",
						    .pause_us = 5,
						    .elapsed_us = SAMPLE_UNKNOWN,
						    .walk_us = 14 + at,
						    .torn = at ? SAMPLE_UNKNOWN : 15,
						    .bytes_copied = 7};
	sample->n_gc = 1;
	sample->gc = g_new0(struct sample_gc, 1);
	sample->gc[0] = (struct sample_gc){.enabled = true, .n_generations = 3, .permanent = SAMPLE_UNKNOWN};
	for (int g = 0; g < 3; g++)
		sample->gc[0].generations[g] = (struct sample_generation){g, 700, 10 * g, SAMPLE_UNKNOWN};
	sample->totals = (struct sample_totals){1000, 900, 80000, 70, 6, 0, 1200, true, {1, 2, 3, 4, 5, 6, 7, -8}};
	sample->n_types = n + (at > 0);
	sample->types = g_new0(struct sample_type, sample->n_types);
	for (size_t i = 0; i < n; i++) {
		char name[32];
		g_snprintf(name, sizeof(name), "Still%zu", i);
		sample->types[i] = (struct sample_type){.address = 0x1000 + 16 * i,
							.module = "app",
							.qualname = sample_text(sample, name),
							.count = 10,
							.gc_count = 10,
							.bytes = 640,
							.refs = 20,
							.refs_max = 3,
							.owned = SAMPLE_UNKNOWN};
	}
	if (at > 0) /* there are none in the first sample: no row */
		sample->types[n] = (struct sample_type){.address = 0x7fff00001000,
							.module = "app",
							.qualname = "Leak",
							.count = 100 * at,
							.gc_count = 100 * at,
							.bytes = 6400 * at,
							.refs = 100 * at,
							.refs_max = 1,
							.owned = SAMPLE_UNKNOWN};
	sample->has_turnover = at > 0;
	for (size_t i = 0; i < sample->n_types; i++) {
		sample->types[i].born = at > 0 ? 20 + (int64_t)i : SAMPLE_UNKNOWN;
		sample->types[i].died = at > 0 ? at : SAMPLE_UNKNOWN;
	}
	sample_seal(sample);
	return sample;
}

static recording_t *record(const char *path, int from, int to, size_t n_types)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(sample_t) first = make_sample(42, from, n_types);
	recording_t *recording = recording_append_to(path, first, &error);
	g_assert_no_error(error);
	for (int at = from; at < to; at++) {
		g_autoptr(sample_t) sample = make_sample(42, at, n_types);
		int64_t id = 0;
		recording_append(recording, sample, &id, &error);
		g_assert_no_error(error);
		g_assert_cmpint(id, ==, at + 1);
	}
	return recording;
}

static char *query(const char *path, const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *statement;
	g_assert_cmpint(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_step(statement), ==, SQLITE_ROW);
	char *text = g_strdup((const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return text;
}

static void check_query(const char *path, const char *sql, const char *expected)
{
	g_autofree char *answer = query(path, sql);
	g_assert_cmpstr(answer, ==, expected);
}

static void assert_same(const sample_t *a, const sample_t *b)
{
	g_autoptr(GString) x = json_sample(a, NULL, 0);
	g_autoptr(GString) y = json_sample(b, NULL, 0);
	g_assert_cmpstr(x->str, ==, y->str);
}

static void test_round_trip(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 5, 20));
	g_autoptr(GError) error = NULL;
	g_autoptr(recording_t) recording = recording_open(fixture->path, &error);
	g_assert_no_error(error);
	size_t n;
	g_autofree int64_t *ids = recording_samples(recording, &n, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(n, ==, 5);
	for (int at = 0; at < 5; at++) {
		g_autoptr(sample_t) expected = make_sample(42, at, 20);
		g_autoptr(sample_t) sample = recording_load(recording, ids[at], &error);
		g_assert_no_error(error);
		assert_same(sample, expected);
		g_assert_cmpint(recording_time(recording, ids[at]), ==, expected->time_us);
	}
	g_assert_null(recording_load(recording, 99, &error));
	g_assert_error(error, STORE_ERROR, REFTOP_ERROR_FAILED);
	g_assert_cmpint(recording_time(recording, 99), ==, SAMPLE_UNKNOWN);
}

/* What is watched: alive with and without an explanation, dead, its place taken, and one that never was. */
static void put_watched(sample_t *sample)
{
	const struct sample_watched rows[] = {
		{0x7f0000001000, 0x1000, "app", "Still0", "<Still0>", 5, 3, 1, WATCHED_ALIVE, ""},
		{0x7f0000002000, 0x1000, "app", "Still0", "<Still0>", 7, SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, WATCHED_ALIVE,
		 ""},
		{0x7f0000003000, 0x1000, "app", "Still0", "<Still0>", SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, SAMPLE_UNKNOWN,
		 WATCHED_DEAD, ""},
		{0x7f0000004000, 0x1010, "app", "Gone", "'x'", SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, SAMPLE_UNKNOWN,
		 WATCHED_REUSED, "str 'y'"},
		{0x7f0000005000, 0, "", "", "", SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, SAMPLE_UNKNOWN, WATCHED_DEAD, ""},
	};
	sample->n_watched = G_N_ELEMENTS(rows);
	sample->watched = g_memdup2(rows, sizeof(rows));
}

static void test_watched(struct fixture *fixture, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(sample_t) sample = make_sample(42, 0, 3), plain = make_sample(42, 1, 3);
	put_watched(sample);
	recording_t *recording = recording_append_to(fixture->path, sample, &error);
	g_assert_no_error(error);
	g_assert_true(recording_append(recording, sample, NULL, &error));
	g_assert_true(recording_append(recording, plain, NULL, &error));
	recording_free(recording);
	recording = recording_open(fixture->path, &error);
	g_assert_no_error(error);
	g_autoptr(sample_t) back = recording_load(recording, 1, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(back->n_watched, ==, 5);
	assert_same(back, sample);
	g_autoptr(sample_t) none = recording_load(recording, 2, &error);
	g_assert_cmpuint(none->n_watched, ==, 0);
	recording_free(recording);
	check_query(fixture->path,
		    "SELECT group_concat(refcount, ' ') FROM watched JOIN type ON type.id = watched.type "
		    "WHERE qualname = 'Still0' AND refcount IS NOT NULL",
		    "5 7");
	check_query(fixture->path, "SELECT count(*) FROM watched WHERE exact IS NULL AND refcount IS NULL", "3");
}

static void test_source(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 3, 2));
	g_autoptr(GError) error = NULL;
	g_autoptr(source_t) source = source_recorded_new(fixture->path, &error);
	g_assert_no_error(error);
	for (int at = 0; at < 3; at++) {
		g_assert_true(source_alive(source));
		g_autoptr(sample_t) sample = source_next(source, &error);
		g_autoptr(sample_t) expected = make_sample(42, at, 2);
		g_assert_no_error(error);
		assert_same(sample, expected);
	}
	g_assert_false(source_alive(source));
	g_assert_null(source_next(source, &error));
	g_assert_error(error, SOURCE_ERROR, REFTOP_ERROR_GONE);
	/* it grows while we look */
	recording_free(record(fixture->path, 3, 4, 2));
	g_assert_true(source_alive(source));
}

static void test_header(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 1, 1));
	check_query(fixture->path, "PRAGMA application_id", "1919317104");
	check_query(fixture->path, "PRAGMA user_version", "3");
	check_query(fixture->path, "PRAGMA journal_mode", "wal");
	check_query(fixture->path, "PRAGMA integrity_check", "ok");
	check_query(fixture->path,
		    "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE type IN ('table', "
		    "'view') ORDER BY name)",
		    "gc gc_generation growth sample sample_type target type watched");
}

static void test_append(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 2, 3));
	recording_free(record(fixture->path, 2, 4, 3));
	check_query(fixture->path, "SELECT count(*) FROM sample", "4");
	check_query(fixture->path, "SELECT count(*) FROM target", "1");
	check_query(fixture->path, "SELECT count(*) FROM type", "4");
}

/* what a recording that is so old doesn't say */
static void forget(sample_t *sample, size_t age)
{
	sample->has_turnover = false;
	for (size_t i = 0; i < sample->n_types; i++)
		sample->types[i].born = sample->types[i].died = SAMPLE_UNKNOWN;
	if (age > 1)
		sample->snapshot.walk_us = sample->snapshot.torn = SAMPLE_UNKNOWN;
	if (age > 3)
		sample->totals.has_memory = false;
	for (size_t i = 0; i < SAMPLE_MEMORY_PARTS && age > 3; i++)
		*sample_memory_at(&sample->totals.memory, i) = SAMPLE_UNKNOWN;
}

static void check_older(const struct fixture *fixture, const char *const *without, size_t age)
{
	recording_free(record(fixture->path, 0, 2, 1));
	sqlite3 *db;
	g_assert_cmpint(sqlite3_open(fixture->path, &db), ==, SQLITE_OK);
	for (size_t i = 0; i < age; i++)
		g_assert_cmpint(sqlite3_exec(db, without[i], NULL, NULL, NULL), ==, SQLITE_OK);
	sqlite3_close(db);
	for (int at = 0; at < 2; at++) {
		if (at)
			recording_free(record(fixture->path, 2, 3, 1));
		g_autoptr(GError) error = NULL;
		g_autoptr(source_t) source = source_recorded_new(fixture->path, &error);
		g_assert_no_error(error);
		for (int k = 0; k < 2 + at; k++) {
			g_autoptr(sample_t) sample = source_next(source, &error);
			g_autoptr(sample_t) expected = make_sample(42, k, 1);
			g_assert_no_error(error);
			if (k < 2)
				forget(expected, age);
			assert_same(sample, expected);
		}
		check_query(fixture->path, "PRAGMA user_version", at ? "3" : age > 1 ? "1" : "2");
	}
}

/* a recording of an older version is read as it is, and appended to after it was made one of this */
static void test_older(struct fixture *fixture, gconstpointer unused)
{
	/* newest first: what each did not have yet */
	static const char *const without[] = {
		"ALTER TABLE sample_type DROP COLUMN born; ALTER TABLE sample_type DROP COLUMN died; "
		"PRAGMA user_version = 2",
		"ALTER TABLE sample DROP COLUMN walk_us; ALTER TABLE sample DROP COLUMN torn; PRAGMA user_version = 1",
		"ALTER TABLE watched DROP COLUMN exact; ALTER TABLE watched DROP COLUMN probable; "
		"ALTER TABLE watched DROP COLUMN state; ALTER TABLE watched DROP COLUMN value; "
		"ALTER TABLE watched DROP COLUMN now",
		"ALTER TABLE sample DROP COLUMN memory_objects; ALTER TABLE sample DROP COLUMN memory_blocks; "
		"ALTER TABLE sample DROP COLUMN memory_free_blocks; ALTER TABLE sample DROP COLUMN memory_free_pools; "
		"ALTER TABLE sample DROP COLUMN memory_malloc_heap; ALTER TABLE sample DROP COLUMN memory_anonymous; "
		"ALTER TABLE sample DROP COLUMN memory_file",
	};
	for (size_t age = 1; age <= G_N_ELEMENTS(without); age++) {
		g_unlink(fixture->path);
		check_older(fixture, without, age);
	}
}

static void test_exec(struct fixture *fixture, gconstpointer unused)
{
	g_autoptr(recording_t) recording = record(fixture->path, 0, 2, 3);
	g_autoptr(GError) error = NULL;
	for (int at = 2; at < 5; at++) {
		g_autoptr(sample_t) sample = make_sample(42, at, 3);
		sample->target.python = "3.13.0";
		recording_append(recording, sample, NULL, &error);
		g_assert_no_error(error);
	}
	check_query(fixture->path, "SELECT count(*) FROM target", "2");
	check_query(fixture->path, "SELECT count(*) FROM type WHERE target = 2", "4");
	check_query(fixture->path, "SELECT group_concat(target, '') FROM (SELECT target FROM sample ORDER BY id)",
		    "11222");
}

static void test_growth(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 11, 3));
	check_query(fixture->path,
		    "SELECT module || '.' || qualname FROM growth ORDER BY count_per_minute DESC LIMIT 1", "app.Leak");
	check_query(
		fixture->path,
		"SELECT first_count || ' ' || last_count || ' ' || growth || ' ' || round(count_per_minute, 6) || ' ' "
		"|| "
		"round(bytes_per_minute, 6) || ' ' || samples || ' ' || minutes FROM growth WHERE qualname = 'Leak'",
		"0 1000 1000 1000.0 64000.0 11 1.0");
	check_query(fixture->path,
		    "SELECT count(*) || ' ' || sum(abs(count_per_minute) < 1e-9) FROM growth WHERE qualname LIKE "
		    "'Still%'",
		    "3 3");
}

static void check_refused(const char *path, int64_t pid, const char *why)
{
	g_autofree char *before = NULL, *after = NULL;
	gsize size_before, size_after;
	g_assert_true(g_file_get_contents(path, &before, &size_before, NULL));
	g_autoptr(sample_t) sample = make_sample(pid, 0, 1);
	g_autoptr(GError) error = NULL;
	g_assert_null(recording_append_to(path, sample, &error));
	g_assert_error(error, STORE_ERROR, REFTOP_ERROR_FAILED);
	g_assert_nonnull(strstr(error->message, why));
	g_assert_true(g_file_get_contents(path, &after, &size_after, NULL));
	g_assert_cmpmem(before, size_before, after, size_after);
}

static void test_other_target(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 2, 1));
	check_refused(fixture->path, 43, "the recording of process 42");
	g_autoptr(sample_t) later = make_sample(42, 0, 1);
	later->target.start_time_us += 60 * G_USEC_PER_SEC;
	g_autoptr(GError) error = NULL;
	g_assert_null(recording_append_to(fixture->path, later, &error));
	g_assert_nonnull(strstr(error->message, "an earlier process 42"));
}

static void test_foreign_file(struct fixture *fixture, gconstpointer unused)
{
	g_assert_true(g_file_set_contents(fixture->path, "precious\n", -1, NULL));
	check_refused(fixture->path, 42, "not a recording");
	g_autoptr(GError) error = NULL;
	g_assert_null(recording_open(fixture->path, &error));
	g_assert_nonnull(strstr(error->message, "not a recording"));

	/* a database of somebody else */
	g_unlink(fixture->path);
	sqlite3 *db;
	g_assert_cmpint(sqlite3_open(fixture->path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "CREATE TABLE t (x); INSERT INTO t VALUES (1);", NULL, NULL, NULL), ==,
			SQLITE_OK);
	sqlite3_close(db);
	check_refused(fixture->path, 42, "not a recording");

	g_autofree char *newer = query(fixture->path, "PRAGMA application_id");
	g_assert_cmpstr(newer, ==, "0");
	g_unlink(fixture->path);
	recording_free(record(fixture->path, 0, 1, 1));
	g_assert_cmpint(sqlite3_open(fixture->path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 4", NULL, NULL, NULL), ==,
			SQLITE_OK);
	sqlite3_close(db);
	check_refused(fixture->path, 42, "a newer reftop");
}

static void test_odd_places(struct fixture *fixture, gconstpointer unused)
{
	g_autoptr(sample_t) sample = make_sample(42, 0, 1);
	static const char *const paths[] = {"/dev/full", "/dev/null", "/", "/nonexistent/run.db", "/proc/self/run.db"};
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(recording_append_to(paths[i], sample, &error));
		g_assert_error(error, STORE_ERROR, REFTOP_ERROR_FAILED);
		g_clear_error(&error);
		g_assert_null(recording_open(paths[i], &error));
		g_assert_error(error, STORE_ERROR, REFTOP_ERROR_FAILED);
	}
	/* what mktemp makes */
	g_assert_true(g_file_set_contents(fixture->path, "", 0, NULL));
	recording_free(record(fixture->path, 0, 1, 1));
	check_query(fixture->path, "SELECT count(*) FROM sample", "1");
}

/* says on the pipe how many samples are committed */
static void writer(const char *path, int out)
{
	g_autoptr(sample_t) first = make_sample(42, 0, 300);
	recording_t *recording = recording_append_to(path, first, NULL);
	for (int at = 0; recording && at < 200; at++) {
		g_autoptr(sample_t) sample = make_sample(42, at, 300);
		if (!recording_append(recording, sample, NULL, NULL) || write(out, "", 1) != 1)
			_exit(1);
	}
	_exit(1);
}

static void test_killed(struct fixture *fixture, gconstpointer unused)
{
	int rounds = g_test_quick() ? 25 : 200;
	for (int round = 0; round < rounds; round++) {
		int ends[2];
		g_assert_cmpint(pipe(ends), ==, 0);
		pid_t child = fork();
		if (!child)
			writer(fixture->path, ends[1]);
		close(ends[1]);
		int enough = g_test_rand_int_range(0, 12), reported = 0;
		char byte;
		while (reported < enough && read(ends[0], &byte, 1) == 1)
			reported++;
		for (int spin = g_test_rand_int_range(0, 2000000); spin > 0; spin--)
			__asm__ volatile("");
		kill(child, SIGKILL);
		int status;
		g_assert_cmpint(waitpid(child, &status, 0), ==, child);
		g_assert_true(WIFSIGNALED(status));
		while (read(ends[0], &byte, 1) == 1)
			reported++;
		close(ends[0]);

		struct stat file;
		int64_t found = 0;
		if (!stat(fixture->path, &file) && file.st_size) {
			check_query(fixture->path, "PRAGMA integrity_check", "ok");
			g_autoptr(sample_t) sample = make_sample(42, 0, 1);
			g_autoptr(GError) error = NULL;
			/* it can be continued, whatever moment it was */
			recording_free(recording_append_to(fixture->path, sample, &error));
			g_assert_no_error(error);
			g_autofree char *count = query(fixture->path, "SELECT count(*) FROM sample");
			found = g_ascii_strtoll(count, NULL, 10);
			check_query(fixture->path,
				    "SELECT count(*) FROM (SELECT count(*) AS n FROM sample_type GROUP BY sample) "
				    "WHERE n < 300",
				    "0");
		}
		/* one more than reported: committed, but killed before it could say so */
		g_assert_cmpint(found, >=, reported);
		g_assert_cmpint(found, <=, reported + 1);
		g_unlink(fixture->path);
		static const char *const rest[] = {"-wal", "-shm", "-journal"};
		for (size_t i = 0; i < G_N_ELEMENTS(rest); i++) {
			g_autofree char *path = g_strconcat(fixture->path, rest[i], NULL);
			g_unlink(path);
		}
	}
}

/* fills its allowance of bytes, then checks that what was written is whole; exit status 0: as it should be */
static void full_disk_child(const char *path)
{
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit limit = {400000, 400000};
	if (setrlimit(RLIMIT_FSIZE, &limit))
		_exit(10);
	g_autoptr(sample_t) first = make_sample(42, 0, 300);
	g_autoptr(GError) error = NULL;
	recording_t *recording = recording_append_to(path, first, &error);
	if (!recording)
		_exit(11);
	int written = 0;
	for (int at = 0; at < 1000; at++) {
		g_autoptr(sample_t) sample = make_sample(42, at, 300);
		if (!recording_append(recording, sample, NULL, &error))
			break;
		written++;
	}
	if (!error || !strstr(error->message, "samples recorded before are kept"))
		_exit(12);
	/* still good for reading, and a failed append left nothing of itself */
	g_autofree char *count = query(path, "SELECT count(*) FROM sample");
	recording_free(recording);
	_exit(written > 1 && g_ascii_strtoll(count, NULL, 10) == written ? 0 : 13);
}

static void test_full_disk(struct fixture *fixture, gconstpointer unused)
{
	pid_t child = fork();
	if (!child)
		full_disk_child(fixture->path);
	int status;
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
	check_query(fixture->path, "PRAGMA integrity_check", "ok");
	/* once there is room again it goes on */
	g_autofree char *count = query(fixture->path, "SELECT count(*) FROM sample");
	int written = (int)g_ascii_strtoll(count, NULL, 10);
	recording_free(record(fixture->path, written, written + 2, 300));
}

static void test_read_only(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 2, 2));
	g_assert_cmpint(g_chmod(fixture->path, 0444), ==, 0);
	g_assert_cmpint(g_chmod(fixture->directory, 0555), ==, 0);
	g_autoptr(GError) error = NULL;
	recording_t *recording = recording_open(fixture->path, &error);
	g_assert_no_error(error);
	g_assert_cmpint(recording_after(recording, 0), ==, 1);
	recording_free(recording);
	g_assert_cmpint(g_chmod(fixture->directory, 0755), ==, 0);
}

static void test_damaged(struct fixture *fixture, gconstpointer unused)
{
	recording_free(record(fixture->path, 0, 3, 50));
	g_autofree char *good = NULL;
	gsize size;
	g_assert_true(g_file_get_contents(fixture->path, &good, &size, NULL));
	for (int round = 0; round < 300; round++) {
		g_autofree char *bad = g_memdup2(good, size);
		for (int i = 0; i < 20; i++)
			bad[g_test_rand_int_range(100, (int)size)] = (char)g_test_rand_int_range(0, 256);
		g_assert_true(g_file_set_contents(fixture->path, bad, (gssize)size, NULL));
		g_autoptr(recording_t) recording = recording_open(fixture->path, NULL);
		for (int64_t id = 1; recording && id <= 3; id++)
			sample_unref(recording_load(recording, id, NULL));
	}
}

#define ADD(name, function) g_test_add("/recording/" name, struct fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("round-trip", test_round_trip);
	ADD("watched", test_watched);
	ADD("source", test_source);
	ADD("header", test_header);
	ADD("append", test_append);
	ADD("older", test_older);
	ADD("exec", test_exec);
	ADD("growth", test_growth);
	ADD("other-target", test_other_target);
	ADD("foreign-file", test_foreign_file);
	ADD("odd-places", test_odd_places);
	ADD("killed", test_killed);
	ADD("full-disk", test_full_disk);
	ADD("read-only", test_read_only);
	ADD("damaged", test_damaged);
	return g_test_run();
}
