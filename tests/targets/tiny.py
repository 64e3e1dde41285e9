"""Little of everything, for a small image: run it with -I -S. One thread besides the main one; both wait."""
import _thread
import itertools
import sys


class Slotted:
    __slots__ = ("a", "b")


class Plain:
    def __init__(self, n):
        self.n, self.other = n, [n]

    def wait(self, lock):
        with lock:
            pass


class Text(str):
    pass


def numbers(n):
    for i in range(n):
        yield i * 1.5


async def later():
    return 1


def closure():
    value = {"a": 1}
    return lambda: value


slotted = Slotted()
slotted.a = slotted
cycle = [Plain(i) for i in range(5)]
cycle.append(cycle)
many = [set(range(9)), frozenset("abc"), bytearray(b"x" * 600), memoryview(b"yy"), {i: str(i) for i in range(20)}, 10 ** 50, -7, 1j,
        "\u0416\u4e00\U0001f600", Text("t"), slice(1), closure(), itertools.chain([1], [2]), Ellipsis, type("Made", (Plain,), {"x": 1})]
running = numbers(3)
next(running)
coroutine = later()
try:
    raise ValueError("kept")
except ValueError as error:
    kept = error
lock = _thread.allocate_lock()
lock.acquire()
started = _thread.allocate_lock()
started.acquire()


def thread(plain):
    started.release()
    plain.wait(lock)


_thread.start_new_thread(thread, (cycle[0],))
started.acquire()
sys.stdout.write('{"ready": true}\n')
sys.stdout.flush()
for line in numbers(1):
    sys.stdin.readline()
coroutine.close()
