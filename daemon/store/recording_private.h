/* What the three files of the recording share: opening (recording.c), writing (recording_write.c), reading
 * (recording_read.c). */
#pragma once
#include <sqlite3.h>

#include "daemon/store/recording.h"

#define RECORDING_STATEMENTS 9

struct recording {
	sqlite3 *db;
	char *name;                                     /* the path, escaped */
	sqlite3_stmt *statements[RECORDING_STATEMENTS]; /* of the writer or of the reader, prepared once */
	int64_t target;                                 /* writer: row of `target` in use; 0: none yet */
	GHashTable *types; /* writer: struct type_key -> row of `type`, for the target in use */
};

/* columns that older recordings lack, ends with NULL: of version 1 there were several */
struct recording_column {
	const char *table, *name, *declaration;
};
extern const struct recording_column recording_added[];
bool recording_has_column(recording_t *recording, const struct recording_column *column);

/* An open file that is or becomes a recording, as recording_append_to() does, of whatever process. */
recording_t *recording_open_writer(const char *path, const char *pragmas, const sample_t *sample, GError **error);
gboolean recording_execute(recording_t *recording, const char *sql);
/* Set *error to "cannot <what> <name>" with SQLite's reason. */
void recording_error(recording_t *recording, GError **error, const char *what);
gboolean recording_prepare_writer(recording_t *recording);
/* The words of a command line as the file has it, escaped; free with g_strfreev(). NULL or damaged text: none. */
char **recording_words(const char *text);
gboolean recording_prepare_reader(recording_t *recording);
