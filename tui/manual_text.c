/* The hand-written sections of the manual; see tui/manual.h for how they are marked up. */
#include "daemon/store/recording.h"
#include "tui/keys.h"
#include "tui/manual.h"

static const char first_law[] =
	"The process that is looked at can't tell. reftop reads its memory from outside with ptrace(2) and "
	"process_vm_readv(2), and works on a copy.\n\n"
	"Nothing is written into its memory: no injected call, no signal, no breakpoint. Nothing of it is run for us: "
	"no repr(), no __sizeof__(), no import, and its binary is not executed.\n\n"
	"Its reference counts, the state of its garbage collector, its resident memory and its page tables stay what "
	"they were: pages it never touched are not read, and pages it shares copy-on-write are not unshared.\n\n"
	"The best stop is none: when no thread of the process ran during the copy, it needed no stop (mode \"quiet\"). That isn't tried where it was seen running just before. "
	"Otherwise its threads are stopped with PTRACE_SEIZE and PTRACE_INTERRUPT for as long as the copy takes (mode "
	"\"stop\"), and every result says how long that was. No parent sees a SIGCHLD from that. A process that was "
	"stopped stays stopped, and a signal that arrives meanwhile is kept.\n\n"
	"It is never left stopped: the kernel resumes it when reftop dies, also by kill -9.\n\n"
	"What is done while it runs (reading ahead, counting) is done by threads of lower priority (nice 5), so that it keeps its CPU; since Linux 6.12 it "
	"mostly gets it back as soon as it wakes up, too, not when their time slice is over.\n\n"
	"No system call of it fails because of us: a thread that was caught in a call that would return EINTR is made "
	"to restart it. That is the one register that is ever written.\n\n"
	"With --nonblocking it is never stopped at all; the result then says that it may be inconsistent.\n\n"
	"A histogram doesn't need all of the memory: stacks of threads, files and shared memory are not copied, nor are large buffers of numbers or text "
	"(numpy's arrays above all). Pages of those are told by what they lack, an address of the process, while it still runs; should the count need one "
	"nevertheless, the process is read a second time, with everything. leaks, explain and objects need all of it, and --precopy copies it.\n\n"
	"Pauses have a budget: top and record lengthen their interval so that all stops together take no more than 1 % of "
	"the time (--budget). --max-pause TIME is a limit for each: a sample whose stop would be longer, as predicted from the "
	"size of the process and from how fast copying from it goes, is skipped and says so; a stop that turns out longer is "
	"given up.\n\n"
	"A process with more memory than --memory, such buffers apart (half of what is available; 256 MB with --nonblocking) is not copied: a "
	"histogram is counted while its pages go by, in that much memory. It is never stopped for that. If no thread of it ran "
	"meanwhile the result is a consistent one (mode \"quiet\"); otherwise it is of no one moment, says so, and tells in "
	"\"torn\" how many places contradict themselves.\n\n"
	"--precopy is the one mode that does something to the process, and it is never used unless asked for. The process is copied while it "
	"runs, and stopped only for what it changed meanwhile. For that the kernel has to tell which pages it writes to, and the first write to "
	"each page costs the process about a microsecond. There are two ways, of which the cheaper one that this kernel has is taken:\n\n"
	"Soft-dirty bits (CONFIG_MEM_SOFT_DIRTY, as Debian's kernels have it) need nothing in the process. Clearing them, which is "
	"writing 4 to /proc/PID/clear_refs, holds up its memory management for about 6 ms a GB, so this is for processes of up to half a GB, and for larger ones "
	"where the other way isn't open. There is one round; while what changed since is no more than 8 MB the next sample copies just that, else all is "
	"copied again, as it runs. Nothing has to be taken back in the end. Another reftop is kept out, with an error. That somebody else clears "
	"these bits of the same process (CRIU does, or a reftop in a container that has a /proc of its own) is noticed from one sample to the next, but not while one is taken. Blocks that realloc() moved are "
	"told by the frames of their pages where we may know them (CAP_SYS_ADMIN), else by a few bytes of each 2 MB.\n\n"
	"Asynchronous write protection (Linux 6.7) goes in rounds: each copies what changed during the one before. One of the process's threads is "
	"stopped for some 0.1 ms and made to call userfaultfd(2) and close(2), with all signals held back meanwhile; nothing is written into its memory. "
	"While it is followed huge pages that it writes to are split, and new mappings next to followed ones are not merged. "
	"When reftop ends all of that is taken back, in pieces of 16 MB; after a kill -9 the kernel does it at once, which holds up the process's "
	"memory management for about 15 ms a GB. A process under a seccomp filter isn't made to call anything: without soft-dirty bits it is refused.\n\n"
	"top and record go on following between samples, so that a sample costs what changed.";

