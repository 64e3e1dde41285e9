/*
 * The sum of samples of several processes: what all of them together hold, by type.
 *
 * Types are matched by module and qualname, because an address means nothing in another process: a sum's types have the address 0, and
 * two types of one name in one process are one row. What is not known of one process is not known of the sum. A process that could
 * not be read in a round stands in it with what it last held, and the part says so; one that could never be read is in no number.
 *
 * The pause of a sum is the longest of one process in that round. Pure.
 */
#pragma once
#include "daemon/analysis/sample.h"

/*
 * The sum of `n` parts, ascending by pid, at `time_us`; takes references to their samples and copies their text. Sealed. The target's
 * pid is SAMPLE_UNKNOWN, its Python that of all or "". Of no processes the sum is 0 of everything.
 */
sample_t *sum_make(const struct sample_part *parts, size_t n, int64_t time_us);
