/*
 * A history with a cursor in time: what a recording holds, or a daemon remembers, shown as it was at the cursor. The rows, their
 * changes and the verdict are those that somebody would have seen who watched until then.
 *
 * What lies before the cursor is read as far as the trend can use it: all of the recent past, less of what is old.
 */
#pragma once
#include <glib.h>

#include "tui/frame.h"
#include "tui/keys.h"
#include "tui/request.h"

struct view;
struct replay;

/* Ask for the history; the cursor goes to its place when it is there. */
void replay_begin(struct view *view);
void replay_free(struct replay *replay);
/* Keys of the cursor, and playing; false: not one of those, or there is no history. */
gboolean replay_act(struct view *view, enum action action);
/* Take an answer; false: it is of no question of the history. Frees the request if it is. */
gboolean replay_answered(struct view *view, struct request *request);
/* The interval has changed. */
void replay_pace(struct view *view);
/* Changes count from the sample at the cursor. Says so. */
void replay_baseline(struct view *view);
/* A sample came in from a living source. Shown when the cursor is at the end. Returns whether the view took it in. */
gboolean replay_add(struct view *view, sample_t *sample);
/* When the cursor moves by itself, 0: it doesn't; and moving it when that is due. */
gint64 replay_wake(const struct view *view);
void replay_tick(struct view *view);
/* Why there is no history to show at all; the caller frees it. NULL: there is, or not yet known. */
GError *replay_failure(struct view *view);
/* Whether what the cursor is on is shown. */
gboolean replay_settled(const struct view *view);
/* "held  #12/350" */
char *replay_state(const struct view *view, enum role *role);
/* The line of time; false: the frame has no room for it. */
gboolean replay_draw(const struct view *view, struct frame *frame, int y);
