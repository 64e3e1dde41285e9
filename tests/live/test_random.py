"""Snapshots of targets that allocate at full speed, at whatever moment they hit: no crash, nothing absurd, parts sum to wholes.

REFTOP_TEST_SNAPSHOTS is how many over all interpreters, of two targets each (1000 unless told otherwise). A run doesn't stop at the first
that is wrong: it tells how many were, and keeps the first of them.
"""
import json
import os
import signal
import subprocess

import pytest

import harness

EACH = max(int(os.environ.get("REFTOP_TEST_SNAPSHOTS", "1000")) // len(harness.EXPECTED) // 2, 5)
TARGETS = {"churn": ["churn.py"], "turmoil": ["turmoil.py", "4"]}


def check(sample):
    harness.check_sums(sample, classes_die=True)
    assert sample["totals"]["objects"] * 16 < sample["target"]["rss"], sample["totals"]
    for t in sample["types"]:
        assert t["bytes"] < 4 * sample["target"]["rss"], t


@pytest.mark.versions("all")
@pytest.mark.parametrize("name", TARGETS)
def test_random_moments(python, start, name, tmp_path):
    target = start(python, *TARGETS[name])
    target.ready()
    recorder = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "-o", "-", "--json", "-i", "1ms", "--budget", "100%"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wrong, kept = [], tmp_path / "wrong.json"
    try:
        for i in range(EACH):
            line = recorder.stdout.readline()
            assert line, recorder.stderr.read().decode()
            try:
                check(json.loads(line))
            except AssertionError as problem:
                wrong.append(str(problem)[:500])
                if len(wrong) == 1:
                    kept.write_bytes(line)
    finally:
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate()[1].decode()
    assert recorder.returncode == 0, said
    assert target.alive(), target.complaints()
    assert not wrong, "%d of %d (the first in %s): %s" % (len(wrong), EACH, kept, wrong[:3])
