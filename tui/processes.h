/* The list of Python processes for a person. */
#pragma once
#include "daemon/target/pythons.h"

/* The list as a table for a person, lines at most `width` columns where that can be (0: no limit). */
GString *processes_table(const GPtrArray *processes, int width);
