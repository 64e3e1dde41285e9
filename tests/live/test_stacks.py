"""`reftop stacks` against what the target itself says: sys._current_frames(), and the ways to hang that tests/targets/hung.py knows."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

import harness

pytestmark = pytest.mark.versions("all")  # frames and locks differ in every version
some = pytest.mark.versions("3.6", "3.8", "3.10", "3.11", "3.12", "3.13-sid", "3.14-sid", "3.15-sid", "3.13t")  # one of each kind


def stacks(pid, *options):
    result = harness.reftop("stacks", "-p", pid, "--json", *options)
    assert result.code == 0, result
    return json.loads(result.out)


def by_name(document):
    return {t["name"]: t for t in document["threads"]}


def threads_in(pid, call):
    return sum(harness.syscall_of(pid, int(tid))[0] == call for tid in os.listdir("/proc/%d/task" % pid))


def ready(target):
    """Answer what the target asks, how many of its threads are in a system call, until it is ready."""
    while True:
        answer = target.answer()
        if "ready" in answer:
            return answer
        harness.wait_for(lambda: threads_in(answer["pid"], answer["call"]) >= answer["wait"], 60, "threads to block")
        target.send("")


def hung(start, python, *arguments):
    target = start(python, "hung.py", *arguments)
    return target, ready(target)


def test_every_frame_is_the_truth(python, start):
    target = start(python, "stacks.py")
    truth = ready(target)
    target.wait_blocked()
    document = stacks(target.pid)
    assert document["schema"] == "reftop.stacks/1"
    assert document["deadlocks"] == []
    threads = {str(t["ident"]): t for t in document["threads"]}
    assert set(threads) == set(truth["threads"])
    assert len(threads) > 30
    wrong, plain_names = [], set()
    for ident, frames in truth["threads"].items():
        thread = threads[ident]
        ours = [[f["function"], f["file"], f["line"]] for f in thread["frames"]]
        if python.version < (3, 11):  # code has no qualified names there: they are found, or not
            skipped = ident == truth["main"]
            plain_names |= {(a[0], b[0]) for a, b in zip(ours[skipped:], frames[2 * skipped:]) if a[0] != b[0]}
            ours = [[f[0].split(".")[-1]] + f[1:] for f in ours]
            frames = [[f[0].split(".")[-1]] + f[1:] for f in frames]
        if ident == truth["main"]:  # it went on: from truth() to the readline of main()
            frames = frames[1:]
            assert ours[0][0] == frames[0][0] and len(ours) == len(frames)
            ours, frames = ours[1:], frames[1:]
        if ours != frames:
            wrong.append((thread["name"], [pair for pair in zip(ours, frames) if pair[0] != pair[1]], len(ours), len(frames)))
        name, daemon, native = truth["names"][ident]
        assert (thread["name"], thread["daemon"]) == (name, daemon)
        assert thread["tid"] == native or native is None
        assert os.path.exists("/proc/%d/task/%d" % (target.pid, thread["tid"]))
    assert not wrong, wrong
    # the target itself finds no function any more that this one was of; partial() (3.9, 3.10) puts its argument in the place of what it calls
    assert plain_names <= {("generator_expression.<locals>.<genexpr>", "<genexpr>"), ("<lambda>", "partial.<locals>.<lambda>")}
    # a target that sleeps isn't stopped
    assert (document["snapshot"]["mode"], document["snapshot"]["pause_us"]) == ("quiet", 0)
    assert document["target"]["rss"] is None, "not measured"


@pytest.mark.parametrize("kind", ["locks", "rlocks"])
def test_a_deadlock_is_named(python, start, kind):
    target, truth = hung(start, python, kind)
    try:
        document = stacks(target.pid)
    finally:
        os.kill(truth["child"], 9)
    threads = by_name(document)
    first, second = threads["first"], threads["second"]
    assert len(document["deadlocks"]) == 1
    sentence = document["deadlocks"][0]
    for part in ("first", "second", "self.a", "self.b", str(first["tid"]), str(second["tid"]),
                 "hung.py:%d" % truth["first"], "hung.py:%d" % truth["first_wants"],
                 "hung.py:%d" % truth["second"], "hung.py:%d" % truth["second_wants"]):
        assert part in sentence, (part, sentence)
    assert {t["name"] for t in document["threads"] if t["deadlock"]} == {"first", "second"}
    assert first["waits_for"]["owner_tid"] == second["tid"] and first["waits_for"]["holder"] == "self.b"
    assert second["waits_for"]["owner_tid"] == first["tid"] and second["waits_for"]["holder"] == "self.a"
    # nobody else is accused
    assert "reader" not in sentence and "hog" not in sentence and "MainThread" not in sentence
    assert threads["reader"]["waits_for"] is None and threads["reader"]["wait"].startswith("read(")
    assert threads["reader"]["wait_detail"] == "pipe"
    assert threads["hog"]["wait"] is None
    main = threads["MainThread"]["waits_for"]
    assert main and (main["kind"] == "gil" or main["owner_tid"] == first["tid"])


def test_threads_that_join_each_other(python, start):
    target, truth = hung(start, python, "join")
    document = stacks(target.pid)
    assert len(document["deadlocks"]) == 1
    assert {t["name"] for t in document["threads"] if t["deadlock"]} == {"one", "two"}
    assert {t["waits_for"]["kind"] for t in document["threads"] if t["deadlock"]} == {"thread"}


def test_what_a_thread_waits_for(python, start):
    target, truth = hung(start, python, "events")
    target.wait_blocked()
    document = stacks(target.pid)
    assert document["deadlocks"] == []
    threads = by_name(document)
    waits = {n: t["waits_for"] and (t["waits_for"]["type"], t["waits_for"]["holder"], t["waits_for"]["state"])
             for n, t in threads.items()}
    assert waits["fill"] == ("queue.Queue", "self.jobs", "full, 2 of 2 items")
    assert waits["until_done"] == ("threading.Event", "self.done", "not set")
    assert waits["slot"] == ("threading.Semaphore", "self.slots", "value 0")
    assert waits["change"] == ("threading.Condition", "self.changed", None)
    assert waits["limited"] == ("threading.Event", "self.done", "not set")
    assert threads["until_done"]["timeout_us"] is None
    assert 3000e6 < threads["limited"]["timeout_us"] <= 3600e6 and threads["limited"]["timeout_left"]
    assert 3000e6 < threads["sleep"]["timeout_us"] <= 3600e6
    assert threads["MainThread"]["wait"] == "read(0)" and threads["MainThread"]["wait_detail"] == "pipe"


@some
def test_a_full_queue(python, start):
    """The producer has the lock that the consumer needs, the main thread waits for the producer: nobody will ever take."""
    target, truth = hung(start, python, "full")
    harness.wait_for(lambda: threads_in(target.pid, 202) == 3, 60, "all to wait")
    document = stacks(target.pid)
    sentence, = document["deadlocks"]
    threads = by_name(document)
    for part in ('"producer" (tid %d) at hung.py:%d in ' % (threads["producer"]["tid"], truth["room"]),
                 "waits for room in queue.Queue self.jobs (full, 2 of 2 items), and no thread is left that could take from it: ",
                 '"consumer" (tid %d) at hung.py:%d in ' % (threads["consumer"]["tid"], truth["wants"]),
                 "waits for threading.Lock self.lock, which \"producer\" (tid %d) holds since hung.py:%d in " % (threads["producer"]["tid"], truth["takes"]),
                 '"MainThread" (tid %d) at hung.py:' % target.pid, "waits for the end of \"producer\""):
        assert part in sentence, (part, sentence)
    assert all(t["deadlock"] for t in threads.values())
    # the main thread reads: it could still take
    target, truth = hung(start, python, "full-but")
    target.wait_blocked()
    document = stacks(target.pid)
    assert document["deadlocks"] == [] and by_name(document)["consumer"]["waits_for"]["owner_name"] == "producer"
    # one thread, its own queue
    target, truth = hung(start, python, "alone")
    harness.wait_for(lambda: threads_in(target.pid, 202), 60, "it to wait")
    sentence, = stacks(target.pid)["deadlocks"]
    assert re.search(r"at hung.py:%d in \S* ?waits for room in queue.Queue jobs \(full, 1 of 1 items\), and no thread is left" % truth["room"], sentence), sentence


def test_a_lock_inherited_by_fork(python, start):
    target, truth = hung(start, python, "fork")
    try:
        document = stacks(truth["child"])
    finally:
        os.kill(truth["child"], 9)
    thread, = document["threads"]
    assert thread["waits_for"]["orphan"] and thread["waits_for"]["owner_tid"] is None
    assert thread["waits_for"]["holder"] == "lock"
    assert document["deadlocks"] == []
    # in the parent somebody holds it, who waits for something else
    assert by_name(stacks(target.pid))["holder"]["waits_for"]["type"] == "threading.Barrier"


def test_an_import_lock(python, start, tmp_path):
    if python.root:
        pytest.skip("the folder isn't in its root")
    target, truth = hung(start, python, "imports", str(tmp_path))
    threads = by_name(stacks(target.pid))
    wait = threads["two"]["waits_for"]
    assert wait["type"].endswith("_ModuleLock") and wait["owner_tid"] == threads["one"]["tid"]
    assert "slow_module" in wait["state"]


def test_the_lock_of_a_file(python, start):
    target, truth = hung(start, python, "files")
    threads = by_name(stacks(target.pid))
    wait = threads["waiter"]["waits_for"]
    assert wait["type"] == "_io.BufferedReader" and wait["owner_tid"] == threads["owner"]["tid"]


def test_tasks_that_await_each_other(python, start):
    target, truth = hung(start, python, "tasks")
    document = stacks(target.pid)
    assert len(document["deadlocks"]) == 1
    sentence = document["deadlocks"][0]
    assert "hung.py:%d" % truth["one"] in sentence and "hung.py:%d" % truth["two"] in sentence
    chains = {tuple(f["function"] for f in t["frames"]): t for t in document["tasks"]}
    assert chains[("task_one",)]["deadlock"]
    assert chains[("inner", "task_two")]["deadlock"]
    sleeping, = [t for t in document["tasks"] if not t["deadlock"]]
    assert [f["function"] for f in sleeping["frames"]] == ["sleep", "sleeper"] and sleeping["awaits"] is None


def test_locals(python, start):
    target, truth = hung(start, python, "events")
    target.wait_blocked()
    frames = by_name(stacks(target.pid, "--locals"))["fill"]["frames"]
    fill, = [f for f in frames if f["function"].endswith("fill")]
    values = {v["name"]: v["value"] for v in fill["locals"]}
    assert values["i"] == "2" and values["self"].startswith("<Box")


def test_native_frames_stand_between_those_of_python(python, start):
    if python.root:
        pytest.skip("unwound in its root, where debug files aren't looked for")
    target = start(python, "stacks.py")
    truth = ready(target)
    target.wait_blocked()
    document = stacks(target.pid, "--native")
    assert document["snapshot"]["mode"] == "stop"
    threads, without = by_name(document), by_name(stacks(target.pid))
    for thread in document["threads"]:
        python_frames = [f["line"] for f in thread["frames"] if not f["native"]]
        assert python_frames == [f["line"] for f in without[thread["name"]]["frames"]]
        functions = [f["function"] for f in thread["frames"] if f["native"]]
        assert not any(f.startswith("_PyEval_EvalFrameDefault") for f in functions)
        # from the system call to where threads begin
        assert any("futex" in f or "sem_" in f or "read" in f for f in functions[:3]), functions
        assert any("clone" in f or "start_thread" in f or "_start" in f or "main" in f for f in functions[-2:]), functions
    # a callback from C: qsort() stands between the comparison and who called it
    callback = [t for n, t in threads.items() if n.startswith("ctypes_callback")][0]
    names = [f["function"].split(".")[-1] for f in callback["frames"]]
    compare, sort = names.index("compare"), names.index("ctypes_callback")
    assert any("sort" in n for n in names[compare:sort]), names


def plain(python, frames):
    """Frames as far as they can be compared: code has no qualified names before 3.11, ours may be."""
    return [[f[0].split(".")[-1] if python.version < (3, 11) else f[0], f[1], f[2]] for f in frames]


def frames_of(python, thread):
    return plain(python, [[f["function"], f["file"], f["line"]] for f in thread["frames"]])


@some
@pytest.mark.parametrize("moment", ["in_handler", "in_import", "in_recursion", "without_state", "at_exit"])
def test_a_moment(python, start, moment):
    target = start(python, "moments.py", moment)
    truth = ready(target)["truth"]
    harness.wait_for(lambda: threads_in(target.pid, 0), 60, "it to wait")
    document = stacks(target.pid)
    thread, = [t for t in document["threads"] if len(t["frames"]) >= len(truth) - 1 and t["frames"][0]["function"] == "wait"]
    assert frames_of(python, thread) == plain(python, truth)
    if moment == "in_recursion":
        assert len(truth) > 10000
    if moment == "without_state":
        strange, = [t for t in document["threads"] if t["wait"] == "pause"]
        assert strange["ident"] is None and strange["frames"] == [] and strange["state"] == "sleeping"
        assert os.path.exists("/proc/%d/task/%d" % (target.pid, strange["tid"]))
        assert "(no Python state)" in harness.reftop("stacks", "-p", target.pid).out


@some
def test_while_the_interpreter_starts(python, start):
    environment = dict(os.environ, REFTOP_TEST_START="1")
    # the folder of the targets, as the target sees it
    environment["PYTHONPATH"] = os.path.dirname(python.argv("moments.py")[-1])
    target = start(python, "moments.py", "in_handler", env=environment)
    truth = ready(target)["truth"]
    document = stacks(target.pid)
    thread, = [t for t in document["threads"] if t["frames"] and t["frames"][0]["function"] == "wait"]
    assert frames_of(python, thread) == plain(python, truth)
    assert any(f[1].endswith("site.py") or "site" in f[1] for f in truth)


@pytest.mark.versions("3.8", "3.12")
def test_before_and_after_the_interpreter(python, start, tmp_path):
    """The process is there, the interpreter isn't yet, or isn't any more: that is said. From 3.11 on it looks for its library in Python."""
    def complaint(pid):
        result = harness.reftop("stacks", "-p", pid)
        assert result.code == 5 and result.err.splitlines()[1:] == ["  cause: the interpreter is starting or has finished"], result

    after = start(python, "moments.py", "after_exit")
    after.ready()
    harness.wait_for(lambda: threads_in(after.pid, 34), 60, "pause()")
    complaint(after.pid)
    # the first file it looks for is one that never opens
    (tmp_path / "bin").mkdir()
    os.mkfifo(tmp_path / "pyvenv.cfg")
    binary = tmp_path / "bin" / os.path.basename(python.path)
    shutil.copy(python.path, binary)
    libraries = os.path.join(os.path.dirname(os.path.dirname(python.path)), "lib")
    before = subprocess.Popen([binary, "-c", "pass"], env=dict(os.environ, LD_LIBRARY_PATH=libraries), stdin=subprocess.DEVNULL)
    try:
        harness.wait_for(lambda: threads_in(before.pid, 257) and harness.syscall_of(before.pid, before.pid)[0] == 257, 60, "open()")
        if python.version < (3, 11):
            complaint(before.pid)
        else:
            thread, = stacks(before.pid)["threads"]
            assert [(f["function"], f["file"]) for f in thread["frames"]] == [("<module>", "<frozen getpath>")]
    finally:
        before.kill()
        before.wait()


@some
def test_in_a_c_extension(python, start):
    target = start(python, "moments.py", "in_extension")
    line = target.ready()["spins"]
    harness.wait_for(lambda: stacks(target.pid)["threads"][0]["frames"][0]["line"] == line, 60, "it to spin")
    thread, = stacks(target.pid)["threads"]
    assert [f["function"] for f in thread["frames"]] == ["in_extension", "<module>"]
    assert thread["wait"] is None and thread["holds_gil"] is (None if python.free_threaded else True)


@some
def test_who_has_the_gil(python, start):
    if python.free_threaded:
        pytest.skip("there is no such lock")
    target = start(python, "moments.py", "gil_hog")
    target.ready()

    def waits():
        threads = by_name(stacks(target.pid))
        main = threads["MainThread"]["waits_for"]
        return "hog" in threads and main and main["kind"] == "gil" and threads

    threads = harness.wait_for(waits, 60, "the main thread to wait for the GIL")
    assert threads["hog"]["holds_gil"] and not threads["MainThread"]["holds_gil"]


@some
def test_while_the_modules_are_taken_apart(python, start):
    target = start(python, "moments.py", "in_finalization")
    line = target.ready()["last"]
    harness.wait_for(lambda: threads_in(target.pid, 0), 60, "it to wait")
    thread, = stacks(target.pid)["threads"]
    assert [(f["function"].split(".")[-1], f["line"]) for f in thread["frames"]] == [("__del__", line)]


@pytest.mark.versions("3.8", "3.12", "3.13-sid")
@pytest.mark.parametrize("load, options, limit", [("busy", (), 5000), ("spin", (), 5000), ("spin", ("--native",), 50000)],
                         ids=["python", "all-run", "native"])
def test_the_pause_of_64_threads(python, start, load, options, limit):
    """One runs, or all want to: 19 looks of 20 in a row pause it for no longer than the limit, us (on a slow machine as much longer)."""
    target = start(python, "threads.py", 64, 10, load)
    truth = ready(target)["threads"]
    pauses = []

    def look():
        document = stacks(target.pid, *options)
        snapshot = document["snapshot"]
        assert snapshot["mode"] == "stop" and snapshot["consistent"] and snapshot["pause_us"] > 0
        threads = {str(t["ident"]): t for t in document["threads"]}
        assert len(threads) == 64
        for ident, frames in truth.items():
            ours = [[f["function"].split(".")[-1], f["file"], f["line"]] for f in threads[ident]["frames"] if not f["native"]]
            if load == "spin":  # it has gone on since, in the same function or the one it waits in
                ours, frames = ([frame[:2] for frame in stack[-len(frames) + 1:]] for stack in (ours, frames))
            assert ours == frames
        if load == "busy":
            spin, = [t for t in document["threads"] if t["name"] == "spin"]
            assert [f["function"] for f in spin["frames"] if not f["native"]][0] == "spin"
        pauses.append(snapshot["pause_us"])

    # a thread stops when the kernel finds a CPU for it: beside other work (the start of these threads, too) that takes longer
    slowness = []
    for _ in range(8):
        for _ in range(20):
            look()
        slowness.append(harness.slowness())
        if sorted(pauses[-20:])[18] <= limit * slowness[-1]:
            return
    pytest.fail("the pauses are %s, and the machine is slower by %s" % (pauses, slowness))


@pytest.mark.versions("3.6", "3.8", "3.12", "3.14-sid")
def test_whoever_has_the_lock_is_enough(python, start):
    """Only the thread that has the GIL is stopped. Two that are inside of what only one can be in would show that another went on."""
    target = start(python, "threads.py", 64, 30, "baton")
    ready(target)
    seen = 0
    for _ in range(80):
        document = stacks(target.pid)
        assert document["snapshot"]["consistent"] is True
        within = [t["tid"] for t in document["threads"] if any(f["function"].split(".")[-1] == "inside" for f in t["frames"])]
        assert len(within) <= 1, document
        seen += len(within)
    assert seen > 0


def test_a_process_in_a_namespace(any_python, start):
    """In a container threads have other numbers inside; what they wait for is still told, and which they are."""
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run(command + ["true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no permission to make a pid namespace")
    argv = any_python.argv("threads.py", "3", "1", "busy")
    outer = subprocess.Popen(command + argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        waits = json.loads(outer.stdout.readline())
        with open("/proc/%d/task/%d/children" % (outer.pid, outer.pid)) as children:
            pid = int(children.read().split()[0])
        tids = harness.wait_for(lambda: len(os.listdir("/proc/%d/task" % pid)) == waits["wait"] + 1 and sorted(map(int, os.listdir("/proc/%d/task" % pid))),
                                20, "its threads")
        harness.wait_for(lambda: all(open("/proc/%d/task/%d/syscall" % (pid, tid)).read().split()[0] == "202" for tid in tids[1:]), 20, "them to wait")
        outer.stdin.write("go on\n")
        outer.stdin.flush()
        truth = json.loads(outer.stdout.readline())["threads"]
        document = stacks(pid)
        threads = {str(t["ident"]): t for t in document["threads"]}
        assert sorted(t["tid"] for t in document["threads"]) == sorted(map(int, os.listdir("/proc/%d/task" % pid)))
        for ident in truth:
            assert threads[ident]["wait"] == "futex" and threads[ident]["state"] == "sleeping", threads[ident]
        assert [t["name"] for t in document["threads"] if t["holds_gil"]] != []
    finally:
        outer.stdin.close()
        os.kill(pid, signal.SIGKILL)
        outer.wait()
        outer.stdout.close()


def test_text(any_python, start):
    target, truth = hung(start, any_python, "rlocks")
    try:
        result = harness.reftop("stacks", "-p", target.pid)
    finally:
        os.kill(truth["child"], 9)
    assert result.code == 0
    paragraphs = result.out.split("\n\n")
    assert paragraphs[1].startswith("Deadlock: ")
    assert re.search(r"Thread \d+ \"first\" daemon, sleeping, waits for threading.RLock self.b 0x[0-9a-f]+, held by \"second\"", result.out)


def test_a_recording_has_no_stacks():
    result = harness.reftop("stacks", "-p", 1 << 30)
    assert result.code == 3
