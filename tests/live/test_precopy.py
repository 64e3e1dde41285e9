"""--precopy: right numbers, short stops, and no trace afterwards, whatever ends it."""
import ctypes
import errno
import json
import mmap
import os
import random
import select
import signal
import subprocess
import time

import pytest

import harness

KILLS = int(os.environ.get("REFTOP_TEST_KILLS", "40"))  # 200 by hand
SIGNALS = 200000


def armed(pid):
    """What is left of following its writes: mappings that are write-protected, descriptors."""
    with open("/proc/%d/smaps" % pid) as smaps:
        flags = [line for line in smaps if line.startswith("VmFlags:") and {"uw", "um", "ui"} & set(line.split())]
    descriptors = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
    return flags + [d for d in descriptors if "userfaultfd" in d]


@pytest.fixture(scope="module")
def able(tmp_path_factory):
    """Skips where the kernel can't; says why by name."""
    target = subprocess.Popen(["python3", "-c", "import sys\nprint(1, flush=True)\nwhile True: sys.intern('a')"], stdout=subprocess.PIPE)
    try:
        target.stdout.readline()
        result = harness.reftop("histo", "-p", target.pid, "--precopy", "--json")
    finally:
        target.kill()
        target.wait()
        target.stdout.close()
    if result.code:
        pytest.skip(result.err.splitlines()[1].strip())


@pytest.fixture(scope="module")
def soft_dirty():
    """Whether this kernel sets bit 55 of a page that was just written to (Documentation/admin-guide/mm/pagemap.rst)."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory[0] = 1
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(address // mmap.PAGESIZE * 8)
        return bool(int.from_bytes(pagemap.read(8), "little") >> 55 & 1)


def test_one_at_a_time(any_python, start, able, soft_dirty):
    """Who clears the bits takes from another what it knows: the second one is told so, and can go on without."""
    if not soft_dirty:
        pytest.skip("this kernel has no soft-dirty bits")
    target = start(any_python, "precopied.py", 5, "-")
    target.ready()
    recorder = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "--precopy", "--json", "-i", "1s", "--budget", "100%"],
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert recorder.stdout.readline()
        result = harness.reftop("histo", "-p", target.pid, "--precopy")
        assert result.code == 1 and "another reftop does" in result.err, result
        assert harness.histo(target.pid)["snapshot"]["mode"] == "stop"
    finally:
        recorder.kill()
        recorder.wait()
        recorder.stdout.close()
    assert harness.reftop("histo", "-p", target.pid, "--precopy").code == 0


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def consistent(sample, truth, *names):
    assert sample["snapshot"]["consistent"] is True and sample["snapshot"]["mode"] in ("precopy", "quiet"), sample["snapshot"]
    assert sample["snapshot"]["skipped"] is None and sample["snapshot"]["torn"] is None
    harness.check_sums(sample, classes_die=True)
    for name in names:
        assert harness.row(sample, name)["count"] == truth[name], name


def test_the_numbers_are_right(python, start, able):
    """Of a target that changes all the time: in one sample, and in those of a recording, which copy what changed."""
    target = start(python, "precopied.py", 30, "-")
    truth = target.ready()
    for _ in range(3):
        sample = harness.histo(target.pid, "--precopy")
        consistent(sample, truth, "Kept", "Cell")
        # what is left after the rounds may be so little that it's copied while the target sleeps; watching its writes has stopped it already
        assert sample["snapshot"]["mode"] in ("precopy", "quiet") and sample["snapshot"]["pause_us"] > 0
        assert harness.row(sample, "Kept")["refs"] >= truth["Kept"]
    assert armed(target.pid) == []
    recorder = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "-o", "-", "--precopy", "--json", "-i", "20ms", "--budget", "50%"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    begun, samples = time.monotonic(), []
    # an emulated machine may take seconds for each
    while len(samples) < 3 or time.monotonic() < begun + 1.5:
        line = recorder.stdout.readline()
        assert line, recorder.communicate()
        samples += lines(line)
    recorder.send_signal(signal.SIGINT)
    out, said = recorder.communicate()
    assert recorder.returncode == 0, said
    samples += lines(out)
    for sample in samples:
        consistent(sample, truth, "Kept", "Cell")
    # what is copied again is a part of it: tracking stayed on in between
    first, later = samples[0]["snapshot"]["bytes_copied"], sorted(s["snapshot"]["bytes_copied"] for s in samples[1:])
    assert later[0] < first / 2 or harness.SLOW > 1, (first, later)
    assert armed(target.pid) == []
    work = target.ask("work")
    assert work["rounds"] > 0 and work["wrong"] == [], work


@pytest.mark.parametrize("kind", ["fork", "churn", "collect"])
def test_targets_that_are_never_quiet(any_python, start, able, kind):
    """Forks, threads that come and go, and a heap that is rebuilt: consistent each time, and the target's own sums are right."""
    target = start(any_python, "busy.py", kind)
    target.ready()
    truth = {"Known": 20000, "Linked": 5000}
    result = harness.reftop("record", "-p", target.pid, "--precopy", "--json", "-i", "10ms", "-d", "1500ms", "--budget", "100%")
    assert result.code == 0, result
    for sample in lines(result.out):
        consistent(sample, truth, "Known", "Linked")
    assert armed(target.pid) == []
    answer = target.ask("quit")
    assert answer["wrong"] == [] and answer["rounds"] > 0, answer


