# -*- coding: utf-8 -*-
"""A target with a thread for every way a frame can come about. When all of them wait it prints what sys._current_frames() says.

Each thread ends in park(), on a line of its own, in lock.acquire().
"""
import contextlib
import ctypes
import functools
import gc
import json
import os
import sys
import threading
import types

GATE = threading.Lock()
GATE.acquire()
STARTED = []


def park():
    STARTED.append(1)
    GATE.acquire()
    GATE.release()


def nested():
    def middle():
        def inner():
            park()
        inner()
    middle()


def closure():
    value = 3
    def use():
        if value:
            park()
    use()


def generator():
    def numbers():
        yield 1
        park()
        yield 2
    for number in numbers():
        pass


def generator_chain():
    def inner():
        yield 1
        park()
    def outer():
        yield from inner()
    list(outer())


def generator_expression():
    return sum(park() or 1 for _ in range(3))


def list_comprehension():
    return [park() for _ in range(3)]


def dict_comprehension():
    return {i: (park(), i)
            for i
            in range(3)}


def nested_comprehension():
    return [[park() for _ in range(2)] for _ in range(2)]


def decorated():
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper

    @decorate
    @decorate
    def wrapped(a, b=2):
        park()
    wrapped(1)


def executed():
    exec(compile("\n" * 300 + "def made():\n    call(\n        1\n    )\nmade()", "<made \u00e9>", "exec"),
         {"call": lambda _: park()})


def evaluated():
    eval("[call() for _ in (1, 2)]", {"call": park})


def sort_key():
    sorted([3, 1, 2], key=lambda x: park() or x)


def mapped():
    list(map(lambda x: park(), filter(lambda x: x > 1, [1, 2, 3])))


def ctypes_callback():
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    def compare(a, b):
        park()
        return 0
    numbers = (ctypes.c_int * 2)(2, 1)
    ctypes.CDLL(None).qsort(numbers, 2, ctypes.sizeof(ctypes.c_int), kind(compare))


def ünïcode_名前():
    def ошибка():
        park()
    ошибка()


def multi_line():
    result = dict(
        a=1,
        b=max(
            2,
            park() or 3,
        ),
    )
    return result


def class_body():
    class Outer:
        class Inner:
            park()


class Properties:
    @property
    def value(self):
        park()

    def __getattr__(self, name):
        return self.value

    def __call__(self):
        return self.something

    def __enter__(self):
        self()

    def __exit__(self, *error):
        pass

    @staticmethod
    def static():
        with Properties():
            pass

    @classmethod
    def cls(klass):
        klass.static()


def properties():
    Properties.cls()


class Meta(type):
    def __call__(cls):
        instance = super().__call__()
        instance.go()
        return instance


def metaclass():
    class Made(metaclass=Meta):
        def go(self):
            park()
    Made()


def try_finally():
    try:
        try:
            raise ValueError
        except ValueError:
            park()
    finally:
        pass


def in_finally():
    try:
        pass
    finally:
        for _ in range(1):
            park()


@contextlib.contextmanager
def manager():
    park()
    yield


def in_manager():
    with manager() as a, \
            manager() as b:
        pass


def recursion(n=900):
    if n:
        return recursion(n - 1)
    park()


def partial():
    functools.partial(lambda a, b: park(), 1)(b=2)


@functools.lru_cache()
def cached(a):
    park()


def lru():
    cached(1)


def coroutine():
    async def inner():
        park()
    async def outer():
        await inner()
    try:
        outer().send(None)
    except StopIteration:
        pass


def asynchronous_generator():
    async def numbers():
        yield 1
        park()
    async def outer():
        async for number in numbers():
            pass
    try:
        outer().send(None)
    except StopIteration:
        pass


class Thread(threading.Thread):
    def run(self):
        park()


class Deleted:
    def __del__(self):
        park()


def deleted():
    thing = Deleted()
    thing = None


def backwards():
    # the line goes down inside one expression
    return [
        1,
        (lambda: 2)(
        ) or
        3, park(
        ), 4]


def far_away():
    if len(STARTED) < 0:
        FILLER
    park()


def qualified_names():
    """Of code, which has none itself up to 3.10: those of the functions that have it."""
    names = {}
    for thing in gc.get_objects():
        # functools.wraps() gives the wrapper another one's name
        if isinstance(thing, types.FunctionType) and thing.__qualname__.split(".")[-1] == thing.__code__.co_name:
            names.setdefault(thing.__code__, set()).add(thing.__qualname__)
    return names


def truth():
    threads = {}
    names = {} if sys.version_info >= (3, 11) else qualified_names()
    for ident, frame in sys._current_frames().items():
        frames = []
        while frame:
            code = frame.f_code
            known = names.get(code, ())
            name = next(iter(known)) if len(known) == 1 else code.co_name
            frames.append([getattr(code, "co_qualname", name), code.co_filename, frame.f_lineno])
            frame = frame.f_back
        threads[str(ident)] = frames
    return threads


def spread(function, lines):
    """The same function with `lines` lines between its own."""
    source = open(__file__.replace(".pyc", ".py"), encoding="utf-8").read()
    start = source.index("def far_away")
    text = source[start:source.index("\n\n\n", start)].replace("        FILLER\n", "        pass\n" + "\n" * lines)
    names = dict(globals())
    exec(compile(text, "far.py", "exec"), names)
    return names["far_away"]


def main():
    kinds = [nested, closure, generator, generator_chain, generator_expression, list_comprehension, dict_comprehension,
             nested_comprehension, decorated, executed, evaluated, sort_key, mapped, ctypes_callback, ünïcode_名前, multi_line,
             class_body, properties, metaclass, try_finally, in_finally, in_manager, recursion, partial, lru, coroutine,
             asynchronous_generator, deleted, backwards, spread(far_away, 130), spread(far_away, 1000)]
    threads = [threading.Thread(target=kind, name="%s-%d" % (kind.__name__, i), daemon=i % 2 == 0) for i, kind in enumerate(kinds)]
    threads.append(Thread(name="subclass", daemon=True))
    for thread in threads:
        thread.start()
    print(json.dumps({"wait": len(threads), "call": 202, "pid": os.getpid()}), flush=True)  # in futex(), as who started us sees
    sys.stdin.readline()
    names = {str(t.ident): [t.name, t.daemon, getattr(t, "native_id", None)] for t in threading.enumerate()}
    print(json.dumps({"ready": True, "threads": truth(), "names": names, "main": str(threading.get_ident())}), flush=True)
    sys.stdin.readline()
    GATE.release()
    for thread in threads:
        thread.join()


main()
