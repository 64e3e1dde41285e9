#include "daemon/server/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/target/process.h"

#define MINUTE_US (INT64_C(60) * G_USEC_PER_SEC)

static void match_free(gpointer data)
{
	struct config_match *match = data;
	g_free(match->name);
	g_free(match->cmdline);
	g_free(match->user);
	g_free(match->unit);
	g_free(match->container);
	g_free(match->parent);
	g_free(match);
}

static void rule_free(gpointer data)
{
	struct config_rule *rule = data;
	g_free(rule->name);
	g_free(rule->on_growth);
	g_strfreev(rule->command);
	g_free(rule->directory);
	g_free(rule);
}

struct config *config_new(void)
{
	struct config *config = g_new0(struct config, 1);
	config->interval_us = 10 * G_USEC_PER_SEC;
	config->cpu = 0.08;
	config->pause = 0.01;
	config->memory = 200LL << 20;
	config->full_us = 10 * MINUTE_US;
	config->minutes_us = 24 * 60 * MINUTE_US;
	config->retention_us = INT64_C(7) * 24 * 60 * MINUTE_US;
	config->top = 10;
	config->questions = true;
	config->leaks_us = 10 * MINUTE_US;
	config->matches = g_ptr_array_new_with_free_func(match_free);
	config->rules = g_ptr_array_new_with_free_func(rule_free);
	const char *state = g_getenv("STATE_DIRECTORY"), *runtime = g_getenv("XDG_RUNTIME_DIR");
	if (geteuid() == 0 && !runtime) {
		config->socket = g_strdup("/run/reftop/reftop.sock");
		config->store = g_build_filename(state ? state : "/var/lib/reftop", "history.db", NULL);
	} else {
		config->socket = runtime ? g_build_filename(runtime, "reftop.sock", NULL)
					 : g_strdup_printf("/tmp/reftop-%u/reftop.sock", (unsigned)getuid());
		config->store = g_build_filename(state ? state : g_get_user_state_dir(), state ? "" : "reftop",
						 "history.db", NULL);
	}
	return config;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	g_free(config->store);
	g_free(config->socket);
	g_free(config->listen);
	g_free(config->token);
	g_ptr_array_unref(config->matches);
	g_ptr_array_unref(config->rules);
	g_free(config);
}

/* ---- the key file ---- */

enum value_kind {
	VALUE_TEXT,
	VALUE_TIME,
	VALUE_TIME_OR_NO,
	VALUE_SHARE,
	VALUE_BYTES,
	VALUE_NUMBER,
	VALUE_BOOL,
	VALUE_WORDS,
	VALUE_RATE
};

struct key_kind {
	const char *key;
	enum value_kind kind;
	gsize offset;
};

#define OF(type, member) G_STRUCT_OFFSET(struct type, member)
static const struct key_kind daemon_keys[] = {
	{"interval", VALUE_TIME, OF(config, interval_us)},
	{"cpu", VALUE_SHARE, OF(config, cpu)},
	{"pause", VALUE_SHARE, OF(config, pause)},
	{"memory", VALUE_BYTES, OF(config, memory)},
	{"full", VALUE_TIME, OF(config, full_us)},
	{"minutes", VALUE_TIME, OF(config, minutes_us)},
	{"retention", VALUE_TIME, OF(config, retention_us)},
	{"store", VALUE_TEXT, OF(config, store)},
	{"socket", VALUE_TEXT, OF(config, socket)},
	{"listen", VALUE_TEXT, OF(config, listen)},
	{"token", VALUE_TEXT, OF(config, token)},
	{"top", VALUE_NUMBER, OF(config, top)},
	{"questions", VALUE_BOOL, OF(config, questions)},
	{"leaks", VALUE_TIME_OR_NO, OF(config, leaks_us)},
	{NULL, 0, 0},
};
static const struct key_kind match_keys[] = {
	{"cmdline", VALUE_TEXT, OF(config_match, cmdline)},
	{"user", VALUE_TEXT, OF(config_match, user)},
	{"unit", VALUE_TEXT, OF(config_match, unit)},
	{"container", VALUE_TEXT, OF(config_match, container)},
	{"parent", VALUE_TEXT, OF(config_match, parent)},
	{"interval", VALUE_TIME, OF(config_match, interval_us)},
	{NULL, 0, 0},
};
static const struct key_kind rule_keys[] = {
	{"on-growth", VALUE_TEXT, OF(config_rule, on_growth)},
	{"rate", VALUE_RATE, OF(config_rule, rate)},
	{"on-rss", VALUE_BYTES, OF(config_rule, on_rss)},
	{"journal", VALUE_BOOL, OF(config_rule, journal)},
	{"save", VALUE_BOOL, OF(config_rule, save)},
	{"directory", VALUE_TEXT, OF(config_rule, directory)},
	{"command", VALUE_WORDS, OF(config_rule, command)},
	{"again", VALUE_TIME, OF(config_rule, again_us)},
	{NULL, 0, 0},
};

