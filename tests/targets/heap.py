"""The target of tests/bench/objects.py: N objects of many kinds, most of them such as no collector tracks; fresh, or aged; idle, or busy.

Aged: each was replaced twice, in random order, by one of a random kind, so that neighbours in memory are strangers.
Says "ready" on standard output; an empty line on standard input makes it idle or busy in turn; ends with standard input.
"""
import gc
import random
import select
import sys


class Node(object):
    def __init__(self, i):
        self.number = i
        self.name = "node %d" % i


class Slotted(object):
    __slots__ = ("a", "b")


MAKERS = [  # what makes one, and how many objects that is
    (lambda i: Node(i + 1000), 3), (lambda i: "text %d" % i, 1), (lambda i: i * 1.5, 1), (lambda i: {"a": i + 1000, "b": 2.5 * i}, 3),
    (lambda i: [i + 1000, str(i)], 3), (lambda i: (i + 1000, "x%d" % i), 3), (lambda i: b"bytes %d" % i, 1), (lambda i: Slotted(), 1),
]


def main():
    n, aged, busy = int(sys.argv[1]) // 2, sys.argv[2] == "aged", False  # two objects each, on average
    gc.disable()
    keep = [MAKERS[i % 8][0](i) for i in range(n)]
    chance = random.Random(1)
    for i in range(2 * n if aged else 0):
        keep[chance.randrange(n)] = MAKERS[chance.randrange(8)][0](i)
    gc.enable()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    spin = 0
    while True:
        while busy and not select.select([sys.stdin], [], [], 0)[0]:
            for spin in range(2000):
                pass
        if not sys.stdin.readline():
            return keep
        busy = not busy
        sys.stdout.write("busy\n" if busy else "idle\n")
        sys.stdout.flush()


main()
