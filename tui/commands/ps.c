/* `reftop ps`: the Python processes of this machine. */
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/store/json.h"
#include "tui/commands/commands.h"
#include "tui/output.h"
#include "tui/processes.h"

static void add_why(JsonBuilder *builder, const struct python_process *python)
{
	json_builder_set_member_name(builder, "why");
	const char *why = python_process_why(python);
	if (!why) {
		json_builder_add_null_value(builder);
		return;
	}
	gboolean granted = python->access.cause == ACCESS_GRANTED;
	json_builder_begin_object(builder);
	json_put_text(builder, "name", why);
	json_put_text(builder, "cause", granted ? python->unsupported : python->access.text);
	json_put_text(builder, "fix", granted ? NULL : python->access.fix);
	json_builder_end_object(builder);
}

/* what the daemon says grows; null where it doesn't watch */
static void add_growing(JsonBuilder *builder, GHashTable *watched, pid_t pid)
{
	JsonObject *object = watched ? g_hash_table_lookup(watched, GINT_TO_POINTER(pid)) : NULL;
	JsonNode *growing = object ? json_object_get_member(object, "growing") : NULL;
	json_builder_set_member_name(builder, "growing");
	if (growing)
		json_builder_add_value(builder, json_node_copy(growing));
	else
		json_builder_add_null_value(builder);
}

static void add_process(JsonBuilder *builder, const struct python_process *python, GHashTable *watched)
{
	const struct process *process = &python->process;
	static const char *const nothing[] = {NULL};
	json_builder_begin_object(builder);
	json_put_number(builder, "pid", python->pid);
	json_put_number(builder, "ppid", process->ppid);
	json_put_number(builder, "uid", process->uid[1]);
	json_put_text(builder, "user", python->user);
	json_put_text(builder, "python", python->python);
	json_put_number(builder, "rss", (int64_t)process->rss);
	json_put_time(builder, "start_time", process_start_time(process));
	json_put_number(builder, "uptime_ms", (int64_t)(process_uptime(process) * 1e3));
	json_put_text(builder, "state", process_state_name(process->state));
	json_put_bool(builder, "readable", python_process_readable(python));
	add_why(builder, python);
	add_growing(builder, watched, python->pid);
	json_put_text(builder, "exe", python->exe);
	json_put_strings(builder, "cmdline", python->cmdline ? (const char *const *)python->cmdline : nothing);
	json_builder_end_object(builder);
}

static GString *format_json(const GPtrArray *processes, GHashTable *watched)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	json_put_text(builder, "schema", "reftop.processes/1");
	json_put_time(builder, "time", g_get_real_time());
	json_builder_set_member_name(builder, "processes");
	json_builder_begin_array(builder);
	for (guint i = 0; i < processes->len; i++)
		add_process(builder, g_ptr_array_index(processes, i), watched);
	json_builder_end_array(builder);
	json_builder_end_object(builder);
	return json_line(builder);
}

static int terminal_width(const char *output)
{
	struct winsize size;
	if ((output && g_strcmp0(output, "-")) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		return 0;
	return size.ws_col;
}

static int ps_run(const struct options *options, GError **error)
{
	g_autoptr(GPtrArray) processes = processes_find();
	GHashTable *watched = options->no_daemon ? NULL : processes_watched();
	g_autoptr(GString) text = options->json ? format_json(processes, watched)
						: processes_table(processes, watched, terminal_width(options->output));
	g_clear_pointer(&watched, g_hash_table_unref);
	return output_text(options->output, text->str, text->len, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_ps = {
	.name = "ps",
	.synopsis = "",
	.summary = "the Python processes of this machine, and why some can't be read",
	.details =
		"PYTHON is the version as far as the files of a process tell; it is not known of a process that "
		"can't be read. WHY NOT is "
		"empty for a process that reftop can read; otherwise it names the cause, which is explained below "
		"the table. Children stand below their parents. "
		"Where a daemon watches, GROWS names what grows steadily, a program's own classes first; - is nothing. "
		"Without a terminal `reftop` alone does the same.",
	.options = (const enum option_id[]){OPTION_OUTPUT, OPTION_JSON, OPTION_NO_DAEMON, OPTION_END},
	.run = ps_run,
};
