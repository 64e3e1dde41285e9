"""`reftop diff` of processes, images and files in any mixture, and the gate --fail-on-growth TYPE=N."""
import os
import subprocess

import pytest

from harness import reftop

SCRIPT = """import json, sys
class Thing: pass
class Other:
    class Inner: pass
kept = [Thing() for _ in range(int(sys.argv[1]))]
print(json.dumps({'ready': True}), flush=True)
for line in sys.stdin:
    kind, n = line.split()
    kept += [{'Thing': Thing, 'Inner': Other.Inner}[kind]() for _ in range(int(n))]
    print('{}', flush=True)
"""


@pytest.fixture
def things(start, any_python, tmp_path):
    """things(n): a process with n instances of Thing."""
    script = tmp_path / "things.py"
    script.write_text(SCRIPT)

    def starter(n, python=any_python):
        target = start(python, str(script), n)
        target.ready()
        return target

    return starter


def diff(*args, code=0):
    done = reftop("diff", "--json", *args)
    assert done.code == code, done
    return done.json


def change(document, name):
    rows = [t for t in document["types"] if t["qualname"] == name and t["module"] == "__main__"]
    assert len(rows) <= 1, rows
    return (rows[0]["count_a"], rows[0]["count_b"], rows[0]["count"]) if rows else None


def test_two_processes(things):
    a, b = things(100), things(1234)
    for names in ((a.pid, b.pid), ("pid:%d" % a.pid, "pid:%d" % b.pid)):
        document = diff(*names)
        assert change(document, "Thing") == (100, 1234, 1134)
        assert [document[side]["target"]["pid"] for side in "ab"] == [a.pid, b.pid]
        assert all(document[side]["snapshot"]["consistent"] is True for side in "ab")
        assert document["elapsed_us"] >= 0 and document["fail_on_growth"] == []
        # what one program is in two processes differs in nothing else of its own
        assert {t["qualname"] for t in document["types"] if t["module"] == "__main__"} == {"Thing"}
    text = reftop("diff", a.pid, b.pid)
    assert text.code == 0 and "A: process %d, " % a.pid in text.out and "__main__.Thing" in text.out, text
    assert "INCONSISTENT" not in text.out


@pytest.mark.versions("3.8", "3.13")
def test_processes_of_two_versions(python, things):
    """Types are told by module and name, whatever their addresses."""
    document = diff(things(7).pid, things(9, python).pid)
    assert change(document, "Thing") == (7, 9, 2)
    assert [t["qualname"] for t in document["types"]].count("dict") <= 1
    assert document["b"]["target"]["python"].startswith(python.name)


def test_one_process_with_what_was_kept_of_it(things, tmp_path):
    target = things(50)
    lines, whole, run, image = (str(tmp_path / name) for name in ("lines.json", "histo.json", "run.db", "image"))
    assert reftop("histo", "-p", target.pid, "--json", "-o", whole).code == 0
    assert reftop("record", "-p", target.pid, "--json", "-o", lines, "-d", "1ms", "-q").code == 0
    assert reftop("record", "-p", target.pid, "-o", run, "-d", "1ms", "-q").code == 0
    assert reftop("save", "-p", target.pid, "-o", image, "-q").code == 0
    target.ask("Thing 25")
    for kept in (lines, whole, run, image):
        assert change(diff(kept, target.pid), "Thing") == (50, 75, 25), kept
        assert change(diff(target.pid, kept), "Thing") == (75, 50, -25), kept
        for other in (lines, whole, run, image):
            assert change(diff(kept, other), "Thing") is None
    # the same process twice: it waits, so nothing of its own changed
    assert change(diff(target.pid, target.pid), "Thing") is None
    assert reftop("diff", "--strict", target.pid, whole).code == 0


def test_what_names_a_side(things, tmp_path):
    target = things(3)
    assert reftop("histo", "-p", target.pid, "--json", "-o", tmp_path / "1").code == 0
    assert reftop("histo", "-p", target.pid, "--json", "-o", tmp_path / str(target.pid)).code == 0
    target.ask("Thing 4")
    # a file of that name goes before the process
    for name in ("1", target.pid):
        document = reftop("diff", "--json", name, "pid:%d" % target.pid, cwd=tmp_path).json
        assert change(document, "Thing") == (3, 7, 4)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            for bad, code in (("pid:%d" % gone.pid, 3), (gone.pid, 3), ("pid:", 2), ("pid:x", 2), ("pid:0", 2), ("pid:-1", 2),
                              ("0", 2), ("99999999999", 2), ("pid:%d" % other.pid, 5), (other.pid, 5),
                              ("%d@last" % target.pid, 1), ("pid:%d@14:05" % target.pid, 1), ("./%d" % target.pid, 1)):
                for pair in ((bad, target.pid), (target.pid, bad)):
                    refused = reftop("diff", *pair)
                    assert refused.code == code, (bad, refused)
                    assert refused.err.startswith("reftop: ") and len(refused.err.splitlines()) <= 3 and not refused.out, refused
        finally:
            other.kill()


