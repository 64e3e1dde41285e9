"""The first law: the target can't tell that we looked. Measured with its own eyes, its parent's, and the kernel's."""
import ctypes
import hashlib
import os
import random
import select
import signal
import struct
import subprocess
import time

import pytest

import harness

SNAPSHOTS = int(os.environ.get("REFTOP_TEST_SNAPSHOTS", "15"))
# waits with a timeout, which would be cut short, and waits for an event, which would fail with EINTR
TIMED = ["nanosleep", "select", "poll", "epoll", "signal", "semaphore", "futex", "condition", "receive", "accept", "uring",
         "python_sleep"]
EVENTS = ["select", "poll", "epoll", "signal", "semaphore", "message", "futex", "condition", "read", "uring", "python_lock"]
TIMEOUT_MS = 2500
PR_SET_THP_DISABLE = 41


def no_huge_pages():
    """The kernel makes huge pages of a process's memory at times of its own (khugepaged), and what is in RAM grows."""
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def memory_picture(pid):
    """What is in a process's private writable memory: {mapping: (which pages are there, hash of their bytes)}. Reads only pages
    that are there, so that looking changes nothing."""
    told = {}
    with open("/proc/%d/pagemap" % pid, "rb") as pagemap, open("/proc/%d/mem" % pid, "rb", buffering=0) as memory, \
            open("/proc/%d/maps" % pid) as maps:
        for line in maps.readlines():
            words = line.split()
            if "[v" in line:
                continue
            start, end = (int(w, 16) for w in words[0].split("-"))
            pagemap.seek(start // 4096 * 8)
            pages = struct.unpack("<%dQ" % ((end - start) // 4096), pagemap.read((end - start) // 4096 * 8))
            present = [i for i, page in enumerate(pages) if page >> 62]
            digest = hashlib.sha1()
            if words[1].startswith("rw") and not line.endswith("[stack]\n"):
                for i in present:
                    memory.seek(start + i * 4096)
                    digest.update(memory.read(4096))
            told[words[0]] = (present, digest.hexdigest())
    return told


def accounts(pid):
    """The kernel's accounts of a process that a look must not change."""
    wanted = {"VmPTE", "VmSize", "VmData", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "TracerPid", "VmSwap"}
    told = {}
    for name, keys in (("status", wanted), ("smaps_rollup", {"Rss", "Anonymous", "AnonHugePages", "Locked"})):
        for line in open("/proc/%d/%s" % (pid, name)):
            key, value = line.split(":", 1)
            if key in keys:
                told[key] = value.split()
    return told


@pytest.mark.parametrize("kind", ["quiet", "stop"])
def test_the_target_sees_nothing(python, start, helper, kind):
    library = [] if kind == "quiet" else [python.share(helper("sleepers"))]
    # the kernel writes the number of the CPU into every thread that it schedules, if the C library asked for that; and measuring itself
    # must not make malloc map memory or give it back
    tunables = "glibc.pthread.rseq=0:glibc.malloc.mmap_threshold=1000000000:glibc.malloc.trim_threshold=1000000000:glibc.malloc.top_pad=64000000"
    target = start(python, "law.py", *library, env={"GLIBC_TUNABLES": tunables}, preexec=no_huge_pages)
    before = target.ready()["measure"]
    target.wait_blocked()
    kernel, picture = accounts(target.pid), memory_picture(target.pid)
    with open("/proc/%d/maps" % target.pid) as maps:
        mapped = maps.read()
    for _ in range(SNAPSHOTS):
        sample = harness.histo(target.pid)
        assert sample["snapshot"]["mode"] == kind
        assert (sample["snapshot"]["pause_us"] > 0) == (kind == "stop")
    for options in ((), ("--locals",), ("--native", "--locals")):
        look = harness.reftop("stacks", "-p", target.pid, "--json", *options)
        assert look.code == 0, look
        assert look.json["snapshot"]["mode"] == ("stop" if "--native" in options else kind)
    assert accounts(target.pid) == kernel
    after = memory_picture(target.pid)
    assert {m for m in picture if picture[m] != after.get(m)} == set()
    # seen from outside, before the target measures again: no second chance for what a snapshot did
    with open("/proc/%d/maps" % target.pid) as maps:
        assert maps.read() == mapped
    assert target.ask("measure")["measure"] == before


def test_looking_twice_at_a_forked_family_unshares_nothing(any_python, start, tmp_path):
    """A child that shares its parent's pages copy-on-write still shares them after a snapshot."""
    script = tmp_path / "family.py"
    script.write_text("""
import os, sys
keep = [bytearray(b'x' * 1000000) for i in range(60)]
child = os.fork()
if child == 0:
    while True:
        os.read(0, 1) or os._exit(0)
os.write(1, ('{"ready": true, "child": %d}\\n' % child).encode())
os.waitpid(child, 0)
""")
    child = start(any_python, str(script)).ready()["child"]
    harness.wait_for(lambda: harness.syscall_of(child, child)[0] == 0, 20, "the child to read")

    def private():
        for line in open("/proc/%d/smaps_rollup" % child):
            if line.startswith("Private_Dirty"):
                return int(line.split()[1])

    before = private()
    for _ in range(3):
        harness.histo(child)
    assert private() - before < 1000, "kB unshared by looking"


@pytest.mark.parametrize("kind", ["busy", "asleep"])
def test_the_parent_sees_no_signal(python, start, kind):
    target = start(python, "parent.py", kind)
    child = target.ready()["child"]
    for _ in range(SNAPSHOTS):
        sample = harness.histo(child)
        if kind == "busy":
            assert sample["snapshot"]["mode"] == "stop"
    assert target.ask("report") == {"sigchld": 0, "waitid": None}
    assert target.ask("end")["sigchld"] == 1  # the ears work


def test_no_wait_is_disturbed(python, start, helper):
    """Every way to wait, in threads of a process that is stopped again and again: each ends as it should, none early."""
    kinds = ["%s:%d" % (k, TIMEOUT_MS) for k in TIMED] + EVENTS
    target = start(python, "sleepers.py", python.share(helper("sleepers")), *kinds)
    threads = target.ready()["threads"]
    for kind, tid in threads.items():
        harness.wait_for(lambda: harness.syscall_of(target.pid, tid)[0] is not None, 20, kind + " to sleep")
    for _ in range(SNAPSHOTS):
        assert harness.histo(target.pid)["snapshot"]["mode"] == "stop"
    assert set(os.listdir("/proc/%d/task" % target.pid)) >= {str(threads[k]) for k in EVENTS}, "a wait for an event ended"
    target.send("release")
    told = [target.answer() for _ in kinds]
    assert target.answer()["done"]
    absent = {38, 1, 95}  # no io_uring here: ENOSYS, EPERM, EOPNOTSUPP
    wrong = [t for t in told if t["errno"] and not (t["kind"].startswith("uring") and t["errno"] in absent)]
    wrong += [t for t in told if ":" in t["kind"] and not t["errno"] and t["elapsed_ms"] < TIMEOUT_MS - 2]
    assert not wrong
    assert len({t["kind"] for t in told}) == len(kinds)


def test_no_signal_is_lost(python, start, tmp_path):
    """Queued real-time signals and ordinary ones that arrive while it is stopped all reach their handlers."""
    script = tmp_path / "signals.py"
    script.write_text("""
import os, signal, sys
seen = {"rt": 0, "usr1": 0}
def count(number, frame):
    seen["usr1" if number == signal.SIGUSR1 else "rt"] += 1
signal.signal(signal.SIGUSR1, count)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 2])
os.write(1, b'{"ready": true}\\n')
number = 0
while seen["usr1"] < 1:
    number = (number * 31 + 7) % 1000003
    while signal.sigtimedwait([signal.SIGRTMIN + 2], 0):
        seen["rt"] += 1
while signal.sigtimedwait([signal.SIGRTMIN + 2], 0):
    seen["rt"] += 1
os.write(1, ('{"rt": %(rt)d, "usr1": %(usr1)d}\\n' % seen).encode())
os.read(0, 1)
""")
    target = start(python, str(script))
    target.ready()
    sent = 0
    for _ in range(10):
        run = subprocess.Popen([harness.REFTOP, "histo", "-p", str(target.pid), "--json"], stdout=subprocess.DEVNULL)
        while run.poll() is None:
            os.kill(target.pid, signal.SIGRTMIN + 2)
            sent += 1
            select.select([], [], [], 0.001)
        assert run.returncode == 0
    os.kill(target.pid, signal.SIGUSR1)
    assert target.answer() == {"rt": sent, "usr1": 1}


def test_a_stopped_target_stays_stopped(python, start):
    target = start(python, "census.py", "small")
    target.ready()
    target.answer()
    target.wait_blocked()
    os.kill(target.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, target.pid, os.WSTOPPED | os.WNOWAIT)
    for _ in range(3):
        harness.check_sums(harness.histo(target.pid))
    state = open("/proc/%d/stat" % target.pid).read().rsplit(")", 1)[1].split()[0]
    assert state == "T"
    os.kill(target.pid, signal.SIGCONT)
    assert target.ask("truth")["ready"]


@pytest.mark.versions("3.8", "3.11-debian", "3.12", "3.13")
def test_killed_reftop_lets_go(python, start, tmp_path):
    """kill -9 at random moments of a snapshot of a large busy process: it goes on within a second, and isn't traced."""
    heart = tmp_path / "beat"
    heart.write_bytes(b"\0" * 4096)
    target = start(python, "beat.py", heart, 1500000)
    target.ready()

    def beat():
        return struct.unpack("<Q", heart.read_bytes()[:8])[0]

    begin = time.monotonic()
    assert harness.histo(target.pid)["snapshot"]["mode"] == "stop"
    whole = time.monotonic() - begin
    rng = random.Random(20)
    for _ in range(30):
        run = subprocess.Popen([harness.REFTOP, "histo", "-p", str(target.pid), "--json"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        select.select([], [], [], rng.random() * whole * 0.7)  # the moment is what's random here
        run.send_signal(signal.SIGKILL)
        killed, count = time.monotonic(), beat()
        harness.wait_for(lambda: beat() != count, 5, "the target to go on")
        assert time.monotonic() - killed < 1
        run.wait()
        assert "TracerPid:\t0\n" in open("/proc/%d/status" % target.pid).read()
    harness.check_sums(harness.histo(target.pid))
