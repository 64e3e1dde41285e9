/*
 * Which pages of a chunk have to be copied, as a tracker says (daemon/target/track.h), and which are right in the window as they are.
 */
#pragma once
#include "daemon/target/copy.h"

struct tracker;

/*
 * Of a work that isn't WORK_ALL: the pages to be copied, to `runs`, ascending; with WORK_REST what is right, to `right` (NULL: nobody asks). Both
 * of struct presence_run; `changes` (of struct presence_change) is room for it. sum->resident is what of the chunk is in RAM where the work tells.
 * False: the process is gone.
 */
bool changes_find(const struct work *work, const struct chunk *chunk, GArray *changes, GArray *runs, GArray *right,
		  struct presence_sum *sum);

/*
 * Something is about to be copied to `window` from `address`: by the frame of that page its table is known again, unless it is already, by that of
 * another page. What was copied from another table at that place is valid no more. With soft-dirty bits.
 */
void changes_note_frame(const struct plan *plan, struct window *window, uint64_t address);

/* Bytes of the plan's chunks that were written to since the soft-dirty bits were cleared; the tracker remembers some. False: the process is gone. */
bool changes_soft_dirty(const struct plan *plan, struct tracker *tracker, uint64_t *bytes);