def test_all_and_some_are_not_compared(things, tmp_path):
    target = things(3)
    some = tmp_path / "gc.json"
    assert reftop("histo", "--gc", "-p", target.pid, "--json", "-o", some).code == 0
    refused = reftop("diff", some, target.pid)
    assert refused.code == 1 and "--gc" in refused.err, refused


@pytest.fixture
def grown(things, tmp_path):
    """Two files between which there are 100 more Thing and 5 more Other.Inner."""
    target = things(10)
    paths = [str(tmp_path / name) for name in ("before.json", "after.json")]
    target.ask("Inner 1")
    assert reftop("histo", "-p", target.pid, "--json", "-o", paths[0]).code == 0
    target.ask("Thing 100")
    target.ask("Inner 5")
    assert reftop("histo", "-p", target.pid, "--json", "-o", paths[1]).code == 0
    return paths


def test_gate(grown):
    total = diff(*grown)["totals"]["objects"]
    assert total >= 105
    for gates, tripped in (
            (["__main__.Thing=99"], ["__main__.Thing"]), (["__main__.Thing=100"], []), (["Thing=99"], ["__main__.Thing"]),
            (["Other.Inner=4"], ["__main__.Other.Inner"]), (["Other.Inner=5"], []), (["Inner=0"], []),
            (["__main__.*=4"], ["__main__.Thing", "__main__.Other.Inner"]), (["__main__.*=5"], ["__main__.Thing"]),
            (["__main__.?hing=0"], ["__main__.Thing"]), (["total=%d" % (total - 1)], ["total"]), (["total=%d" % total], []),
            (["Thing=1000", "Other.Inner=4"], ["__main__.Other.Inner"]), (["Thing=100", "Other.Inner=5", "*=1000000"], []),
            (["Thing=9", "Other.Inner=4"], ["__main__.Thing", "__main__.Other.Inner"]), (["dict=0", "builtins.*=100000"], None)):
        words = [word for gate in gates for word in ("--fail-on-growth", gate)]
        attached = ["--fail-on-growth=" + gate for gate in gates]
        for options in (words, attached):
            for order in (options + grown, grown + options, grown[:1] + options + grown[1:]):
                done = reftop("diff", *order, "--json")
                assert done.code in (0, 7) and done.json["schema"] == "reftop.diff/1"
                gated = done.json["fail_on_growth"]
                assert ["%s=%d" % (g["type"], g["more_than"]) for g in gated] == gates
                said = [t["name"] for g in gated for t in g["types"]]
                assert all(g["tripped"] == bool(g["types"]) for g in gated)
                if tripped is None:
                    continue
                assert said == tripped, (gates, gated)
                assert done.code == (7 if tripped else 0), done
                if tripped:  # one line, and it says which
                    assert len(done.err.splitlines()) == 1 and done.err.startswith("reftop: --fail-on-growth"), done
                    assert all(name in done.err for name in tripped)
    gated = diff(*grown, "--fail-on-growth", "Thing=9", code=7)["fail_on_growth"]
    assert gated == [{"type": "Thing", "more_than": 9, "tripped": True,
                      "types": [{"name": "__main__.Thing", "count": 100, "count_a": 10, "count_b": 110}]}]
    done = reftop("diff", *grown, "--fail-on-growth", "__main__.Thing=99")
    assert done.err == "reftop: --fail-on-growth: grew: __main__.Thing by 100 (more than 99)\n", done
    # without a value: no type may grow
    assert reftop("diff", *grown, "--fail-on-growth").code == 7
    assert reftop("diff", grown[1], grown[1], "--fail-on-growth").code == 0
    # what shrinks doesn't trip
    assert reftop("diff", *reversed(grown), "--fail-on-growth", "Thing=0").code == 0


def test_gate_of_nothing(grown):
    """A name that is nobody's may be a mistake: said, but no reason to fail."""
    done = reftop("diff", *grown, "--fail-on-growth", "app.Thign=5", "-o", os.devnull)
    assert done.code == 0 and done.err == "reftop: no type is called app.Thign in either sample (--fail-on-growth)\n", done


def test_bad_gates(grown):
    for bad in ("Thing=", "=5", "Thing=-1", "Thing=x", "Thing=1.5", "Thing=99999999999999999999", "="):
        for option in (["--fail-on-growth", bad], ["--fail-on-growth=" + bad]):
            done = reftop("diff", *option, *grown)
            assert done.code == 2 and "bad value of --fail-on-growth" in done.err and not done.out, done
    assert reftop("diff", "--fail-on-growth=Thing", *grown).code == 2
    assert reftop("diff", "--fail-on-growth", "Thing", *grown).code == 2, "one argument too many"
    assert reftop("diff", "--fail-on-growth=5", *grown).code == 2


def test_gate_between_processes(things):
    a, b = things(10), things(30)
    assert reftop("diff", a.pid, b.pid, "--fail-on-growth", "Thing=20").code == 0
    tripped = reftop("diff", a.pid, b.pid, "--fail-on-growth", "Thing=19")
    assert tripped.code == 7 and tripped.err.count("\n") == 1 and "__main__.Thing by 20" in tripped.err, tripped
