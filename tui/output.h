/*
 * Where a command's data goes: standard output or the file of -o. Data only; everything else goes to standard error.
 *
 * A reader that closed its end of the pipe is no failure: writing then sets OUTPUT_ERROR/OUTPUT_CLOSED, at which main()
 * ends the program quietly. Any other write error is FACE_ERROR/FAILED.
 */
#pragma once
#include <glib.h>

#define OUTPUT_ERROR g_quark_from_static_string("reftop-output")
enum { OUTPUT_CLOSED = 1 };

typedef struct output output_t;

/* Open `path` for writing, emptied; NULL or "-" is standard output. */
output_t *output_open(const char *path, GError **error);
/* Write it all, down to the file. */
gboolean output_write(output_t *output, const char *text, gsize size, GError **error);
/* Close, with the errors that only closing tells. NULL is fine. */
gboolean output_close(output_t *output, GError **error);
/* Close without asking. */
void output_free(output_t *output);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(output_t, output_free)

/* Open, write, close. */
gboolean output_text(const char *path, const char *text, gsize size, GError **error);

/* Whether standard error is a terminal and colours are wanted (NO_COLOR, --no-color). */
gboolean output_color(gboolean no_color, int fd);
