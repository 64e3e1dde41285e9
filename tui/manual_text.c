#include "daemon/store/recording.h"
#include "tui/manual.h"

const struct manual_section manual_sections[] = {
	{NULL},
};
