"""`reftop daemon`: which processes it watches, the workers that read them, its rules and its life as a service."""
import os
import re
import signal
import socket
import subprocess

import pytest

import harness
from daemon_harness import key_file, only_ours, slowly
from harness import reftop, status_of


# ---- which processes ----

def test_discovery(daemon, steady, tmp_path):
    """Those that match are watched, new ones as they start; a dead one is gone at once; ignored ones never appear."""
    first = steady()
    config = key_file(tmp_path, only_ours() + "[ignore some]\ncmdline=*steady.py 0.25*\n")
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
    one = daemon("--config", key_file(tmp_path, only_ours()))
    one.wait_samples([target.pid, other.pid], 1)
    for worker in workers_of(one):
        os.kill(worker, signal.SIGKILL)
    harness.wait_for(slowly(lambda: one.processes()[target.pid]["crashes"] == 1), harness.DEADLINE, "the crash to be told")
    assert "killed by signal 9" in one.said()
    before = {p: q["samples"] for p, q in one.processes().items()}
    harness.wait_for(slowly(lambda: all(q["samples"] > before[p] and q["why"] is None for p, q in one.processes().items())),
                     harness.DEADLINE, "samples by another worker")
    assert target.alive() and other.alive()


def test_every_version(daemon, start, tmp_path):
    """What a worker in its sandbox reads of each interpreter at hand is what histo reads without one, to the object."""
    targets = {}
    for name, python in harness.find_interpreters().items():
        if name in harness.EXPECTED:
            targets[name] = start(python, "steady.py", 1000, 1)
            targets[name].ready()
    one = daemon("--config", key_file(tmp_path, only_ours()))
    known = one.wait_samples([t.pid for t in targets.values()], 1)
    for name, target in targets.items():
        theirs = one.ask("sample", pid=target.pid)["result"]
        ours = harness.histo(target.pid, "--no-daemon")
        counts = [{(t["module"], t["qualname"], t["address"]): (t["count"], t["bytes"], t["refs"]) for t in s["types"]} for s in (theirs, ours)]
        assert counts[0] == counts[1], (name, known[target.pid])
        assert theirs["target"]["python"] == ours["target"]["python"] and theirs["target"]["layout"] == ours["target"]["layout"], name


# ---- rules, and systemd ----

def test_rules(daemon, leaker, tmp_path):
    """on-growth and on-rss: a line in the log, a command with the words of the rule, an image that reads; each once."""
    (tmp_path / "tell").write_text("#!/bin/sh\necho \"$@\" >> %s/told\n" % tmp_path)
    os.chmod(tmp_path / "tell", 0o755)
    config = key_file(tmp_path, "[daemon]\ninterval=1s\ncpu=100%%\n[rule leak]\non-growth=*Leaky\nrate=1000\ncommand=%s/tell %%p %%t '%%r x' %%i\n"
                      "save=yes\n[rule large]\non-rss=1M\n[rule never]\non-growth=nobody.*\non-rss=1T\n" % tmp_path)
    one = daemon("-p", leaker.pid, "--config", config)
    told = tmp_path / "told"
    harness.wait_for(told.exists, harness.DEADLINE, "the command")
    harness.wait_for(lambda: told.read_text().endswith("\n"), harness.DEADLINE, "its line")
    pid, name, rate, x, image = told.read_text().split()
    assert int(pid) == leaker.pid and name == "__main__.Leaky" and abs(int(rate) / 60000 - 1) < 0.1 and x == "x"
    harness.wait_for(lambda: reftop("histo", "-c", image, "--json").code == 0, harness.DEADLINE, "the image")
    before = one.processes()[leaker.pid]["samples"]
    one.wait_samples([leaker.pid], before + 2)
    said = one.said()
    assert said.count("rule leak: ") == 1 and said.count("rule large: ") == 1 and "rule never" not in said
    assert len(told.read_text().splitlines()) == 1


@pytest.mark.parametrize("text, complaint", [
    ("[daemon]\ninterval=soon\n", "interval=soon"), ("[daemon]\ncolour=red\n", "no such key"), ("[watch\n", "cannot read"),
    ("[rule x]\njournal=yes\n", "without a condition"), ("[else]\n", "no such group"), ("[daemon]\ncpu=-3\n", "cpu=-3")])
def test_bad_key_files(tmp_path, text, complaint):
    done = reftop("daemon", "--config", key_file(tmp_path, text), "--socket", tmp_path / "s")
    assert done.code in (1, 2) and complaint in done.err, done


def test_systemd(steady, tmp_path):
    """Readiness, watchdog, socket activation: what systemd would say and hear."""
    target = steady()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.settimeout(harness.DEADLINE)
    notify.bind(str(tmp_path / "notify"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "activated"))
    listener.listen(5)

    waiting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    waiting.connect(str(tmp_path / "activated"))  # before there is a daemon
    waiting.sendall(b'{"id":1,"op":"processes"}\n')
    env = dict(os.environ, NOTIFY_SOCKET=str(tmp_path / "notify"), LISTEN_FDS="1", WATCHDOG_USEC="400000")
    # LISTEN_PID must be the daemon's own number: a shell knows it before it execs
    command = 'export LISTEN_PID=$$; exec "$0" "$@"'
    daemon = subprocess.Popen(["/bin/sh", "-c", command, harness.REFTOP, "daemon", "-p", str(target.pid), "-o", str(tmp_path / "h.db"),
                               "--socket", str(tmp_path / "never")], env=env, stdin=subprocess.DEVNULL,
                              preexec_fn=lambda: os.dup2(listener.fileno(), 3), pass_fds=(3,))
    try:
        heard = [notify.recv(4096).decode() for _ in range(4)]
        assert heard[0].startswith("READY=1") and heard[1:] == ["WATCHDOG=1"] * 3, heard
        waiting.settimeout(harness.DEADLINE)
        text = b""
        while text.count(b"\n") < 2:
            text += waiting.recv(65536)
        assert b"reftop.hello/1" in text and b'"ok":true' in text
        assert not os.path.exists(tmp_path / "never")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(harness.DEADLINE) == 0
        said = []
        while "STOPPING=1" not in said:
            said.append(notify.recv(4096).decode())
        assert os.path.exists(tmp_path / "activated"), "systemd's socket stays"
    finally:
        daemon.kill()
        daemon.wait()
