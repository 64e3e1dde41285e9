/*
 * Text at the border. Names, paths and values of the target are foreign bytes: they may be no UTF-8, hold terminal
 * escapes or newlines, or be as long as the target likes. They pass text_escape() once, where they come in, and are safe for
 * terminal, JSON and log from then on.
 */
#pragma once
#include <glib.h>

/*
 * A copy of at most `size` bytes (up to a NUL) that is valid UTF-8 and printable: control and format characters and
 * broken bytes become \xNN or \u{NNNN}. Free with g_free().
 */
char *text_escape(const char *bytes, gsize size);
/* The same for a text of several lines: newlines stay. */
char *text_escape_lines(const char *text);

/* 1536 -> "1.5K", as htop and ls -h write it: at most 5 columns, powers of 1024. buffer holds at least 16. */
const char *text_bytes(char buffer[16], gint64 bytes);

/* 1234567 -> "1,234,567" (negative too). buffer holds at least 32. */
const char *text_count(char buffer[32], gint64 count);

/* RFC 3339 in UTC with microseconds from µs since the epoch: "2026-11-20T08:15:02.123456Z". Free with g_free(). */
char *text_time(gint64 us);

/* "500ms", "10s", "5m", "1.5" (seconds), "2h" -> microseconds; false: not a duration, or not above 0. */
gboolean text_duration(const char *text, gint64 *us);

/* 1234 µs -> "1.2 ms". Free with g_free(). */
char *text_milliseconds(gint64 us);

/* "256MB", "256M", "1.5G", "4096" -> bytes, in powers of 1024 as text_bytes() prints them; false: not a size, or not above 0. */
gboolean text_size(const char *text, gint64 *bytes);

/* "1%", "0.5%", "2" -> a share of 1; false: not above 0, or more than 100 %. */
gboolean text_percent(const char *text, double *share);
