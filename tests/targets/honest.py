"""Programs that lose no reference: `honest.py stdlib` uses much of the standard library and waits, `honest.py busy` never rests."""
import json
import sys
import threading


def data():
    import array, collections, copy, decimal, enum, fractions, pickle, random, struct, datetime, functools, itertools

    class Color(enum.Enum):
        RED = 1
        BLUE = "b"

    class Bits(enum.IntFlag):
        X = 1
        Y = 2

    point = collections.namedtuple("point", "x y")

    @functools.lru_cache(20)
    def cached(x):
        return [x]

    @functools.singledispatch
    def dispatched(x):
        return x

    dispatched.register(int)(lambda x: x)
    dispatched(3)
    tee = itertools.tee([1, 2, 3])
    next(tee[0])
    made = [[cached(i) for i in range(100)], [point(i, [i]) for i in range(100)], Color.RED, Bits.X | Bits.Y, tee]
    made.append([decimal.Decimal(i) / 7 for i in range(300)])
    made.append([fractions.Fraction(i, 7) for i in range(1, 200)])
    made.append([datetime.datetime.now() + datetime.timedelta(i) for i in range(200)])
    made.append([collections.ChainMap({}, {"a": 1}), collections.Counter("abracadabra"), collections.deque(range(500), 300),
                 collections.OrderedDict((i, [i]) for i in range(300)), array.array("d", range(100)), random.Random(3)])
    made.append(pickle.loads(pickle.dumps([{"a": [i, str(i)]} for i in range(500)])))
    made.append(copy.deepcopy(made[-1]))
    made.append([functools.partial(print, i, end=[i]) for i in range(50)])
    made.append([memoryview(bytearray(100)), struct.Struct("<IQ"), itertools.islice(range(9), 3), itertools.chain([1], [2])])
    return made, cached, dispatched, Color, Bits, point


def text():
    import argparse, ast, csv, email, html.parser, inspect, io, logging, re, string, textwrap, tokenize
    import xml.dom.minidom, xml.etree.ElementTree

    made = [re.compile("a%d(b|c)+[x-z]*?" % i) for i in range(50)]
    made.append([expression.match("a%dbcbc" % i) for i, expression in enumerate(made)])
    made.append(xml.etree.ElementTree.fromstring("<r>" + "".join("<e i='%d'>t%d</e>" % (i, i) for i in range(300)) + "</r>"))
    made.append(xml.dom.minidom.parseString("<r>" + "<e a='1'>x</e>" * 100 + "</r>"))
    tree = ast.parse(open(json.__file__).read())
    made += [tree, compile(tree, "x", "exec"), inspect.signature(argparse.ArgumentParser.__init__)]
    logging.getLogger("x").addHandler(logging.NullHandler())
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=int)
    made += [parser, parser.parse_args(["--x", "3"]), io.StringIO("abc"), io.BytesIO(b"abc"), csv.reader(["a,b"])]
    errors = []
    for _ in range(50):
        try:
            json.loads("{")
        except ValueError as error:
            errors.append(error)
    return made, errors, [json.loads(json.dumps({"a": [i, str(i), {"k": i * 1.5}], "b": None})) for i in range(500)]


def system():
    import asyncio, concurrent.futures, ctypes, hashlib, io, queue, socket, sqlite3, tempfile, unittest, weakref, zlib

    async def sleeper(i):
        await asyncio.sleep(0.001 * (i % 5))
        return [i]

    async def gathered():
        return await asyncio.gather(*[sleeper(i) for i in range(100)])

    loop = asyncio.new_event_loop()
    made = [loop, loop.run_until_complete(gathered())]
    database = sqlite3.connect(":memory:")
    database.execute("create table t(a, b)")
    database.executemany("insert into t values(?, ?)", [(i, str(i)) for i in range(300)])
    cursor = database.execute("select * from t")
    made += [database, cursor, [cursor.fetchone() for _ in range(50)]]
    database.row_factory = sqlite3.Row
    made.append(database.execute("select * from t").fetchall())

    class Struct(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_void_p), ("c", ctypes.c_char * 20)]

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
    callback(3)
    function = ctypes.CDLL(None).strlen
    function(b"abc")
    made += [[Struct(i, None) for i in range(100)], (Struct * 10)(), callback, function]

    class Case(unittest.TestCase):
        def test_a(self):
            self.assertEqual(1, 1)

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Case)
    made.append(unittest.TextTestRunner(stream=io.StringIO()).run(suite))
    pool = concurrent.futures.ThreadPoolExecutor(3)
    futures = [pool.submit(pow, i, 3) for i in range(100)]
    made += [pool, [future.result() for future in futures], futures]
    waiting = queue.Queue()
    for _ in range(4):
        threading.Thread(target=waiting.get, daemon=True).start()
    if sys.version_info >= (3, 7):
        import contextvars
        variable = contextvars.ContextVar("c", default=[1])
        variable.set([2])
        made += [variable, contextvars.copy_context()]
    objects = [Case() for _ in range(50)]
    made += [waiting, objects, weakref.WeakSet(objects), socket.socket(),
             weakref.WeakValueDictionary(enumerate(objects)), tempfile.TemporaryFile(), hashlib.sha256(b"x"), zlib.compressobj()]
    return made


def generators():
    def counting():
        yield [1]

    begun, ended = [counting() for _ in range(20)], [counting() for _ in range(5)]
    return [next(g) for g in begun], [list(g) for g in ended], begun, ended


def busy(number):
    import re
    while True:
        [json.loads(json.dumps({"a": [i] * 3, "b": str(i)})) for i in range(30)]
        [re.match("(a+)(b+)", "aaabb%d" % i).groups() for i in range(30)]
        sum(len(x) for x in ({i: [i]} for i in range(20)))
        try:
            int("x%d" % number)
        except ValueError:
            pass
        sorted({i: (i, str(i)) for i in range(50)}.values(), key=lambda pair: -pair[0])


def numpy():
    import numpy, pandas
    frame = pandas.DataFrame({"a": range(1000), "b": [str(i) for i in range(1000)]})
    matrix = numpy.random.rand(50, 50)
    return [frame, frame.groupby("b").size(), matrix, numpy.linalg.inv(matrix), numpy.array([[i] for i in range(100)], dtype=object)]


def ipython():
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell()
    shell.run_cell("import collections; x = [collections.Counter('abc') for _ in range(20)]; y = {i: str(i) for i in range(100)}")
    return [shell, shell.complete("col")]


def make(name):
    """Run a program to where it only waits; what it keeps."""
    if name == "stdlib":
        return [data(), text(), system(), generators()]
    return [globals()[name]()]


def main():
    kept = make("stdlib" if sys.argv[1] == "busy" else sys.argv[1])
    if sys.argv[1] == "busy":
        for i in range(3):
            threading.Thread(target=busy, args=(i,), daemon=True).start()
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.read()
    return kept


if __name__ == "__main__":
    main()
