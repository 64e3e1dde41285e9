# Allocates at full speed in several threads and never stops: objects of every allocator size class and of those beyond, tracked and not,
# dying at once, dying in the collector, living on. {"ready": true} when all threads are at it; ends when standard input does.
#
#   turmoil.py [THREADS]
import collections
import gc
import os
import sys
import threading

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 4


class Plain(object):
    def __init__(self, n):
        self.n, self.me = n, self  # a circle: only the collector ends it


class Slotted(object):
    __slots__ = ("a", "b", "__weakref__")


class Mortal(object):
    def __del__(self):
        self.after = [1]


def generator(n):
    yield n
    yield [n]


def churn(kept, started, seed):
    n = seed
    while True:
        n = (n * 1103515245 + 12345) % (1 << 31)
        kind = n >> 8 & 15
        size = n >> 12 & 1023
        if kind == 0:
            made = [Plain(i) for i in range(size & 63)]
        elif kind == 1:
            made = {i: str(i) for i in range(size)}
        elif kind == 2:
            made = "x" * size * 3
        elif kind == 3:
            made = [[i] for i in range(size & 127)]
        elif kind == 4:
            made = tuple(float(i) for i in range(size & 255))
        elif kind == 5:
            made = bytearray(size * 2)
        elif kind == 6:
            made = collections.deque(range(size))
        elif kind == 7:
            made = [Slotted() for i in range(size & 63)]
        elif kind == 8:
            made = [Mortal() for i in range(size & 15)]
        elif kind == 9:
            made = generator(size)
            next(made)
        elif kind == 10:
            made = set(range(size)), frozenset("abc")
        elif kind == 11:
            made = 1 << size * 40
        elif kind == 12:
            made = collections.OrderedDict((i, None) for i in range(size & 31))
        elif kind == 13:
            made = type("Dynamic", (Plain,), {"x": size}) if size < 40 else lambda: made
        elif kind == 14:
            made = Exception(size)
            try:
                raise made
            except Exception:
                pass
        else:
            made = b"y" * size
            if size < 8:
                gc.collect(size & 1)
        kept[n >> 16 & 255] = made
        made = None
        if started is not None:
            started.release()
            started = None


threads = []
for seed in range(THREADS):
    started = threading.Semaphore(0)
    threads.append(threading.Thread(target=churn, args=([None] * 256, started, seed + 1), daemon=True))
    threads[-1].start()
    started.acquire()
os.write(1, b'{"ready": true}\n')
os.read(0, 1)
os._exit(0)
