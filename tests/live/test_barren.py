"""Buffers of numbers are left out of the copy of a histogram, where they hold no object; and nothing is missing for that."""
import os

import pytest

import harness

MEGABYTES = 33  # of each buffer: more than malloc ever takes from a heap


def table(sample):
    return {(t["module"], t["qualname"], t["address"]): (t["count"], t["gc_count"], t["bytes"], t["refs"], t["refs_max"], t["owned"])
            for t in sample["types"]}


def whole(target, tmp_path):
    """The same from an image, which has all of the process."""
    path = tmp_path / "all.image"
    assert harness.reftop("save", "-p", target.pid, "-o", path).code == 0
    result = harness.reftop("histo", "-c", path, "--json")
    os.unlink(str(path))
    assert result.code == 0, result
    return result.json


def test_buffers_are_left_out(python, start, tmp_path):
    """Every row as from all memory, though a third of it or less was copied; the parts of the memory add up as ever."""
    target = start(python, "barren.py", MEGABYTES, "still")
    truth = target.ready()
    target.wait_blocked()
    sample = harness.histo(target.pid)
    harness.check_sums(sample)
    assert table(sample) == table(whole(target, tmp_path))
    assert harness.row(sample, "Bytes")["count"] == truth["Bytes"] and harness.row(sample, "Bytes")["bytes"] > truth["Bytes"] * truth["size"]
    # seven buffers; of each, its first and last megabytes may be copied
    assert sample["target"]["rss"] > 7 * truth["size"]
    assert sample["snapshot"]["bytes_copied"] < sample["target"]["rss"] - 7 * (truth["size"] - (9 << 20)), sample["snapshot"]


def test_pages_that_look_like_numbers(python, start, tmp_path):
    """They are left out first, found to be needed, and the process is read again, with everything."""
    target = start(python, "barren.py", MEGABYTES, "slots")
    truth = target.ready()
    target.wait_blocked()
    sample = harness.histo(target.pid)
    harness.check_sums(sample)
    assert table(sample) == table(whole(target, tmp_path))
    assert harness.row(sample, "set", "builtins")["bytes"] > 32 << 20
    assert sample["snapshot"]["bytes_copied"] > 7 * truth["size"], sample["snapshot"]


def test_buffers_that_change(any_python, start):
    """Written to, freed and made again while samples are taken, with and without a stop: what is alive all the time is counted each time."""
    target = start(any_python, "barren.py", MEGABYTES, "busy")
    truth = target.ready()
    result = harness.reftop("record", "-p", target.pid, "--json", "-i", "50ms", "-d", "3s", "--budget", "50%")
    assert result.code == 0, result
    samples = [harness.json.loads(line) for line in result.out.splitlines()]
    assert len(samples) > 5
    for sample in samples:
        harness.check_sums(sample)
        assert harness.row(sample, "Bytes")["count"] == truth["Bytes"]
        assert truth["Plain"] <= harness.row(sample, "Plain")["count"] <= truth["Plain"] + 4000
    target.send("quit")
    assert target.process.wait(60) == 0


def test_numpy(start):
    """A large array is no reason to stop for longer than without it: what is left out costs no pause."""
    python = harness.find_interpreters().get("3.11-debian")
    if not python:
        pytest.skip("Debian's python3 is not at hand")
    target = start(python, "priced.py", 32 << 20, "numpy", "fresh", "allocating")
    target.ready()
    sample = harness.histo(target.pid)
    assert sample["target"]["rss"] > 256 << 20
    assert harness.row(sample, "ndarray", "numpy")["owned"] >= 256 << 20
    assert sample["snapshot"]["bytes_copied"] < 64 << 20, sample["snapshot"]
    # what is left fits where all of it wouldn't: no need to read it in pieces
    result, peak = harness.reftop_peak("histo", "-p", target.pid, "--json", "--memory", "64MB")
    assert result.code == 0 and result.json["snapshot"]["streamed"] is False and result.json["snapshot"]["consistent"] is True, result
    assert harness.row(result.json, "ndarray", "numpy")["owned"] >= 256 << 20 and peak < 96 << 20, peak
