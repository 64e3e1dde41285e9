/*
 * What was written down as a source: a recording, the daemon's history, or lines of JSON (daemon/store/archive.h); its samples in order, from
 * the first.
 */
#pragma once
#include "daemon/source/source.h"
#include "daemon/store/archive.h"

source_t *source_recorded_new(const char *path, GError **error);
/* The same of an open one, of the process that is selected; takes it over. */
source_t *source_recorded_of(archive_t *archive);