static const char exit_status[] = "  0  done\n"
				  "  1  failed\n"
				  "  2  wrong usage\n"
				  "  3  no such process, or it ended\n"
				  "  4  not permitted\n"
				  "  5  not a CPython it knows\n"
				  "  6  the snapshot is incomplete (with --strict)\n"
				  "  7  a gate tripped (diff --fail-on-growth, leaks --fail)\n\n"
				  "An error is at most three lines on standard error: what failed, the observed cause, "
				  "one remedy. A closed pipe ends the program quietly.";

static const char permissions[] =
	"To read a process one needs what a debugger needs (ptrace(2), \"Ptrace access mode checking\"): the same user "
	"and no set-uid program, or the capability CAP_SYS_PTRACE. `reftop why -p PID` says which of these rules is in "
	"the way.\n\n"
	"Where `sysctl kernel.yama.ptrace_scope` is 1, as it is on Ubuntu, a process can be read by its ancestors only, so that "
	"`reftop -- PROGRAM` works without root and `reftop PID` needs sudo, or sysctl kernel.yama.ptrace_scope=0, or "
	"a process that calls prctl(PR_SET_PTRACER). With 2 it needs CAP_SYS_PTRACE, with 3 nobody can.\n\n"
	"Processes in containers can be read from the host as root: the files of a process are opened through "
	"/proc/PID/root, and its PID is that of the host. Within a container reftop sees what is in the same PID "
	"namespace; Docker's and Podman's default seccomp profile allows ptrace on kernels from 4.8, else start the "
	"container with --cap-add SYS_PTRACE. In Kubernetes an ephemeral debug container with shareProcessNamespace "
	"and the capability SYS_PTRACE does it.\n\n"
	"A process that another debugger or strace holds can't be stopped a second time; --nonblocking can still read "
	"it.";

