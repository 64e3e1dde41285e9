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

/*
 * A rehearsal tells what will be needed: which pages were looked at, as runs (struct presence_run, ascending; free with g_array_unref()).
 * The look that counts then takes over the rehearsal's storage, and the bytes of what can't have changed (`from` is of no more use but to be
 * freed); and reads all wanted pages at once. What isn't among them is read when somebody looks, as ever.
 */
GArray *pages_touched(const pages_t *pages);
void pages_adopt(pages_t *pages, pages_t *from);
void pages_preload(pages_t *pages, const GArray *wanted);

/* bytes read from the process so far */
uint64_t pages_bytes(const pages_t *pages);
