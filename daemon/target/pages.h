/*
 * Pages of a process read when somebody looks at them: the memory of a look (daemon/target/look.h). One thread at a time.
 */
#pragma once
#include "daemon/target/target.h"

typedef struct pages pages_t;

/* The memory that `maps` (which must stay, as must the target) lists, to `memory`. */
pages_t *pages_new(target_t *target, const struct maps *maps, struct memory *memory);
void pages_free(pages_t *pages);

/* From now on only what can't change is read; what was read stays. */
void pages_release(pages_t *pages);

/* bytes read from the process so far */
uint64_t pages_bytes(const pages_t *pages);
