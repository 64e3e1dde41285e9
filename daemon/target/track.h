/*
 * Which pages a process writes to, while it runs. The kernel can tell in two ways:
 *
 * Soft-dirty bits (Documentation/admin-guide/mm/soft-dirty.rst): writing 4 to /proc/PID/clear_refs clears them all, and the first write to a page
 * sets that page's. Nothing is done inside of the process, and nothing remains of it but that the first write to each page costs a page fault, once.
 * But all are cleared in one go, which holds up the process's memory management for about 6 ms a GB; and not at the moment they are looked
 * at, so that a second round after the first would need a stop: what was written to since they were cleared is copied when it is stopped. Who else
 * clears them of the same process takes the knowledge from us: a lock on that file keeps others of our kind away, but for those that see
 * it in another mount of proc; whatever clears them between two samples is noticed by pages that had their bits.
 *
 * userfaultfd's asynchronous write protection (Linux 6.7): a page is protected when it is copied; the first write to it afterwards takes the
 * protection away, which costs the process a page fault (0.9 µs), and nobody has to answer it. A page without protection was written to since. That is
 * done piece by piece, in as many rounds as help. The descriptor must be made inside of the process (daemon/target/inject.h). It
 * is the kernel that takes everything back when the descriptor is closed, also by the end of this program, whatever ended it.
 *
 * So the first is for processes in which nothing need be held up for long, and for those which the second isn't possible for: a kernel before
 * 6.7, or a filter of system calls.
 */
#pragma once
#include <stdbool.h>

#include "daemon/target/copy.h"
#include "daemon/target/presence.h"

struct target;
struct tracker;

/* Arm it. NULL with *error: FAILED (the kernel can't, or somebody else does), DENIED. */
struct tracker *track_new(struct target *target, GError **error);
/* Let it go, piece by piece: no longer than a fraction of a millisecond at a time. */
void track_free(struct tracker *tracker);

bool track_by_soft_dirty(const struct tracker *tracker);

/* Whether the process has become so large that the other way is worth trying: free this one, and arm a new one. */
bool track_outgrown(const struct tracker *tracker, const struct target *target);

/* From now on it's `pool` that the copies land in. If that was another one so far, what is in this one may be wrong by now. */
void track_follow(struct tracker *tracker, struct pool *pool);

/* By protection: have the mappings of the plan watched; those that are already, stay. What can't be, counts as written to. */
void track_cover(struct tracker *tracker, const struct plan *plan);

/* By soft-dirty bits: clear them. What `pool` has, which is followed, counts no more. False with *error. */
bool track_clear(struct tracker *tracker, const struct target *target, struct pool *pool, GError **error);
/* Whether they were, and nobody else cleared them since, as far as the pages tell that are remembered. */
bool track_cleared(const struct tracker *tracker, const struct presence *presence);
/* Remember a page if its bit is set: bits only ever go away by being cleared. Some are enough. */
void track_remember(struct tracker *tracker, const struct presence *presence, uint64_t page);
