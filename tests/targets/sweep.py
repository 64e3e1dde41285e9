"""A heap that goes from sparse to full and back to sparse, in steps.

	sweep.py MEGABYTES
Every line on standard input is a step: 1, 25, 50 and 100 % of MEGABYTES are filled with objects, then three of four, at random, are let go. Prints how many there are
of each kind. As many gigabytes of address space are reserved on top, of which a page is touched here and there.
"""
import gc
import json
import mmap
import os
import random
import sys


class Cell(object):
    __slots__ = ("value", "next")


def say(cells, lists):
    alive = sum(1 for cell in cells if cell is not None)
    os.write(1, (json.dumps({"Cell": alive, "float": alive, "list": len(lists)}) + "\n").encode())


gc.disable()  # it has nothing to find, and looks at all of them again and again
megabytes = int(sys.argv[1])
total = megabytes * 11000 // 8 * 8
space = mmap.mmap(-1, megabytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
for at in range(0, megabytes << 20, 64 << 20):
    space[at + 5000] = 1
cells, lists, last = [], [], None
os.write(1, b'{"ready": true}\n')
for percent in (1, 25, 50, 100):
    os.read(0, 1)
    for i in range(len(cells), total * percent // 100 // 8 * 8):
        cell = Cell()
        cell.value, cell.next = i + 0.5, None
        cells.append(cell)
        if i % 8 == 7:
            lists.append([i])
    cell = None
    say(cells, lists)
os.read(0, 1)
dice = random.Random(4)
for i in range(0, len(cells), 8):
    for k in range(8):
        if dice.random() < 0.75:
            cells[i + k] = None
del lists[::2]
say(cells, lists)
os.read(0, 1)
