"""OWNED: the buffers that bytearrays, arrays, mmaps and numpy's arrays own, to the byte; a view owns nothing.

Truth is known by construction (tests/targets/buffers.py), and compared with the difference of two samples. numpy is Debian's.
"""
import pytest

import harness

ALWAYS = {"bytearray", "memoryview", "mmap"}
NUMPY = {"ndarray", "Named", "matrix", "memmap"}


def rows(target):
    target.wait_blocked()
    sample = harness.histo(target.pid)
    assert sample["totals"]["unreadable"] == 0
    found = {}
    for t in sample["types"]:
        if t["owned"] is None:
            continue
        row = found.setdefault(t["qualname"].split(".")[-1], [0, 0, 0])
        for i, key in enumerate(("count", "owned", "bytes")):
            row[i] += t[key]
    return found


def check(before, after, truth):
    names = set(after) | set(truth)
    more = {n: [x - y for x, y in zip(after.get(n, [0, 0, 0]), before.get(n, [0, 0, 0]))] for n in names}
    # what exists besides: the memory views and byte arrays of somebody else are in both samples
    wrong = {n: (more[n], truth.get(n, [0, 0, 0])) for n in names if more[n] != truth.get(n, [0, 0, 0])}
    assert not wrong, "type: (found, truth), as [count, owned, bytes]: %s" % wrong


@pytest.mark.versions("all")
def test_owned(python, start):
    target = start(python, "buffers.py")
    target.ready()
    before = rows(target)
    truth = target.ask("fill")
    assert ALWAYS <= set(truth["types"]) and truth["types"]["memoryview"][1] == 0 < truth["types"]["bytearray"][1]
    if python.name == "3.11-debian":
        assert truth["numpy"], "Debian's numpy isn't installed: tools/deps.sh check"
    if truth["numpy"]:
        assert NUMPY <= set(truth["types"]) and truth["types"]["ndarray"][1] > 40 << 20 and truth["types"]["memmap"][1] == 0
    check(before, rows(target), truth["types"])
    left = target.ask("drop")
    assert 0 < left["types"]["bytearray"][0] < truth["types"]["bytearray"][0]
    check(before, rows(target), left["types"])
