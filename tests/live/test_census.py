"""What `histo` says about a quiet target, against the target's own truth: equal to the number, type by type.

The only corrections are those the target names in "costs" (tests/targets/census.py): they are already in its numbers.
"""
import csv
import json

import pytest

import harness


def truth_of(target):
    """The last truth of a census target: the document, and the collector's counters as they stand while it waits."""
    truth = target.answer()
    assert truth["ready"]
    counts = target.answer()
    target.wait_blocked()
    return truth, counts


def differences(truth, sample):
    """Every number that differs, as text; empty when the sample tells the truth."""
    seen = {t["address"]: t for t in sample["types"]}
    told = []
    for address, module, qualname, count, size, refs, refs_max, immortal in truth["rows"]:
        name = "%s.%s at %s" % (module, qualname, address)
        row = seen.get(address)
        if not row:
            told.append("%s: missing, %d objects" % (name, count))
            continue
        if (row["module"], row["qualname"]) != (module, qualname):
            told.append("%s: called %s.%s" % (name, row["module"], row["qualname"]))
        listed = count if truth["listed"] is None else truth["listed"].get(address, 0)
        if row["gc_count"] != listed:
            told.append("%s: gc_count %d, is %d" % (name, row["gc_count"], listed))
        if sample["snapshot"]["coverage"] == "all" and row["count"] > count:
            continue  # objects the collector doesn't know: test_all_objects.py
        for key, value in (("count", count), ("bytes", size), ("refs", refs), ("refs_max", refs_max),
                           ("immortal", immortal)):
            if row[key] != value:
                told.append("%s: %s %d, is %d (%+d) of %d objects" % (name, key, row[key], value, row[key] - value, count))
    known = {r[0] for r in truth["rows"]}
    for row in sample["types"]:
        if row["gc_count"] and row["address"] not in known:
            told.append("%s.%s at %s: %d objects that aren't there" % (row["module"], row["qualname"], row["address"],
                                                                      row["gc_count"]))
    return told


@pytest.mark.versions("all")
@pytest.mark.parametrize("variant", ["plain", "frozen", "disabled"])
def test_census_is_the_truth(python, start, variant):
    if variant == "frozen" and python.version == (3, 6):
        pytest.skip("no gc.freeze() in 3.6")
    target = start(python, "census.py", *([] if variant == "plain" else [variant]))
    truth, counts = truth_of(target)
    assert sum(r[3] for r in truth["rows"]) >= 100000
    # what is frozen has left the collector's lists, and a build without lists has no list of the frozen either
    for options in [[], ["--gc"]]:
        sample = harness.histo(target.pid, *options)
        harness.check_sums(sample)
        told = differences(truth, sample)
        assert not told, "%s %d differences:\n%s" % (options, len(told), "\n".join(told[:20]))
        assert sample["snapshot"]["coverage"] == ("gc" if options else "all")

    assert sample["target"]["pid"] == target.pid
    assert sample["target"]["python"] == python.micro()
    assert sample["target"]["debug"] is python.debug
    assert sample["target"]["free_threaded"] is python.free_threaded
    assert sample["snapshot"]["mode"] == "quiet" and sample["snapshot"]["pause_us"] == 0

    gc = sample["gc"][0]
    if python.free_threaded:
        assert gc["permanent"] == truth["frozen"]
        return  # a collector without lists and generations
    assert gc["enabled"] is (variant != "disabled")
    assert gc["collecting"] is False
    old = python.version == (3, 6)  # no permanent generation yet, and no way to its counts of collections
    assert gc["permanent"] == (None if old else truth["frozen"])
    assert (truth["frozen"] > 0) == (variant == "frozen")
    assert [g["count"] for g in gc["generations"]] == counts
    assert [g["threshold"] for g in gc["generations"]] == truth["threshold"]
    assert gc["collections"] == ([None] * 3 if old else truth["collections"])


def test_again_after_the_target_ran(python, start):
    """A second truth and a second sample: the first left nothing behind."""
    target = start(python, "census.py", "small")
    truth_of(target)
    harness.histo(target.pid)
    target.send("truth")
    truth, _ = truth_of(target)
    told = differences(truth, harness.histo(target.pid))
    assert not told, "\n".join(told)


def test_a_template_is_no_object(python, start, tmp_path):
    """What looks like an object where nobody may write to it is none, and numbers that are its address don't make it one."""
    target = start(python, "template.py")
    found = target.ready()["found"]
    if not found:
        pytest.skip("no such template in %s" % python.micro())
    target.wait_blocked()
    before = harness.histo(target.pid)
    assert target.ask("")["held"] == found
    target.wait_blocked()
    after = harness.histo(target.pid)
    assert harness.row(after, "count", "itertools")["count"] >= found
    more = harness.row(after, "int", "builtins")["count"] - harness.row(before, "int", "builtins")["count"]
    assert abs(more) < found / 4, (found, more)
    path = tmp_path / "image"
    assert harness.reftop("save", "-p", target.pid, "-o", path).code == 0
    image = harness.reftop("histo", "-c", path, "--json").json
    assert harness.row(image, "int", "builtins") == harness.row(after, "int", "builtins")


def test_the_table_and_the_csv_say_the_same(any_python, start):
    target = start(any_python, "census.py", "small")
    truth_of(target)
    sample = harness.histo(target.pid)
    largest = max(sample["types"], key=lambda t: t["count"])

    text = harness.reftop("histo", "-p", target.pid, "--no-color")
    assert text.code == 0 and "\x1b" not in text.out, text
    assert largest["qualname"] in text.out

    result = harness.reftop("histo", "-p", target.pid, "--csv")
    assert result.code == 0, result
    rows = list(csv.DictReader(result.out.splitlines()))
    assert {(r["address"], r["module"], r["qualname"], r["count"], r["bytes"], r["refs"]) for r in rows} == {
        (t["address"], t["module"], t["qualname"], str(t["count"]), str(t["bytes"]), str(t["refs"])) for t in sample["types"]}

    for key in ("count", "bytes", "refs"):
        result = harness.reftop("histo", "-p", target.pid, "--json", "--sort", key, "--limit", 7)
        assert result.code == 0, result
        values = [t[key] for t in result.json["types"]]
        assert len(values) == 7 and values == sorted(values, reverse=True)
        assert values[0] == max(t[key] for t in sample["types"])


def test_names_are_escaped(any_python, start, tmp_path):
    """A type may be called anything; no control character reaches the terminal or the JSON."""
    script = tmp_path / "evil.py"
    script.write_text(r'''
import os, sys
keep = [type("evil\x1b[31m\nname\x07\u202e", (object,), {"__module__": "mo\x00d\rule"})() for i in range(10)]
keep += [type("\u540d\u524d", (object,), {})()]
keep += [type("x" * 5000, (object,), {})()]
print('{"ready": true}'); sys.stdout.flush()
os.read(0, 10)
''')
    target = start(any_python, str(script))
    target.ready()
    for arguments in (["--json"], ["--csv"], ["--no-color"]):
        result = harness.reftop("histo", "-p", target.pid, *arguments)
        assert result.code == 0, result
        text = result.out.replace("\r\n", "\n")  # lines of CSV end so
        assert not [c for c in text if ord(c) < 32 and c != "\n" or ord(c) in (0x7f, 0x202e)]
        assert "\u540d\u524d" in result.out or "--no-color" in arguments
    names = [t["qualname"] for t in json.loads(harness.reftop("histo", "-p", target.pid, "--json").out)["types"]]
    assert any(n.startswith("evil") and "31m" in n for n in names)
