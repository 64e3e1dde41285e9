"""Large buffers of numbers and of text between objects: memory that holds no object, and memory that seems to hold none.

	barren.py MEGABYTES still|busy|slots
MEGABYTES of each kind of buffer. Busy: the buffers are written to, freed and made again, and objects come and go. Slots: there is a set most slots of which
are empty, with hashes that nobody looks at: the pages look like those of a buffer.
"""
import array
import ctypes
import gc
import json
import mmap
import os
import select
import sys


class Plain(object):
    def __init__(self, n):
        self.number = n


class Bytes(bytes):
    pass


size = int(sys.argv[1]) << 20
objects = [Plain(i) for i in range(20000)]
buffers = [array.array("d", [1.5]) * (size // 8), bytearray(b"x") * size, b"\x07" * size, "y" * size, (1 << (8 * size)) - 1,
           mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)]
buffers[-1].write(b"\x03" * size)
# found by references alone, and large themselves: their heads lie in memory like that of the buffers
only = (Bytes(b"\x05" * size),)
held = {i: one for i, one in enumerate(objects)}
many = objects * 50
if sys.argv[2] == "slots":
    # of the table two thirds are empty; a slot without a key may have any hash (Objects/setobject.c, setentry)
    sparse = set(range(700000))
    place = id(sparse) + object.__basicsize__ + 3 * 8
    slots = ctypes.cast(ctypes.c_void_p.from_address(place).value, ctypes.POINTER(ctypes.c_int64))
    length = ctypes.c_int64.from_address(place - 8).value + 1
    for i in range(700000, length):
        if not slots[2 * i]:
            slots[2 * i + 1] = 1
gc.collect()
os.write(1, (json.dumps({"ready": True, "Plain": len(objects), "Bytes": len(only), "size": size}) + "\n").encode())
if sys.argv[2] != "busy":
    os.read(0, 1)
    sys.exit()
rounds = 0
while not select.select([0], [], [], 0)[0]:
    rounds += 1
    buffers[0][rounds * 513 % len(buffers[0])] = rounds
    if rounds % 50 == 0:
        kind = rounds // 50 % 2
        buffers[kind] = None
        made = [Plain(i) for i in range(2000)] * 50  # where the buffer was, maybe
        buffers[kind] = bytearray(b"x") * size if kind else array.array("d", [rounds]) * (size // 8)
        made = None
