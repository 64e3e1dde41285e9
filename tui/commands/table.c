#include "tui/commands/commands.h"

const struct command *const commands[] = {
#ifdef HAVE_LIVE
	&command_histo, &command_record,
#endif
	&command_help,  &command_version, NULL,
};