def test_memory_that_comes_and_goes(any_python, start, able):
    """Arenas are unmapped and mapped again at the same places: nothing of what was there is taken for what is."""
    target = start(any_python, "large.py", 20, "busy")
    truth = target.ready()
    result = harness.reftop("record", "-p", target.pid, "--precopy", "--json", "-i", "1ms", "-d", "2s", "--budget", "100%")
    assert result.code == 0, result
    samples = lines(result.out)
    for sample in samples:
        assert sample["snapshot"]["consistent"] is True and sample["totals"]["unreadable"] == 0, sample["totals"]
        for name in ("Slotted", "Text"):
            assert harness.row(sample, name)["count"] == truth["count"][name], name
        # one more is made in every round
        assert 0 <= harness.row(sample, "Plain")["count"] - truth["count"]["Plain"] <= 2
    target.send("quit")
    assert target.process.wait(60) == 0


def test_leaks_and_questions_use_it_too(any_python, start, able):
    target = start(any_python, "precopied.py", 5, "-")
    truth = target.ready()
    answer = harness.reftop("leaks", "-p", target.pid, "--precopy", "--json").json
    assert answer["snapshot"]["mode"] in ("precopy", "quiet") and answer["totals"]["objects"] > truth["Kept"] * 2
    assert answer["totals"]["unexplained"] < 100, answer["totals"]
    listed = harness.reftop("objects", "-p", target.pid, "__main__.Kept", "--precopy", "--json", "--limit", "3").json
    assert len(listed["objects"]) == 3
    assert armed(target.pid) == []