static const char json[] =
	"Every document is one object with \"schema\", on one line. Times are RFC 3339 in UTC, durations integers "
	"whose key ends in the unit (_us, _ms), sizes bytes, addresses strings \"0x...\". What was not measured is "
	"null, never 0. Keys may be added; none is renamed or dropped within a schema's number.\n\n"
	"histo --json, and each line of record --json, is reftop.sample/1:\n\n"
	"  {\"schema\":\"reftop.sample/1\",\"time\":\"...Z\",\n"
	"   \"target\":{\"pid\":...,\"start_time\":\"...Z\",\"exe\":\"...\",\"cmdline\":[\"...\"],\"python\":\"3.12.1\",\"debug\":false,\n"
	"             \"free_threaded\":false,\"layout\":\"builtin|dwarf|debug_offsets\",\"rss\":...},\n"
	"   \"snapshot\":{\"mode\":\"quiet|stop|precopy|nonblocking|core|image|skipped\",\"consistent\":true,\n"
	"               \"coverage\":\"gc|all\",\"pause_us\":...,\"elapsed_us\":...,\"bytes_copied\":...,\"walk_us\":...,\n"
	"               \"torn\":...,\"streamed\":false,\"skipped\":null},\n"
	"   \"gc\":[{\"interpreter\":0,\"enabled\":true,\"collecting\":false,\n"
	"          \"generations\":[{\"count\":...,\"threshold\":...,\"objects\":...}],\"permanent\":...,\"collections\":[...]}],\n"
	"   \"totals\":{\"objects\":...,\"gc_objects\":...,\"bytes\":...,\"refs\":...,\"immortal\":...,\"unreadable\":0,\n"
	"             \"allocated_blocks\":...,\"memory\":{\"objects\":...,\"blocks\":...,\"free_blocks\":...,\"free_pools\":...,\n"
	"                                               \"malloc_heap\":...,\"anonymous\":...,\"file\":...,\"other\":...}},\n"
	"   \"types\":[{\"address\":\"0x...\",\"module\":\"builtins\",\"qualname\":\"dict\",\"count\":...,\"gc_count\":...,\"bytes\":...,\n"
	"             \"refs\":...,\"refs_max\":...,\"immortal\":...,\"owned\":...,\n"
	"             \"born\":...,\"died\":...,\"survived\":...}]}\n\n"
	"born and died are there from the second sample of a recording on: objects of the type that weren't there in the sample before, and "
	"that are there no more, by address and type, so both are at least that; survived is count - born. What wasn't counted is null, or not "
	"there: a daemon counts as far as an eighth of its memory= goes (4 bytes an object of each process), and where samples were thinned out "
	"nothing is known of births between those that stayed. "
	"count is the number of live objects of exactly this type; gc_count those in the collector's lists (what "
	"gc.get_objects() returns); bytes the sum of what sys.getsizeof() would say, the collector's header included; "
	"refs and refs_max the sum and the maximum of the reference counts of the objects that are not immortal; owned "
	"the buffers they own beyond bytes. Two types of one name are two rows. coverage \"gc\": only the objects in "
	"the collector's lists were counted; \"all\": every object.\n\n"
	"mode \"skipped\": there was no copy, and skipped says why (--max-pause); everything that would have been counted is "
	"null. torn: how many places of a copy made while the process ran contradict themselves, null where it was held "
	"still. streamed: it was counted in pieces (--memory).\n\n"
	"totals.memory says where the resident memory is; its parts add up to rss: live objects, allocator blocks that "
	"are no objects (the keys of dicts, the arrays of lists), free blocks in pools in use, free pools, the heap of "
	"malloc, other anonymous memory, pages of files, and the rest. allocated_blocks is what "
	"sys.getallocatedblocks() would say.\n\n"
	"With record --watch a sample has one key more:\n\n"
	"   \"watched\":[{\"address\":\"0x...\",\"state\":\"alive|dead|reused\",\"module\":\"...\",\"qualname\":\"...\",\"type\":\"0x...\",\n"
	"               \"refcount\":...,\"exact\":...,\"probable\":...,\"value\":\"...\",\"now\":\"...\"}]\n\n"
	"exact and probable are null in samples whose references were not looked at; now is what is at the address when "
	"it was reused. After its end an object is not listed any more.\n\n"
	"ps --json is reftop.processes/1:\n\n"
	"  {\"schema\":\"reftop.processes/1\",\"time\":\"...Z\",\n"
	"   \"processes\":[{\"pid\":...,\"ppid\":...,\"uid\":...,\"user\":\"...\",\"python\":\"3.12\",\"rss\":...,\"start_time\":\"...Z\",\n"
	"                 \"uptime_ms\":...,\"state\":\"running|sleeping|waiting|stopped|traced|zombie|idle\",\"readable\":false,\n"
	"                 \"growing\":null,\"why\":{\"name\":\"yama-1\",\"cause\":\"...\",\"fix\":\"...\"},\"exe\":\"...\",\"cmdline\":[\"...\"]}]}\n\n"
	"why is null for a process that can be read. why --json is reftop.why/1:\n\n"
	"  {\"schema\":\"reftop.why/1\",\"time\":\"...Z\",\"pid\":...,\"readable\":false,\"name\":\"...\",\"problem\":\"...\",\"cause\":\"...\",\n"
	"   \"fix\":\"...\",\"python\":\"3.12.1\",\"interpreter\":\"...\",\"layout\":\"...\"}\n\n"
	"diff --json is reftop.diff/1; a is the earlier sample, b the later one:\n\n"
	"  {\"schema\":\"reftop.diff/1\",\"elapsed_us\":...,\n"
	"   \"a\":{\"time\":\"...Z\",\"target\":{...},\"snapshot\":{...}},\"b\":{...},\n"
	"   \"totals\":{\"objects\":...,\"bytes\":...,\"refs\":...},\n"
	"   \"fail_on_growth\":[{\"type\":\"app.*\",\"more_than\":...,\"tripped\":true,\n"
	"                      \"types\":[{\"name\":\"app.Thing\",\"count\":...,\"count_a\":...,\"count_b\":...}]}],\n"
	"   \"types\":[{\"address\":\"0x...\",\"module\":\"...\",\"qualname\":\"...\",\n"
	"             \"count\":...,\"bytes\":...,\"refs\":...,\"count_a\":...,\"bytes_a\":...,\"refs_a\":...,\"count_b\":...,\"bytes_b\":...,\n"
	"             \"refs_b\":...}]}\n\n"
	"count, bytes and refs without _a and _b are the differences. fail_on_growth has an element for every --fail-on-growth, and in it what grew "
	"by more, largest first.";

