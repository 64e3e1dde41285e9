"""leaks, explain, objects and stacks through the daemon: the same as without it, for people who could not look themselves, and bounded."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import harness
from daemon_harness import free_port, key_file, only_ours, scrape, slowly
from harness import reftop
from test_leaks import extension  # noqa: F401 (a fixture)
from test_stacks import ready


# however slow the machine is, nothing is put off here; and no sample comes between two looks
EAGER = "[daemon]\ninterval=1h\ncpu=100%\npause=100%\n"


@pytest.fixture
def eager(daemon, tmp_path):
    """eager(pid) starts a daemon that watches it, and waits for a sample."""
    def start_one(pid, more=""):
        one = daemon("--config", key_file(tmp_path, EAGER + more), "-p", pid)
        one.wait_samples([pid], 1)
        return one
    return start_one


@pytest.fixture
def leaky(start, any_python, extension):
    target = start(any_python, "leaky.py", extension(any_python))
    target.ready()
    return target


def environment(one):
    return dict(os.environ, REFTOP_SOCKET=one.socket)


def without_time(document):
    """A document but for what two looks differ in by nature: when it was, how long it took, and what only the daemon can know."""
    for volatile in ("time", "snapshot", "interval_us"):
        document.pop(volatile, None)
    for row in document.get("types", []):
        for history in ("lost_since", "grows_since", "grows_per_minute"):
            row.pop(history)
    for thread in document.get("threads", []):
        thread.pop("timeout_us")
    for searched in ("words", "spare_words"):
        document.get("totals", {}).pop(searched, None)
    return document


def text_without_time(text):
    text = re.sub(r"^  (The daemon found|Its objects grow steadily since) .*\n", "", text, flags=re.M)
    text = re.sub(r"[\d,]+ words searched, [\d,]+ of them", "~", text)
    return re.sub(r"; (not stopped|stopped for [\d.]+ ms)|  (not stopped|stopped for [\d.]+ ms)|[\d.]+ s apart|for another [\d.]+ \w+", "~", text)


def both_ways(one, *args):
    """The answer through the daemon and without it, which must be the same; the first."""
    there, here = reftop(*args, env=environment(one)), reftop(*args, "--no-daemon", env=environment(one))
    assert (there.code, there.err) == (here.code, here.err), (there, here)
    if "--json" in args:
        documents = [[without_time(json.loads(line)) for line in r.out.splitlines()] for r in (there, here)]
        assert documents[0] == documents[1]
    else:
        assert text_without_time(there.out) == text_without_time(here.out)
    return there


def test_leaks_are_the_same(eager, leaky, tmp_path):
    truth = leaky.ask("iter_kept 30")["lost"]
    leaky.ask("borrowed_released 20")
    leaky.wait_blocked()
    one = eager(leaky.pid)
    known = tmp_path / "known"
    known.write_text("__main__.Item\n")
    for args in (("-v",), ("--json",), ("--limit", "2", "--suppress", known)):
        done = both_ways(one, "leaks", "-p", leaky.pid, "-i", "50ms", *args)
        assert done.code == 0
    document = reftop("leaks", "-p", leaky.pid, "--json", env=environment(one)).json
    found = {str(int(o["address"], 16)): o["unexplained"] for o in document["objects"] if o["unexplained"] and o["kind"] != "one-off"}
    assert {a: found.get(a) for a in truth} == truth and document["looks"] == 2
    assert both_ways(one, "leaks", "-p", leaky.pid, "-i", "50ms", "--fail").code == 7
    # objects of it, and who holds them: nobody
    assert both_ways(one, "objects", "-p", leaky.pid, "Item", "--sort", "unexplained").out.count("<Item ") >= 30
    assert both_ways(one, "objects", "-p", leaky.pid, "dict", "--json", "--limit", "100000").code == 0
    addresses = [o["address"] for o in document["objects"][:5]]
    for args in (addresses[:1], [addresses[0], "0x1234"], addresses + ["0x1234", "--json"]):
        both_ways(one, "explain", "-p", leaky.pid, *args)
    assert both_ways(one, "explain", "-p", leaky.pid, "0x1234").code == 2
    assert both_ways(one, "objects", "-p", leaky.pid, "no.such").code == 2
    assert one.processes()[leaky.pid]["why"] is None and one.processes()[leaky.pid]["crashes"] == 0


@pytest.mark.versions("3.8", "3.12", "3.13t")
@pytest.mark.parametrize("how", ["deadlock", "queue", "tasks", "native"])
def test_stacks_are_the_same(python, eager, start, how):
    if how == "native":
        target = start(python, "steady.py", 1000, 1)
        target.ready()
    else:
        target = start(python, "hung.py", {"deadlock": "join", "queue": "full", "tasks": "tasks"}[how])
        ready(target)
    one = eager(target.pid)
    for args in (("--native",), ("--native", "--json")) if how == "native" else ((), ("--locals",), ("--json", "--locals"), ("--json", "--limit", "2")):
        done = both_ways(one, "stacks", "-p", target.pid, *args)
        assert done.code == 0
    if how == "deadlock":
        assert "eadlock" in done.out


def test_it_is_the_daemon_that_looks(eager, start, any_python, tmp_path):
    """None of the four commands touches the process."""
    if not os.path.exists("/usr/bin/strace"):
        pytest.skip("no strace")
    target = start(any_python, "steady.py", 1000, 1)
    target.ready()
    one = eager(target.pid)

    def calls(*args):
        trace = str(tmp_path / "trace")
        done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=ptrace,process_vm_readv", "-o", trace, harness.REFTOP, *map(str, args)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(one), timeout=60)
        assert done.returncode == (2 if "explain" in args else 0), done
        return len(open(trace).read().splitlines())
    for args in (("leaks", "-i", "50ms"), ("stacks",), ("stacks", "--native"), ("objects", "type"), ("explain", "0x1234", "0x5678")):
        command = [args[0], "-p", target.pid, *args[1:]]
        assert calls(*command) == 0, args
        assert calls(*command, "--no-daemon") > 0, args


def test_who_may_not_trace(eager, foreign, open_copy):
    """Somebody of the process's user who may not trace it (another group, as another login might have) is answered; another user is not."""
    theirs = foreign("steady.py", 1000, 10)
    one = eager(theirs.pid)

    def run(uid, *args):
        done = subprocess.run([open_copy, args[0], "-p", str(theirs.pid), *args[1:]], env=environment(one), timeout=60,
                              cwd="/", preexec_fn=lambda: harness.become(uid, gid=54321), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stdout, done.stderr
    for args in (("leaks",), ("stacks",), ("objects", "type"), ("explain", "0x1234", "0x5678")):
        direct, asked, stranger = run(65534, *args, "--no-daemon"), run(65534, *args), run(65533, *args)
        assert direct[0] == 4 and not direct[1], direct
        assert asked[0] == (2 if args[0] == "explain" else 0) and asked[1], (args, asked)
        assert stranger[0] == 4 and not stranger[1], stranger
    assert "steady.py:" in run(65534, "stacks")[1]


def test_why_there_is_no_answer(daemon, foreign, open_copy, tmp_path):
    """What the daemon can't or may not tell, and its reason; who may read the process gets the answer all the same."""
    theirs = foreign("steady.py", 1000, 10)
    for setting, reason, exact in (("memory=4M", "the daemon copies no more than 1.0M", "is too large"), ("questions=no", "answers no questions", "questions=no")):
        one = daemon("--config", key_file(tmp_path, EAGER + setting + "\n"), "-p", theirs.pid)
        one.wait_samples([theirs.pid], 1)
        refusal = one.ask("objects", pid=theirs.pid, type="dict")
        assert not refusal["ok"] and exact in refusal["error"] and "looked" not in refusal, refusal
        done = subprocess.run([open_copy, "objects", "-p", str(theirs.pid), "dict"], env=environment(one), cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                              preexec_fn=lambda: harness.become(gid=54321))
        assert done.returncode == 4 and reason in done.stderr and not done.stdout, done
        assert reftop("objects", "-p", theirs.pid, "dict", env=environment(one)).code == 0
        one.stop()


# ---- the socket ----

def test_order_and_half_closed(eager, start, any_python):
    """Answers come in the order of the requests; who has said all (socat) still gets them; who goes away harms nobody."""
    target = start(any_python, "steady.py", 1000, 1)
    target.ready()
    one = eager(target.pid)
    ops = [("leaks", {}), ("growth", {}), ("stacks", {"limit": 1}), ("objects", {"type": "dict", "limit": 2}), ("moments", {}), ("explain", {"addresses": ["0x1"]}),
           ("objects", {"type": "no.such"}), ("processes", {})]
    request = b"".join(json.dumps(dict(more, id=i, op=op, pid=target.pid)).encode() + b"\n" for i, (op, more) in enumerate(ops))
    peer = one.peer()
    peer.send(request)
    peer.socket.shutdown(socket.SHUT_WR)
    answers = [peer.receive() for _ in ops]
    assert [a["id"] for a in answers] == list(range(len(ops)))
    schemas = [a.get("result", {}).get("schema") for a in answers]
    assert schemas == ["reftop.leaks/1", "reftop.growth/1", "reftop.stacks/1", "reftop.objects/1", "reftop.moments/1", "reftop.explanations/1", None, "reftop.watched/1"]
    assert answers[6]["code"] == 2 and answers[6]["looked"] is True
    with pytest.raises(EOFError):
        peer.receive()
    before = len(os.listdir("/proc/%d/fd" % one.process.pid))
    for _ in range(30):
        gone = one.peer()
        gone.send(request * 3)
        gone.close()
    assert one.ask("stacks", pid=target.pid)["ok"]
    harness.wait_for(slowly(lambda: len(os.listdir("/proc/%d/fd" % one.process.pid)) <= before), harness.DEADLINE, "the descriptors")


def test_questions_are_bounded(eager, start, any_python):
    target, other = start(any_python, "steady.py", 1000, 1), start(any_python, "steady.py", 1000, 1)
    for one in (target, other):
        one.ready()
    one = eager(target.pid)
    peer = one.peer()
    assert peer.hello["questions"] is True and peer.hello["answer_bytes"] > 1 << 20
    for op, more in (("explain", {}), ("explain", {"addresses": []}), ("explain", {"addresses": ["0x1"] * 1001}), ("explain", {"addresses": [5]}),
                     ("explain", {"addresses": ["0xzz"]}), ("explain", {"addresses": "0x1"}), ("explain", {"addresses": [["0x1"]]}), ("objects", {}),
                     ("objects", {"type": ""}), ("objects", {"type": 5}), ("objects", {"type": "a\nleaks 5"}), ("objects", {"type": "x" * 5000}),
                     ("objects", {"type": "dict", "sort": "no"}), ("objects", {"type": "dict", "sort": "refs 7"})):
        answer = peer.ask(op, pid=target.pid, **more)
        assert answer["ok"] is False and answer["code"] == 2 and "looked" not in answer, (op, more, answer)
    for op in ("leaks", "explain", "objects", "stacks"):
        assert peer.ask(op, pid=other.pid, type="dict", addresses=["0x1"])["code"] == 3, "it isn't watched"
    os.kill(one.process.pid, signal.SIGSTOP)
    peers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(30)]
    for peer in peers:
        peer.connect(one.socket)
        peer.sendall(b'{"op":"stacks","pid":%d,"limit":1000000000000}\n' % target.pid)
    os.kill(one.process.pid, signal.SIGCONT)
    said = []
    for peer in peers:
        peer.settimeout(harness.DEADLINE)
        text = b""
        while text.count(b"\n") < 2:
            text += peer.recv(1 << 20)
        said.append(json.loads(text.split(b"\n")[1]))
        peer.close()
    good = [a for a in said if a["ok"]]
    assert 8 <= len(good) < 30 and all(a["error"] == "too many questions are waiting" for a in said if not a["ok"]), said
    assert all(a["result"]["target"]["pid"] == target.pid for a in good)


