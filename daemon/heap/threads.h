/*
 * The threads of the target as CPython knows them: one PyThreadState each, in every interpreter (CPython
 * Include/cpython/pystate.h), with what threading.py says about them.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/heap/heap.h"

enum answer { ANSWER_UNKNOWN = -1, ANSWER_NO, ANSWER_YES };

struct thread {
	uint64_t address;     /* of the PyThreadState */
	uint64_t interpreter; /* address of the PyInterpreterState */
	int64_t interpreter_id;
	uint64_t ident; /* threading.get_ident(): pthread_self() */
	int64_t native; /* threading.get_native_id(), the kernel's number; 0: not known */
	char *name;     /* escaped; NULL: threading doesn't know the thread */
	enum answer daemon;
	enum answer holds_gil; /* UNKNOWN also where there is no lock: free-threaded builds */
	uint64_t object;       /* the threading.Thread, 0: none */
};

/* where an interpreter's lock lies: [start, start + size); size 0: not known */
struct gil {
	uint64_t start, size;
};

/* All threads, the oldest first: of struct thread, cleared when the array is freed. */
GArray *threads_read(heap_t *heap);

/*
 * Where it says which thread ran Python code last: the address of a pointer to the PyThreadState, written by whoever gets the lock
 * before they run any (Python/ceval_gil.h, take_gil(); 3.6: PyThreadState_Swap() of pystate.c). 0: there is no lock, or it isn't known.
 */
uint64_t thread_gil_word(const heap_t *heap, const struct thread *thread);

/* The lock that the thread needs to run Python code. */
struct gil thread_gil(const heap_t *heap, const struct thread *thread);
