"""A target that stands still at any instruction while it makes an object: what it hasn't written yet is what another object left there, and nobody's
number. REFTOP_TEST_LOOKS=100: as many looks at each kind of object, in place of 8 at each of five kinds."""
import ctypes
import os
import random
import signal

import pytest

import harness

LOOKS = int(os.environ.get("REFTOP_TEST_LOOKS", "8"))
KINDS = 5 if "REFTOP_TEST_LOOKS" not in os.environ else None
WORDS = ["000038001d000000", "0000000100000000", "0300000000000000"]  # a size, a count and a small number, as they lie in memory
PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_ATTACH = 7, 9, 16


class Stepper:
    """Traces a child of ours."""

    def __init__(self, pid):
        self.pid = pid
        self.ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.call(PTRACE_ATTACH)
        assert self.wait() == signal.SIGSTOP

    def call(self, request):
        ctypes.set_errno(0)
        if self.ptrace(request, self.pid, None, None) == -1:
            raise OSError(ctypes.get_errno(), "ptrace(%d)" % request)

    def wait(self):
        status = os.waitpid(self.pid, 0)[1]
        assert os.WIFSTOPPED(status), status
        return os.WSTOPSIG(status)

    def go(self):
        self.call(PTRACE_CONT)
        return self.wait()

    def step(self):
        self.call(PTRACE_SINGLESTEP)
        return self.wait()

    def steps(self):
        """To the next signal: how many instructions that takes."""
        n = 1
        while self.step() == signal.SIGTRAP:
            n += 1
        return n


def check(sample, base, where):
    """A few more objects than before, and neither a size nor a count that isn't theirs."""
    assert sample["totals"]["unreadable"] == base["totals"]["unreadable"] == 0, where
    before = {t["address"]: t for t in base["types"]}
    now = {t["address"]: t for t in sample["types"]}
    for address in set(before) | set(now):
        differ = {key: now.get(address, {}).get(key, 0) - before.get(address, {}).get(key, 0) for key in ("count", "bytes", "refs", "refs_max")}
        named = (where, now.get(address) or before.get(address), differ)
        assert -3 <= differ["count"] <= 30 and abs(differ["bytes"]) < 5000 and abs(differ["refs"]) < 100 and differ["refs_max"] < 100, named


@pytest.mark.versions("all")
def test_at_any_instruction(python, start):
    chance = random.Random(python.name)
    target = start(python, "births.py")
    kinds = target.ready()["kinds"]
    target.wait_blocked()
    stepper = Stepper(target.pid)

    def begin(kind, word):
        target.send("%s %s" % (kind, word))
        assert stepper.go() == signal.SIGUSR1

    begin("nothing", WORDS[0])
    idle = stepper.steps()  # the end of one system call, the beginning of another, and what comes between
    for kind in chance.sample(kinds, KINDS or len(kinds)):
        word = chance.choice(WORDS)
        begin(kind, word)
        all_steps = stepper.steps()
        begin(kind, word)
        base = harness.histo(target.pid)
        around = idle * 2 // 5
        looks = sorted(chance.sample(range(around, max(all_steps - around, around + LOOKS)), LOOKS))
        at = 0
        for look in looks:
            while at < look:
                assert stepper.step() == signal.SIGTRAP, (kind, at, all_steps, idle)
                at += 1
            sample = harness.histo(target.pid)
            assert sample["snapshot"]["mode"] == "quiet", sample["snapshot"]
            check(sample, base, "%s of %s, %d instructions in" % (kind, word, at))
        assert stepper.go() == signal.SIGUSR2
