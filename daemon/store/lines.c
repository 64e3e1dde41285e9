#include "daemon/store/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/json.h"

#define MAX_BYTES ((size_t)1 << 30)

/* what a line of ours begins with */
#define HEAD   "{\"schema\":\"reftop.sample/1\",\"time\":\""
#define TARGET "\",\"target\":{\"pid\":"
#define START  ",\"start_time\":\""

struct line {
	size_t offset, size;
	bool skipped;
	struct lines_sample sample;
};

struct lines {
	char *name; /* escaped */
	char *text;
	size_t size;
	GArray *lines; /* of struct line */
};

void lines_free(lines_t *lines)
{
	if (!lines)
		return;
	g_array_unref(lines->lines);
	g_free(lines->text);
	g_free(lines->name);
	g_free(lines);
}

/* a whole file that isn't absurdly large; also a pipe */
static bool read_file(lines_t *lines, const char *path, GError **error)
{
	FILE *file = fopen(path, "re");
	g_autoptr(GString) text = g_string_new(NULL);
	char buffer[65536];
	size_t n;
	while (file && text->len < MAX_BYTES && (n = fread(buffer, 1, sizeof(buffer), file)) > 0)
		g_string_append_len(text, buffer, (gssize)n);
	int code = !file || ferror(file) ? errno : text->len >= MAX_BYTES ? EFBIG : 0;
	if (file)
		fclose(file);
	if (code) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, g_strerror(code), NULL, "cannot read %s",
			  lines->name);
		return false;
	}
	lines->size = text->len;
	lines->text = g_string_free(g_steal_pointer(&text), FALSE);
	return true;
}

/* ---- what is on a line ---- */

/* Behind `prefix` at `at`, or NULL. */
static const char *behind(const char *at, const char *end, const char *prefix)
{
	size_t size = strlen(prefix);
	return at && (size_t)(end - at) >= size && !memcmp(at, prefix, size) ? at + size : NULL;
}

/* The time that ends with a quote; `at` behind it, or NULL. */
static const char *read_time(const char *at, const char *end, int64_t *time_us)
{
	const char *quote = at ? memchr(at, '"', MIN((size_t)(end - at), 40)) : NULL;
	g_autofree char *text = quote ? g_strndup(at, (gsize)(quote - at)) : NULL;
	g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;
	if (time)
		*time_us = g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time);
	return time ? quote : NULL;
}

/*
 * Of a line as we write it, without parsing all of it: there may be thousands, each of a hundred kilobytes. False: it is another program's,
 * or damaged.
 */
static bool read_head(const char *text, size_t size, struct lines_sample *sample)
{
	const char *end = text + size, *at = read_time(behind(text, end, HEAD), end, &sample->time_us);
	if (size < 2 || end[-1] != '}' || !(at = behind(at, end, TARGET)))
		return false;
	size_t digits = 0;
	while (at + digits < end && g_ascii_isdigit(at[digits]))
		digits++;
	g_autofree char *pid = g_strndup(at, MIN(digits, 18));
	sample->pid = g_ascii_strtoll(pid, NULL, 10);
	return digits && digits <= 18 && read_time(behind(at + digits, end, START), end, &sample->start_time_us);
}

/* Whether the key has a word behind it. It can't be part of a string: its quotes would have backslashes. */
static bool is_skipped(const char *text, size_t size)
{
	static const char key[] = "\"skipped\"";
	const char *end = text + size, *at = text;
	while ((at = memmem(at, (size_t)(end - at), key, sizeof(key) - 1))) {
		at += sizeof(key) - 1;
		while (at < end && strchr(" \t\r\n:", *at) && *at)
			at++;
		if (at < end && *at == '"')
			return true;
	}
	return false;
}

static bool read_line(lines_t *lines, struct line *line, GError **error)
{
	const char *text = lines->text + line->offset;
	line->skipped = is_skipped(text, line->size);
	if (line->skipped || read_head(text, line->size, &line->sample))
		return true;
	g_autoptr(sample_t) sample = json_sample_parse(text, line->size, error);
	if (sample)
		line->sample = (struct lines_sample){sample->time_us, sample->target.pid, sample->target.start_time_us};
	return sample != NULL;
}

/* ---- the file ---- */

static bool has_something(const char *text, size_t size)
{
	return strspn(text, " \t\r") < size;
}

static void find_lines(lines_t *lines)
{
	const char *end = lines->text + lines->size;
	for (const char *at = lines->text; at < end;) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		struct line line = {.offset = (size_t)(at - lines->text), .size = (size_t)((stop ? stop : end) - at)};
		while (line.size && at[line.size - 1] == '\r')
			line.size--;
		if (has_something(at, line.size))
			g_array_append_val(lines->lines, line);
		at = stop ? stop + 1 : end;
	}
	if (lines->lines->len < 2)
		return;
	/* one sample over many lines: a line of ours is more than a bracket */
	const struct line *first = &g_array_index(lines->lines, struct line, 0);
	if (first->size > 1 && lines->text[first->offset + 1] == '"')
		return;
	struct line all = {.size = lines->size};
	g_array_set_size(lines->lines, 0);
	g_array_append_val(lines->lines, all);
}

static bool read_lines(lines_t *lines, GError **error)
{
	for (guint i = 0; i < lines->lines->len; i++) {
		struct line *line = &g_array_index(lines->lines, struct line, i);
		GError *problem = NULL;
		if (read_line(lines, line, &problem))
			continue;
		bool cut_off = i && i + 1 == lines->lines->len && lines->text[lines->size - 1] != '\n';
		if (cut_off) {
			g_array_set_size(lines->lines, i);
			g_error_free(problem);
			return true;
		}
		if (lines->lines->len > 1)
			g_propagate_prefixed_error(error, problem, "%s, sample %u: ", lines->name, i + 1);
		else
			g_propagate_prefixed_error(error, problem, "%s: ", lines->name);
		return false;
	}
	return true;
}

lines_t *lines_open(const char *path, GError **error)
{
	g_autoptr(lines_t) lines = g_new0(lines_t, 1);
	lines->name = text_escape(path, G_MAXSIZE);
	lines->lines = g_array_new(FALSE, TRUE, sizeof(struct line));
	if (!read_file(lines, path, error))
		return NULL;
	find_lines(lines);
	if (!lines->lines->len) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "there is nothing in it",
			  "make one with `reftop record -p PID -o FILE`", "cannot read %s", lines->name);
		return NULL;
	}
	return read_lines(lines, error) ? g_steal_pointer(&lines) : NULL;
}

size_t lines_n(const lines_t *lines)
{
	return lines->lines->len;
}

static const struct line *line_at(const lines_t *lines, int64_t id)
{
	return id >= 1 && id <= (int64_t)lines->lines->len ? &g_array_index(lines->lines, struct line, (guint)id - 1)
							   : NULL;
}

bool lines_at(const lines_t *lines, int64_t id, struct lines_sample *sample)
{
	const struct line *line = line_at(lines, id);
	if (!line || line->skipped)
		return false;
	*sample = line->sample;
	return true;
}

sample_t *lines_load(const lines_t *lines, int64_t id, GError **error)
{
	const struct line *line = line_at(lines, id);
	GError *problem = NULL;
	if (!line) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "there is no such sample", NULL,
			  "cannot read sample %" G_GINT64_FORMAT " of %s", id, lines->name);
		return NULL;
	}
	sample_t *sample = json_sample_parse(lines->text + line->offset, line->size, &problem);
	if (!sample)
		g_propagate_prefixed_error(error, problem, "%s: ", lines->name);
	return sample;
}
