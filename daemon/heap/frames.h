/*
 * The Python frames of a thread: which code, which instruction, which line, and the slots of locals and value stack.
 *
 *   up to 3.10  a frame is an object; tstate->frame, f_back                  Include/frameobject.h, Include/cpython/frameobject.h
 *   3.11+       an interpreter frame lies on the thread's data stack, in a generator or in a frame object;
 *               tstate->cframe->current_frame (3.11, 3.12), tstate->current_frame (3.13+), previous
 *                                                                           Include/internal/pycore_frame.h, pycore_interpframe_structs.h
 *
 * What Python itself doesn't show isn't shown: shims between C and Python, frames that have not begun (CPython
 * _PyFrame_IsIncomplete()).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"

#define FRAMES_MAX 1000000 /* of a thread */

/* one code object, read once */
struct code {
	uint64_t address;
	char *name;     /* escaped */
	char *qualname; /* escaped; NULL: this version's code objects have none (up to 3.10) */
	char *filename; /* escaped */
	int first_line;
	uint64_t n_locals, n_slots; /* fast locals; with cells and free variables */
	uint64_t stack_size;
	uint32_t flags;        /* co_flags */
	uint64_t instructions; /* address of the first; 0: a version that knows only offsets */
	uint64_t traceable;    /* bytes of code that prepare the call */
	uint8_t *lines;        /* the line table */
	size_t lines_size;
};

#define CODE_GENERATOR       0x20 /* co_flags, CPython Include/cpython/code.h */
#define CODE_COROUTINE       0x80
#define CODE_ASYNC_GENERATOR 0x200

/* the code objects met so far */
typedef struct codes codes_t;
codes_t *codes_new(heap_t *heap);
void codes_free(codes_t *codes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(codes_t, codes_free)
/* The code object at `address`; NULL when there is none. Lives as long as `codes`. */
const struct code *code_get(codes_t *codes, uint64_t address);

struct frame {
	uint64_t address; /* of the PyFrameObject or the _PyInterpreterFrame */
	const struct code *code;
	int64_t at;        /* byte of the instruction; negative: before the first */
	uint64_t slots;    /* address of the first: locals, cells, free variables, value stack */
	uint64_t stack;    /* how many words of the value stack are known to be in use (there may be more) */
	bool stack_exact;  /* there are no more */
	uint64_t globals;  /* a dict */
	uint64_t function; /* 3.11+; 0 */
	bool entry;        /* the interpreter was called from C for this one */
	uint64_t raw;      /* private: of the walk */
};

/*
 * The innermost frame of the thread whose PyThreadState is at `thread`, or of the generator, coroutine or asynchronous generator at
 * `generator`; false: it has none. Then the next outer one.
 */
bool frame_of_thread(codes_t *codes, uint64_t thread, struct frame *frame);
bool frame_of_generator(codes_t *codes, uint64_t generator, struct frame *frame);
bool frame_outer(codes_t *codes, struct frame *frame);

/* The line; LINE_NONE (daemon/heap/lines.h) when the instruction has none. */
int frame_line(const codes_t *codes, const struct frame *frame);

/*
 * How many words of the value stack lie below the innermost block (try, with) that the frame is inside of: those of the blocks around it are
 * among them.
 */
uint64_t frame_protected(const codes_t *codes, const struct frame *frame);
/*
 * The line of the `with` statement that the frame is inside of and whose block begins `depth` words into the value stack; `nth` of those
 * that it is inside of, counted from the outermost. LINE_NONE: not found.
 */
int frame_with_line(const codes_t *codes, const struct frame *frame, uint64_t depth, unsigned nth);

/* The object in slot i (locals, cells, free variables; then the value stack); 0: empty, or no object. */
uint64_t frame_slot(const codes_t *codes, const struct frame *frame, uint64_t i);
/* The name of slot i, a str; 0: none. */
uint64_t frame_slot_name(const codes_t *codes, const struct frame *frame, uint64_t i);
/* The value of slot i as the program sees it: what is in the cell, if it is one. 0: unbound. */
uint64_t frame_local(const codes_t *codes, const struct frame *frame, uint64_t i);
/* The value of the local variable of this ASCII name; 0: none. */
uint64_t frame_variable(const codes_t *codes, const struct frame *frame, const char *name);

/*
 * What the generator or coroutine at `generator` waits for (`yield from`, `await`), 0: it isn't suspended there. That is on top of its
 * value stack.
 */
uint64_t generator_awaited(codes_t *codes, uint64_t generator);
