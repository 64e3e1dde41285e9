#include "daemon/store/reference.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/store/archive.h"

#define NOT_A_SAMPLE "what follows the @ is no number, time (14:05:00), `first` or `last`"

enum which { WHICH_NUMBER, WHICH_LAST, WHICH_TIME };

/* what follows the @ */
struct which_sample {
	enum which which;
	gint64 number;
	int second; /* of the day, local time */
};

static gboolean parse_which(const char *text, struct which_sample *which)
{
	int hour, minute, second = 0, end = 0;
	guint64 number;
	if (!strcmp(text, "last")) {
		which->which = WHICH_LAST;
		return TRUE;
	}
	if (!strcmp(text, "first"))
		text = "1";
	if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, &number, NULL)) {
		which->which = WHICH_NUMBER;
		which->number = (gint64)number;
		return TRUE;
	}
	if (sscanf(text, "%2d:%2d%n:%2d%n", &hour, &minute, &end, &second, &end) < 2 || text[end] || hour < 0 ||
	    hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return FALSE;
	which->which = WHICH_TIME;
	which->second = hour * 3600 + minute * 60 + second;
	return TRUE;
}

/* The moment of that local time on the day of `time_us`, or `days` later. */
static int64_t moment(int64_t time_us, int second, int days)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(time_us / G_USEC_PER_SEC);
	g_autoptr(GDateTime) day = time ? g_date_time_new_local(g_date_time_get_year(time), g_date_time_get_month(time),
								g_date_time_get_day_of_month(time), 0, 0, 0)
					: NULL;
	g_autoptr(GDateTime) other = day ? g_date_time_add_days(day, days) : NULL;
	g_autoptr(GDateTime) then = other ? g_date_time_add_seconds(other, second) : NULL;
	/* the whole second counts */
	return then ? (g_date_time_to_unix(then) + 1) * G_USEC_PER_SEC - 1 : time_us;
}

/* The last sample at or before a time of day, on the last day that has got so far; beyond the end it is the last of
 * all. */
static gssize choose_by_time(int second, const int64_t *times_us, size_t n)
{
	if (!n)
		return -1;
	int64_t then = moment(times_us[n - 1], second, 0);
	if (then > times_us[n - 1]) {
		int64_t day_before = moment(times_us[n - 1], second, -1);
		if (day_before >= times_us[0])
			then = day_before;
	}
	while (n && times_us[n - 1] > then)
		n--;
	return (gssize)n - 1;
}

static void no_such_sample(const char *name, GError **error)
{
	error_set(error, STORE_ERROR, REFTOP_ERROR_FAILED, "there is no such sample in it", "the last one is FILE@last",
		  "cannot read %s", name);
}

/* Which of `n` samples is meant, by the times they were taken at: an index, or -1. */
static gssize choose(const struct which_sample *which, const int64_t *times_us, size_t n)
{
	if (which->which == WHICH_NUMBER)
		return which->number <= (gint64)n ? (gssize)which->number - 1 : -1;
	if (which->which == WHICH_LAST)
		return (gssize)n - 1;
	return choose_by_time(which->second, times_us, n);
}

char *reference_split(const char *reference, char **which)
{
	char *path = g_strdup(reference), *at = strrchr(path, '@');
	*which = NULL;
	/* a file may well have an @ in its name */
	if (at && !g_file_test(path, G_FILE_TEST_EXISTS)) {
		*which = g_strdup(at + 1);
		*at = '\0';
	}
	return path;
}

gssize reference_choose(const char *text, const int64_t *times_us, size_t n, GError **error)
{
	struct which_sample which = {.which = WHICH_LAST};
	if (text && !parse_which(text, &which)) {
		g_autofree char *name = text_escape(text, strlen(text));
		error_set(error, STORE_ERROR, REFTOP_ERROR_USAGE, NOT_A_SAMPLE, NULL, "no such sample: %s", name);
		return -1;
	}
	gssize at = choose(&which, times_us, n);
	if (at < 0)
		no_such_sample("this sample", error);
	return at;
}

/* Of an open file, the one that is meant. */
static sample_t *load(archive_t *archive, const char *name, const struct which_sample *which, GError **error)
{
	size_t n = 0;
	g_autofree int64_t *ids = archive_samples(archive, &n, error);
	if (!ids)
		return NULL;
	g_autofree int64_t *times = g_new(int64_t, n + 1);
	for (size_t i = 0; i < n; i++)
		times[i] = which->which == WHICH_TIME ? archive_time(archive, ids[i]) : 0;
	gssize at = choose(which, times, n);
	if (at < 0) {
		no_such_sample(name, error);
		return NULL;
	}
	return archive_load(archive, ids[at], error);
}

sample_t *sample_by_reference(const char *reference, int64_t pid, GError **error)
{
	g_autofree char *name = text_escape(reference, strlen(reference));
	g_autofree char *text_which = NULL, *path = reference_split(reference, &text_which);
	struct which_sample which = {.which = WHICH_LAST};
	if (text_which && !parse_which(text_which, &which)) {
		error_set(error, STORE_ERROR, REFTOP_ERROR_USAGE, NOT_A_SAMPLE, NULL, "no such sample: %s", name);
		return NULL;
	}
	g_autoptr(archive_t) archive = archive_open(path, error);
	if (!archive || (pid && !archive_choose(archive, pid, error)))
		return NULL;
	return load(archive, name, &which, error);
}
