"""Large buffers of numbers and of text between objects: memory that holds no object, and memory that seems to hold none.

	barren.py MEGABYTES still|busy|zeros
MEGABYTES of each kind of buffer. Busy: the buffers are written to, freed and made again, and objects come and go. Zeros: there is a list of empty items, whose
pages look like those of a buffer.
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
buffers = [array.array("d", [1.5]) * (size // 8), bytearray(b"x") * size, b"\x07" * size, "y" * size, 1 << (8 * size),
           mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)]
buffers[-1].write(b"\x03" * size)
# found by references alone, and large themselves: their heads lie in memory like that of the buffers
only = (Bytes(b"\x05" * size),)
held = {i: one for i, one in enumerate(objects)}
many = objects * 50
if sys.argv[2] == "zeros":
    new = ctypes.pythonapi.PyList_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_ssize_t]
    empty = new(size // 8)
    items = ctypes.cast(id(empty) + list.__basicsize__ - 16, ctypes.POINTER(ctypes.c_void_p))[0]
    ctypes.memset(items, 0, size)
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
