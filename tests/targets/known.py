# Contents known by construction: the test takes a sample before and one after, and the difference is what was made here, of every
# type and to the byte. Runs unmodified on Python 3.6 to 3.15.
#
#   known.py N      N of each kind; then a random third of each is deleted
# Commands: "fill" (makes it; answers {"types": {name: [count, bytes]}, "lists": …}), "lose" (objects whose only holder is lost in C),
# "drop" (deletes everything "fill" made), "quit".
#
# How the difference stays pure: everything this script needs for itself exists before the first sample and is still there at the last,
# a small round of the same work warms every cache, and both samples are taken while it waits in the same os.read() with the same locals.
import gc
import json
import os
import random
import sys

try:
    import ctypes
except ImportError:
    ctypes = None

N = int(sys.argv[1])
LOST = int(sys.argv[2]) if len(sys.argv) > 2 else 100000


class Slotted(object):
    __slots__ = ("a", "b")


class Attributed(object):
    def __init__(self):
        self.a = 1
        self.b = None


class Text(str):
    pass


class Number(float):
    pass


def shared(i, common=("common", 1)):
    return [common, common]


# up to 3.11 a str keeps what it answered
as_wide = getattr(getattr(ctypes, "pythonapi", None), "PyUnicode_AsUnicode", None)
if as_wide:
    as_wide.argtypes, as_wide.restype = [ctypes.py_object], ctypes.c_void_p


def widened(i):
    made = "w%09d" % i
    if as_wide and i % 3 == 0:
        as_wide(made)
    return made


KINDS = [  # name, what makes one
    ("str", lambda i: "s%09d" % i),
    ("str, two bytes a character", lambda i: "\u1234\u5678%09d" % i),
    ("str, four bytes a character", lambda i: "\U0001f600%09d" % i),
    ("str, long", lambda i: "L%09d" % i + "x" * 600),
    ("str, asked for in wide characters", widened),
    ("bytes", lambda i: b"b%09d" % i),
    ("bytes, long", lambda i: b"B%09d" % i + b"y" * 600),
    ("int", lambda i: 10 ** 12 + i),
    ("int, ten digits", lambda i: 10 ** 90 + i),
    ("int, negative", lambda i: -10 ** 12 - i),
    ("float", lambda i: i + 0.5),
    ("complex", lambda i: complex(i, 1)),
    ("tuple of atoms", lambda i: tuple([1, "a", None])),
    ("frozenset", lambda i: frozenset((1, "a"))),
    ("set", lambda i: {1, "a"}),
    ("dict of atoms", lambda i: {1: 2, "a": 3}),
    ("list", lambda i: [1, None]),
    ("slots", lambda i: Slotted()),
    ("attributes", lambda i: Attributed()),
    ("bytearray", lambda i: bytearray(b"12345")),
    ("str of a class", lambda i: Text("q%09d" % i)),
    ("float of a class", lambda i: Number(i)),
    ("nested", lambda i: [[1], {"a": [2]}, (3, [4])]),
    ("shared", shared),
]
KEPT = [[None] * N for kind in KINDS]
LOSTKINDS = [lambda i: i + 0.25, lambda i: "lost %09d" % i, lambda i: "lost %0700d" % i, lambda i: [i % 100]]


def inside(made, attributed=Attributed, dicts=sys.version_info < (3, 11), bytes_inside=sys.version_info >= (3, 15)):
    """Every object that was made for this one, itself included, each once: what it holds is known from how it was made."""
    kind = type(made)
    yield made
    if kind is attributed and dicts:
        yield made.__dict__
    elif kind is bytearray and bytes_inside:
        yield bytes(made)  # not this one, but one of its size
    elif kind is list and len(made) == 3:  # "nested"
        yield made[0]
        yield made[1]
        yield made[1]["a"]
        yield made[2]
        yield made[2][1]


def make(n):
    for index in range(len(KINDS)):
        kept, maker = KEPT[index], KINDS[index][1]
        for i in range(n):
            kept[i] = maker(i)


def delete(n, seed):
    """A random third of each; returns how many are left of each kind."""
    for kept in KEPT:
        order = list(range(n))
        random.Random(seed).shuffle(order)
        for i in order[:n // 3]:
            kept[i] = None
        seed += 1
    return n - n // 3


def tell(left):
    """The truth: counts by construction (`left` of each kind), sizes as sys.getsizeof says them."""
    types = {}
    for index in range(len(KINDS)):
        found = 0
        for made in KEPT[index]:
            if made is None:
                continue
            found += 1
            for thing in inside(made):
                entry = types.setdefault(type(thing).__name__, [0, 0])
                entry[0] += 1
                entry[1] += sys.getsizeof(thing)
        assert found == left, (KINDS[index][0], found, left)
    return json.dumps({"types": types}).encode() + b"\n"


def drop():
    for kept in KEPT:
        for i in range(len(kept)):
            kept[i] = None


def lose(n):
    """Objects whose last holder is lost in C: nothing in Python refers to them, and no collector would find them."""
    increment = ctypes.pythonapi.Py_IncRef
    increment.argtypes, increment.restype = [ctypes.py_object], None
    for maker in LOSTKINDS:
        for i in range(n):
            increment(maker(i))


def serve():
    read, write = os.read, os.write
    line = b'{"ready": true}\n'
    while True:
        gc.collect()
        while line:
            line = line[write(1, line):]
        line = None
        line = read(0, 64)
        if line == b"fill\n":
            make(N)
            line = tell(delete(N, 7))
        elif line == b"drop\n":
            drop()
            line = b"{}\n"
        elif line == b"lose\n":
            lose(LOST)
            line = b"{}\n"
        else:
            break


# once, small: caches, free lists and the specialising interpreter are warm
for turn in range(3):
    make(min(N, 500))
    tell_small = tell(delete(min(N, 500), 7))
    drop()
for turn in range(1500):
    for kind in KINDS:  # 3.8 to 3.10 give a function a cache when it's called for the 1,024th time (co_opcache)
        kind[1](0)
if ctypes:
    lose(1)
# the cache of attributes keeps names that nothing else has any more ("_handle" of ctypes), until another name takes their place
for forget in ("_clear_internal_caches", "_clear_type_cache"):
    if hasattr(sys, forget):
        getattr(sys, forget)()
        break
if ctypes:
    lose(1)  # and what it needs each time is kept again
del tell_small, turn, kind, forget
serve()