/* "200M", "1.5G" */
static gboolean parse_bytes(const char *text, int64_t *bytes)
{
	char *end;
	double number = g_ascii_strtod(text, &end);
	const char *units = "KMGT", *unit = *end ? strchr(units, g_ascii_toupper(*end)) : NULL;
	for (const char *u = units; unit && u <= unit; u++)
		number *= 1024;
	if (end == text || number < 1 || number > 1e15 || (*end && (!unit || end[1])))
		return FALSE;
	*bytes = (int64_t)number;
	return TRUE;
}

/* "5%", "0.05" */
static gboolean parse_share(const char *text, double *share)
{
	char *end;
	*share = g_ascii_strtod(text, &end);
	if (end == text || (*end && strcmp(end, "%")))
		return FALSE;
	if (*end)
		*share /= 100;
	return *share > 0 && *share <= 100;
}

static gboolean parse_value(enum value_kind kind, const char *text, void *at)
{
	guint64 number;
	char *end;
	switch (kind) {
	case VALUE_TEXT:
		g_free(*(char **)at);
		*(char **)at = *text ? g_strdup(text) : NULL;
		return TRUE;
	case VALUE_TIME_OR_NO:
		*(int64_t *)at = 0;
		return !strcmp(text, "no") || text_duration(text, at);
	case VALUE_TIME:
		return text_duration(text, at);
	case VALUE_SHARE:
		return parse_share(text, at);
	case VALUE_BYTES:
		return parse_bytes(text, at);
	case VALUE_NUMBER:
		if (!g_ascii_string_to_unsigned(text, 10, 0, 1000, &number, NULL))
			return FALSE;
		*(int64_t *)at = (int64_t)number;
		return TRUE;
	case VALUE_RATE:
		*(double *)at = g_ascii_strtod(text, &end);
		return end != text && !*end && *(double *)at >= 0;
	case VALUE_BOOL:
		*(bool *)at = !strcmp(text, "yes") || !strcmp(text, "true");
		return *(bool *)at || !strcmp(text, "no") || !strcmp(text, "false");
	case VALUE_WORDS:
		return g_shell_parse_argv(text, NULL, at, NULL);
	}
	return FALSE;
}

static gboolean load_group(GKeyFile *file, const char *group, const struct key_kind *kinds, void *into, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, NULL);
	for (char **key = keys; keys && *key; key++) {
		const struct key_kind *kind = kinds;
		while (kind->key && strcmp(kind->key, *key))
			kind++;
		g_autofree char *text = g_key_file_get_string(file, group, *key, NULL);
		if (kind->key && text && parse_value(kind->kind, g_strstrip(text), (char *)into + kind->offset))
			continue;
		g_autofree char *where = text_escape(group, strlen(group)), *name = text_escape(*key, strlen(*key));
		g_autofree char *value = text ? text_escape(text, strlen(text)) : g_strdup("");
		error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE,
			  kind->key ? "its value makes no sense" : "there is no such key", "see `reftop help watching`",
			  "bad line in [%s]: %s=%s", where, name, value);
		return FALSE;
	}
	return TRUE;
}

static gboolean load_rule(struct config *config, GKeyFile *file, const char *group, GError **error)
{
	struct config_rule *rule = g_new0(struct config_rule, 1);
	rule->name = g_strdup(group + strlen("rule "));
	rule->journal = true;
	rule->again_us = 60 * MINUTE_US;
	g_ptr_array_add(config->rules, rule);
	if (!load_group(file, group, rule_keys, rule, error))
		return FALSE;
	if (rule->on_growth || rule->on_rss)
		return TRUE;
	error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, "it needs on-growth= or on-rss=", NULL,
		  "a rule without a condition: [%s]", group);
	return FALSE;
}

