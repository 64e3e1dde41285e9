# One of everything, 100,000 times over, and the truth about it (tests/targets/truth.py).
#
#   census.py [frozen] [disabled] [small]
#     frozen    gc.freeze() before the truth is told: what was there is in the permanent generation
#     disabled  gc.disable()
#     small     a tenth of the objects
# Commands: "truth" (prints a line of JSON and waits), "quit". Runs unmodified on Python 3.6 to 3.15.
import array
import collections
import datetime
import decimal
import enum
import functools
import gc
import io
import itertools
import os
import re
import sys
import threading
import types
import weakref
import xml.etree.ElementTree

import truth

try:
    import ctypes
except ImportError:
    ctypes = None
try:
    import dataclasses
except ImportError:
    dataclasses = None
try:
    import contextvars
except ImportError:
    contextvars = None

ARGUMENTS = sys.argv[1:]
SCALE = 10 if "small" in ARGUMENTS else 1
keep = {}


class Plain(object):
    def __init__(self, n):
        self.number, self.text, self.link = n, "text %d" % n, None

    def method(self):
        return self.number

    @property
    def doubled(self):
        return 2 * self.number

    @classmethod
    def made(cls):
        return cls(0)

    @staticmethod
    def helped():
        return 1


class Empty(object):
    pass


class Slotted(object):
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


class SlottedWeak(Slotted):
    __slots__ = ("z", "__weakref__")


class SlottedDict(Slotted):
    pass


class NoSlots(object):
    __slots__ = ()


class DictSub(dict):
    pass


class DictSlots(dict):
    __slots__ = ("extra",)


class ListSub(list):
    pass


class TupleSub(tuple):
    pass


class TupleNoDict(tuple):
    __slots__ = ()


class IntSub(int):
    pass


class StrSub(str):
    pass


class BytesSub(bytes):
    pass


class FloatSub(float):
    pass


class SetSub(set):
    pass


class FrozenSub(frozenset):
    pass


class ByteArraySub(bytearray):
    pass


class ComplexSub(complex):
    pass


class DequeSub(collections.deque):
    pass


class OrderedSub(collections.OrderedDict):
    pass


class FunctionHolder(object):
    def __call__(self, *args):
        return args


class Failure(Exception):
    pass


class FailureSlots(ValueError):
    __slots__ = ("why",)


class Meta(type):
    def __new__(mcls, name, bases, namespace):
        return type.__new__(mcls, name, bases, namespace)


class MetaSlots(type):
    colour = None


class WithMeta(metaclass=Meta):
    pass


class Outer(object):
    class Inner(object):
        class Innermost(object):
            pass


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Flags(enum.IntFlag):
    A = 1
    B = 2


Point = collections.namedtuple("Point", "x y")


class PointSub(Point):
    pass


if dataclasses:
    @dataclasses.dataclass
    class Data:
        a: int = 0
        b: object = None
else:
    class Data:
        def __init__(self, a=0, b=None):
            self.a, self.b = a, b


def local_class():
    class Local(object):
        pass
    return Local


def closure(n):
    hidden = [n]

    def inner(m=n):
        return hidden, m
    return inner


def generator(n):
    local = [n]
    while True:
        yield local


def delegating(n):
    yield from generator(n)


@types.coroutine
def pause():
    yield


async def coroutine(n):
    local = [n]
    await pause()
    return local


async def asynchronous(n):
    yield n


def raised(n):
    try:
        try:
            raise Failure("number", n)
        except Failure:
            raise FailureSlots("second %d" % n)
    except FailureSlots as failure:
        return failure


