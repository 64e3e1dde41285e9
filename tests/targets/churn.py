# Allocates, links and drops objects of every kind at full speed, in two threads, until it's killed.
import os
import random
import threading


class Node(object):
    def __init__(self, *others):
        self.others = others


class Slotted(object):
    __slots__ = ("one", "two")


def slotted(x):
    made = Slotted()
    made.one = x
    return made


def generator(x):
    yield x


MAKERS = [
    lambda x: [x] * random.randrange(200), lambda x: {"key": x, 1: [x]}, lambda x: Node(x), lambda x: slotted(x), lambda x: (x, [x]),
    lambda x: {1, "two", 3.5}, lambda x: frozenset((1, "b")), lambda x: "text" * random.randrange(400), lambda x: b"y" * random.randrange(900),
    lambda x: random.random() + 1, lambda x: random.getrandbits(2000), lambda x: bytearray(random.randrange(3000)),
    lambda x: generator(x), lambda x: (lambda: x), lambda x: type("Made", (Node,), {"kept": x}), lambda x: ValueError(x),
    lambda x: complex(1, random.random()), lambda x: x.__init__, lambda x: memoryview(b"abc"), lambda x: {i: i for i in range(random.randrange(60))},
]


def churn(seed):
    rng = random.Random(seed)
    keep = [None] * 4000
    while True:
        i = rng.randrange(4000)
        keep[i] = rng.choice(MAKERS)(keep[rng.randrange(4000)] if rng.random() < 0.1 else None)


for seed in range(2):
    thread = threading.Thread(target=churn, args=(seed,))
    thread.daemon = True
    thread.start()
os.write(1, b'{"ready": true}\n')
os.read(0, 1)
os._exit(0)
