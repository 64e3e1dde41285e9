"""`reftop daemon`: processes, history, the socket."""
import datetime
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import threading

import pytest

import harness
from daemon_harness import Daemon, Peer, slowly
from harness import reftop


@pytest.fixture
def daemon(tmp_path):
    """daemon(*arguments, **more) starts one, killed at the end."""
    made = []

    def start_one(*args, **kwargs):
        directory = kwargs.pop("directory", tmp_path)
        made.append(Daemon(directory, *args, **kwargs))
        return made[-1]
    yield start_one
    for one in made:
        one.close()


@pytest.fixture
def leaker(start, any_python):
    target = start(any_python, "leaker.py", 1000)
    target.ready()
    return target


def query(path, sql):
    database = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def test_history_over_a_restart(daemon, leaker):
    """What was seen before a restart is there after it, with the gap; the verdict goes on."""
    one = daemon("-p", leaker.pid, "-i", "1")
    one.wait_samples([leaker.pid], 6)
    peer = one.peer()
    assert peer.hello["schema"] == "reftop.hello/1" and peer.hello["protocol"] == 1
    before = peer.result("moments", pid=leaker.pid)
    assert len(before["samples"]) >= 6 and before["times_us"] == sorted(before["times_us"])
    sample = peer.result("sample", pid=leaker.pid, sample=before["samples"][2])
    assert sample["schema"] == "reftop.sample/1"
    stored = query(one.store, "SELECT count FROM sample_type JOIN type ON type.id = type WHERE qualname = 'Leaky' AND sample = %d"
                   % before["samples"][2])
    assert stored == [(harness.row(sample, "Leaky")["count"],)]
    assert one.stop() == 0 and not os.path.exists(one.socket)
    one.start()
    one.wait_samples([leaker.pid], 6)
    after = one.ask("moments", pid=leaker.pid)["result"]
    assert after["samples"][:len(before["samples"])] == before["samples"]
    assert query(one.store, "SELECT why FROM gap") == [("the daemon did not run",)]
    growth = one.ask("growth", pid=leaker.pid)["result"]["growing"]
    leaky = [g for g in growth if g["qualname"] == "Leaky"][0]
    assert leaky["verdict"] == "steady" and abs(leaky["per_minute"] / 60000 - 1) < 0.05
    shown = reftop("view", one.store, "--dump-screen")
    assert shown.code == 0 and "steadily" in shown.out, "the store is a recording like any other"


# ---- which processes ----

@pytest.fixture
def steady(start, any_python):
    def start_one(period=0.5, count=100, python=None):
        target = start(python or any_python, "steady.py", period, count)
        target.ready()
        return target
    return start_one


def key_file(tmp_path, text):
    path = tmp_path / "reftop.conf"
    path.write_text(text)
    return path


def only(steady_pid):
    """Watches descendants of this test run only: other tests run at the same time."""
    return "[daemon]\ninterval=1s\ncpu=100%%\n[watch mine]\nparent=%d\n" % steady_pid


def test_discovery(daemon, steady, tmp_path):
    """Those that match are watched, new ones as they start; a dead one is gone at once; ignored ones never appear."""
    first = steady()
    config = key_file(tmp_path, only(os.getpid()) + "[ignore some]\ncmdline=*steady.py 0.25*\n")
    one = daemon("--config", config)
    one.wait_samples([first.pid], 1)
    second, ignored = steady(), steady(0.25)
    known = one.wait_samples([second.pid], 1)
    assert ignored.pid not in known
    p = known[second.pid]
    assert p["user"] and p["python"].count(".") == 2 and p["cmdline"][1].endswith("steady.py") and p["why"] is None
    peer = one.peer()
    assert peer.result("subscribe", pid=second.pid) == {}
    second.close()
    while peer.receive().get("event") != "ended":
        pass
    assert second.pid not in one.processes() and first.pid in one.processes()
    answer = one.ask("sample", pid=second.pid)
    assert not answer["ok"] and answer["code"] == 3


def test_children_without_exec(daemon, steady):
    """-s: a child that was forked and never execs has a history of its own, and keeps it when its parent dies."""
    parent, stranger = steady(), steady()
    one = daemon("-p", parent.pid, "-s", "-i", "1")
    one.wait_samples([parent.pid], 1)
    child = parent.ask("fork")["pid"]
    try:
        one.wait_samples([child], 2)
        parent.close()
        harness.wait_for(slowly(lambda: parent.pid not in one.processes()), harness.DEADLINE, "the parent to go")
        before = one.processes()[child]["samples"]
        known = one.wait_samples([child], before + 1)
        assert set(known) == {child} and stranger.pid not in known
    finally:
        os.kill(child, signal.SIGKILL)


