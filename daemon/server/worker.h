/*
 * A worker: a process that reads one other process, and nothing else (sandbox.h). The daemon talks to it over a socket pair:
 *
 *   daemon: "sample LOCATED\n": with births and deaths where it has no more than LOCATED objects, or a question:
 *           "leaks OBJECTS\n"               source_ops.leaks, that many objects listed
 *           "explain ADDRESS...\n"          .explain_all
 *           "objects LIMIT SORT TYPE\n"     .instances; SORT may be "-"
 *           "stacks LOCALS NATIVE LIMIT\n"  .stacks; the first two 0 or 1
 *   worker: "sample CPU_US RAN_NS SIZE\n" and SIZE bytes, the sample as JSON (daemon/store/json.h),
 *           "answer CPU_US PAUSE_US SIZE\n" and SIZE bytes of JSON (json_references.h, json_stacks.h), or
 *           "error CODE CPU_US PAUSE_US SIZE\n" and SIZE bytes of message (base/error.h; code as there).
 *
 * CPU_US is what the answer cost the worker in CPU time, PAUSE_US how long the process was stopped for it; RAN_NS the CPU time of the process
 * just before its memory was read (-1: not known): while that stays the same, the memory does. It opens the process at the first question and
 * stays with it; after an error it opens it anew, so that a process that execs another Python is read on. It ends when the channel does.
 *
 * What comes over the channel is foreign to the daemon: whoever took the worker over could send anything.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

struct worker_order {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	gboolean nonblocking;
	gint64 memory;  /* bytes that a sample may take; more is read piece by piece */
	gint64 picture; /* bytes of memory of its own that a process may have for questions about its references */
};

#define WORKER_MOST (64 * 1024 * 1024) /* bytes of an answer */

/* CPU time that all threads of a process have used, ns; -1: there is no such process. */
gint64 worker_ran_ns(pid_t pid);

/* In the worker's process: enter the sandbox, answer until the channel ends. Returns the exit status. */
int worker_main(const struct worker_order *order, int channel);

/* The first line of an answer. */
struct worker_answer {
	enum { WORKER_SAMPLE, WORKER_ANSWER, WORKER_ERROR } kind;
	int code; /* of an error */
	gint64 cpu_us, ran_ns, pause_us;
	gsize size;
};
/* Parse it (`line` without its newline). False: nonsense. */
gboolean worker_parse(const char *line, struct worker_answer *answer);

/* worker_questions.c: the JSON that answers a question (its line without the newline); NULL with *error. */
struct source;
GString *worker_look(struct source *source, const struct worker_order *order, const char *line, GError **error);
