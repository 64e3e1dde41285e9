"""`explain` and `objects` against the target's own knowledge."""
import re

import pytest

import harness

SAMPLE = 25


def explain(pid, address, *args):
    result = harness.reftop("explain", "-p", pid, "--json", *args, hex(address))
    assert result.code == 0, result
    document = result.json
    assert document["schema"] == "reftop.explain/1"
    return document


def check(document):
    """What holds for every explanation."""
    found = document["object"]
    exact = sum(h["count"] for h in document["holders"] if h["certainty"] == "exact")
    probable = sum(h["count"] for h in document["holders"] if h["certainty"] == "probable")
    if found["refcount"] is not None:
        assert exact == found["exact"], document
        assert probable == found["probable"], document
        assert exact + probable + found["unexplained"] - found["deficit"] == found["refcount"], document
    assert not document["path"] or document["path"][-1]["address"] == found["address"]


def test_holders_are_the_referrers(python, start):
    """Every container that gc.get_referrers() names is among the holders, and every holder the collector knows is named."""
    target = start(python, "referrers.py", SAMPLE)
    target.ready()
    answers = target.answer()
    target.wait_blocked()
    for address, kind, referrers in answers:
        document = explain(target.pid, address)
        check(document)
        assert document["object"]["qualname"] == kind
        assert document["object"]["unexplained"] == 0 and document["object"]["deficit"] == 0, document
        holders = {int(h["address"], 16) for h in document["holders"] if h["address"]}
        # an attribute is told as its owner's, not as the dict's it stands in: then the dict is who get_referrers() names
        missing = [r for r in referrers if r not in holders]
        owned = sum(h["count"] for h in document["holders"]
                    if h["kind"] in ("attribute", "module global", "type attribute"))
        assert len(missing) <= owned, (missing, document)


SEEDS = """
import json, sys
class Shop:
    def sell(self): pass
    def __init__(self, registry):
        for _ in range(10): registry.append(self.sell)
class Only: pass
registry = []
shop = Shop(registry)
table = {"pending": Only()}
def wait(local):
    print(json.dumps({"ready": True}), flush=True)
    print(json.dumps([id(shop), id(table["pending"]), id(local), id(registry)]), flush=True)
    sys.stdin.read()
wait(["local"])
"""


@pytest.fixture
def seeds(python, start, tmp_path):
    script = tmp_path / "seeds.py"
    script.write_text(SEEDS)
    if python.root:
        pytest.skip("the script is outside its root")
    target = start(python, str(script))
    target.ready()
    addresses = target.answer()
    target.wait_blocked()
    return target, addresses


def test_callbacks_are_named(seeds):
    """A class that registers ten of its methods has a count of 11 right after creation; all of it is explained."""
    target, (shop, _, _, registry) = seeds
    document = explain(target.pid, shop)
    check(document)
    assert document["object"]["refcount"] == 11
    methods = [h for h in document["holders"] if h["kind"] == "bound method"]
    assert len(methods) == 10 and all(h["certainty"] == "exact" for h in methods)
    places = sorted(int(re.search(r"held by list 0x%x \[(\d+)\]" % registry, h["label"]).group(1)) for h in methods)
    assert places == list(range(10))
    rest = [h for h in document["holders"] if h["kind"] != "bound method"]
    assert [(h["kind"], h["label"]) for h in rest] == [("module global", ".shop")]


def test_dict_value_has_its_own_count(seeds):
    target, (_, only, _, _) = seeds
    document = explain(target.pid, only)
    check(document)
    assert document["object"]["refcount"] == 1
    assert [(h["kind"], h["label"]) for h in document["holders"]] == [("dict value", "['pending']")]
    assert document["root"] == "module"
    assert [s["qualname"] for s in document["path"]] == ["module", "dict", "dict", "Only"]


def test_local_is_named_with_its_line(seeds):
    target, (_, _, local, _) = seeds
    document = explain(target.pid, local)
    check(document)
    frames = [h for h in document["holders"] if h["kind"] == "frame local"]
    assert [h["label"] for h in frames] == ["local in wait (seeds.py:14)"]


def test_objects_of_a_type(seeds):
    target, (shop, _, _, _) = seeds
    document = harness.reftop("objects", "-p", target.pid, "--json", "Shop").json
    assert document["schema"] == "reftop.objects/1" and document["all_objects"] == 1
    assert [(int(o["address"], 16), o["refcount"], o["unexplained"]) for o in document["objects"]] == [(shop, 11, 0)]
    document = harness.reftop("objects", "-p", target.pid, "--json", "--sort", "bytes", "--limit", "5", "dict").json
    sizes = [o["bytes"] for o in document["objects"]]
    assert len(sizes) == 5 and sizes == sorted(sizes, reverse=True)


def test_wrong_questions(seeds):
    target, _ = seeds
    assert harness.reftop("explain", "-p", target.pid, "0x10").code == 2
    assert harness.reftop("explain", "-p", target.pid, "here").code == 2
    assert harness.reftop("objects", "-p", target.pid, "NoSuchType").code == 2
    assert harness.reftop("objects", "-p", target.pid, "--sort", "colour", "dict").code == 2