def test_exec(daemon, steady):
    """A process that execs another Python is read on."""
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 2)
    target.send("exec")
    target.ready()

    def anew():
        sample = one.ask("sample", pid=target.pid, fresh=True)["result"]
        kept = [t["count"] for t in sample["types"] if t["qualname"] == "Kept"]
        return one.processes()[target.pid]["why"] is None and (not kept or kept[0] < 10000)
    harness.wait_for(slowly(anew), harness.DEADLINE, "samples of what it runs now")


def test_traced(daemon, steady):
    """A process that a debugger holds is said to be traced, with a gap; and read again when it lets go."""
    target = steady()
    target.send("spin")  # what doesn't run can be read in spite of a tracer
    tracer = subprocess.Popen(["strace", "-qq", "-e", "trace=none", "-p", str(target.pid)], stderr=subprocess.DEVNULL) \
        if os.path.exists("/usr/bin/strace") else None
    if not tracer:
        pytest.skip("no strace")
    try:
        status = "/proc/%d/status" % target.pid
        harness.wait_for(lambda: "TracerPid:\t%d\n" % tracer.pid in open(status).read(), harness.DEADLINE, "strace")
        one = daemon("-p", target.pid, "-i", "1")
        harness.wait_for(slowly(lambda: (one.processes()[target.pid]["why"] or {}).get("name") == "traced"),
                         harness.DEADLINE, "the reason")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    one.wait_samples([target.pid], 1)
    assert one.processes()[target.pid]["why"] is None


# ---- workers ----

def status_of(pid):
    return dict(line.split(":\t", 1) for line in open("/proc/%d/status" % pid).read().splitlines() if ":\t" in line)


def workers_of(one):
    return [pid for pid in one.family() if status_of(pid)["Name"] == "reftop-worker"]


def test_a_worker_may_only_read(daemon, steady):
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 1)
    worker, = workers_of(one)
    status = status_of(worker)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert {int(status[c], 16) for c in ("CapEff", "CapPrm")} == {1 << 19 | 1 << 2}, "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH"
        assert int(status["CapBnd"], 16) == 0 and int(status["CapInh"], 16) == 0 and int(status["CapAmb"], 16) == 0
    files = {int(fd): os.readlink("/proc/%d/fd/%s" % (worker, fd)) for fd in os.listdir("/proc/%d/fd" % worker)}
    assert all(files[fd] == "/dev/null" for fd in (0, 1, 2)) and files[1000].startswith("socket:"), files
    for fd, path in files.items():
        flags = int(re.search(r"flags:\t(\d+)", open("/proc/%d/fdinfo/%d" % (worker, fd)).read()).group(1), 8)
        if fd > 2 and fd != 1000 and "pidfd" not in path:
            assert flags & os.O_ACCMODE == os.O_RDONLY, (fd, path)


def test_a_killed_worker_is_replaced(daemon, steady, tmp_path):
    target, other = steady(), steady()
    one = daemon("--config", key_file(tmp_path, only(os.getpid())))
    one.wait_samples([target.pid, other.pid], 1)
    for worker in workers_of(one):
        os.kill(worker, signal.SIGKILL)
    harness.wait_for(slowly(lambda: one.processes()[target.pid]["crashes"] == 1), harness.DEADLINE, "the crash to be told")
    assert "killed by signal 9" in one.said()
    before = {p: q["samples"] for p, q in one.processes().items()}
    harness.wait_for(slowly(lambda: all(q["samples"] > before[p] and q["why"] is None for p, q in one.processes().items())),
                     harness.DEADLINE, "samples by another worker")
    assert target.alive() and other.alive()



# ---- the socket ----