def test_ended_meanwhile(daemon, start, any_python, tmp_path):
    """The worker, or the process, ends while somebody waits: they are told, and the daemon goes on."""
    target, rest = start(any_python, "steady.py", 1000, 1), start(any_python, "steady.py", 1000, 1)
    for one in (target, rest):
        one.ready()
    one = daemon("--config", key_file(tmp_path, only_ours()))
    one.wait_samples([target.pid, rest.pid], 1)
    workers = [pid for pid in one.family() if open("/proc/%d/comm" % pid).read() == "reftop-worker\n"]
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    peers = [one.peer() for _ in range(4)]
    for peer in peers:
        peer.send(json.dumps({"op": "stacks", "pid": target.pid}).encode() + b"\n")
    target.close()
    for peer in peers:
        answer = peer.receive()
        assert answer["ok"] is False and answer["code"] in (1, 3), answer
    peer = one.peer()
    peer.send(json.dumps({"op": "stacks", "pid": rest.pid}).encode() + b"\n")
    for worker in workers:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert "ok" in peer.receive()
    assert one.ask("stacks", pid=rest.pid)["ok"], one.said()


def test_since_when(eager, leaky, tmp_path):
    """leaks says since when it grows, and since when it is known, from the daemon's history; without the daemon it can't."""
    one = eager(leaky.pid, "interval=1s\nleaks=2s\n")
    over = threading.Event()

    def lose():
        while not over.wait(0.05):
            leaky.ask("iter_kept 10")
    thread = threading.Thread(target=lose)
    thread.start()
    try:
        harness.wait_for(slowly(lambda: one.ask("processes")["ok"] and leaky.pid in one.processes() and any(
            g["qualname"] == "Item" for g in one.ask("growth", pid=leaky.pid)["result"]["growing"])), harness.DEADLINE, "the verdict")
        env = environment(one)
        document = reftop("leaks", "-p", leaky.pid, "--json", env=env).json
        row, = [t for t in document["types"] if t["qualname"] == "Item"]
        growth, = [g for g in one.ask("growth", pid=leaky.pid)["result"]["growing"] if g["qualname"] == "Item"]
        assert row["grows_since"] == growth["since"] and abs(row["grows_per_minute"] / growth["per_minute"] - 1) < 0.2, (row, growth)
        assert row["lost_since"] < document["time"], row
        text = reftop("leaks", "-p", leaky.pid, env=env).out
        assert "  Its objects grow steadily since 20" in text and "  The daemon found it losing references first at 20" in text, text
        row, = [t for t in reftop("leaks", "-p", leaky.pid, "--json", "--no-daemon", env=env).json["types"] if t["qualname"] == "Item"]
        assert row["grows_since"] is None and row["lost_since"] is None and row["grows_per_minute"] is None
    finally:
        over.set()
        thread.join()


