/* The histogram: objects, bytes and reference counts by type. Pure. */
#pragma once
#include "daemon/analysis/sample.h"
#include "daemon/heap/census.h"

/*
 * Count the heap into `sample`: its gc, totals and types. What describes the process and the snapshot is the caller's. False with
 * *error as census_take() sets it.
 */
bool histogram_take(heap_t *heap, enum census_coverage coverage, sample_t *sample, GError **error);
