/*
 * Which pages a process writes to, while it runs: userfaultfd's asynchronous write protection (Linux 6.7). A page is protected when it is
 * copied; the first write to it afterwards takes the protection away, which costs the process a page fault (0.9 µs), and nobody has to answer
 * it. A page without protection was written to since.
 *
 * The descriptor must be made inside of the process (daemon/target/inject.h). It is the kernel that takes everything back when the
 * descriptor is closed, also by the end of this program, whatever ended it.
 *
 * Soft-dirty bits would need no descriptor, but clearing them is for the whole process at once, so that only a stop makes a second round
 * possible, and few kernels have them (CONFIG_MEM_SOFT_DIRTY).
 */
#pragma once
#include <stdbool.h>

#include "daemon/target/copy.h"
#include "daemon/target/presence.h"

struct target;
struct tracker;

/* Arm it. NULL with *error: FAILED (the kernel can't, or the process isn't let), DENIED. */
struct tracker *track_new(struct target *target, GError **error);
/* Let it go, piece by piece: no longer than a fraction of a millisecond at a time. */
void track_free(struct tracker *tracker);

/* Have the mappings of the plan watched; those that are already, stay. What can't be, counts as written to. */
void track_cover(struct tracker *tracker, const struct plan *plan);
