#include "tui/commands/commands.h"

/* clang-format off */
const struct command *const commands[] = {
#ifdef HAVE_TOP
	&command_top,
#endif
	&command_ps,
	&command_histo,
	&command_record,
	&command_diff,
	&command_why,
	&command_help,
	&command_version,
	NULL,
};
