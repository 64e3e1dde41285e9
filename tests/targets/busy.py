# Never quiet: threads that compute, processes that fork, threads that come and go, a collector that always runs.
#
#   busy.py threads|fork|churn|collect
# Throughout it holds 20,000 Known objects and 5,000 Linked ones in circles, and checks its own sums. The command "quit" prints {"rounds",
# "wrong"}: wrong says what didn't add up.
import gc
import json
import os
import select
import sys
import threading


class Known(object):
    def __init__(self, n):
        self.n = n


class Linked(object):
    __slots__ = ("other",)


class Passing(object):
    def __init__(self, n):
        self.n = n
        self.own = self


known = [Known(i) for i in range(20000)]
linked = [Linked() for i in range(5000)]
for i, one in enumerate(linked):
    one.other = linked[i - 1]
del one
wrong = []
rounds = [0]
stopping = False
all_there = threading.Event()


def check():
    if sum(k.n for k in known[:500]) != 124750 or linked[77].other is not linked[76]:
        wrong.append("a sum")
    rounds[0] += 1


def compute(n):
    all_there.wait()  # a thread that starts among others that compute waits long for its first turn
    while not stopping:
        held = [Passing(i) for i in range(50)]
        table = {i: [i] for i in range(50)}
        if sum(p.n for p in held) != 1225 or sum(len(v) for v in table.values()) != 50:
            wrong.append("thread %d" % n)
        rounds[0] += 1


def step_fork():
    child = os.fork()
    if child == 0:
        os._exit(7)
    if os.waitpid(child, 0) != (child, 7 << 8):
        wrong.append("a child")
    check()


def step_churn():
    seen = []
    threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if sorted(seen) != [0, 1, 2, 3]:
        wrong.append("a thread")
    check()


def step_collect():
    for i in range(50):
        Passing(i)
    if gc.collect() < 50:
        wrong.append("a collection")
    check()


kind = sys.argv[1]
threads = [threading.Thread(target=compute, args=(i,)) for i in range(64 if kind == "threads" else 0)]
if kind == "collect":
    gc.disable()
for thread in threads:
    thread.start()
all_there.set()
os.write(1, b'{"ready": true}\n')
while not select.select([0], [], [], 0.05 if threads else 0)[0]:
    if threads:
        check()
    else:
        {"fork": step_fork, "churn": step_churn, "collect": step_collect}[kind]()
stopping = True
for thread in threads:
    thread.join()
os.write(1, (json.dumps({"rounds": rounds[0], "wrong": wrong[:10]}) + "\n").encode())
