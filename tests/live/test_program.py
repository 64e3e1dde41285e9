"""Real programs, from Debian's packages and the interpreters' own libraries: nothing unreadable, nothing nameless, every byte of RSS told
apart, and the collector's objects by type as gc.get_objects() lists them at a barrier (tests/targets/program.py)."""
import pytest

import harness

PROGRAMS = ["http", "asyncio", "tests", "compiler", "library", "ipython", "numpy", "pandas", "pytest"]


def check_memory(sample):
    """The parts add up to RSS, none is negative, nothing is left over, and the RSS is within a hundredth of what the kernel finds."""
    rss, parts = sample["target"]["rss"], sample["totals"]["memory"]
    assert sum(parts.values()) == rss
    assert min(parts.values()) >= 0 and parts["other"] == 0, parts
    # statm would be less exact: the kernel keeps its numbers by CPU
    with open("/proc/%d/smaps_rollup" % sample["target"]["pid"]) as rollup:
        told = 1024 * int([line.split()[1] for line in rollup if line.startswith("Rss:")][0])
    assert abs(told - rss) <= rss / 100, (told, rss)


@pytest.mark.versions("all")
@pytest.mark.parametrize("program", PROGRAMS)
def test_real_program(python, start, program):
    target = start(python, "program.py", program)
    truth = target.ready(600)
    if "skip" in truth:
        pytest.skip(truth["skip"])
    target.wait_blocked()
    sample = harness.histo(target.pid)
    assert sample["totals"]["unreadable"] == 0
    assert not [t for t in sample["types"] if not t["qualname"] or t["qualname"] == "?" or not t["module"]]
    check_memory(sample)
    if python.version == (3, 6):  # its os.read() has a tuple of arguments, which is there while it waits
        tuples = [t for t in sample["types"] if (t["module"], t["qualname"]) == ("builtins", "tuple")]
        truth["types"][tuples[0]["address"]] += 1
    listed = {t["address"]: t["gc_count"] for t in sample["types"] if t["gc_count"]}
    names = {t["address"]: "%s.%s" % (t["module"], t["qualname"]) for t in sample["types"]}
    wrong = {names.get(a, a): (listed.get(a, 0), truth["types"].get(a, 0))
             for a in set(listed) | set(truth["types"]) if listed.get(a, 0) != truth["types"].get(a, 0)}
    assert not wrong, "type: (counted, listed): %s" % wrong
    if sample["target"]["free_threaded"] is False:
        harness.check_sums(sample)
