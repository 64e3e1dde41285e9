#include "tui/commands/commands.h"

/* clang-format off */
const struct command *const commands[] = {
	&command_top,
	&command_ps,
	&command_histo,
	&command_record,
	&command_view,
	&command_daemon,
	&command_diff,
	&command_leaks,
	&command_explain,
	&command_objects,
	&command_stacks, &command_save,
	&command_why,
	&command_help,
	&command_version,
	NULL,
};
