"""Snapshots of targets that allocate at full speed, at whatever moment they hit: no crash, nothing absurd, parts sum to wholes.

REFTOP_RANDOM_SNAPSHOTS is how many an interpreter (25 unless told otherwise; 10,000 over all of them is 500 each).
"""
import json
import os
import signal
import subprocess

import pytest

import harness

SNAPSHOTS = int(os.environ.get("REFTOP_RANDOM_SNAPSHOTS", "25"))


@pytest.mark.versions("all")
def test_random_moments(python, start):
    target = start(python, "churn.py")
    target.ready()
    recorder = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "-o", "-", "--json", "-i", "1ms"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(SNAPSHOTS):
            line = recorder.stdout.readline()
            assert line, recorder.stderr.read().decode()
            sample = json.loads(line)
            harness.check_sums(sample, half_made=2)  # one a thread
            assert sample["totals"]["objects"] < 10 ** 7
            assert harness.row(sample, "Node")["count"] < 10 ** 6
    finally:
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate()[1].decode()
    assert recorder.returncode == 0, said
    assert target.alive(), target.complaints()
