#include "tui/screens/verdict.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

char *words_duration(gint64 us, gboolean brief)
{
	static const struct {
		gint64 seconds;
		const char *word, *letter;
	} units[] = {{86400, "d", "d"}, {3600, "h", "h"}, {60, "min", "m"}, {1, "s", "s"}};
	gint64 seconds = MAX(us, 0) / G_USEC_PER_SEC;
	for (size_t i = 0; i + 1 < G_N_ELEMENTS(units); i++) {
		if (seconds < units[i].seconds)
			continue;
		gint64 big = seconds / units[i].seconds, small = seconds % units[i].seconds / units[i + 1].seconds;
		if (!small)
			return brief ? g_strdup_printf("%" G_GINT64_FORMAT "%s", big, units[i].letter)
				     : g_strdup_printf("%" G_GINT64_FORMAT " %s", big, units[i].word);
		if (brief)
			return g_strdup_printf("%" G_GINT64_FORMAT "%s%02" G_GINT64_FORMAT "%s", big, units[i].letter,
					       small, units[i + 1].letter);
		return g_strdup_printf("%" G_GINT64_FORMAT " %s %" G_GINT64_FORMAT " %s", big, units[i].word, small,
				       units[i + 1].word);
	}
	return g_strdup_printf(brief ? "%" G_GINT64_FORMAT "s" : "%" G_GINT64_FORMAT " s", seconds);
}

char *words_rate(double per_second, gboolean bytes)
{
	static const struct {
		double seconds;
		const char *word;
	} units[] = {{1, "s"}, {60, "min"}, {3600, "h"}};
	size_t unit = 0;
	while (unit + 1 < G_N_ELEMENTS(units) && fabs(per_second) * units[unit].seconds < 1)
		unit++;
	double value = per_second * units[unit].seconds;
	char buffer[32];
	const char *sign = value > 0 ? "+" : "";
	if (bytes)
		return g_strdup_printf("%s%s/%s", sign, text_bytes(buffer, (gint64)llround(value)), units[unit].word);
	if (fabs(value) < 9.95 && fabs(value - round(value)) > 0.05)
		return g_strdup_printf("%s%.1f/%s", sign, value, units[unit].word);
	/* a slope is an estimate: three digits are what it is worth */
	double digits = fabs(value) >= 1000 ? pow(10, floor(log10(fabs(value))) - 2) : 1;
	gint64 rounded = (gint64)llround(round(value / digits) * digits);
	return g_strdup_printf("%s%s/%s", sign, text_count(buffer, rounded), units[unit].word);
}

char *words_pause(gint64 us)
{
	if (us < 0)
		return g_strdup("-");
	if (us < 1000)
		return g_strdup_printf("%dµs", (int)us);
	if (us < 9950)
		return g_strdup_printf("%.1fms", (double)us / 1e3);
	if (us < 999500)
		return g_strdup_printf("%.0fms", (double)us / 1e3);
	return g_strdup_printf("%.1fs", (double)us / 1e6);
}

const char *words_command(const char *command)
{
	const char *end = command + strcspn(command, " "), *slash = memrchr(command, '/', (size_t)(end - command));
	return slash && slash + 1 < end ? slash + 1 : command;
}

char *words_interval(gint64 us)
{
	if (us < G_USEC_PER_SEC)
		return g_strdup_printf("%dms", (int)(us / 1000));
	if (us < 60 * G_USEC_PER_SEC && us % G_USEC_PER_SEC)
		return g_strdup_printf("%.1fs", (double)us / G_USEC_PER_SEC);
	return words_duration(us, TRUE);
}

/* The rows that grow steadily in one metric, worst first. */
struct culprits {
	enum trend_metric metric;
	GPtrArray *rows; /* struct trend_row * */
};

static int culprit_compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct trend_row *x = *(struct trend_row *const *)a, *y = *(struct trend_row *const *)b;
	enum trend_metric metric = *(enum trend_metric *)data;
	/* dicts, lists and strings grow along with the objects that hold them: the program's own class is the one to name */
	double p = x->growth[metric].rate * (x->builtin ? 1 : VERDICT_OWN_WEIGHT);
	double q = y->growth[metric].rate * (y->builtin ? 1 : VERDICT_OWN_WEIGHT);
	if (p < q || p > q)
		return p < q ? 1 : -1;
	return g_strcmp0(x->name, y->name);
}

static void culprits_find(struct culprits *culprits, const trend_t *trend, enum trend_metric metric)
{
	const GPtrArray *rows = trend_rows(trend);
	culprits->metric = metric;
	culprits->rows = g_ptr_array_new();
	for (guint i = 0; i < rows->len; i++) {
		struct trend_row *row = rows->pdata[i];
		if (row->growth[metric].verdict == GROWTH_STEADY)
			g_ptr_array_add(culprits->rows, row);
	}
	g_ptr_array_sort_with_data(culprits->rows, culprit_compare, &culprits->metric);
}

/* How a metric of a row changed since a moment. */
static gint64 change_since(const trend_t *trend, const struct trend_row *row, enum trend_metric metric, gint64 since_us)
{
	size_t room = trend_ticks(trend);
	g_autofree int64_t *times = g_new(int64_t, room), *values = g_new(int64_t, room);
	size_t n = trend_series(trend, row, metric, times, values);
	for (size_t i = 0; i < n; i++)
		if (times[i] >= since_us)
			return values[n - 1] - values[i];
	return 0;
}

