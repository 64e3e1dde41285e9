/*
 * What the owner wants done when a type grows steadily, or a process becomes large: a line in the journal, an image of the process, a
 * command. Each at most once in a while for a process and type.
 */
#include <gio/gio.h>
#include <math.h>
#include <string.h>

#include "daemon/server/server_private.h"

struct happening {
	struct server *server;
	struct subject *subject;
	const struct config_rule *rule;
	const char *type; /* "" for on-rss */
	double rate;      /* objects a minute; NAN */
};

/* whether it was told long ago, or never; remembers that it is told now */
static bool is_news(const struct happening *now)
{
	g_autofree char *key = g_strconcat(now->rule->name, "/", now->type, NULL);
	gint64 *last = g_hash_table_lookup(now->subject->told, key), time = g_get_monotonic_time();
	if (last && time - *last < now->rule->again_us)
		return false;
	g_hash_table_insert(now->subject->told, g_steal_pointer(&key), g_memdup2(&time, sizeof(time)));
	return true;
}

/* %p %t %r %i %%; what comes from the process stays one word: there is no shell */
static char *expand(const char *word, const struct happening *now, const char *image)
{
	GString *out = g_string_new(NULL);
	for (; *word; word++) {
		if (*word != '%' || !word[1]) {
			g_string_append_c(out, *word);
			continue;
		}
		switch (*++word) {
		case 'p':
			g_string_append_printf(out, "%d", (int)now->subject->pid);
			break;
		case 't':
			g_string_append(out, now->type);
			break;
		case 'r':
			g_string_append_printf(out, "%.0f", isnan(now->rate) ? 0 : now->rate);
			break;
		case 'i':
			g_string_append(out, image);
			break;
		default:
			g_string_append_c(out, *word);
		}
	}
	return g_string_free(out, FALSE);
}

static void run(struct server *server, const char *const *argv, const char *what)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GSubprocess) process =
		g_subprocess_newv(argv, G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error);
	if (process)
		g_subprocess_wait_async(process, NULL, NULL, NULL);
	else
		server_log(server, G_LOG_LEVEL_WARNING, "cannot run %s: %s", what, error->message);
}

static void act(const struct happening *now)
{
	const struct config_rule *rule = now->rule;
	if (!is_news(now))
		return;
	g_autofree char *words = subject_name(now->subject);
	g_autoptr(GDateTime) time = g_date_time_new_now_utc();
	g_autofree char *stamp = g_date_time_format(time, "%Y%m%dT%H%M%SZ");
	g_autofree char *name = g_strdup_printf("reftop-%d-%s.image", (int)now->subject->pid, stamp);
	g_autofree char *store = g_path_get_dirname(now->server->config->store ? now->server->config->store : ".");
	g_autofree char *image =
		rule->save ? g_build_filename(rule->directory ? rule->directory : store, name, NULL) : g_strdup("");
	if (rule->journal && *now->type)
		server_log(now->server, G_LOG_LEVEL_WARNING, "rule %s: %s: %s grows by %.0f a minute", rule->name,
			   words, now->type, now->rate);
	else if (rule->journal)
		server_log(now->server, G_LOG_LEVEL_WARNING, "rule %s: %s has %" G_GINT64_FORMAT " bytes resident",
			   rule->name, words, now->subject->last->target.rss);
	if (rule->save) {
		g_autofree char *self = g_file_read_link("/proc/self/exe", NULL),
				*pid = g_strdup_printf("%d", (int)now->subject->pid);
		const char *argv[] = {self ? self : "reftop", "save", "-q", "-p", pid, "-o", image, NULL};
		run(now->server, argv, "reftop save");
	}
	if (!rule->command)
		return;
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	for (char **word = rule->command; *word; word++) {
		g_autofree char *expanded = expand(*word, now, image);
		g_strv_builder_add(builder, expanded);
	}
	g_auto(GStrv) argv = g_strv_builder_end(builder);
	run(now->server, (const char *const *)argv, argv[0]);
}

static void check_growth(struct happening *now)
{
	const GPtrArray *rows = trend_rows(subject_trend(now->subject));
	for (guint i = 0; i < rows->len; i++) {
		const struct trend_row *row = rows->pdata[i];
		const struct growth *growth = &row->growth[TREND_COUNT];
		if (growth->verdict != GROWTH_STEADY || growth->rate * 60 < now->rule->rate ||
		    !g_pattern_match_simple(now->rule->on_growth, row->name))
			continue;
		now->type = row->name;
		now->rate = growth->rate * 60;
		act(now);
	}
}

void rules_check(struct server *server, struct subject *subject)
{
	const GPtrArray *rules = server->config->rules;
	for (guint i = 0; i < rules->len; i++) {
		struct happening now = {server, subject, rules->pdata[i], "", NAN};
		/* a sample that counted nothing says nothing */
		if (subject->last->totals.objects == SAMPLE_UNKNOWN)
			continue;
		if (now.rule->on_rss && subject->last->target.rss >= now.rule->on_rss)
			act(&now);
		if (now.rule->on_growth)
			check_growth(&now);
	}
}
