"""What the daemon remembers: over a restart, a kill -9 and a full disk; and the commands that read it instead of the process."""
import datetime
import json
import os
import random
import re
import signal
import subprocess

import pytest

import harness
from daemon_harness import key_file, only_ours, slowly
from harness import check_whole, query, reftop, status_of


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
    env = dict(os.environ, REFTOP_SOCKET=one.socket)
    listed = {p["pid"]: p for p in reftop("ps", "--json", env=env).json["processes"]}
    assert listed[leaker.pid]["growing"][0]["qualname"] == "Leaky" and listed[os.getpid()]["growing"] is None
    line = next(l for l in reftop("ps", env=env).out.splitlines() if l.split()[0] == str(leaker.pid))
    assert re.search(r" Leaky \+1,000/s +\\_ .*leaker.py", line) or re.search(r" Leaky \+9\d\d/s", line), line
    shown = reftop("view", one.store, "--dump-screen")
    assert shown.code == 0 and "steadily" in shown.out, "the store is a recording like any other"


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
    one = daemon("--config", key_file(tmp_path, only_ours("100ms")))
    for _ in range(int(os.environ.get("REFTOP_TEST_KILLS", "12"))):
        one.wait_samples([t.pid for t in targets], 1)
        deadline = rng.random() * 0.4
        told = {t.pid: told_time(one, t.pid) for t in targets}
        family = one.family()
        harness.wait_for(lambda began=os.times().elapsed: os.times().elapsed - began >= deadline, 10, "the random moment")
        one.stop(signal.SIGKILL)
        harness.wait_for(lambda: not any(os.path.exists("/proc/%d" % p) and status_of(p)["State"][0] != "Z" for p in family[1:]),
                         harness.DEADLINE, "the workers to end")
        check_whole(one.store)
        for target in targets:
            assert target.alive() and status_of(target.pid)["State"][0] in "RS"
            last, = query(one.store, "SELECT max(time_us) FROM sample JOIN target ON target.id = target WHERE pid = %d" % target.pid)[0]
            assert last >= told[target.pid], "what was told was stored before"
        one.start()
    gaps = query(one.store, "SELECT count(*) FROM gap WHERE why = 'the daemon did not run'")[0][0]
    assert gaps >= len(targets)


def test_store_of_several(daemon, steady, tmp_path):
    """The store is viewed and compared process by process, and so is what the daemon remembers."""
    targets = [steady(0.2, 10) for _ in range(2)]
    one = daemon("--config", key_file(tmp_path, only_ours()))
    one.wait_samples([t.pid for t in targets], 3)
    env = dict(os.environ, REFTOP_SOCKET=one.socket)
    for target in targets:
        grew = reftop("diff", "%d@first" % target.pid, "pid:%d@last" % target.pid, "--json", env=env)
        assert grew.code == 0 and [grew.json[s]["target"]["pid"] for s in "ab"] == [target.pid] * 2, grew
        assert any(t["qualname"] == "Kept" and t["count"] > 0 for t in grew.json["types"]), grew
    both = reftop("diff", targets[0].pid, targets[1].pid, "--json", env=env)
    assert both.code == 0 and [both.json[s]["target"]["pid"] for s in "ab"] == [t.pid for t in targets]
    assert one.stop() == 0
    asked = reftop("view", one.store, "--dump-screen")
    assert asked.code == 2 and not asked.out and "-p PID" in asked.err, asked
    assert {str(t.pid) for t in targets} <= {line.split()[0] for line in asked.err.splitlines()}, asked
    for target in targets:
        n, = query(one.store, "SELECT count(*) FROM sample JOIN target ON target.id = target WHERE pid = %d" % target.pid)[0]
        shown = reftop("view", one.store, "-p", target.pid, "--dump-screen")
        assert shown.code == 0 and " %d " % target.pid in shown.out and "#%d/%d" % (n, n) in shown.out, shown
        sides = reftop("diff", "-p", target.pid, "%s@1" % one.store, one.store, "--json").json
        assert [sides[s]["target"]["pid"] for s in "ab"] == [target.pid] * 2 and sides["elapsed_us"] > 0


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
    check_whole(one.store)


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
