/* `reftop why`: whether a process can be read, and if not, the cause and the narrowest remedy. */
#include <string.h>

#include "base/error.h"
#include "daemon/store/json.h"
#include "daemon/target/access.h"
#include "daemon/target/snapshot.h"
#include "tui/commands/commands.h"
#include "tui/output.h"

/* what was found out about a process */
struct finding {
	gint64 pid;
	int status; /* 0: it can be read; else the exit status, and: */
	char *what, *cause, *fix;
	target_t *target; /* when it can be read */
	const char *name; /* access_name(), or "unsupported" */
};

static void finding_clear(struct finding *finding)
{
	g_free(finding->what);
	g_free(finding->cause);
	g_free(finding->fix);
	target_free(finding->target);
}

/* take an error's up to three lines apart again (base/error.h) */
static void set_problem(struct finding *finding, const GError *error)
{
	g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
	finding->status = error->code;
	finding->what = g_strdup(lines[0]);
	for (char **line = lines + 1; lines[0] && *line; line++) {
		if (g_str_has_prefix(*line, "  cause: "))
			finding->cause = g_strdup(*line + strlen("  cause: "));
		else if (g_str_has_prefix(*line, "  fix:   "))
			finding->fix = g_strdup(*line + strlen("  fix:   "));
	}
}

static void find_out(gint64 pid, struct finding *finding)
{
	struct access access;
	g_autoptr(GError) error = NULL;
	finding->pid = pid;
	access_check((pid_t)pid, &access);
	finding->name = access_name(access.cause);
	if (access.cause != ACCESS_GRANTED) {
		access_error((pid_t)pid, &access, &error);
	} else {
		finding->target = target_open((pid_t)pid, &error);
		if (error)
			finding->name = error->code == REFTOP_ERROR_UNKNOWN ? "unsupported" : "failed";
	}
	if (error)
		set_problem(finding, error);
	access_clear(&access);
}

static const char *origin_name(enum layout_origin origin)
{
	switch (origin) {
	case LAYOUT_DWARF:
		return "dwarf";
	case LAYOUT_DEBUG_OFFSETS:
		return "debug_offsets";
	case LAYOUT_BUILTIN:
		return "builtin";
	}
	return NULL;
}

static GString *format_json(const struct finding *finding)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.why/1");
	json_put_time(builder, "time", g_get_real_time());
	json_put_number(builder, "pid", finding->pid);
	json_put_bool(builder, "readable", !finding->status);
	json_put_text(builder, "name", finding->name);
	json_put_text(builder, "problem", finding->what);
	json_put_text(builder, "cause", finding->cause);
	json_put_text(builder, "fix", finding->fix);
	const interpreter_t *python = finding->target ? target_interpreter(finding->target) : NULL;
	json_put_text(builder, "python", python ? python->version_text : NULL);
	json_put_text(builder, "interpreter", python ? python->path : NULL);
	json_put_text(builder, "layout", python ? origin_name(python->origin) : NULL);
	json_builder_end_object(builder);
	return json_line(builder);
}

static GString *format_text(const struct finding *finding)
{
	GString *text = g_string_new(NULL);
	if (finding->status) {
		g_string_append_printf(text, "%s\n", finding->what);
		if (finding->cause)
			g_string_append_printf(text, "  cause: %s\n", finding->cause);
		if (finding->fix)
			g_string_append_printf(text, "  fix:   %s\n", finding->fix);
		return text;
	}
	const interpreter_t *python = target_interpreter(finding->target);
	g_string_append_printf(text, "process %" G_GINT64_FORMAT " can be read\n", finding->pid);
	g_string_append_printf(text, "  python: %s%s%s, %s\n", python->version_text, python->debug ? " debug" : "",
			       python->free_threaded ? " free-threaded" : "", python->path);
	g_string_append_printf(text, "  layout: %s\n", origin_name(python->origin));
	return text;
}

static int why_run(const struct options *options, GError **error)
{
	gint64 pid;
	if (!options_target(&command_why, options, &pid, error))
		return REFTOP_ERROR_USAGE;
	struct finding finding = {0};
	find_out(pid, &finding);
	g_autoptr(GString) text = options->json ? format_json(&finding) : format_text(&finding);
	int status = finding.status;
	finding_clear(&finding);
	return output_text(NULL, text->str, text->len, error) ? status : REFTOP_ERROR_FAILED;
}

const struct command command_why = {
	.name = "why",
	.synopsis = "-p PID",
	.summary = "whether a process can be read, and if not, the cause and the narrowest remedy",
	.details = "The exit status is the one that reading the process would end with: 0 when it can be read. Nothing "
		   "is attached to for "
		   "the answer, and the process is not stopped.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_JSON, OPTION_END},
	.max_arguments = 1,
	.run = why_run,
};
