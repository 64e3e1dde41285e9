/* `reftop stacks`: the Python stack of every thread, and what a hung one waits for. */
#include <string.h>

#include "base/error.h"
#include "daemon/analysis/stacks.h"
#include "daemon/store/json_stacks.h"
#include "tui/commands/commands.h"
#include "tui/opening.h"
#include "tui/output.h"
#include "tui/stacks_text.h"

static int stacks_run(const struct options *options, GError **error)
{
	struct live_options live = {.nonblocking = options->nonblocking};
	struct stacks_options how = {.locals = options->locals,
				     .native = options->native,
				     .tasks = true,
				     .max_frames = (size_t)options->limit};
	g_autoptr(source_t) source = open_source(&command_stacks, options, 0, &live, error);
	g_autoptr(stacks_t) stacks = source ? source->ops->stacks(source, &how, error) : NULL;
	if (!stacks)
		return REFTOP_ERROR_FAILED;
	g_autoptr(GString) text = options->json ? json_stacks(stacks, &how) : stacks_to_text(stacks);
	return output_text(options->output, text->str, text->len, error) ? 0 : REFTOP_ERROR_FAILED;
}

const struct command command_stacks = {
	.name = "stacks",
	.synopsis = "{-p PID | -c FILE [EXE]}",
	.summary = "the Python stack of every thread, and what a hung one waits for",
	.details =
		"The innermost frame stands first. Of a thread that waits it says for what: the system call and the file or peer of its "
		"descriptor; for locks, conditions, events, semaphores and queues of the threading and queue modules the object, the variable "
		"or attribute it is in, and the thread that holds it.\n\n"
		"Who holds a lock is told where that can be proved: an RLock, an import lock and the lock of a buffered file say it themselves; a "
		"Lock is held by the thread that is inside of its `with` statement. A lock taken by calling acquire() doesn't tell its holder.\n\n"
		"Threads that wait for each other are a deadlock, which is told first, in one sentence. A thread that waits with a time-out is no "
		"part of one.\n\n"
		"With --native the calls of C code stand between those of Python, with function and, where debug information is at hand, file "
		"and line. They need the registers, for which the process is always stopped. A native stack that can't be followed ends with a "
		"word of why.\n\n"
		"Names are qualified (Class.method, outer.<locals>.inner). Up to CPython 3.10 code doesn't know its qualified name: it is that of the "
		"function object, where one is found whose code it is; otherwise the name alone.\n\n"
		"A queue has no owner. That nobody will ever take from a full one is told when every other thread that runs Python waits for the one "
		"that puts into it.\n\n"
		"The process is stopped only for as long as its frames are read; not at all when no thread of it runs. What is needed is learnt "
		"before, while it runs. Nobody but the thread that holds the GIL can change a Python frame, so that one alone is stopped, for some "
		"2 ms where there are 64 threads, and the others go on waiting for it; a second look at the GIL proves that no other had it meanwhile. "
		"All are stopped for --native, in free-threaded builds, and where who has the GIL can't be told.",
	.options = (const enum option_id[]){OPTION_PID, OPTION_CORE, OPTION_SYSROOT, OPTION_LOCALS, OPTION_NATIVE,
					    OPTION_OUTPUT, OPTION_JSON, OPTION_LIMIT, OPTION_NO_DAEMON,
					    OPTION_NONBLOCKING, OPTION_END},
	.max_arguments = 1,
	.run = stacks_run,
};
