/* What the files of stacks.h share. */
#pragma once
#include "daemon/analysis/stacks.h"
#include "daemon/heap/frames.h"
#include "daemon/heap/references.h"

/* stacks in the making */
struct taking {
	heap_t *heap;
	codes_t *codes;
	references_t *references; /* for values; made when first needed */
	const struct stacks_options *options;
	stacks_t *stacks;
	GArray *threads;                  /* of struct thread, as in stacks->threads */
	GPtrArray *frames;                /* one GArray of struct frame a thread, innermost first */
	const struct stacks_fact **facts; /* one a thread of stacks; NULL: none */
	GArray *held;                     /* of struct held */
	GHashTable *names; /* address of a code object -> its qualified name, as far as found; NULL: none needed yet */
	GHashTable *ends;  /* address of a lock -> index of the thread whose end it stands for; NULL: not needed yet */
};

/* a lock that a frame is inside `with` of */
struct held {
	uint64_t lock;
	guint thread, frame;
	int line; /* of the `with`; LINE_NONE */
};

const char *take_text(struct taking *taking, char *text);            /* frees text */
char *frame_place(struct taking *taking, const struct frame *frame); /* "app.py:20 in second"; free with g_free() */
struct frame *thread_frame(struct taking *taking, guint thread, guint frame); /* NULL: there is none */
/* `caller`: the next outer frame, NULL: none, or not known. */
void fill_frame(struct taking *taking, const struct frame *frame, const struct frame *caller, struct stack_frame *out);
/* The qualified name of a frame's function where code objects have none (up to 3.10); NULL: not found. */
const char *qualname_find(struct taking *taking, const struct frame *frame, const struct frame *caller);

/* What every thread waits for and who holds it; then the cycles. */
void waits_find(struct taking *taking);
/* Find the locks that frames are inside `with` of. */
void held_find(struct taking *taking);
/* The lock behind a Lock, RLock, Condition or Semaphore; 0: it is none of these. */
uint64_t lock_behind(heap_t *heap, uint64_t object);
/* Where `object` is held from, seen from the frames of a thread, `first` on: "self.lock"; NULL. Free with g_free(). */
char *holder_find(struct taking *taking, guint thread, guint first, uint64_t object);
/* The tasks of event loops. */
void tasks_find(struct taking *taking);
/* A sentence for each cycle of owners. */
void deadlocks_find(struct taking *taking);
