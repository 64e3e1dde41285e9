# Programs that were not written for the test: what Debian packages and the interpreters' own libraries do. Each runs in this process, and
# at a barrier in the middle of it this process tells how many objects of each type gc.get_objects() lists, and waits.
#
#   program.py NAME        answers one line of JSON: {"ready": true, "types": {"0x…": count}} or {"ready": true, "skip": why}
# Runs unmodified on Python 3.6 to 3.15.
import gc
import json
import os
import sys
import threading
import time


def barrier():
    """Tell the truth and wait. What is counted is what is there while waiting: it's told when two counts agree."""
    before = line = types = kind = key = None
    write, read = os.write, os.read
    while True:
        gc.collect()
        types = list(map(id, map(type, gc.get_objects())))
        counts = {}
        for kind in types:
            counts[kind] = counts.get(kind, 0) + 1
        types = kind = None
        counts = {hex(key): counts[key] for key in sorted(counts)}
        line = json.dumps({"ready": True, "types": counts}).encode() + b"\n"
        counts = None
        if line == before:
            break
        before = line
    before = None
    while line:
        line = line[write(1, line):]
    line = None
    read(0, 1)


def quiet():
    """Standard output is the test's: what the program prints goes elsewhere."""
    sys.stdout.flush()
    sys.stdout = open(os.devnull, "w")


def http_server():
    import http.server
    import urllib.request

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    class Server(http.server.HTTPServer):
        daemon_threads = True

    import socketserver
    threaded = type("Threaded", (socketserver.ThreadingMixIn, Server), {})
    server = threaded(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(600,), daemon=True)
    thread.start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    pages = [opener.open("http://127.0.0.1:%d/" % server.server_address[1]).read() for i in range(200)]
    others = [t for t in threading.enumerate() if t not in (thread, threading.current_thread())]
    for other in others:
        other.join()
    del others
    time.sleep(0.1)  # one that can be joined still takes its frames down
    while os.path.exists("/proc/self") and len(os.listdir("/proc/self/task")) > 2:
        time.sleep(0.001)
    barrier()
    return pages


def asyncio_server():
    import asyncio

    async def serve(reader, writer):
        while True:
            line = await reader.readline()
            if not line:
                break
            writer.write(line * 3)
            await writer.drain()
        writer.close()

    async def talk(port, n):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = []
        for i in range(20):
            writer.write(b"hello %d %d\n" % (n, i))
            lines.append(await reader.readline())
        return lines, reader, writer

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        talks = await asyncio.gather(*[talk(port, n) for n in range(50)])
        barrier()  # fifty connections are open, and as many tasks wait
        return talks

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


def own_tests():
    """`python -m test` of a few modules, as far as this interpreter carries them."""
    import unittest
    names = []
    for name in ("test_dict", "test_list", "test_set", "test_json.test_decode", "test_collections", "test_generators"):
        try:
            __import__("test." + name)
        except ImportError:
            continue
        names.append("test." + name)
    if not names:
        return "this interpreter comes without its tests"
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(stream=open(os.devnull, "w"), verbosity=0).run(suite)
    assert result.testsRun > 100, result
    barrier()


def compiler():
    """The standard library, read, parsed and compiled."""
    import ast
    import tokenize
    folder = os.path.dirname(os.__file__)
    trees = []
    for name in sorted(os.listdir(folder))[:60]:
        if name.endswith(".py"):
            with tokenize.open(os.path.join(folder, name)) as file:
                text = file.read()
            trees.append((ast.parse(text), compile(text, name, "exec")))
    barrier()
    return trees