# ---- births and deaths, and what is lost, without being asked ----

def test_births_and_deaths(eager, start, any_python):
    """What was born, died and survived between samples: in the last one, in the history, and in the store."""
    target = start(any_python, "leaker.py", 500)
    target.ready()
    one = eager(target.pid, "interval=1s\n")
    one.wait_samples([target.pid], 5)
    peer = one.peer()
    moments = peer.result("moments", pid=target.pid)["samples"]
    samples = [peer.result("sample", pid=target.pid, sample=n) for n in moments]
    assert all("born" not in t for t in samples[0]["types"]), "there was none before: not known"
    for before, now in zip(samples, samples[1:]):
        counts = {t["address"]: t["count"] for t in before["types"]}
        for t in now["types"]:
            assert t["count"] - counts.get(t["address"], 0) == t["born"] - t["died"], t
            assert t["survived"] == t["count"] - t["born"] and 0 <= t["survived"] <= counts.get(t["address"], 0), t
        assert harness.row(now, "Leaky")["born"] > 0 and harness.row(now, "Leaky")["died"] == 0
    assert any(t["died"] for s in samples[1:] for t in s["types"] if t["qualname"] == "Cached")
    assert peer.result("sample", pid=target.pid)["types"][0]["survived"] is not None


def test_births_within_the_memory(eager, start, any_python):
    """Where the daemon's memory doesn't go so far they are not known, which is not 0; everything else is there."""
    target = start(any_python, "leaker.py", 500)
    target.ready()
    one = eager(target.pid, "interval=1s\nmemory=512K\n")
    one.wait_samples([target.pid], 3)
    sample = one.ask("sample", pid=target.pid)["result"]
    assert sample["totals"]["objects"] > (1 << 19) / 8 / 4 and all("born" not in t for t in sample["types"])


