# Makes an object of each kind for one who steps through its birth, an instruction at a time. First the memory that it is going to get is filled
# with numbers that no object has, and the free lists of objects are emptied.
#
#   births.py        answers {"ready": true, "kinds": [what, ...]}; then, a line on standard input for each (what, and the number in hexadecimal
#                    digits), sends itself SIGUSR1, makes it, and sends itself SIGUSR2
# Runs unmodified on Python 3.6 to 3.15.
import collections
import gc
import json
import os
import signal
import sys


class Dict(dict):
    pass


class Slotted(object):
    __slots__ = ("a",)


def counting():
    yield pid


items = list(range(20))
text = bytearray(1000)
held = []
kill, pid, begin, end = os.kill, os.getpid(), signal.SIGUSR1, signal.SIGUSR2

kinds = {
    "nothing": lambda: None,
    "list": lambda: [begin, end, pid],
    "copy": lambda: items[3:],
    "dict": lambda: {begin: end, pid: begin},
    "tuple": lambda: tuple(items),
    "str": lambda: "%d" % pid,
    "bytearray": lambda: text[3:90],
    "function": lambda: lambda: pid,
    "dict's": lambda: Dict(),
    "slots": lambda: Slotted(),
    "ordered": lambda: collections.OrderedDict(),
    "set": lambda: set(items),
    "generator": lambda: next(counting()),
}


def pollute(word):
    held.append([[[] for i in range(100)], [{} for i in range(100)], [tuple(items[:]) for i in range(2100)]])
    blocks = []
    for size in range(16, 513, 8):
        for i in range(32):
            block = bytearray(size - 1)
            block[:] = (word * 64)[:size - 1]
            blocks.append(block)


gc.disable()
os.write(1, (json.dumps({"ready": True, "kinds": sorted(kinds)}) + "\n").encode())
while True:
    line = os.read(0, 100)
    if not line:
        os._exit(0)
    kind, number = line.decode().split()
    make = kinds[kind]
    for i in range(20):
        make()
    gc.collect()  # the youngest generation is empty
    pollute(bytes.fromhex(number))
    made = None
    kill(pid, begin)
    made = make()
    kill(pid, end)
    made = None
    del held[:]