gboolean config_load(struct config *config, const char *path, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GError) problem = NULL;
	g_autofree char *name = text_escape(path, strlen(path));
	if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &problem)) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, problem->message, NULL, "cannot read %s", name);
		return FALSE;
	}
	g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
	for (char **group = groups; *group; group++) {
		gboolean watch = g_str_has_prefix(*group, "watch"), ignore = g_str_has_prefix(*group, "ignore");
		gboolean good;
		if (!strcmp(*group, "daemon")) {
			good = load_group(file, *group, daemon_keys, config, error);
		} else if (g_str_has_prefix(*group, "rule ")) {
			good = load_rule(config, file, *group, error);
		} else if (watch || ignore) {
			struct config_match *match = g_new0(struct config_match, 1);
			match->name = g_strdup(*group);
			match->ignore = ignore;
			g_ptr_array_add(config->matches, match);
			good = load_group(file, *group, match_keys, match, error);
		} else {
			error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE,
				  "there are [daemon], [watch NAME], [ignore NAME] and [rule NAME]", NULL,
				  "no such group in %s: [%s]", name, *group);
			good = FALSE;
		}
		if (!good)
			return FALSE;
	}
	return TRUE;
}

/* ---- matching ---- */

/* the last component of the path in a cgroup file that `suits`, freed by the caller; "" none */
static char *cgroup_part(const char *cgroup, char *(*suits)(const char *part))
{
	char *found = NULL;
	g_auto(GStrv) lines = g_strsplit(cgroup, "\n", 64);
	for (char **line = lines; *line; line++) {
		const char *path = strchr(*line, '/');
		g_auto(GStrv) parts = path ? g_strsplit(path, "/", 64) : NULL;
		for (char **part = parts; parts && *part; part++) {
			char *name = suits(*part);
			if (name) {
				g_free(found);
				found = name;
			}
		}
	}
	return found ? found : g_strdup("");
}

static char *suits_unit(const char *part)
{
	return g_str_has_suffix(part, ".service") || (g_str_has_suffix(part, ".scope") && strncmp(part, "docker-", 7) &&
						      strncmp(part, "libpod-", 7))
		       ? text_escape(part, strlen(part))
		       : NULL;
}

/* docker-ID.scope, libpod-ID.scope, cri-containerd-ID.scope, /docker/ID: 64 hexadecimal digits */
static char *suits_container(const char *part)
{
	for (const char *at = part; *at; at++) {
		size_t n = strspn(at, "0123456789abcdef");
		if (n == 64)
			return g_strndup(at, n);
		at += n ? n - 1 : 0;
	}
	return NULL;
}

char *config_unit(const char *cgroup)
{
	return cgroup_part(cgroup, suits_unit);
}

char *config_container(const char *cgroup)
{
	return cgroup_part(cgroup, suits_container);
}

static gboolean like(const char *pattern, const char *text)
{
	return !pattern || g_pattern_match_simple(pattern, text);
}

static gboolean origin_like(const struct config_match *match, const struct python_process *python)
{
	if (match->unit || match->container) {
		char path[64];
		g_snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)python->pid);
		g_autofree char *cgroup = process_file(path, 65536, NULL);
		g_autofree char *unit = config_unit(cgroup ? cgroup : "");
		g_autofree char *container = config_container(cgroup ? cgroup : "");
		g_autofree char *short_id = match->container ? g_strconcat(match->container, "*", NULL) : NULL;
		if (!like(match->unit, unit) || !like(short_id, container))
			return FALSE;
	}
	if (!match->parent)
		return TRUE;
	g_auto(GStrv) words = process_cmdline(python->process.ppid);
	g_autofree char *parent = words ? g_strjoinv(" ", words) : g_strdup("");
	g_autofree char *number = g_strdup_printf("%d", (int)python->process.ppid);
	return like(match->parent, parent) || !strcmp(match->parent, number);
}

static gboolean match_like(const struct config_match *match, const struct python_process *python)
{
	g_autofree char *cmdline = python->cmdline ? g_strjoinv(" ", python->cmdline) : g_strdup("");
	return like(match->cmdline, cmdline) && like(match->user, python->user) && origin_like(match, python);
}

gboolean config_matches(const struct config *config, const struct python_process *python, int64_t *interval_us)
{
	gboolean any = FALSE, found = FALSE;
	*interval_us = config->interval_us;
	for (guint i = 0; i < config->matches->len; i++) {
		const struct config_match *match = config->matches->pdata[i];
		any |= !match->ignore;
		if (match->ignore ? match_like(match, python) : !found && match_like(match, python)) {
			if (match->ignore)
				return FALSE;
			found = TRUE;
			if (match->interval_us)
				*interval_us = match->interval_us;
		}
	}
	return found || !any;
}
