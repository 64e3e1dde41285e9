"""Targets that are never quiet: 200 snapshots each, none fails for good, none tells a wrong total, and the target doesn't notice."""
import json
import signal
import subprocess

import pytest

import harness

SNAPSHOTS = 200


@pytest.mark.parametrize("kind", ["threads", "fork", "churn", "collect"])
def test_busy(python, start, kind):
    target = start(python, "busy.py", kind)
    target.ready()
    recorder = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "-o", "-", "--json", "-i", "5ms", "--budget", "100%"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        modes = set()
        for _ in range(SNAPSHOTS):
            line = recorder.stdout.readline()
            assert line, recorder.stderr.read().decode()
            sample = json.loads(line)
            modes.add(sample["snapshot"]["mode"])
            harness.check_sums(sample)
            known, linked = harness.row(sample, "Known"), harness.row(sample, "Linked")
            # the target's own check holds the first 500 Known for a moment
            assert (known["count"], known["gc_count"]) == (20000, 20000)
            assert 20000 <= known["refs"] <= 20503 and known["refs_max"] <= 4
            assert (linked["count"], linked["gc_count"]) == (5000, 5000)
            assert 10000 <= linked["refs"] <= 10003 and linked["refs_max"] <= 4
            passing = [t for t in sample["types"] if t["qualname"] == "Passing"]
            assert sum(t["count"] for t in passing) <= 200000  # a bound that a broken walk breaks
        assert "stop" in modes
        assert recorder.poll() is None
    finally:
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate()[1].decode()
    assert recorder.returncode == 0, said
    told = target.ask("quit")
    assert told["wrong"] == [] and told["rounds"] > SNAPSHOTS / 8, told
    assert target.process.wait() == 0, target.complaints()


def test_one_snapshot_at_a_time(any_python, start):
    """Twenty fresh processes look at the same busy one, two at once: the second waits for the first."""
    target = start(any_python, "busy.py", "churn")
    target.ready()
    for _ in range(10):
        runs = [subprocess.Popen([harness.REFTOP, "histo", "-p", str(target.pid), "--json"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE) for _ in range(2)]
        for run in runs:
            out, err = run.communicate()
            assert run.returncode == 0, err
            harness.check_sums(json.loads(out))
    assert target.ask("quit")["wrong"] == []
