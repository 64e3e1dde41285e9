"""The target of the benchmark: N objects the collector tracks, and as many values again; busy or idle, or, idle too, "lost": a thousand of
them have a reference that nobody holds.

Commands on standard input, an answer a line: `count` times Counter(map(type, gc.get_objects())) in microseconds; `quit`.
"""
import collections
import gc
import select
import sys
import time


class Node(object):
    def __init__(self, i):
        self.number = i
        self.name = "node %d" % i


def main():
    n, busy = int(sys.argv[1]), sys.argv[2] == "busy"
    keep = [[Node(i) for i in range(n // 2)], [[i] for i in range(n // 4)], [{"a": i, i: 2.5 * i} for i in range(n // 4)]]
    if sys.argv[2] == "lost":
        import ctypes
        for node in keep[0][:1000]:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(node))
        del node
    gc.collect()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    spin = 0
    while True:
        while busy and not select.select([sys.stdin], [], [], 0)[0]:
            for spin in range(2000):
                pass
        command = sys.stdin.readline().strip()
        if command != "count":
            break
        begin = time.perf_counter()
        collections.Counter(map(type, gc.get_objects()))
        sys.stdout.write("%d\n" % ((time.perf_counter() - begin) * 1e6))
        sys.stdout.flush()
    return keep


main()
