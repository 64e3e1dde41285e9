"""Counting in pieces what is too large to be copied: how much memory that takes, and that the numbers are the same."""
import json
import os

import pytest

import harness

LARGER = 150  # the same, where the copy of the objects has to be large beside what reading in pieces takes
MEGABYTES = 60  # of objects of the target, and as many in one buffer that nobody needs to read


def histo(pid, *args):
    """The sample, and the most memory reftop had, MB."""
    result, peak = harness.reftop_peak("histo", "-p", pid, "--json", *args)
    assert result.code == 0, result
    return result.json, peak / 2**20


def table(sample):
    return {(t["module"], t["qualname"], t["address"]): (t["count"], t["gc_count"], t["bytes"], t["refs"], t["refs_max"])
            for t in sample["types"]}


def accounts(pid):
    """What of the kernel's accounts of a process a look must not change; Pss is other processes' doing."""
    with open("/proc/%d/smaps_rollup" % pid) as rollup, open("/proc/%d/status" % pid) as status:
        return [line for line in [*rollup, *status] if line.startswith(("Rss:", "Anonymous:", "VmPTE:", "VmRSS:"))]


def large(python, start, kind, megabytes=MEGABYTES):
    target = start(python, "large.py", megabytes, kind)
    truth = target.ready()
    return target, truth


def counts_agree(sample, truth):
    for name, count in truth["count"].items():
        assert harness.row(sample, name)["count"] == count, name
    if harness.row(sample, "tuple", "builtins")["count"] < truth["tuples"]:
        raise AssertionError("tuples outside the allocator are missing")


def test_a_still_target_is_counted_exactly_in_little_memory(python, start):
    """The same table as of a copy, number by number, and it is a consistent one: nothing ran meanwhile."""
    target, truth = large(python, start, "still", LARGER)
    target.wait_blocked()
    whole, all_memory = histo(target.pid)
    before = accounts(target.pid)
    pieces, memory = histo(target.pid, "--memory", "32MB")
    assert accounts(target.pid) == before
    assert whole["snapshot"]["streamed"] is False and pieces["snapshot"]["streamed"] is True
    assert pieces["snapshot"]["mode"] == "quiet" and pieces["snapshot"]["pause_us"] == 0 and pieces["snapshot"]["consistent"] is True
    assert pieces["snapshot"]["torn"] is None and pieces["totals"]["unreadable"] == 0
    assert table(pieces) == table(whole)
    for key in ("objects", "gc_objects", "bytes", "refs", "immortal", "allocated_blocks"):
        assert pieces["totals"][key] == whole["totals"][key], key
    counts_agree(pieces, truth)
    # 24 MB of pages, 16 MB until they are given back, and the program itself; a copy takes all there is but the buffer
    assert memory < 72 and memory < 0.7 * all_memory < 0.7 * LARGER, (memory, all_memory)


def test_a_free_threaded_heap_in_pieces(start):
    python = harness.find_interpreters().get("3.13t")
    if not python:
        pytest.skip("3.13t is not at hand")
    target, truth = large(python, start, "still")
    target.wait_blocked()
    whole, _ = histo(target.pid)
    pieces, memory = histo(target.pid, "--memory", "32MB")
    assert pieces["snapshot"]["streamed"] is True and table(pieces) == table(whole)
    counts_agree(pieces, truth)
    # two segments of 32 MB are walked at a time
    assert memory < 160, memory


@pytest.mark.parametrize("option", [["--memory", "32MB"], ["--nonblocking", "--memory", "32MB"]])
def test_a_busy_target_in_pieces(any_python, start, option):
    """Never stopped, said to be inconsistent, what contradicts itself is counted, and what holds still is within 0.1 %."""
    target, truth = large(any_python, start, "busy")
    for _ in range(5):
        sample, memory = histo(target.pid, *option)
        snapshot = sample["snapshot"]
        assert snapshot["mode"] == "nonblocking" and snapshot["consistent"] is False and snapshot["pause_us"] == 0, snapshot
        assert snapshot["streamed"] is True and 0 <= snapshot["torn"] < 2000, snapshot
        for name, count in truth["count"].items():
            assert abs(harness.row(sample, name)["count"] - count) <= count / 1000 + 1, name
        assert memory < 72, memory
    text = harness.reftop("histo", "-p", target.pid, *option)
    assert text.code == 0 and "in pieces  INCONSISTENT" in text.out, text
    target.send("quit")
    assert target.process.wait(60) == 0


def test_what_fits_is_copied(any_python, start):
    target, _ = large(any_python, start, "still")
    target.wait_blocked()
    for option in (["--memory", "8G"], []):
        assert histo(target.pid, *option)[0]["snapshot"]["streamed"] is False


def test_watching_in_pieces(any_python, start):
    """A recording counts in pieces each time, in as little memory; every sample is a quiet one with the same numbers."""
    target, truth = large(any_python, start, "still")
    target.wait_blocked()
    result, peak = harness.reftop_peak("record", "-p", target.pid, "--json", "-i", "100ms", "-d", "1s", "--memory", "32MB")
    assert result.code == 0, result
    samples = [json.loads(line) for line in result.out.splitlines()]
    assert len(samples) >= 2 and peak < 72 << 20, peak
    for sample in samples:
        assert sample["snapshot"]["streamed"] is True and sample["snapshot"]["mode"] == "quiet"
        counts_agree(sample, truth)
        assert table(sample) == table(samples[0])


def test_from_sparse_to_full(any_python, start):
    """--memory 256MB for a heap of any size and density: peak memory under 320 MB, and the truth to 0.1 %. 400 MB; REFTOP_TEST_LARGE=20: GB, by hand."""
    megabytes = int(float(os.environ.get("REFTOP_TEST_LARGE", "0.4")) * 1024)
    target = start(any_python, "sweep.py", megabytes)
    target.ready()
    memories = []
    for step in range(5):
        truth = target.ask("", 1800)
        target.wait_blocked()
        sample, memory = histo(target.pid, "--memory", "256MB")
        memories.append(memory)
        snapshot = sample["snapshot"]
        print("step %d: RSS %d MB, %d objects, counted in %.1f s with %d MB" % (
            step, sample["target"]["rss"] >> 20, sample["totals"]["objects"], (snapshot["elapsed_us"] + snapshot["walk_us"]) / 1e6, memory))
        assert memory < 320 and snapshot["mode"] == "quiet" and snapshot["consistent"] is True
        for name, count in truth.items():
            counted = harness.row(sample, name, "__main__" if name == "Cell" else "builtins")["count"]
            assert 0 <= counted - count <= count / 1000 + 5000, (step, name)  # the interpreter has some, too
        assert harness.row(sample, "Cell")["count"] == truth["Cell"]
        harness.check_sums(sample)
    assert snapshot["streamed"] is True
