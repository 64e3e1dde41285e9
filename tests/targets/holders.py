"""Tells who holds N objects drawn at random from all of an honest program: `holders.py PROGRAM N`, a program of honest.py.

The first line says ready, the second: {"objects": [[id, refcount, {holder's id: references}, type], ...], "containers": how many the collector
lists, "checked": for how many gc.get_referrers() was asked, "wrong": for which of them it said something else, "caches": ids of
functools.lru_cache's}. Then it waits.

What gc.get_referrers() finds is what tp_traverse visits of each listed container; so does gc.get_referents(), and one pass with that over all
containers tells it for all objects at once. Frames are left out: ours are among them. So is the module _asyncio: it shows its free list of
dead objects (3.12), which get_referents() would bring back to life. Counts are as they are without us.
"""
import gc
import json
import random
import sys
import types

import honest

CHECKED = 40


def is_interned(container):
    """The table of interned strings, which owns none of them: from 3.14 on the collector lists it."""
    return type(container) is dict and len(container) > 1000 and all(k is v for k, v in container.items())


def list_containers():
    return [o for o in gc.get_objects()
            if type(o) is not types.FrameType and o is not sys.modules.get("_asyncio") and not is_interned(o)]


def draw(containers, n):
    """n objects of those the collector lists and of those they refer to."""
    seen, everything = set(map(id, containers)), list(containers)
    for container in containers:
        for referent in gc.get_referents(container):
            if id(referent) not in seen:
                seen.add(id(referent))
                everything.append(referent)
    everything = [o for o in everything if type(o) is not types.FrameType and o is not containers]
    random.seed(11)
    return random.sample(everything, min(n, len(everything)))


def holders_of(chosen, containers):
    found = {id(o): {} for o in chosen}
    for container in containers:
        address = id(container)
        for referent in gc.get_referents(container):
            holders = found.get(id(referent))
            if holders is not None:
                holders[address] = holders.get(address, 0) + 1
    return found


def wrong_ones(chosen, containers, found):
    """Where gc.get_referrers() says something else."""
    listed = set(map(id, containers))
    return [id(o) for o in chosen if {id(r) for r in gc.get_referrers(o)} & listed != set(found[id(o)])]


def describe(chosen, counts, found):
    return [[id(o), count - counts[-1], found[id(o)], type(o).__name__] for o, count in zip(chosen, counts)]


def still_there(objects, gone):
    for object_ in objects:
        for address in gone & set(object_[2]):
            del object_[2][address]
    return [o for o in objects if o[0] not in gone and o[1] > 0]


def ask(n):
    """(the containers there are, what is to be told of the objects drawn), some of which may be only ours."""
    containers = list_containers()
    chosen = draw(containers, n)
    found = holders_of(chosen, containers)
    answer = {"containers": len(containers), "checked": min(CHECKED, len(chosen)),
              "wrong": wrong_ones(chosen[:CHECKED], containers, found),
              "caches": [id(c) for c in containers if type(c).__name__ == "_lru_cache_wrapper"]}
    before = set(map(id, containers))
    del containers
    # the last one is held by nobody but the list: what its count is beyond 0, we are
    chosen.append(object())
    counts = list(map(sys.getrefcount, chosen))
    del chosen[-1]
    answer["objects"] = describe(chosen, counts, found)
    return before, answer


def tell(n):
    before, answer = ask(n + n // 20 + 50)
    # what was there for the question alone is gone again
    answer["objects"] = still_there(answer["objects"], before - set(map(id, gc.get_objects())))[:n]
    return json.dumps(answer)


def main():
    kept = honest.make(sys.argv[1])
    gc.collect()
    gc.disable()
    text = tell(int(sys.argv[2]))
    print(json.dumps({"ready": True}), flush=True)
    print(text, flush=True)
    del text
    sys.stdin.read()
    return kept


main()