static const char recording[] =
	"`reftop record` writes a SQLite database in WAL mode, one transaction a sample: a recorder killed at any "
	"moment leaves a file that opens and lacks at most the sample that was being written. Copy it with its -wal "
	"file, or while nobody records. It says what it is: application_id is 0x72667470 (\"rftp\"), user_version 3 (1 and 2 lack some columns). "
	"`file` and `sqlite3` are enough to use it:\n\n"
	"  sqlite3 run.db 'SELECT * FROM growth ORDER BY count_per_minute DESC LIMIT 10'\n\n"
	"A recording is of one process, known by its PID and start time. The same process can be recorded into the "
	"same file again; another process is refused, and a file that is no recording is never touched. The schema:";

static const char files[] = "NO_COLOR: when set and not empty, no colours are used.\n\n"
			    "REFTOP_SOCKET: the daemon's socket, instead of the usual ones; empty: none.\n\n"
			    "COLUMNS, LINES: the size of the screen for --dump-screen (80x24 otherwise).\n\n"
			    "TMPDIR: where the output of a program started with `reftop -- PROGRAM` goes, in a file "
			    "that is named on the screen and at the end.";

static const char keys[] =
	"Of the live view. The mouse sorts by a click on a column's title, selects by one on a row, and scrolls.\n\n"
	"Enter on a type lists its objects: those with the most references, bytes or unexplained references, 2,000 at most. "
	"Enter on one of them shows who holds it and what it holds; Enter follows either, Tab goes to the other half, Esc "
	"back. All of that is about one picture of the process, taken when the list was asked for: how long ago stands at "
	"the right, and r takes another. While it is read the view goes on; after 300 ms it says so.\n\n"
	"u looks for references that nobody holds, at once and then as often as all looks together take no more than a "
	"twentieth of the time, and stop the process for no more than a two hundredth of it. The column UNEXPL shows what "
	"the last look found, - when there was none; how long ago stands in the head.\n\n"
	"w follows one object's reference count in every sample; Tab shows those that are watched, with a graph each, and "
	"how they ended. An object is the same one as long as its address and type are, and for a str, bytes, int, float or "
	"complex its value: a new object of the same class at the same address can't be told from the old one. The same "
	"holds for BORN/DIED: what was born and died at one place between two samples is not seen, so both are at least "
	"what the process did. Above 3,000,000 objects they are not counted.\n\n"
	"The third screen, Threads (Tab, or --screen threads), shows with every sample where each thread is, what it waits for and "
	"who holds that, as `reftop stacks` does; a deadlock stands first. Enter unfolds a thread's stack, or a task's; n adds native "
	"frames, l the values of local variables, on which Enter goes to the object. A look at the stacks pauses the process by itself, "
	"which the head counts.";

static char *list_keys(void)
{
	GString *text = g_string_new(NULL);
	for (size_t i = 0; i < key_table_size; i++)
		g_string_append_printf(text, "  %-10s %s\n", key_table[i].names, key_table[i].help);
	return g_string_free(text, FALSE);
}

static char *show_schema(void)
{
	return g_strdup(recording_schema);
}

const struct manual_section manual_sections[] = {
	{"first-law", "What it does to the target", first_law, NULL},
	{"cost", "What it costs, and where that ends", manual_cost, NULL},
	{"keys", "Keys", keys, list_keys},
	{"permissions", "Permissions", permissions, NULL},
	{"references", "How references are explained", manual_references, NULL},
	{"exit-status", "Exit status", exit_status, NULL},
	{"json", "JSON", json, NULL},
	{"json-references", "JSON about references", manual_references_json, NULL},
	{"json-stacks", "JSON about stacks", manual_stacks_json, NULL},
	{"recording", "The recording", recording, show_schema},
	{"watching", "The daemon", manual_watching, NULL},
	{"protocol", "The daemon's protocol", manual_protocol, NULL},
	{"environment", "Environment", files, NULL},
	{NULL, NULL, NULL, NULL},
};