def as_nobody(work):
    """Run `work` in a child of another user; what it returns (JSON)."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        answer = {"error": "it did not run"}
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            answer = work()
        except BaseException as problem:  # noqa: the parent is told
            answer = {"error": repr(problem)}
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    text = b""
    while True:
        piece = os.read(read, 65536)
        if not piece:
            break
        text += piece
    os.close(read)
    os.waitpid(pid, 0)
    return json.loads(text)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")


@needs_root
def test_another_user_learns_nothing(daemon, steady, start, tmp_path):
    """Of a process of somebody else a user can't tell whether it exists; their own they see."""
    debian = next((p for p in harness.find_interpreters().values() if p.path.startswith("/usr/bin/") and not p.root), None)
    if not debian:
        pytest.skip("no Python that everybody may run")
    theirs = start(debian, "steady.py", 0.5, 10, preexec=lambda: (os.setgid(65534), os.setuid(65534)))
    theirs.ready()
    ours = steady()
    os.chmod(tmp_path, 0o755)
    for directory in list(tmp_path.parents)[:3]:
        os.chmod(directory, 0o755)
    one = daemon("--config", key_file(tmp_path, only(os.getpid())))
    one.wait_samples([ours.pid, theirs.pid], 1)

    def look():
        peer = Peer(one.socket)
        return {
            "seen": [p["pid"] for p in peer.result("processes")["processes"]],
            "theirs": peer.ask("sample", pid=theirs.pid)["ok"],
            "answers": [[peer.ask(op, pid=pid) for op in ("sample", "moments", "growth", "series", "subscribe")]
                        for pid in (ours.pid, 4194303)],
            # numbers of samples in the store can be guessed
            "stolen": [n for n in range(1, 40) if peer.ask("sample", pid=theirs.pid, sample=n).get("result", {})
                       .get("target", {}).get("pid") == ours.pid],
            "store": os.access(one.store, os.R_OK),
        }
    saw = as_nobody(look)
    assert "error" not in saw, saw
    assert saw["seen"] == [theirs.pid] and saw["theirs"]
    assert saw["answers"][0] == saw["answers"][1], "the same as of a process that there isn't"
    assert all(a["code"] == 3 for a in saw["answers"][0])
    assert saw["stolen"] == [] and not saw["store"]
    assert set(one.processes()) >= {ours.pid, theirs.pid}, "root sees all"


def test_nonsense_is_refused(daemon, steady):
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 1)
    peer = one.peer()
    for line in (b"nonsense", b"[]", b"{}", b'{"op":1}', b'{"op":"explode"}', b'{"op":"sample"}', b'{"op":"sample","pid":"x"}',
                 b'{"op":"sample","pid":-1}', b'{"op":"sample","pid":99999999999999}', b'{"op":"sample","pid":1e300}', b"\xff\xfe",
                 b"[" * 5000, b'{"op":"sample","pid":%d,"sample":-5}' % target.pid, b'{"op":null}', b"",
                 b'{"op":"series","pid":%d,"type":"no.such"}' % target.pid, b'{"id":"' + b"x" * 5000 + b'","op":"processes!"}'):
        peer.send(line + b"\n")
        answer = peer.receive()
        assert answer["ok"] is False and answer["error"] and answer["code"] in (1, 2, 3), (line[:40], answer)
    rng = random.Random(7)
    valid = b'{"id":7,"op":"sample","pid":%d,"fresh":true}' % target.pid
    for _ in range(300):
        line = bytearray(valid)
        for _ in range(rng.randrange(1, 4)):
            line[rng.randrange(len(line))] = rng.choice(b'{}[]",:0aZ\\\x00\x7f')
        peer.send(bytes(line).replace(b"\n", b" ") + b"\n")
        assert "ok" in peer.receive()
    peer.send(b"x" * 70000)
    assert peer.receive()["error"] == "the line is too long"
    with pytest.raises(EOFError):
        peer.receive()
    assert one.ask("sample", pid=target.pid)["ok"] and one.process.poll() is None


def test_slow_and_many(daemon, steady):
    """1000 connections at once, unfinished lines and a reader that never reads: refused in words, the rest unharmed."""
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 1)
    kept, refused, reset = [], 0, 0
    for _ in range(1000):
        try:
            peer = Peer(one.socket, 20)
        except (OSError, EOFError):
            reset += 1
            continue
        if peer.hello.get("error") == "too many connections":
            refused += 1
            peer.close()
        else:
            kept.append(peer)
    assert len(kept) <= 48 and refused > 900, (len(kept), refused, reset)
    greedy, unfinished = kept[0], kept[1]
    greedy.socket.settimeout(0.2)
    try:
        while True:  # asks and never reads
            greedy.send(b'{"op":"sample","pid":%d}\n' % target.pid * 50)
    except OSError:
        pass
    unfinished.send(b'{"op":"processes"')
    assert kept[2].result("sample", pid=target.pid)["totals"]["objects"] > 0, "another one is answered all the while"
    assert unfinished.receive()["error"] == "the line was not finished in time"
    with pytest.raises(EOFError):
        unfinished.receive()
    for peer in kept:
        peer.close()
    harness.wait_for(slowly(lambda: len(os.listdir("/proc/%d/fd" % one.process.pid)) < 40), harness.DEADLINE, "the descriptors")
    rss = int(status_of(one.process.pid)["VmRSS"].split()[0])
    assert rss < 150000, rss
    before = one.processes()[target.pid]["samples"]
    one.wait_samples([target.pid], before + 2)


