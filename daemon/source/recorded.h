/* A recording (SQLite, daemon/store/recording.h) as a source: its samples in order, from the first. */
#pragma once
#include "daemon/source/source.h"

source_t *source_recorded_new(const char *path, GError **error);
