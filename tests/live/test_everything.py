"""Every object, not only what the collector tracks: counts and bytes of known contents, to the number, under every interpreter.

Truth is known by construction (tests/targets/known.py): a sample before, one after, and the difference of every type is what was
made in between. Sizes of tests: REFTOP_TEST_OBJECTS of each kind; unless told otherwise 200,000 under one interpreter a minor version, and
20,000 under the other builds of it, which take several times as long.
"""
import json
import os

import pytest

import harness

FULL = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.11-debian", "3.14-sid", "3.15-sid")
LOST = 100000
pytestmark = pytest.mark.versions("all")


def objects(python):
    return int(os.environ.get("REFTOP_TEST_OBJECTS", "200000" if python.name in FULL else "20000"))


def by_name(sample):
    """{type: [count, bytes]}; types of one name are added up."""
    rows = {}
    for t in sample["types"]:
        row = rows.setdefault(t["qualname"], [0, 0])
        row[0] += t["count"]
        row[1] += t["bytes"]
    return rows


def difference(before, after):
    """What is more (or less) in `after`, by type: [count, bytes]; types without a difference are left out."""
    more = {}
    for name in set(before) | set(after):
        change = [x - y for x, y in zip(after.get(name, [0, 0]), before.get(name, [0, 0]))]
        if change != [0, 0]:
            more[name] = change
    return more


def look(target):
    target.wait_blocked()
    sample = harness.histo(target.pid)
    assert sample["snapshot"]["coverage"] == "all"
    assert sample["totals"]["unreadable"] == 0
    return sample


def check_known(target):
    target.ready()
    before = by_name(look(target))
    truth = target.ask("fill", 1200)["types"]
    sample = look(target)
    assert difference(before, by_name(sample)) == truth
    target.ask("drop")
    assert difference(before, by_name(look(target))) == {}
    return sample, truth


def test_known_contents(python, start):
    n = objects(python)
    sample, truth = check_known(start(python, "known.py", n))
    left = n - n // 3
    assert truth["float"][0] == truth["complex"][0] == truth["Slotted"][0] == left
    assert truth["str"][0] == 5 * left and truth["list"][0] == 6 * left


@pytest.mark.parametrize("allocator", ["malloc", "debug", "mimalloc"])
def test_known_contents_of_another_allocator(python, start, allocator):
    if allocator == "mimalloc" and python.version < (3, 13):
        pytest.skip("no mimalloc before 3.13")
    if python.free_threaded and allocator == "malloc":
        pytest.skip("free-threaded builds have mimalloc only")
    check_known(start(python, "known.py", 10000, env={"PYTHONMALLOC": allocator}))


def test_small_ints(python, start):
    """The numbers from -5 to 256 are there from the start, whether anything refers to them or not."""
    target = start(python, "known.py", 1)
    target.ready()
    target.wait_blocked()
    told = json.loads(harness.reftop("objects", "-p", target.pid, "int", "--json", "--limit", "1000000").out)
    values = [o["value"] for o in told["objects"]]
    assert set(map(str, range(-5, 257))) <= set(values)


def test_lost_references(python, start):
    """Objects that nothing in Python refers to any more, because somebody in C forgot a Py_DECREF; some too large for pymalloc."""
    target = start(python, "known.py", 1, LOST)
    target.ready()
    before = by_name(look(target))
    target.ask("lose")
    lost = difference(before, by_name(look(target)))
    assert {name: lost[name][0] for name in ("float", "str", "list")} == {"float": LOST, "str": 2 * LOST, "list": LOST}


def test_held_by_running_functions(python, start):
    """Large objects that nothing but a function's locals, arguments and value stack hold: the bloat of somebody who reads a whole file."""
    target = start(python, "held.py")
    target.ready()
    before = by_name(look(target))
    truth = target.ask("hold")
    found = by_name(look(target))
    for name, size in truth.items():
        assert abs(found[name][1] - before[name][1] - size) < 10000, name
    assert target.ask("release") == {"released": True}
    found = by_name(look(target))
    for name in truth:
        assert abs(found[name][1] - before[name][1]) < 10000, name


def test_a_list_that_is_being_sorted(python, start):
    """Its items are elsewhere meanwhile, and it says that it has -1 of them."""
    target = start(python, "held.py")
    target.ready()
    target.ask("sort")
    assert look(target)["totals"]["unreadable"] == 0


@pytest.mark.parametrize("hooks", [False, True], ids=["plain", "hooks"])
def test_allocated_blocks(python, start, hooks):
    """What sys.getallocatedblocks() says, when the number is taken and while it waits: tests/targets/blocks.py tells of the one more."""
    if python.free_threaded:
        pytest.skip("pymalloc is for builds with a GIL")
    if hooks and python.version == (3, 6):
        pytest.skip("PYTHONMALLOC=debug is malloc in 3.6")
    target = start(python, "blocks.py", env={"PYTHONMALLOC": "pymalloc_debug" if hooks else "pymalloc"})
    truth = target.ready()["blocks"]
    more = 0 if python.version >= (3, 15) else 1
    assert truth > 10000
    assert look(target)["totals"]["allocated_blocks"] == truth + more
