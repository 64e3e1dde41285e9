"""A target of many threads, each some frames deep in its own functions; with "busy" one of them runs and the others wait; with "spin" all want to
run; with "baton" they pass a lock around, and whoever has it is in inside().
A line on standard input is answered with the longest time for which that one was not going on since the line before.

threads.py THREADS DEPTH idle|busy|spin|baton. Says "ready" with what sys._current_frames() says of the waiting ones.
"""
import json
import os
import sys
import threading
import time

GATE = threading.Lock()
GATE.acquire()


BATON = threading.Lock()


def inside():
    for _ in range(5000):
        pass


def pass_on():
    while True:
        with BATON:
            inside()


def park():
    GATE.acquire()
    GATE.release()
    if sys.argv[3] == "baton":
        pass_on()
    while sys.argv[3] == "spin":
        pass


def deep(n):
    if n:
        deep(n - 1)
    else:
        park()


GAP = [0.0]  # the longest time for which it was not going on


def spin():
    last = time.perf_counter()
    while True:
        now = time.perf_counter()
        if now - last > GAP[0]:
            GAP[0] = now - last
        last = now


def main():
    count, depth, load = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    threads = [threading.Thread(target=deep, args=(depth,), name="deep-%d" % i, daemon=True) for i in range(count - 1 - (load == "busy"))]
    for thread in threads:
        thread.start()
    print(json.dumps({"wait": len(threads), "call": 202, "pid": os.getpid()}), flush=True)  # in futex(), as who started us sees
    sys.stdin.readline()
    truth = {}
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident():
            continue
        truth[str(ident)] = frames = []
        while frame:
            frames.append([frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno])
            frame = frame.f_back
    if load == "busy":
        threading.Thread(target=spin, name="spin", daemon=True).start()
    if load in ("spin", "baton"):
        sys.setswitchinterval(0.001)
        GATE.release()
    print(json.dumps({"ready": True, "threads": truth}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"gap_us": int(GAP[0] * 1e6)}), flush=True)
        GAP[0] = 0.0


main()
