"""Tens of megabytes of which a little changes all the time, for what watches its writes.

	precopied.py MEGABYTES LIBRARY|-
Prints the number of the signal it counts. Commands: "count" tells the signals counted; "work" the rounds of work since the last time, the longest
gap between two of them in µs, and what didn't add up; "quit".
"""
import ctypes
import json
import os
import select
import sys
import time


class Cell(object):
    __slots__ = ("value", "other")


class Kept(object):
    def __init__(self, n):
        self.number = n


def say(what):
    os.write(1, (json.dumps(what) + "\n").encode())


library = ctypes.CDLL(sys.argv[2]) if sys.argv[2] != "-" else None
number = library.counter_start() if library else 0
n = int(sys.argv[1]) * 6000
kept = [Kept(i) for i in range(n)]
cells = [Cell() for i in range(n)]
never = [bytes(200) for i in range(n)]  # is written to
for i, cell in enumerate(cells):
    cell.value, cell.other = [i], cells[i - 1]
say({"ready": True, "signal": number, "Kept": n, "Cell": n})
rounds, longest, wrong, at, last = 0, 0.0, [], 0, time.perf_counter()
while True:
    for _ in range(2):
        at = (at + 7919) % n
        cells[at].value[0] += 1
        made = [at] * 8
    if cells[at].other is not cells[at - 1] or kept[at].number != at or len(made) != 8:
        wrong.append(at)
    rounds += 1
    now = time.perf_counter()
    longest, last = max(longest, now - last), now
    if rounds % 16 or not select.select([0], [], [], 0.001)[0]:
        continue
    command = os.read(0, 100).decode().strip()
    if command == "quit":
        break
    if command == "count":
        say({"count": library.counter_read()})
    else:
        say({"rounds": rounds, "longest_us": int(longest * 1e6), "wrong": wrong[:10]})
        rounds, longest, last = 0, 0.0, time.perf_counter()
