"""The target of the benchmark: a heap of a kind and size, fresh or aged, under a load; it measures its own speed and what others cost it.

	priced.py OBJECTS mixed|dicts|instances|strings|numpy fresh|aged idle|trickle|allocating|random|threads
OBJECTS is about how many the heap gets. Commands, an answer in JSON a line: "work": rounds of the load and seconds since the last time, and the longest gap
between two rounds in µs; "counter", "objgraph", "pympler": microseconds that way of counting took, null: it isn't there; "load NAME": another load from now on.
"""
import collections
import gc
import json
import os
import random
import select
import sys
import threading
import time


class Node(object):
    def __init__(self, i):
        self.number = i
        self.name = "node %d" % i


def one(kind, i):
    if kind == "dicts":
        return {"a": i, i: 2.5 * i}
    if kind == "instances":
        return Node(i)
    if kind == "strings":
        return "string number %d" % i
    return (Node(i), [i], {"a": i})[i % 3]


def build(n, kind, age):
    if kind == "numpy":
        import numpy
        return [numpy.ones(n, dtype="f8")]  # N numbers, one object
    each = {"mixed": 2.3, "dicts": 3, "instances": 3, "strings": 1}[kind]  # objects that one takes
    keep = [one(kind, i) for i in range(int(n / each))]
    if age == "aged":
        dice = random.Random(1)
        dice.shuffle(keep)
        for i in range(0, len(keep), 3):
            keep[i] = None
        for i in range(0, len(keep), 3):
            keep[i] = one(kind, i)
    return keep


def measure(way):
    begun = time.perf_counter()
    try:
        if way == "counter":
            collections.Counter(map(type, gc.get_objects()))
        elif way == "objgraph":
            import objgraph
            begun = time.perf_counter()
            objgraph.most_common_types(10)
        else:
            from pympler import muppy, summary
            begun = time.perf_counter()
            summary.summarize(muppy.get_objects())
    except ImportError:
        return None
    return int((time.perf_counter() - begun) * 1e6)


def sleepers(n):
    for _ in range(n):
        threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()


def main():
    n, kind, age, load = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    gc.disable()
    keep = build(n, kind, age)
    gc.enable()
    gc.collect()
    lists = [one for one in keep if type(one) is list] or [[i] for i in range(1000)]
    dice = random.Random(3)
    if load == "threads":
        sleepers(63)
    os.write(1, b'{"ready": true}\n')
    rounds, longest, since, last, at = 0, 0.0, time.perf_counter(), time.perf_counter(), 0
    while True:
        if load == "idle":
            command = os.read(0, 100).decode().strip()
        else:
            if load == "trickle":  # 1 % of the lists a second
                at = (at + 97) % len(lists)
                lists[at][0] = rounds
            elif load == "allocating" or load == "threads":
                made = [[i] for i in range(50)]
            else:
                for _ in range(50):
                    lists[dice.randrange(len(lists))][0] = rounds
            rounds += 1
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
            wait = min(1.0 / max(len(lists) / 100.0, 1), 0.01) if load == "trickle" else 0
            if not select.select([0], [], [], wait)[0]:
                continue
            command = os.read(0, 100).decode().strip()
        if not command or command == "quit":
            return
        if command.startswith("load "):
            load, answer = command.split()[1], None
            if load == "threads":
                sleepers(63)
        elif command == "work":
            now = time.perf_counter()
            answer = {"rounds": rounds, "seconds": now - since, "longest_us": int(longest * 1e6)}
        else:
            answer = measure(command)
        os.write(1, (json.dumps(answer) + "\n").encode())
        rounds, longest, since, last = 0, 0.0, time.perf_counter(), time.perf_counter()


main()
