"""Snapshots without a stop (REFTOP_TEST_QUIET=1000: as many of them): what is accepted was of one moment, and nobody can tell that it was taken."""
import json
import os
import subprocess

import pytest

import harness

WANTED = int(os.environ.get("REFTOP_TEST_QUIET", "200"))
MAY_TAKE = 90  # seconds


def counters(pid):
    """Context switches and time slices of every thread."""
    told = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        base = "/proc/%d/task/%s/" % (pid, tid)
        with open(base + "status") as status, open(base + "schedstat") as schedstat:
            told[tid] = [line for line in status if "ctxt_switches" in line] + [schedstat.read().split()[2]]
    return told


def test_a_thousand_accepted_are_not_torn(any_python, start):
    """The target wakes at random, for less than the copy takes. Where it slept all the time both of its objects have as many references."""
    target = start(any_python, "pair.py", 10)
    target.ready()
    # a stop is never allowed, so what isn't quiet is skipped
    recorder = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "--json", "-i", "1ms", "-d", "%ds" % MAY_TAKE,
                                 "--max-pause", "1us"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    quiet = skipped = 0
    seen = set()
    try:
        for line in recorder.stdout:
            sample = json.loads(line)
            if sample["snapshot"]["skipped"]:
                skipped += 1
                continue
            assert sample["snapshot"]["mode"] == "quiet" and sample["snapshot"]["pause_us"] == 0, sample["snapshot"]
            left, right = harness.row(sample, "Left"), harness.row(sample, "Right")
            assert (left["count"], right["count"]) == (1, 1) and left["refs"] == right["refs"], (quiet, left, right)
            seen.add(left["refs"])
            quiet += 1
            if quiet == WANTED:
                break
    finally:
        recorder.kill()
        recorder.wait()
        recorder.stdout.close()
    assert quiet == WANTED, "%d in %d s, %d skipped" % (quiet, MAY_TAKE, skipped)
    # it did wake in between
    assert len(seen) > WANTED / 20, len(seen)


@pytest.mark.parametrize("kind", ["small", "large"])
def test_an_idle_target_is_not_scheduled(python, start, kind):
    """Mode quiet, pause exactly 0, and not one context switch or time slice."""
    target = start(python, "law.py") if kind == "small" else start(python, "large.py", 25, "still")
    target.ready()
    target.wait_blocked()
    before = counters(target.pid)
    for _ in range(7):
        sample = harness.histo(target.pid)
        assert sample["snapshot"]["mode"] == "quiet" and sample["snapshot"]["pause_us"] == 0, sample["snapshot"]
    assert counters(target.pid) == before


FAMILY = """
import os, select
keep = [bytes(1000) for i in range(250000)]
child = os.fork()
busy = os.environ["KIND"] == "busy"
if child == 0:
    spin = 0
    while not select.select([0], [], [], 0 if busy else None)[0]:
        spin += 1
    os._exit(0)
os.write(1, ('{"ready": true, "child": %d}\\n' % child).encode())
os.waitpid(child, 0)
"""


def own_memory(pids):
    """kB of the first process that it shares with nobody, and of the anonymous memory of all of them together, shared pages counted once."""
    own, together = 0, 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as rollup:
            lines = {line.split()[0]: int(line.split()[1]) for line in rollup.readlines()[1:]}
        own = own or lines["Private_Clean:"] + lines["Private_Dirty:"]
        together += lines["Pss_Anon:"]
    return own, together


@pytest.mark.parametrize("kind,option", [("idle", []), ("busy", []), ("idle", ["--memory", "32MB"])])
def test_a_worker_forked_from_256_megabytes(any_python, start, tmp_path, kind, option):
    """It shares its parent's pages copy-on-write; it still does after snapshots."""
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    parent = start(any_python, str(script), env={"KIND": kind})
    child = parent.ready()["child"]
    if kind == "idle":
        harness.wait_for(lambda: harness.syscall_of(child, child)[0] is not None, 20, "the child to wait")
    own, together = own_memory((child, parent.pid))
    for _ in range(3):
        sample = harness.histo(child, *option)
        assert sample["snapshot"]["mode"] == ("stop" if kind == "busy" else "quiet")
        assert harness.row(sample, "bytes", "builtins")["count"] >= 250000
    own_after, together_after = own_memory((child, parent.pid))
    assert together > 250000 and own_after - own < 1000 and together_after - together < 1000, "kB unshared by looking"


RESERVED = """
import mmap, os, select
space = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
space[0] = space[4 << 30] = 1
os.write(1, b'{"ready": true}\\n')
while not select.select([0], [], [], 0 if os.environ["KIND"] == "busy" else None)[0]:
    pass
"""


@pytest.mark.parametrize("kind,option", [("idle", []), ("busy", []), ("idle", ["--memory", "1MB"]), ("busy", ["--nonblocking", "--memory", "1MB"]),
                                         ("busy", ["--precopy"])])
def test_eight_gigabytes_reserved(any_python, start, tmp_path, kind, option):
    """And hardly touched: the page tables don't grow, nor does the resident memory."""
    script = tmp_path / "reserved.py"
    script.write_text(RESERVED)
    target = start(any_python, str(script), env={"KIND": kind})
    target.ready()
    if kind == "idle":
        harness.wait_for(lambda: harness.syscall_of(target.pid, target.pid)[0] is not None, 20, "the target to wait")

    def tables():
        with open("/proc/%d/status" % target.pid) as status:
            return [int(line.split()[1]) for line in status if line.startswith(("VmPTE:", "RssAnon:"))]

    before = tables()
    for _ in range(2):
        result = harness.reftop("histo", "-p", target.pid, "--json", *option)
        if result.code and "--precopy" in option:
            pytest.skip(result.err.splitlines()[1].strip())
        assert result.code == 0, result
        assert result.json["snapshot"]["bytes_copied"] < 64 << 20
    anon, table = tables()
    # a busy interpreter takes and gives back a page now and then; 8 GB more of tables are 16 MB
    assert table - before[1] <= (0 if kind == "idle" else 8) and anon - before[0] <= (0 if kind == "idle" else 400), (before, anon, table)
