# Objects that own memory besides their own: what OWNED counts. Runs unmodified on Python 3.6 to 3.15, with numpy where it is installed.
#
# Commands: "fill" (makes them; answers {"types": {name: [count, owned, bytes]}, "numpy": version or null}), "drop" a third of them (answers
# the same of what is left), "quit". Counts and owned bytes are known by construction; bytes as sys.getsizeof says them.
import gc
import json
import mmap
import os
import random
import sys
import tempfile

try:
    import array
except ImportError:  # an interpreter without its extension modules
    array = None
try:
    import numpy
except ImportError:
    numpy = None

KEPT = []  # of groups of (object, bytes it owns): a view keeps its owner alive, so both go together


def group():
    KEPT.append([])


def keep(made, owned):
    KEPT[-1].append((made, owned))
    return made


def fill_builtin():
    for i in range(500):
        group()
        made = bytearray(i * 7)
        made.extend(b"more")  # asks for more than it needs
        # from 3.15 the characters are in a bytes object, whose header __alloc__() counts too
        keep(made, made.__alloc__() - (sys.getsizeof(b"") if sys.version_info >= (3, 15) else 0))
        keep(memoryview(made)[1:], 0)
        keep(memoryview(bytes(i)), 0)
    for i in range(1, 60):
        group()
        keep(mmap.mmap(-1, i * 4096 + i), i * 4096 + i)
    if array:
        for code in "bBhHiIlLqQfd":
            for n in range(0, 200, 7):
                group()
                made = array.array(code, [1] * n)
                made.append(1)
                keep(made, made.__sizeof__() - array.array.__basicsize__)
                assert KEPT[-1][0][1] >= made.itemsize * (n + 1)


def fill_numpy(file):
    class Named(numpy.ndarray):
        pass

    def own(made):
        assert made.flags.owndata
        return keep(made, made.nbytes)

    def view(made):
        assert not made.flags.owndata
        return keep(made, 0)

    record = numpy.dtype([("a", "i4"), ("b", "f8"), ("c", "S7")])
    for n in range(0, 400, 3):
        group()
        a = own(numpy.arange(n, dtype="f4"))
        view(a[1:])
        view(a[::2])
        view(a.reshape(-1, 1))
        own(a.copy())
        own(numpy.zeros((n, 3, 2), dtype="i2", order="F"))
        own(numpy.zeros(n, dtype=record))
        own(numpy.array([{}, "x", None] * n, dtype=object))
        own(numpy.array(["text"] * (n + 1)))
        view(numpy.frombuffer(b"12345678" * (n + 1)))
        view(numpy.broadcast_to(a, (5, n)))
        view(a.view(Named))
        keep(Named((n, 2)), n * 2 * 8)
        own(numpy.array(1.5))  # no dimensions
        own(numpy.matrix([[1, 2], [3, n]]).copy())
    group()
    own(numpy.zeros((2000, 2000)))  # 32 MB, of which nobody ever touched a page
    own(numpy.ones((1000, 1000)))
    view(KEPT[-1][-1][0].T)
    mapped = view(numpy.memmap(file, dtype="u1", mode="w+", shape=(10000,)))
    keep(mapped._mmap, 10000)  # that one owns it
    own(numpy.ma.masked_array([1, 2, 3], [0, 1, 0]).data.copy())


def tell():
    types = {}
    for made, owned in sum(KEPT, []):
        row = types.setdefault(type(made).__name__, [0, 0, 0])
        row[0] += 1
        row[1] += owned
        row[2] += sys.getsizeof(made)
    return {"types": types, "numpy": numpy and numpy.__version__}


def drop():
    random.Random(3).shuffle(KEPT)
    del KEPT[:len(KEPT) // 3]


def main():
    file = tempfile.TemporaryFile()
    line = b'{"ready": true}\n'
    while True:
        gc.collect()
        os.write(1, line)
        command = os.read(0, 64)
        if command == b"fill\n":
            fill_builtin()
            if numpy:
                fill_numpy(file)
        elif command == b"drop\n":
            drop()
        else:
            break
        gc.collect()
        line = json.dumps(tell()).encode() + b"\n"


main()