def many(name, count, make):
    """Keep count/SCALE of make(i)."""
    count = max(count // SCALE, 2)
    keep[name] = [make(i) for i in range(count)]


def fill():
    many("plain", 15000, Plain)
    many("empty", 3000, lambda i: Empty())
    many("slotted", 8000, lambda i: Slotted(i, [i]))
    many("slotted weak", 1000, lambda i: SlottedWeak(i, None))
    many("slotted dict", 1000, lambda i: SlottedDict(i, None))
    many("no slots", 500, lambda i: NoSlots())
    for thing in keep["plain"][:max(len(keep["plain"]) // 10, 5)]:
        thing.__dict__["late"] = thing           # dicts that exist, and a circle
    for thing in keep["plain"][-5:]:
        thing.__dict__ = {"replaced": [1]}
    for i, thing in enumerate(keep["slotted dict"]):
        thing.extra = {i: []}
    for thing in keep["empty"][:40]:
        for j in range(40):
            setattr(thing, "attribute%d" % j, j)
    many("lists", 10000, lambda i: [i] * (i % 40))
    many("grown lists", 500, lambda i: [k for k in range(i % 300)])
    many("dicts", 6000, lambda i: {"key": [i], i: None})
    many("atom dicts", 2000, lambda i: {i: i})
    many("large dicts", 50, lambda i: {k: [] for k in range(i * 40)})
    many("emptied dicts", 200, lambda i: emptied({k: [] for k in range(50)}))
    many("text dicts", 500, lambda i: {"a%d" % k: [] for k in range(i % 60)})
    many("tuples", 8000, lambda i: tuple([[]] * (i % 25)))
    many("sets", 3000, lambda i: set(range(i % 50)))
    many("frozensets", 2000, lambda i: frozenset(("a", i, (i, i))))
    many("dict subs", 2000, lambda i: DictSub(a=i))
    many("dict slots", 500, lambda i: DictSlots(a=[i]))
    many("list subs", 2000, lambda i: ListSub(range(i % 10)))
    many("tuple subs", 2000, lambda i: TupleSub(range(i % 10)))
    many("tuple no dict", 500, lambda i: TupleNoDict(([], i)))
    many("int subs", 1500, lambda i: IntSub(i << (i % 200)))
    many("str subs", 1500, lambda i: StrSub("s%d" % i))
    many("str subs, wide", 300, lambda i: StrSub("\u20ac\U0001f600" * i))
    many("bytes subs", 500, lambda i: BytesSub(b"x" * i))
    many("float subs", 1000, lambda i: FloatSub(i))
    many("complex subs", 300, lambda i: ComplexSub(i))
    many("set subs", 500, lambda i: SetSub(range(i % 20)))
    many("frozen subs", 500, lambda i: FrozenSub(range(i % 20)))
    many("bytearray subs", 300, lambda i: ByteArraySub(b"y" * i))
    many("deque subs", 200, lambda i: DequeSub(range(i)))
    many("ordered subs", 200, lambda i: OrderedSub((k, k) for k in range(i % 50)))
    many("exceptions", 600, lambda i: Failure(i))
    many("builtin exceptions", 600, lambda i: [KeyError(i), OSError(2, "no"), StopIteration(i), SystemExit(3),
                                               ImportError("x", name="y"), UnicodeEncodeError("a", "b", 0, 1, "c")][i % 6])
    many("raised exceptions", 300, raised)
    many("closures", 4000, closure)
    many("lambdas", 1000, lambda i: lambda x=[i]: x)
    many("bound methods", 1500, lambda i: keep["plain"][i % len(keep["plain"])].method)
    many("builtin methods", 1000, lambda i: [i].append)
    many("method wrappers", 300, lambda i: [i].__len__)
    many("generators", 1500, lambda i: started(generator(i)) if i % 3 else generator(i))
    many("delegating generators", 200, lambda i: started(delegating(i)))
    many("generator expressions", 300, lambda i: started(k for k in range(5)))
    many("finished generators", 100, finished)
    many("coroutines", 500, lambda i: sent(coroutine(i)))
    many("asynchronous generators", 200, lambda i: asynchronous(i))
    many("deques", 800, lambda i: collections.deque(range(i % 300), i % 100 or None))
    many("ordered", 800, lambda i: collections.OrderedDict(("k%d" % k, []) for k in range(i % 30)))
    many("ordered, shrunk", 100, lambda i: shrunk(collections.OrderedDict((k, k) for k in range(100))))
    many("defaults", 800, lambda i: collections.defaultdict(list, {i: [i]}))
    many("counters", 300, lambda i: collections.Counter("text %d" % i))
    many("chain maps", 100, lambda i: collections.ChainMap({i: i}, {}))
    many("weak references", 900, lambda i: weakref.ref(keep["plain"][i % len(keep["plain"])]))
    many("weak references with callback", 300, lambda i: weakref.ref(keep["slotted weak"][i % len(keep["slotted weak"])], print))
    many("weak proxies", 300, lambda i: weakref.proxy(keep["plain"][i % len(keep["plain"])]))
    many("weak sets", 50, lambda i: weakref.WeakSet(keep["plain"][:i % 5]))
    many("weak dicts", 50, lambda i: weakref.WeakValueDictionary({i: keep["plain"][i % 7]}))
    many("arrays", 300, lambda i: array.array("bhilqfd"[i % 7], range(i % 100)))
    many("patterns", 60, lambda i: re.compile("a%d(b|c)*" % i))
    many("matches", 60, lambda i: re.match("(a)(b)*", "abb"))
    many("decimals", 300, lambda i: decimal.Decimal(i) / 7)
    many("points", 1500, lambda i: Point(i, [i]))
    many("point subs", 200, lambda i: PointSub(i, i))
    many("data", 1500, lambda i: Data(i, [i]))
    many("enum members", 10, lambda i: [Colour.RED, Colour.GREEN, Flags.A | Flags.B])
    many("nested", 300, lambda i: [Outer(), Outer.Inner(), Outer.Inner.Innermost()][i % 3])
    many("stat results", 200, lambda i: os.stat("/"))
    many("elements", 300, lambda i: element(i))
    many("caches", 60, cached)
    many("memory views", 300, lambda i: memoryview(bytearray(i)))
    many("byte streams", 200, lambda i: io.BytesIO(b"x" * i))
    many("text streams", 100, lambda i: io.StringIO("x" * i))
    many("iterators", 600, lambda i: [iter([i]), iter((i,)), iter({i: i}), iter({i}), iter("ab"), iter(range(9)),
                                      reversed([i]), enumerate([i]), zip([i], "ab"), map(len, []), filter(None, [i]),
                                      iter({i: i}.items())][i % 12])
    many("itertools", 600, lambda i: [itertools.count(i), itertools.cycle([i]), itertools.repeat(i, 5),
                                      itertools.chain([i], [i]), itertools.islice([i], 2), itertools.groupby([i]),
                                      itertools.product("ab", [i]), itertools.permutations([1, 2, 3]),
                                      itertools.combinations([1, 2, 3], 2), itertools.accumulate([i]),
                                      itertools.tee([i])[0], itertools.starmap(pow, [(2, i)])][i % 12])
    many("views", 300, lambda i: [{i: i}.keys(), {i: i}.values(), {i: i}.items()][i % 3])
    many("dates", 300, lambda i: [datetime.datetime(2020, 1, 1), datetime.date(2020, 1, 1), datetime.timedelta(i),
                                  datetime.timezone(datetime.timedelta(hours=i % 12))][i % 4])
    many("properties", 300, lambda i: [property(len), staticmethod(len), classmethod(len)][i % 3])
    many("partials", 300, lambda i: functools.partial(pow, i, b=[i]))
    many("supers", 100, lambda i: super(Plain, keep["plain"][0]))
    many("slices", 100, lambda i: slice(i, [i]))
    many("big ints", 300, lambda i: [1 << (i * 10)])
    many("proxies", 300, lambda i: types.MappingProxyType({i: i}))
    many("namespaces", 300, lambda i: types.SimpleNamespace(a=i))
    many("codes", 100, lambda i: compile("a = %d" % i, "file%d" % i, "exec"))
    many("modules", 60, lambda i: types.ModuleType("module%d" % i))
    many("cells", 100, lambda i: closure(i).__closure__)
    many("types", 150, dynamic_type)
    many("instances of dynamic types", 300, lambda i: keep["types"][i % len(keep["types"])]())
    many("types of one name", 4, lambda i: type("Twin", (object,), {}))
    many("twins", 100, lambda i: keep["types of one name"][i % len(keep["types of one name"])]())
    many("types of functions", 20, lambda i: local_class())
    many("locals", 40, lambda i: keep["types of functions"][i % len(keep["types of functions"])]())
    many("unicode names", 10, lambda i: type("Gr\u00f6\u00dfe\u20ac", (object,), {"__module__": "m\u00f6dul"})())
    many("with meta", 100, lambda i: WithMeta())
    many("callables", 100, lambda i: FunctionHolder())
    many("frames", 100, frame)
    many("tracebacks", 100, lambda i: raised(i).__traceback__)
    many("objects", 200, lambda i: [object()])
    many("locks", 60, lambda i: threading.Lock())
    many("conditions", 30, lambda i: threading.Condition())
    many("files", 5, lambda i: open(os.devnull, "rb" if i % 2 else "r"))
    if ctypes:
        structure = type("Structure", (ctypes.Structure,), {"_fields_": [("a", ctypes.c_int), ("b", ctypes.c_double)]})
        many("ctypes structures", 300, lambda i: structure(i, i))
        many("ctypes arrays", 100, lambda i: (ctypes.c_int * (i + 1))())
        many("ctypes numbers", 100, lambda i: ctypes.c_long(i))
        many("ctypes pointers", 50, lambda i: ctypes.pointer(structure(i, i)))
    if contextvars:
        many("context variables", 60, lambda i: contextvars.ContextVar("v%d" % i))
        many("contexts", 20, lambda i: contextvars.copy_context())
    keep["local data"] = threading.local()
    keep["local data"].main = [1]
    for i in range(3):
        hold_thread(i)


def emptied(thing):
    for key in list(thing)[::2]:
        del thing[key]
    return thing


def shrunk(thing):
    for key in list(thing)[10:]:
        del thing[key]
    return thing


def started(iterator):
    next(iterator)
    return iterator


def finished(n):
    made = (k for k in range(2))
    list(made)
    return made


def sent(coro):
    coro.send(None)
    return coro


def element(n):
    made = xml.etree.ElementTree.Element("tag", {"a": str(n)} if n % 2 else {})
    for _ in range(n % 7):
        xml.etree.ElementTree.SubElement(made, "child").text = "text"
    return made


def cached(n):
    function = functools.lru_cache(maxsize=None if n % 2 else 8)(lambda x: [x])
    for i in range(n % 10):
        function(i)
    return function


def dynamic_type(n):
    namespace = {"attribute": [n], "__slots__": ("a", "b")} if n % 2 else {"attribute": [n]}
    return [type, Meta, MetaSlots][n % 3]("Dynamic%d" % n, (object,), namespace)


def frame(n):
    return sys._getframe()


def hold_thread(n):
    inside, gate = threading.Lock(), threading.Lock()
    inside.acquire()
    gate.acquire()

    def body():
        keep["local data"].own = [n]
        inside.release()
        gate.acquire()

    keep["gate%d" % n] = gate
    thread = keep["thread%d" % n] = threading.Thread(target=body, daemon=True)
    thread.start()
    inside.acquire()


fill()
if "disabled" in ARGUMENTS:
    gc.disable()
truth.serve("frozen" in ARGUMENTS)
