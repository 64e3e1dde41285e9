/* The ELF files loaded in a process, found by its memory alone. */
#pragma once
#include "daemon/analysis/owners.h"

/* struct owners_image, sorted by start; paths stay the maps'. */
GArray *images_find(const struct memory *memory, const struct maps *maps);
