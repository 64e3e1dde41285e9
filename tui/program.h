/*
 * A program that reftop starts in order to watch it. Its standard input is empty, its output goes to a file. It runs in
 * a process group of its own, so that Ctrl-C on the terminal is reftop's alone, and it is never killed: who ends reftop
 * leaves it running.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "daemon/source/live.h"

typedef struct program program_t;

enum program_output {
	PROGRAM_TO_FILE,  /* a file of its own: program_log() */
	PROGRAM_TO_ERROR, /* our standard error: standard output is for data */
};

/*
 * Start `argv`. Errors of FACE_ERROR: FAILED (the output file), USAGE (there is no such program, or it can't be
 * executed). Returns when the program has taken over its process.
 */
program_t *program_start(char **argv, enum program_output output, GError **error);
/* Forget it; NULL is fine. */
void program_free(program_t *program);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(program_t, program_free)

pid_t program_pid(const program_t *program);
/* the file its output goes to; NULL: none */
const char *program_log(const program_t *program);
/* its name, escaped */
const char *program_name(const program_t *program);
/*
 * Open it as a source once its interpreter is up. Nothing is ever run in it to learn that. Errors: GONE when it ended before; others as of
 * source_live_new().
 */
source_t *program_source(program_t *program, const struct live_options *options, GError **error);
/* How it ended, "exit status 1", "killed by signal 9 (Killed)"; NULL: it still runs. Free with g_free(). */
char *program_ended(program_t *program);
/* Its exit status once it ended: 0 to 255, or 128 and the signal's number. */
int program_status(const program_t *program);