def test_no_signal_is_lost(any_python, start, helper, able):
    """200,000 queued ones, while it is armed and let go again and again."""
    target = start(any_python, "precopied.py", 10, helper("counter"))
    number = target.ready()["signal"]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    recorder = subprocess.Popen(["sh", "-c", "while :; do \"$0\" histo -p $1 --precopy --json >&2 || exit 1; echo; done", harness.REFTOP,
                                 str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        sent = rounds = 0
        while sent < SIGNALS or rounds < 5:
            # not kill(): that one loses signals silently when the queue is full
            if libc.sigqueue(target.pid, number, None) == 0:
                sent += 1
            else:
                assert ctypes.get_errno() == errno.EAGAIN
                select.select([], [], [], 0.0005)
            if sent % 500 == 0 and select.select([recorder.stdout], [], [], 0)[0]:
                rounds += len(os.read(recorder.stdout.fileno(), 100))
        assert recorder.poll() is None
    finally:
        os.killpg(recorder.pid, signal.SIGKILL)
        recorder.wait()
        recorder.stdout.close()
    harness.wait_for(lambda: target.ask("count")["count"] >= sent, 60, "the signals to arrive")
    assert target.ask("count")["count"] == sent
    assert target.ask("work")["wrong"] == []


def test_a_target_that_gets_no_cpu(any_python, start, helper, able):
    """Kept from its CPU 300 ms at a time: whatever of it we did, it is given back, however late. Let go half-way, it would crash."""
    target = start(any_python, "precopied.py", 2, helper("counter"))
    number = target.ready()["signal"]
    cpu = max(os.sched_getaffinity(target.pid))
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU: nothing would run beside the one that takes it")
    os.sched_setaffinity(target.pid, {cpu})
    hog = subprocess.Popen(["python3", os.path.join(harness.TARGETS, "hog.py"), str(cpu), "15"], stdout=subprocess.PIPE, text=True)
    try:
        if hog.stdout.readline() != "ready\n":
            pytest.skip("no permission to take a CPU (SCHED_FIFO)")
        sent = worked = 0
        while hog.poll() is None:
            for _ in range(20):
                os.kill(target.pid, number)
                sent += 1
            result = harness.reftop("histo", "-p", target.pid, "--precopy", "--json")
            worked += result.code == 0
            assert result.code == 0 or "Connection timed out" in result.err, result
            with open("/proc/%d/status" % target.pid) as status:
                blocked = [line.split()[1] for line in status if line.startswith("SigBlk:")]
            assert int(blocked[0], 16) in (0, 1 << (number - 1)), blocked  # its own handler's, at most
    finally:
        hog.kill()
        hog.wait()
        hog.stdout.close()
    assert worked > 3
    harness.wait_for(lambda: target.ask("count")["count"] == sent, 20, "the signals to arrive")
    assert target.ask("work")["wrong"] == [] and armed(target.pid) == []


def test_killed_at_any_moment(any_python, start, able):
    """kill -9 at random moments: the target goes on, nothing of it is protected, and no descriptor is left in it."""
    target = start(any_python, "precopied.py", 20, "-")
    target.ready()
    dice = random.Random(1)
    for _ in range(KILLS):
        victim = subprocess.Popen([harness.REFTOP, "record", "-p", str(target.pid), "--precopy", "--json", "-i", "1ms", "--budget", "100%"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        select.select([], [], [], dice.random() * 0.25)
        victim.kill()
        victim.wait()
        harness.wait_for(lambda: armed(target.pid) == [], 20, "the kernel to let go")
        work = target.ask("work")
        assert work["rounds"] > 0 and work["wrong"] == [], work
    with open("/proc/%d/status" % target.pid) as status:
        assert "TracerPid:\t0\n" in status.read()


def test_an_idle_target_is_not_armed(any_python, start, able):
    """It is quiet, so nothing is done to it."""
    target = start(any_python, "law.py")
    target.ready()
    target.wait_blocked()
    sample = harness.histo(target.pid, "--precopy")
    assert sample["snapshot"]["mode"] == "quiet" and sample["snapshot"]["pause_us"] == 0


def test_what_may_not_be_done_is_said(any_python, start, able, soft_dirty, tmp_path):
    """A filter of system calls may kill for one it doesn't expect: such a target is not made to call. Soft-dirty bits need no call."""
    script = tmp_path / "filtered.py"
    script.write_text("""
import ctypes, os, select, struct
class Filter(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("at", ctypes.c_void_p)]
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, ctypes.byref(Filter(1, ctypes.addressof(allow))), 0, 0) == 0
os.write(1, b'{"ready": true}\\n')
while not select.select([0], [], [], 0)[0]:
    pass
""")
    target = start(any_python, str(script))
    target.ready()
    result = harness.reftop("histo", "-p", target.pid, "--precopy")
    if soft_dirty:
        assert result.code == 0, result
        assert harness.histo(target.pid, "--precopy")["snapshot"]["mode"] == "precopy"
        return
    assert result.code == 4 and "seccomp" in result.err and "leave out --precopy" in result.err, result
    assert harness.histo(target.pid)["snapshot"]["mode"] == "stop"


ACROSS = """
import ctypes, os, select
keep = b"x" * (540 << 20)  # more than soft-dirty bits are cleared of at once
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
mapped = {line.split()[5] for line in open("/proc/self/maps") if line.count("/") > 1}
file = os.open(max(mapped, key=os.path.getsize), os.O_RDONLY)
place = 0x100001000000 - 0x40000
# private, writable, at that very place
assert libc.mmap(place, 0x80000, 3, 0x100002, file, 0) == place
ctypes.memset(place, 1, 0x80000)
os.write(1, b'{"ready": true}\\n')
count = 0
while not select.select([0], [], [], 0)[0]:
    ctypes.memset(place + count % 0x80000, 2, 1)
    count += 4099
os.write(1, b'{"count": %d}\\n' % count)
"""


def test_a_file_mapped_across_two_pieces(any_python, start, able, tmp_path):
    """Linux 6.12 has a BUG that leaves the target's memory locked for good, when the private mapping of a file is unregistered in two parts."""
    script = tmp_path / "across.py"
    script.write_text(ACROSS)
    target = start(any_python, str(script))
    target.ready()
    assert harness.histo(target.pid, "--precopy", "--memory", "4GB", timeout=30 * harness.SLOW)["snapshot"]["consistent"] is True
    assert armed(target.pid) == []
    assert target.ask("end")["count"] > 0