def standard_library():
    """Much of it, imported and used a little."""
    import csv
    import datetime
    import decimal
    import email.message
    import fractions
    import io
    import logging
    import pathlib
    import queue
    import statistics
    import tempfile
    import xml.dom.minidom
    import zipfile
    try:
        import sqlite3
        base = sqlite3.connect(":memory:")
        base.execute("CREATE TABLE t (a, b)")
        base.executemany("INSERT INTO t VALUES (?, ?)", [(i, str(i)) for i in range(2000)])
        rows = base.execute("SELECT * FROM t").fetchall()
    except ImportError:
        rows = None
    message = email.message.EmailMessage()
    message.set_content("text")
    document = xml.dom.minidom.parseString("<a>" + "<b c='d'>e</b>" * 300 + "</a>")
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    archive.writestr("name", "text" * 1000)
    table = list(csv.reader(io.StringIO("a,b,c\n" * 2000)))
    logger = logging.getLogger("test")
    logger.addHandler(logging.NullHandler())
    waiting = queue.Queue()
    threads = [threading.Thread(target=waiting.get, daemon=True) for i in range(5)]
    for thread in threads:
        thread.start()
    dates = [datetime.datetime(2020, 1, 1) + datetime.timedelta(i) for i in range(2000)]
    numbers = [fractions.Fraction(i, 7) for i in range(500)], [decimal.Decimal(i) / 7 for i in range(500)]
    deviation = statistics.pstdev(range(100))
    paths = list(pathlib.Path(tempfile.gettempdir()).glob("*"))
    while waiting._qsize() or len(waiting.not_empty._waiters) < 5:
        pass
    barrier()
    return rows, message, document, archive, table, dates, numbers, deviation, paths


def ipython():
    try:
        import IPython
    except ImportError:
        return "IPython isn't installed"
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance(history_length=0)
    shell.history_manager.enabled = False
    shell.run_cell("import collections, json\nthings = [collections.Counter('text %d' % i) for i in range(500)]")
    shell.run_cell("1/0")
    shell.run_cell("%timeit -n 5 -r 2 sum(range(100))")
    shell.user_ns["barrier"] = barrier
    result = shell.run_cell("barrier()")
    result.raise_error()


def numpy_script():
    try:
        import numpy
    except ImportError:
        return "numpy isn't installed"
    random = numpy.random.default_rng(1)
    matrix = random.normal(size=(300, 300))
    values, vectors = numpy.linalg.eigh(matrix @ matrix.T)
    rows = [matrix[i] for i in range(300)]
    record = numpy.zeros(1000, dtype=[("a", "i4"), ("b", "f8")])
    objects = numpy.array([{}, [], "x", 1.5] * 100, dtype=object)
    scalars = [numpy.float64(i) for i in range(1000)] + [numpy.int8(i % 100) for i in range(1000)]
    barrier()
    return values, vectors, rows, record, objects, scalars


def pandas_script():
    try:
        import pandas
    except ImportError:
        return "pandas isn't installed"
    frame = pandas.DataFrame({"a": range(5000), "b": ["x%d" % (i % 100) for i in range(5000)]})
    groups = frame.groupby("b").a.agg(["sum", "mean", "max"])
    merged = frame.merge(groups, left_on="b", right_index=True)
    text = merged.to_csv()
    again = pandas.read_csv(__import__("io").StringIO(text))
    barrier()
    return groups, merged, text, again


def pytest_run():
    try:
        import pytest
    except ImportError:
        return "pytest isn't installed"
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "test_it.py"), "w") as file:
            file.write("import pytest\n@pytest.fixture\ndef thing(): return [1]\n"
                       "@pytest.mark.parametrize('n', range(300))\ndef test_n(n, thing): assert n + len(thing) == n + 1\n"
                       "def test_output(capsys):\n    print('x')\n    assert capsys.readouterr().out == 'x\\n'\n")

        class Plugin:
            count = 0

            def pytest_runtest_teardown(self, item):
                Plugin.count += 1
                if Plugin.count == 250:  # in the middle of the run
                    barrier()

        code = pytest.main(["-q", "-s", "-p", "no:cacheprovider", "--rootdir", folder, folder], plugins=[Plugin()])
        assert code == 0, code


PROGRAMS = {
    "http": http_server, "asyncio": asyncio_server, "tests": own_tests, "compiler": compiler, "library": standard_library,
    "ipython": ipython, "numpy": numpy_script, "pandas": pandas_script, "pytest": pytest_run,
}

if __name__ == "__main__":
    quiet()
    why = PROGRAMS[sys.argv[1]]()
    if isinstance(why, str):
        os.write(1, json.dumps({"ready": True, "skip": why}).encode() + b"\n")
