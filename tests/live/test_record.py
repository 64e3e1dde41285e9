"""`reftop record` and `reftop diff`: what is in the file, and every way a recording ends."""
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess

import pytest

import harness
from harness import check_whole, query, reftop


def start_recorder(*args, **kwargs):
    return subprocess.Popen([harness.REFTOP, "record", *map(str, args)], stdin=subprocess.DEVNULL,
                            stdout=kwargs.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, **kwargs)


def samples_in(path):
    """How many samples a recording that is being written has; 0 before it is one."""
    try:
        return count(path)
    except sqlite3.Error:
        return 0


def count(path):
    return query(path, "SELECT count(*) FROM sample")[0][0]


def test_slope(leaker, tmp_path):
    path = tmp_path / "run.db"
    done = reftop("record", "-p", leaker.pid, "-i", "0.2", "-d", "20", "-o", path)
    assert done.code == 0, done
    check_whole(path)
    samples, minutes, slope = query(path, "SELECT samples, minutes, count_per_minute FROM growth WHERE qualname = 'Leaky'")[0]
    # a machine that is too busy leaves samples out; the slope is right all the same
    assert 60 <= samples <= 102 and 18 <= minutes * 60 <= 21
    assert abs(slope / 60000 - 1) < 0.02, slope
    # what doesn't grow has no slope, and the leak is first by far
    first = query(path, "SELECT qualname FROM growth ORDER BY count_per_minute DESC LIMIT 1")
    assert first == [("Leaky",)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it(leaker, tmp_path, number):
    path = tmp_path / "run.db"
    recorder = start_recorder("-p", leaker.pid, "-i", "100ms", "-o", path)
    harness.wait_for(lambda: samples_in(path) >= 3, harness.DEADLINE, "three samples")
    recorder.send_signal(number)
    _, errors = recorder.communicate(timeout=harness.DEADLINE)
    assert recorder.returncode == 0
    assert errors.decode().startswith("reftop: ") and str(path) in errors.decode()
    assert os.listdir(tmp_path) == ["run.db"], "closed: the WAL is gone"
    check_whole(path)
    assert leaker.alive()


def test_end_of_target_ends_it(leaker, tmp_path):
    path = tmp_path / "run.db"
    recorder = start_recorder("-p", leaker.pid, "-i", "100ms", "-o", path)
    harness.wait_for(lambda: samples_in(path) >= 2, harness.DEADLINE, "two samples")
    leaker.send("quit")
    _, errors = recorder.communicate(timeout=harness.DEADLINE)
    assert recorder.returncode == 0, errors
    assert "process %d ended" % leaker.pid in errors.decode()
    check_whole(path)


def test_killed_recorder(leaker, tmp_path):
    random.seed(7)
    for round in range(12):
        path = tmp_path / ("run%d.db" % round)
        recorder = start_recorder("-p", leaker.pid, "-i", "5ms", "-o", path)
        wanted = random.randrange(6)
        harness.wait_for(lambda: samples_in(path) >= wanted or recorder.poll() is not None, harness.DEADLINE, "samples")
        recorder.kill()
        recorder.communicate()
        if not path.exists() or not path.stat().st_size:
            assert wanted == 0
            continue
        check_whole(path)
        assert count(path) >= wanted
    harness.wait_for(leaker.alive, 1, "the target to live")


def test_append_and_refuse(start, any_python, leaker, tmp_path):
    path = tmp_path / "run.db"
    before = 0
    for _ in range(2):
        assert reftop("record", "-p", leaker.pid, "-i", "100ms", "-d", "0.25", "-o", path).code == 0
        assert count(path) > before
        before = count(path)
    assert query(path, "SELECT count(*) FROM target") == [(1,)]
    other = start(any_python, "leaker.py", 10)
    other.ready()
    before = path.read_bytes()
    refused = reftop("record", "-p", other.pid, "-o", path)
    assert refused.code == 1 and "the recording of process %d" % leaker.pid in refused.err, refused
    assert path.read_bytes() == before
    for content in (b"precious\n", b"SQLite format 3\0" + bytes(200)):
        foreign = tmp_path / "foreign"
        foreign.write_bytes(content)
        for more in ([], ["--json"]):
            refused = reftop("record", "-p", leaker.pid, "-o", foreign, *more)
            assert refused.code == 1 and len(refused.err.splitlines()) == 3, refused
            assert foreign.read_bytes() == content


def test_lines_of_json(leaker):
    done = reftop("record", "-p", leaker.pid, "-i", "100ms", "-d", "0.45", "-o", "-", "--json")
    assert done.code == 0, done
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert 1 <= len(lines) <= 5
    for line in lines:
        harness.check_sums(line)
    counts = [harness.row(line, "Leaky")["count"] for line in lines]
    assert counts == sorted(counts)
    times = [line["time"] for line in lines]
    assert times == sorted(set(times))


def test_file_is_what_histo_says(start, any_python, tmp_path):
    """The recording holds what the JSON holds."""
    target = start(any_python, "steady.py", 3600, 1)
    target.ready()
    path = tmp_path / "run.db"
    assert reftop("record", "-p", target.pid, "-d", "1ms", "-o", path).code == 0
    sample = harness.histo(target.pid)
    recorded = query(path, "SELECT t.address, t.module, t.qualname, st.gc_count, st.bytes, st.refs_max FROM sample_type st "
                           "JOIN type t ON t.id = st.type WHERE sample = 1 AND t.qualname IN ('type', 'module', 'code')")
    said = [(int(t["address"], 16), t["module"], t["qualname"], t["gc_count"], t["bytes"], t["refs_max"])
            for t in sample["types"] if t["qualname"] in ("type", "module", "code")]
    assert sorted(recorded) == sorted(said)
    assert query(path, "PRAGMA user_version") == [(3,)]


def test_full_disk(leaker, tmp_path):
    """A limit of the file's size stands for a full disk where a file system of our own can't be had."""
    path = tmp_path / "run.db"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000))
    done = subprocess.run([harness.REFTOP, "record", "-p", str(leaker.pid), "-i", "2ms", "-d", "60", "-o", str(path)],
                          stderr=subprocess.PIPE, preexec_fn=limit, timeout=harness.DEADLINE)
    errors = done.stderr.decode().splitlines()
    assert done.returncode == 1, errors
    assert errors[-3] == "reftop: cannot write to %s" % path and errors[-2].startswith("  cause: "), errors
    assert "samples recorded before are kept" in errors[-1]
    check_whole(path)
    recorded = count(path)
    assert recorded > 0
    assert reftop("record", "-p", leaker.pid, "-d", "1ms", "-o", path).code == 0
    assert count(path) == recorded + 1