# ---- what can go wrong ----

def check_store(path):
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "SELECT s.id FROM sample s WHERE s.objects IS NOT "
                       "(SELECT sum(count) FROM sample_type WHERE sample = s.id)") == []


def microseconds(text):
    time = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return (time - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


def told_time(one, pid):
    """When the last sample was taken that the daemon tells of; 0 when it is the one before, of a process that did not run since."""
    sample = one.ask("sample", pid=pid)["result"]
    return microseconds(sample["time"]) if sample["snapshot"]["bytes_copied"] else 0


def test_killed_daemon(daemon, steady, tmp_path):
    """kill -9 at random moments (REFTOP_TEST_KILLS=100 for all of the issue): targets go on, the store opens and misses nothing that was
    told, no worker is left."""
    rng = random.Random(int(os.environ.get("REFTOP_TEST_SEED", "11")))
    targets = [steady(0.3, 10) for _ in range(3)]
    one = daemon("--config", key_file(tmp_path, only(os.getpid()).replace("interval=1s", "interval=100ms")))
    for _ in range(int(os.environ.get("REFTOP_TEST_KILLS", "12"))):
        one.wait_samples([t.pid for t in targets], 1)
        deadline = rng.random() * 0.4
        told = {t.pid: told_time(one, t.pid) for t in targets}
        family = one.family()
        harness.wait_for(lambda began=os.times().elapsed: os.times().elapsed - began >= deadline, 10, "the random moment")
        one.stop(signal.SIGKILL)
        harness.wait_for(lambda: not any(os.path.exists("/proc/%d" % p) and status_of(p)["State"][0] != "Z" for p in family[1:]),
                         harness.DEADLINE, "the workers to end")
        check_store(one.store)
        for target in targets:
            assert target.alive() and status_of(target.pid)["State"][0] in "RS"
            last, = query(one.store, "SELECT max(time_us) FROM sample JOIN target ON target.id = target WHERE pid = %d" % target.pid)[0]
            assert last >= told[target.pid], "what was told was stored before"
        one.start()
    gaps = query(one.store, "SELECT count(*) FROM gap WHERE why = 'the daemon did not run'")[0][0]
    assert gaps >= len(targets)


def test_full_disk(daemon, steady):
    """When the store can't grow any more, sampling goes on, the loss is told, and what is there is whole."""
    import resource
    target = steady(0.1, 50)
    limit = 400 * 1024
    one = daemon("-p", target.pid, "-i", "1", preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    harness.wait_for(slowly(lambda: one.ask("processes")["result"]["store_trouble"]), harness.DEADLINE, "the trouble")
    assert "samples are not stored" in one.said()
    before = one.processes()[target.pid]["samples"]
    one.wait_samples([target.pid], before + 3)
    one.stop()
    check_store(one.store)


# ---- commands through it ----

def test_commands_use_it(daemon, leaker, tmp_path):
    """histo, record and the live view read from the daemon (the process is not opened), with its history; --no-daemon doesn't."""
    if not os.path.exists("/usr/bin/strace"):
        pytest.skip("no strace")
    one = daemon("-p", leaker.pid, "-i", "1")
    one.wait_samples([leaker.pid], 4)
    env = dict(os.environ, REFTOP_SOCKET=one.socket)

    def reads(*args):
        trace = str(tmp_path / "trace")
        done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=ptrace,process_vm_readv", "-o", trace, harness.REFTOP, *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60)
        assert done.returncode == 0, done
        return len(open(trace).read().splitlines()), done.stdout.decode()
    pid = str(leaker.pid)
    calls, text = reads("histo", "-p", pid, "--json")
    assert calls == 0 and json.loads(text)["target"]["pid"] == leaker.pid
    calls, text = reads("top", "-p", pid, "--dump-screen", "--iterations", "2")
    assert calls == 0
    shown = next(line for line in text.splitlines() if "#" in line)
    number = int(shown.rsplit("/", 1)[1])
    assert number >= 5, "the history from before: " + shown
    calls, _ = reads("record", "-p", pid, "-d", "2.5", "-q", "-o", str(tmp_path / "run.db"))
    assert calls == 0 and query(tmp_path / "run.db", "SELECT count(*) FROM sample")[0][0] >= 2
    calls, _ = reads("histo", "--no-daemon", "-p", pid)
    assert calls > 0
    one.stop(signal.SIGKILL)
    calls, _ = reads("histo", "-p", pid)
    assert calls > 0, "a dead daemon's socket is in nobody's way"
