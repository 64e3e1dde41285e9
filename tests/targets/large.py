"""A heap of some hundred megabytes that says what it holds; still, or changing at full speed.

	large.py MEGABYTES still|busy
The command "quit" ends it. Everything it counts is alive from before "ready" to the end.
"""
import gc
import json
import os
import select
import sys


class Slotted(object):
    __slots__ = ("left", "right")


class Plain(object):
    def __init__(self, n):
        self.number = n
        self.own = [n]


class Text(str):
    pass


def build(megabytes):
    n = megabytes * 1000
    held = {"Slotted": [Slotted() for i in range(n)], "Plain": [Plain(i) for i in range(n)], "Text": [Text("text %d" % i) for i in range(n)]}
    for i, one in enumerate(held["Slotted"]):
        one.left, one.right = held["Plain"][i * 7919 % n], held["Text"][i * 104729 % n]
    # larger than any allocator's block, reached only by references
    held["wide"] = [tuple(held["Plain"][i * 1000:i * 1000 + 1000]) for i in range(n // 1000)]
    held["index"] = {i: one for i, one in enumerate(held["Plain"])}
    held["long"] = ["%d" % i * 300 for i in range(2000)]
    held["buffer"] = bytearray(b"x") * (megabytes << 20)
    return held


held = build(int(sys.argv[1]))
gc.collect()
count = {name: len(held[name]) for name in ("Slotted", "Plain", "Text")}
os.write(1, (json.dumps({"ready": True, "count": count, "tuples": len(held["wide"])}) + "\n").encode())
spin = []
if sys.argv[2] == "still":
    os.read(0, 1)
    sys.exit()
while not select.select([0], [], [], 0)[0]:
    # grows and shrinks, so that arenas come and go
    spin = [{"a": [i]} for i in range(20000)]
    one = Plain(1)
