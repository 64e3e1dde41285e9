/* What the manual says about the JSON of stacks. */
#include "tui/manual.h"

const char manual_stacks_json[] =
	"`stacks --json` writes one document; the innermost frame stands first. What is not known is null.\n\n"
	"  {\"schema\":\"reftop.stacks/1\", \"time\":\"...Z\", \"target\":{...}, \"snapshot\":{...},\n"
	"   \"deadlocks\":[\"Deadlock: ...\", ...],\n"
	"   \"threads\":[{\"tid\":..., \"ident\":..., \"interpreter\":..., \"name\":\"...\", \"comm\":\"...\", \"daemon\":true|false|null, \"state\":\"sleeping\",\n"
	"     \"holds_gil\":true|false|null, \"address\":\"0x...\", \"waiting\":..., \"wait\":\"read(3)\", \"wait_detail\":\"/var/log/x\", \"timed\":..., \"timeout_us\":..., \"timeout_left\":...,\n"
	"     \"waits_for\":{\"kind\":\"lock\", \"address\":\"0x...\", \"type\":\"threading.Lock\", \"holder\":\"self.lock\", \"state\":\"...\",\n"
	"       \"owner_tid\":..., \"owner_name\":\"...\", \"owner_place\":\"app.py:20 in second\", \"owner\":..., \"orphan\":..., \"full\":...},\n"
	"     \"deadlock\":..., \"truncated\":..., \"broken\":\"...\",\n"
	"     \"frames\":[{\"function\":\"...\", \"file\":\"...\", \"line\":..., \"native\":..., \"entry\":..., \"offset\":...,\n"
	"       \"locals\":[{\"name\":\"...\", \"type\":\"...\", \"address\":\"0x...\", \"value\":\"...\"}]}]}],\n"
	"   \"tasks\":[{\"address\":\"0x...\", \"name\":\"...\", \"state\":\"running|pending|done\", \"waits\":\"...\", \"awaits\":\"Task-2\", \"awaits_task\":..., \"loop\":..., \"loop_tid\":...,\n"
	"     \"deadlock\":..., \"frames\":[...]}]}\n\n"
	"ident: threading.get_ident(), null for a thread that runs no Python. wait: the system call it is in, with its descriptor or process; "
	"wait_detail: what the descriptor is. timeout_us: how long it waits at most; with timeout_left, how much is left of that.\n\n"
	"waits_for: null where nothing but the system call is known. kind: gil, lock (one holder at a time), event (until somebody says so: "
	"Condition, Event, Semaphore, Barrier, Queue) or thread (its end). holder: the variable or attribute that the object is in. "
	"orphan: no thread is there that could release it. full: it puts something into a queue that is full. owner and loop are indexes of "
	"threads, awaits_task is one of tasks. address (of a thread): its PyThreadState. waiting: it waits, as far as is known.\n\n"
	"entry: C code called it. broken: why the native stack ends early. offset (native frames): bytes from the start of the function. locals: with --locals. "
	"awaits: the name of the task that this one awaits. loop_tid: the thread that runs its loop.";
