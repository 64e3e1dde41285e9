/* What stands in tui/commands/, one file a command. */
#pragma once
#include "tui/command.h"

extern const struct command command_daemon, command_diff, command_explain, command_help, command_histo, command_leaks,
	command_objects, command_ps, command_record, command_save, command_stacks, command_top, command_version,
	command_view, command_why;
