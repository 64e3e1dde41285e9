#include "tui/commands/commands.h"

const struct command *const commands[] = {
#if defined HAVE_TOP && defined HAVE_LIVE
	&command_top,
#endif
#ifdef HAVE_LIVE
	&command_histo, &command_record,
#endif
	&command_help,  &command_version, NULL,
};
