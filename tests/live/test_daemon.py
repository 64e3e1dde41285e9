"""`reftop daemon`: processes, history, the socket."""
import json
import os
import random
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


def ignore_others(tmp_path, *pids):
    """A key file that watches only these."""
    path = tmp_path / "reftop.conf"
    path.write_text("[daemon]\ninterval=1s\ncpu=60%\n")
    return path


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
