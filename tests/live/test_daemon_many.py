"""Many processes at once: 12 for 12 seconds, or as many as REFTOP_TEST_MANY=200 for REFTOP_TEST_MANY_SECONDS=300, as the issue asks (with
default settings but for the rule that keeps other tests' processes out)."""
import os
import random
import select
import signal
import threading
import time

import pytest

import harness
from daemon_harness import Daemon, Peer, slowly

N = int(os.environ.get("REFTOP_TEST_MANY", "12"))
SECONDS = float(os.environ.get("REFTOP_TEST_MANY_SECONDS", "12"))
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """Seconds of CPU a process used, with the children it waited for."""
    try:
        words = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, words[11:15])) / TICK


def pss_of(pid):
    try:
        return sum(int(l.split()[1]) for l in open("/proc/%d/smaps_rollup" % pid) if l.startswith("Pss:")) * 1024
    except OSError:
        return 0


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Viewers(threading.Thread):
    """Ten viewers that come and go until told to stop."""

    def __init__(self, one, pids):
        super().__init__()
        self.one, self.pids, self.over, self.seen, self.problems = one, pids, threading.Event(), 0, []

    def run(self):
        rng = random.Random(5)
        peers = []
        while not self.over.wait(0.05):
            try:
                if len(peers) < 10:
                    peers.append(Peer(self.one.socket))
                peer = rng.choice(peers)
                pid = rng.choice(self.pids)
                peer.ask("subscribe", pid=pid)
                self.seen += len(peer.result("processes")["processes"]) > 0
                if rng.random() < 0.3:
                    peers.remove(peer)
                    peer.close()
            except Exception as problem:
                self.problems.append(repr(problem))
        for peer in peers:
            peer.close()


@pytest.mark.skipif(not all(v in harness.find_interpreters() for v in VERSIONS), reason="not all six versions are at hand")
def test_many(start, tmp_path):
    watch_many(start, tmp_path, N, SECONDS)


@pytest.mark.skipif(not os.environ.get("REFTOP_SANITIZED"), reason="no sanitized build")
def test_sanitized(start, tmp_path):
    """The same, shorter, under AddressSanitizer: no error, and no leak at the end."""
    said = watch_many(start, tmp_path, 4, 6, os.environ["REFTOP_SANITIZED"])
    assert "Sanitizer" not in said and "runtime error" not in said, said


def watch_many(start, tmp_path, n, seconds, sanitized=None):
    pythons = harness.find_interpreters()
    rng = random.Random(3)
    targets = [start(pythons[VERSIONS[i % len(VERSIONS)]], "steady.py", round(rng.uniform(1, 3), 2), 10) for i in range(n)]
    for target in targets:
        target.ready()
    pids = [t.pid for t in targets]
    config = tmp_path / "reftop.conf"
    config.write_text("[watch mine]\nparent=%d\n" % os.getpid())
    began = time.monotonic()
    one = Daemon(tmp_path, "--config", config, program=sanitized)
    try:
        end = began + seconds
        most = 0
        while time.monotonic() < end:
            most = max(most, sum(map(pss_of, one.family())))
            select.select([], [], [], min(5, max(end - time.monotonic(), 0)))
        wall = time.monotonic() - began
        cpu = sum(map(cpu_of, one.family()))
        known = one.wait_samples(pids, 2, 60)
        samples = [known[p]["samples"] for p in pids]
        share = [known[p]["pause_us"] / 1e3 / known[p]["watched_ms"] for p in pids]
        print("\n%d processes, %.0f s: CPU %.1f s = %.1f %% of a core, PSS at most %.0f MB, samples %d to %d, stopped for %.3f %% at most, longest %.1f ms"
              % (n, wall, cpu, 100 * cpu / wall, most / 1e6, min(samples), max(samples), 100 * max(share),
                 max(known[p]["pause_max_us"] for p in pids) / 1e3))
        # the beginning may cost three seconds more
        if not sanitized:
            assert cpu < 0.10 * wall + (3.2 if wall < 200 else 0), (cpu, wall)
            assert most < 200e6, most
        assert max(share) <= 0.01, max(share)
        assert all(known[p]["why"] is None for p in pids)

        before = descriptors(one.process.pid)
        viewers = Viewers(one, pids)
        viewers.start()
        dead = rng.sample(targets, n // 2)
        for target in dead:
            target.close()
            select.select([], [], [], rng.uniform(0, min(seconds / 2, 60) / len(dead)))
        alive = sorted(set(pids) - {t.pid for t in dead})
        harness.wait_for(slowly(lambda: sorted(one.processes()) == alive), 30, "the dead to go and the others to stay")
        half = int(open("/proc/%d/statm" % one.process.pid).read().split()[1]) * 4096
        select.select([], [], [], min(seconds / 2, 60))
        viewers.over.set()
        viewers.join()
        assert not viewers.problems and viewers.seen > 20, viewers.problems[:3]
        full = int(open("/proc/%d/statm" % one.process.pid).read().split()[1]) * 4096
        print("RSS of the daemon %.1f, then %.1f MB; descriptors %d, then %d; %d answers to viewers"
              % (half / 1e6, full / 1e6, before, descriptors(one.process.pid), viewers.seen))
        assert full < half * 1.1 + (40e6 if sanitized else 4e6), (half, full)  # freed memory stays in quarantine
        # two a process: its pidfd and its worker
        harness.wait_for(slowly(lambda: descriptors(one.process.pid) <= before - 2 * len(dead) + 2), 30, "the descriptors to go")
        harness.wait_for(slowly(lambda: len(one.family()) <= 2 + len(alive)), 30, "the workers to go")
        assert one.stop(signal.SIGTERM) == 0, one.said()
        return one.said()
    finally:
        one.close()
