"""Tells who refers to its objects: for each of N objects drawn at random from gc.get_objects(), its id, sys.getrefcount() less what the
question itself adds, and the ids of gc.get_referrers(). Then it waits; the answer is kept alive, so nothing changes.
"""
import gc
import json
import random
import sys


class Thing:
    def __init__(self, i):
        self.number = i
        self.parts = [i, str(i)]
        self.table = {"self": self}


class Slotted:
    __slots__ = ("part",)

    def __init__(self, part):
        self.part = part


def generator(thing):
    mine = [thing]
    yield mine


def closure(thing):
    def inner():
        return thing
    return inner


def main():
    things = [Thing(i) for i in range(200)]
    kept = [things, [Slotted(t) for t in things], [closure(t) for t in things], [generator(t) for t in things],
            [t.__init__ for t in things], {t: None for t in things}, {t for t in things}]
    for g in kept[3]:
        next(g)
    gc.collect()
    gc.disable()
    random.seed(7)
    # types, frames and our own lists apart: the question changes them
    def askable(o):
        return type(o) in (Thing, Slotted, list, dict, tuple, set) and o is not kept and o is not things and o is not globals()
    chosen = random.sample([o for o in gc.get_objects() if askable(o)], int(sys.argv[1]))
    answers = []
    ours = {id(chosen), id(answers), id(kept)}
    for o in chosen:
        referrers = gc.get_referrers(o)
        answers.append([id(o), type(o).__name__, [id(r) for r in referrers if id(r) not in ours and type(r).__name__ != "frame"]])
        del referrers
    del o
    ids = json.dumps(answers)
    del answers
    del chosen[:]
    print(json.dumps({"ready": True}), flush=True)
    print(ids, flush=True)
    sys.stdin.read()


main()
