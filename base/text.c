#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* g_unichar_isprint() calls line and paragraph separators printable; a terminal and a line of a log do not */
static gboolean is_printable(gunichar c)
{
	GUnicodeType type = g_unichar_type(c);
	return g_unichar_isprint(c) && type != G_UNICODE_LINE_SEPARATOR && type != G_UNICODE_PARAGRAPH_SEPARATOR;
}

char *text_escape(const char *bytes, gsize size)
{
	g_autoptr(GString) out = g_string_sized_new(MIN(size, 256) + 1);
	gsize i = 0;
	while (i < size && bytes[i]) {
		guchar byte = (guchar)bytes[i];
		if (byte >= 0x20 && byte < 0x7f) {
			g_string_append_c(out, (char)byte);
			i++;
			continue;
		}
		gunichar c = byte < 0x80 ? byte : g_utf8_get_char_validated(bytes + i, (gssize)MIN(size - i, 6));
		if (byte < 0x80 || c == (gunichar)-1 || c == (gunichar)-2) {
			g_string_append_printf(out, "\\x%02x", byte);
			i++;
			continue;
		}
		if (is_printable(c))
			g_string_append_unichar(out, c);
		else
			g_string_append_printf(out, "\\u{%04X}", c);
		i += (gsize)g_unichar_to_utf8(c, NULL);
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

char *text_escape_lines(const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *clean = text_escape(*line, strlen(*line));
		g_free(*line);
		*line = clean;
	}
	return g_strjoinv("\n", lines);
}

const char *text_bytes(char buffer[16], gint64 bytes)
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	size_t unit = 0;
	/* 999.5 would be written with four digits */
	while (fabs(value) >= 999.5 && unit < sizeof(units) - 2) {
		value /= 1024;
		unit++;
	}
	/* 99.95 would be written as 100.0, 9.95 as 10.0; the sign takes the column of a digit */
	int digits = unit && fabs(value) < (bytes < 0 ? 9.95 : 99.95) ? 1 : 0;
	snprintf(buffer, 16, "%.*f%c", digits, value, units[unit]);
	return buffer;
}

const char *text_count(char buffer[32], gint64 count)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" G_GINT64_FORMAT, count);
	char *out = buffer;
	for (int i = 0; i < n; i++) {
		*out++ = digits[i];
		if (digits[i] != '-' && i + 1 < n && (n - i - 1) % 3 == 0)
			*out++ = ',';
	}
	*out = '\0';
	return buffer;
}

char *text_time(gint64 us)
{
	gint64 seconds = us / G_USEC_PER_SEC, rest = us % G_USEC_PER_SEC;
	if (rest < 0) {
		rest += G_USEC_PER_SEC;
		seconds--;
	}
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
	if (!time) /* beyond the year 9999 */
		return g_strdup("0000-00-00T00:00:00.000000Z");
	g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
	return g_strdup_printf("%s.%06dZ", text, (int)rest);
}

struct unit {
	const char *suffix;
	double factor;
};

/* A number and one of the units; the result is in (0, most]. */
static gboolean parse_units(const char *text, const struct unit *units, double most, double *result)
{
	size_t number = strspn(text, "0123456789.");
	if (!number || number > 24)
		return FALSE;
	g_autofree char *digits = g_strndup(text, number);
	char *end;
	double value = g_ascii_strtod(digits, &end);
	if (*end)
		return FALSE;
	for (; units->suffix; units++) {
		if (strcmp(text + number, units->suffix))
			continue;
		*result = value * units->factor;
		return *result > 0 && *result <= most;
	}
	return FALSE;
}

/* The same, rounded to whole ones. */
static gboolean parse_whole(const char *text, const struct unit *units, double most, gint64 *whole)
{
	double result;
	if (!parse_units(text, units, most, &result) || round(result) < 1)
		return FALSE;
	*whole = (gint64)round(result);
	return TRUE;
}

gboolean text_duration(const char *text, gint64 *us)
{
	static const struct unit units[] = {{"", 1e6},   {"us", 1},     {"ms", 1e3},    {"s", 1e6},
					    {"m", 60e6}, {"h", 3600e6}, {"d", 86400e6}, {NULL, 0}};
	return parse_whole(text, units, 9e15, us); /* 285 years */
}

gboolean text_size(const char *text, gint64 *bytes)
{
	static const struct unit units[] = {{"", 1},
					    {"B", 1},
					    {"K", 1024},
					    {"KB", 1024},
					    {"M", 1048576},
					    {"MB", 1048576},
					    {"G", 1 << 30},
					    {"GB", 1 << 30},
					    {"T", 1024.0 * (1 << 30)},
					    {"TB", 1024.0 * (1 << 30)},
					    {NULL, 0}};
	return parse_whole(text, units, 1e18, bytes);
}

gboolean text_percent(const char *text, double *share)
{
	static const struct unit units[] = {{"", 0.01}, {"%", 0.01}, {NULL, 0}};
	return parse_units(text, units, 1, share);
}

char *text_milliseconds(gint64 us)
{
	return g_strdup_printf(us < 10000 ? "%.1f ms" : "%.0f ms", (double)us / 1e3);
}
