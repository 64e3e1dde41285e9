/*
 * Where every thread is, what it waits for, and who holds that: the stacks of a process as a plain value.
 *
 * Made from the heap and from what the kernel says about the threads (struct stacks_fact, which the source gathers). What a thread waits
 * for is told as exactly as can be proved: the futex a thread sleeps on is the semaphore or the mutex of one lock object; who holds that is
 * told by the object (RLock, import locks, buffered files) or by the `with` statements that threads are inside of, as their code and value
 * stacks say. A lock taken by a call of acquire() leaves no trace of its holder: then nobody is named.
 *
 * All text is escaped and owned by the stacks. Pure.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/analysis/sample.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/threads.h"

/* what the kernel says about a thread */
struct stacks_fact {
	int64_t tid;
	int64_t native;      /* its number in its own pid namespace, as threading.get_native_id() has it */
	char state;          /* R S D T t Z of /proc, 0: not known */
	char comm[16];       /* raw bytes */
	const char *call;    /* name of the system call it is in, a static string; NULL: in none, or an unknown one */
	int64_t call_number; /* -1: in none */
	int64_t fd, pid;     /* what the call is about, -1: nothing of that */
	uint64_t futex;      /* address waited at, 0: none */
	bool timed;          /* it doesn't wait for ever */
	int64_t timeout_us;  /* how long it waits at most, -1: not known */
	bool timeout_left;   /* that is what is left, not what it began with */
};

struct stack_variable {
	const char *name, *type, *value;
	uint64_t address;
};

struct stack_frame {
	const char *function; /* qualified where the version knows that */
	const char *file;     /* of a native frame: the library, "" unknown */
	int line;             /* 0: not known */
	bool native;
	uint64_t offset; /* native: from the start of the function */
	bool entry;      /* called from C */
	struct stack_variable *variables;
	size_t n_variables;
};

enum wait_kind {
	WAIT_NONE,
	WAIT_CALL, /* a system call, nothing more is known */
	WAIT_GIL,
	WAIT_LOCK,   /* exclusive: threading.Lock, RLock, an import lock, the lock of a file object */
	WAIT_EVENT,  /* until somebody says so: Condition, Event, Semaphore, Barrier, Queue */
	WAIT_THREAD, /* the end of another thread */
};

struct stack_wait {
	enum wait_kind kind;
	const char *call;   /* "futex", "read(3)", "call 437"; "" in none */
	const char *detail; /* what the descriptor is; "" nothing known */
	bool timed;         /* it doesn't wait for ever */
	int64_t timeout_us; /* -1: none, or not known how much */
	bool timeout_left;
	uint64_t object;         /* 0: none known */
	const char *object_type; /* "threading.Lock", "queue.Queue" */
	const char *holder; /* the variable or attribute it is in: "self.lock", "global lock_a of app"; "" not found */
	const char *state;  /* "full, 2 of 2 items"; "" */
	int owner;          /* index of the thread that holds it, -1: none known */
	const char *owner_place; /* "app.py:20 in second": the `with` it is inside of; "" */
	bool orphan;             /* no thread could ever release it */
	bool full;               /* it puts something into a queue that is full: somebody has to take from it */
};

struct stack_thread {
	int64_t tid;         /* 0: not known */
	uint64_t ident;      /* 0: a thread without Python state */
	int64_t interpreter; /* -1: none */
	const char *name;    /* of threading, else of the kernel */
	const char *comm;
	char state;
	enum answer daemon, holds_gil;
	struct stack_wait wait;
	struct stack_frame *frames; /* innermost first */
	size_t n_frames;
	bool truncated;     /* there were more */
	const char *broken; /* why the native stack ends early; "" */
	uint64_t address;   /* of the PyThreadState */
	uint64_t gil_word;  /* see thread_gil_word() */
	bool in_deadlock;
};

/* a task of an event loop */
struct stack_task {
	uint64_t address;
	const char *name;
	const char *state;          /* "running", "pending", "done" */
	const char *waits;          /* "task Task-2", "<Future pending>", "sleep"; "" */
	int awaits;                 /* index of the task it awaits, -1 */
	int64_t loop;               /* thread index whose loop it is, -1 */
	struct stack_frame *frames; /* await chain, innermost first */
	size_t n_frames;
	bool in_deadlock;
};

typedef struct stacks {
	sample_t *origin;       /* of which process and snapshot; no types */
	const char **deadlocks; /* sentences */
	size_t n_deadlocks;
	struct stack_thread *threads;
	size_t n_threads;
	struct stack_task *tasks;
	size_t n_tasks;
	GStringChunk *strings;
} stacks_t;

struct stacks_options {
	bool locals;
	bool native; /* the source adds native frames */
	bool tasks;
	size_t max_frames; /* a thread; 0: all */
};

stacks_t *stacks_take(heap_t *heap, const struct stacks_fact *facts, size_t n_facts,
		      const struct stacks_options *options);
void stacks_free(stacks_t *stacks);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(stacks_t, stacks_free)

/*
 * Put the native frames of thread `index` (innermost first; text is copied) around its Python frames, these in place of the interpreter's loop.
 * `broken` (or NULL): why they end early.
 */
void stacks_add_native(stacks_t *stacks, size_t index, const struct stack_frame *natives, size_t n, const char *broken);

/* Copy text into the stacks. */
const char *stacks_text(stacks_t *stacks, const char *text);

/* "sleeping": a state letter in a word */
const char *stack_state_name(char state);

/* "worker-1 (tid 4711)". Free with g_free(). */
char *stack_thread_name(const struct stack_thread *thread);