/* how much is said; what is too long is said again with less */
enum detail { DETAIL_FULL, DETAIL_BRIEF, DETAIL_NO_BYTES, DETAIL_RATE, DETAIL_LEAST, DETAIL_LAST };

static char *clause_amount(const trend_t *trend, const struct trend_row *row, enum trend_metric metric,
			   enum detail detail)
{
	const struct growth *growth = &row->growth[metric];
	char count[32], bytes[16];
	if (detail >= DETAIL_RATE)
		return g_strdup("");
	if (metric == TREND_BYTES)
		return g_strdup_printf(" (+%s)", text_bytes(bytes, growth->amount));
	text_count(count, growth->amount);
	if (metric == TREND_REFS)
		return detail == DETAIL_NO_BYTES ? g_strdup_printf(" (+%s)", count)
						 : g_strdup_printf(" (+%s, no more objects)", count);
	gint64 size = change_since(trend, row, TREND_BYTES, growth->since_us);
	if (detail == DETAIL_NO_BYTES || size <= 0)
		return g_strdup_printf(" (+%s)", count);
	return g_strdup_printf(detail == DETAIL_FULL ? " (+%s objects, %s)" : " (+%s, %s)", count,
			       text_bytes(bytes, size));
}

static char *clause_others(const struct culprits *culprits, enum detail detail)
{
	guint others = culprits->rows->len - 1;
	if (!others)
		return g_strdup(detail < DETAIL_RATE ? "; nothing else grows" : "; nothing else");
	const struct trend_row *next = culprits->rows->pdata[1];
	g_autofree char *rate = words_rate(next->growth[culprits->metric].rate, culprits->metric == TREND_BYTES);
	if (detail >= DETAIL_NO_BYTES)
		return g_strdup_printf("; %u more", others);
	if (others == 1)
		return g_strdup_printf("; %s %s", next->name, rate);
	return g_strdup_printf("; %s %s and %u more", next->name, rate, others - 1);
}

static char *sentence(const trend_t *trend, const struct culprits *culprits, enum detail detail, int name_width)
{
	static const char *const what[] = {[TREND_COUNT] = "", [TREND_BYTES] = "bytes ", [TREND_REFS] = "references "};
	const struct trend_row *row = culprits->rows->pdata[0];
	const struct growth *growth = &row->growth[culprits->metric];
	g_autofree char *name = text_elide(row->name, name_width);
	g_autofree char *rate = words_rate(growth->rate, culprits->metric == TREND_BYTES);
	g_autofree char *time = words_duration(growth->until_us - growth->since_us, detail > DETAIL_FULL);
	g_autofree char *amount = clause_amount(trend, row, culprits->metric, detail);
	g_autofree char *others = clause_others(culprits, detail);
	if (detail == DETAIL_LEAST)
		return g_strdup_printf("%s: %s%s for %s", name, what[culprits->metric], rate, time);
	return g_strdup_printf("%s: %s%s steadily for %s%s%s", name, what[culprits->metric], rate, time, amount,
			       others);
}

static char *culprits_words(const trend_t *trend, const struct culprits *culprits, int width)
{
	for (enum detail detail = DETAIL_FULL; detail < DETAIL_LAST; detail++) {
		g_autofree char *words = sentence(trend, culprits, detail, 60);
		if (text_columns(words) <= width)
			return g_steal_pointer(&words);
	}
	g_autofree char *words = sentence(trend, culprits, DETAIL_LEAST, MAX(8, width / 2));
	return text_columns(words) <= width ? g_steal_pointer(&words) : text_elide(words, width);
}

const struct trend_row *verdict_culprit(const trend_t *trend)
{
	for (enum trend_metric metric = 0; metric < TREND_METRICS && trend_samples(trend) >= GROWTH_MIN_SAMPLES;
	     metric++) {
		struct culprits culprits;
		culprits_find(&culprits, trend, metric);
		g_autoptr(GPtrArray) rows = culprits.rows;
		if (rows->len)
			return rows->pdata[0];
	}
	return NULL;
}

char *verdict_words(const trend_t *trend, int width, enum role *role)
{
	size_t samples = trend_samples(trend);
	*role = ROLE_DIM;
	if (samples < GROWTH_MIN_SAMPLES) {
		size_t more = GROWTH_MIN_SAMPLES - samples;
		g_autofree char *words =
			g_strdup_printf("watching: a verdict needs %zu more sample%s", more, more == 1 ? "" : "s");
		return text_columns(words) <= width ? g_steal_pointer(&words)
						    : g_strdup_printf("watching: %zu more", more);
	}
	for (enum trend_metric metric = 0; metric < TREND_METRICS; metric++) {
		struct culprits culprits;
		culprits_find(&culprits, trend, metric);
		g_autoptr(GPtrArray) rows = culprits.rows;
		if (!rows->len)
			continue;
		*role = ROLE_ALARM;
		return culprits_words(trend, &culprits, width);
	}
	*role = ROLE_CALM;
	gint64 watched = trend_last(trend)->time_us - trend_first_time(trend);
	g_autofree char *time = words_duration(watched, FALSE);
	g_autofree char *words = g_strdup_printf("nothing grows steadily (%zu samples, %s)", samples, time);
	return text_columns(words) <= width ? g_steal_pointer(&words) : g_strdup("nothing grows steadily");
}
