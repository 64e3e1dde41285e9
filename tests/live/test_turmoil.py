"""Random snapshots of targets that allocate at full speed in several threads: no crash, no negative and no absurd number, and parts that add
up to wholes. REFTOP_TEST_SNAPSHOTS says how many over all interpreters (300 unless told otherwise)."""
import os
import random

import pytest

import harness

SNAPSHOTS = int(os.environ.get("REFTOP_TEST_SNAPSHOTS", "300"))
THREADS = 4
EACH = max(SNAPSHOTS // len(harness.EXPECTED), 5)


def check(sample, consistent):
    """What holds of any sample; of one that was taken while the target ran, that it is within reason."""
    totals, types = sample["totals"], sample["types"]
    assert sample["snapshot"]["consistent"] is consistent, sample["snapshot"]
    for total, key in (("objects", "count"), ("gc_objects", "gc_count"), ("bytes", "bytes"), ("refs", "refs"), ("immortal", "immortal")):
        assert totals[total] == sum(t[key] for t in types), total
    rss = sample["target"]["rss"]
    for t in types:
        assert 0 < t["count"] < 10 ** 7 and 0 <= t["gc_count"] <= t["count"] and 0 <= t["immortal"] <= t["count"], t
        assert 0 < t["bytes"] < 4 * rss and 0 <= t["refs_max"] < 10 ** 10 and abs(t["refs"]) < 10 ** 11, t
        assert not consistent or (t["bytes"] < rss and t["refs_max"] < 10 ** 6 and 0 <= t["refs"] < 10 ** 7), t
    assert totals["objects"] * 16 < rss
    memory = totals["memory"]
    assert sum(memory.values()) == rss
    assert all(value >= 0 for part, value in memory.items() if part != "other"), memory
    if consistent:
        assert memory["other"] == 0, memory
        assert totals["unreadable"] == 0, totals
    for gc in sample["gc"]:
        for generation in gc["generations"]:
            assert generation["objects"] is None or 0 <= generation["objects"] <= totals["objects"], gc


@pytest.mark.versions("all")
def test_random_snapshots(python, start):
    chance = random.Random(python.name)
    target = start(python, "turmoil.py", THREADS)
    target.ready()
    for i in range(EACH):
        kind = chance.randrange(4)
        options = ["--nonblocking"] if kind == 0 else []
        result = harness.reftop("histo", "-p", target.pid, "--json", *options)
        assert result.code == 0, result
        check(result.json, kind != 0)
        assert target.alive()
