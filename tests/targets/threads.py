"""A target of many threads, each some frames deep in its own functions; with "busy" one of them runs and the others wait.

threads.py THREADS DEPTH idle|busy. Says "ready" with what sys._current_frames() says of the waiting ones.
"""
import json
import os
import sys
import threading

GATE = threading.Lock()
GATE.acquire()


def park():
    GATE.acquire()
    GATE.release()


def deep(n):
    if n:
        deep(n - 1)
    else:
        park()


def spin():
    while True:
        pass


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
    print(json.dumps({"ready": True, "threads": truth}), flush=True)
    sys.stdin.readline()


main()