def test_full_file_system(leaker, tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(mount)]).returncode:
        pytest.skip("no file system of our own: needs root and mount(2)")
    try:
        path = mount / "run.db"
        done = reftop("record", "-p", leaker.pid, "-i", "2ms", "-d", "60", "-o", path)
        assert done.code == 1 and "full" in done.err, done
        kept = tmp_path / "copy"
        shutil.copytree(mount, kept)
        check_whole(kept / "run.db")
        assert count(kept / "run.db") > 0
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_diff(leaker, tmp_path):
    path = tmp_path / "run.db"
    assert reftop("record", "-p", leaker.pid, "-i", "500ms", "-d", "3", "-o", path).code == 0
    done = reftop("diff", "%s@1" % path, "%s@last" % path, "--json", "--sort", "count")
    assert done.code == 0, done
    diff = done.json
    assert diff["schema"] == "reftop.diff/1" and diff["elapsed_us"] > 0
    first = diff["types"][0]
    assert first["qualname"] == "Leaky" and first["count"] == first["count_b"] - first["count_a"]
    # by the clock of the samples, however late they came; the target catches up within a turn of 20 ms when it can
    assert abs(first["count"] / diff["elapsed_us"] * 1e6 - 1000) < 200
    assert reftop("diff", path, path, "--fail-on-growth").code == 0
    gate = reftop("diff", "%s@1" % path, path, "--fail-on-growth")
    assert gate.code == 7 and "Leaky" in gate.err, gate
    for bad, code in (("%s@99" % path, 1), ("%s@never" % path, 2), ("/nonexistent", 1), ("/dev/null", 1)):
        refused = reftop("diff", bad, path)
        assert refused.code == code and refused.err.startswith("reftop: ") and len(refused.err.splitlines()) <= 3, refused


def test_births_and_deaths(start, any_python, tmp_path):
    """What came and went between two samples, by type, in the lines and in the file."""
    script = tmp_path / "births.py"
    script.write_text("import json, sys\n"
                      "class Thing: pass\n"
                      "things = [Thing() for _ in range(50)]\n"
                      "print(json.dumps({'ready': True}), flush=True)\n"
                      "for line in sys.stdin:\n"
                      "    if line == 'make\\n': things += [Thing() for _ in range(100)]\n"
                      "    else: del things[:40]\n"
                      "    print('{}', flush=True)\n")
    target = start(any_python, str(script))
    target.ready()
    path = tmp_path / "births.db"
    with start_recorder("-p", target.pid, "-o", path, "-i", "50ms", "-q") as recorder:
        for command in ("make", "drop", None):
            # two whole samples of each state
            n = samples_in(path)
            harness.wait_for(lambda: samples_in(path) >= n + 2, harness.DEADLINE, "two samples")
            if command:
                target.ask(command)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(harness.DEADLINE) == 0
    rows = query(path, "SELECT count, born, died FROM sample_type JOIN type ON type.id = type WHERE qualname = 'Thing' ORDER BY sample")
    assert rows[0] == (50, None, None)
    changes = [r for r in rows[1:] if r[1] or r[2]]
    assert changes == [(150, 100, 0), (110, 0, 40)], rows
    assert all((born, died) == (0, 0) for _, born, died in rows[1:] if (_, born, died) not in changes)
    line = json.loads(reftop("record", "-p", target.pid, "-o", "-", "--json", "-i", "10ms", "-d", "300ms", "-q").out.splitlines()[-1])
    assert [(t["count"], t["born"], t["died"]) for t in line["types"] if t["qualname"] == "Thing"] == [(110, 0, 0)]
