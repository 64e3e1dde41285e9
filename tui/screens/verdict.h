/*
 * What grows, in one sentence a tired person understands.
 */
#pragma once
#include "daemon/analysis/trend.h"
#include "tui/frame.h"

/*
 * How many dicts, lists and strings an object of the program's own may bring along and still be named first: what leaks is the class,
 * the built-in objects hang on it.
 */
#define VERDICT_OWN_WEIGHT 8

/* A sentence of at most `width` columns (shorter words are chosen until it fits), and its role. Free with g_free(). */
char *verdict_words(const trend_t *trend, int width, enum role *role);

/* The row that the sentence is about; NULL: nothing grows steadily, or it is too early to tell. */
const struct trend_row *verdict_culprit(const trend_t *trend);

/* "2 min 10 s", or brief "2m10s"; two units at most. Free with g_free(). */
char *words_duration(gint64 us, gboolean brief);
/* Units a second as "+1,000/s", "+12/min" or "+3/h". Free with g_free(). */
char *words_rate(double per_second, gboolean bytes);
/* A pause: "0µs", "812µs", "38ms", "1.2s"; "-" unknown. Free with g_free(). */
char *words_pause(gint64 us);
/* A command line without where its program lies: "python3 app.py". Points into `command`. */
const char *words_command(const char *command);
/* "500ms", "1.5s", "2m". Free with g_free(). */
char *words_interval(gint64 us);
