#include "tui/commands/commands.h"

/* clang-format off */
const struct command *const commands[] = {
#if defined HAVE_TOP && defined HAVE_LIVE
	&command_top,
#endif
	&command_ps,
#ifdef HAVE_LIVE
	&command_histo,
	&command_record,
#endif
	&command_diff,
	&command_why,
	&command_help,
	&command_version,
	NULL,
};
