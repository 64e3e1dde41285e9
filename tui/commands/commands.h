/* What stands in tui/commands/, one file a command. */
#pragma once
#include "tui/command.h"

extern const struct command command_diff, command_help, command_histo, command_ps, command_record, command_top, command_version,
	command_why;