def metric(port, name, pid):
    found = re.search(r'^%s{pid="%d",[^}]*} (\S+)$' % (name, pid), scrape(port)[1], re.M)
    return float(found.group(1)) if found else None


def test_unexplained_references_as_metrics(daemon, leaky, tmp_path):
    """The daemon looks for what is lost from time to time: what it says is what `leaks` says; where nobody looked there is no series."""
    lost = len(leaky.ask("iter_kept 300")["lost"])
    leaky.wait_blocked()
    for setting in ("leaks=2s", "leaks=no"):
        port = free_port()
        one = daemon("--config", key_file(tmp_path, EAGER + "interval=1s\n" + setting + "\n"), "-p", leaky.pid, "--listen", "127.0.0.1:%d" % port)
        one.wait_samples([leaky.pid], 1)
        if setting == "leaks=2s":
            harness.wait_for(slowly(lambda: metric(port, "reftop_unexplained_references", leaky.pid)), harness.DEADLINE, "the metric")
            document = reftop("leaks", "-p", leaky.pid, "--json", "-i", "50ms", "--no-daemon").json
            assert metric(port, "reftop_unexplained_references", leaky.pid) == document["totals"]["unexplained"] >= lost
            assert metric(port, "reftop_deficit_references", leaky.pid) == document["totals"]["deficit"]
            text = scrape(port)[1]
            item = re.search(r'^reftop_type_unexplained_references{.*type="__main__.Item"} (\d+)$', text, re.M)
            assert int(item.group(1)) == lost and metric(port, "reftop_assessed_timestamp_seconds", leaky.pid) > 1.7e9
            if shutil.which("promtool"):
                done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                assert done.returncode == 0, done.stdout.decode()
        else:
            one.wait_samples([leaky.pid], 3)
            assert metric(port, "reftop_objects", leaky.pid) and metric(port, "reftop_unexplained_references", leaky.pid) is None
            assert "reftop_type_unexplained_references{" not in scrape(port)[1]
            # asked for, it is known
            reftop("leaks", "-p", leaky.pid, "-i", "50ms", env=environment(one))
            assert metric(port, "reftop_unexplained_references", leaky.pid) >= lost
        one.stop()
