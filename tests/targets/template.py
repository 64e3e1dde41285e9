"""Holds addresses that look like those of ints: CPython's template of its first state, among the constants of its file (3.11+, Python/pylifecycle.c).

Says how many there are. At a line on standard input numbers are made that are their addresses, and lead nowhere else.
"""
import gc
import itertools
import json
import os
import struct


def say(**answer):
    os.write(1, (json.dumps(answer) + "\n").encode())


def look():
    """Addresses of what looks like an int where nobody may write to."""
    found, sought = [], struct.pack("Q", id(int))
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            words = line.split()
            if len(words) < 6 or not words[1].startswith("r--p") or words[4] == "0":
                continue
            start, end = (int(word, 16) for word in words[0].split("-"))
            memory.seek(start)
            data = memory.read(end - start)
            at = data.find(sought)
            while at >= 0:
                if at % 8 == 0 and at >= 8 and 0 < struct.unpack_from("Q", data, at - 8)[0] < 1 << 32:
                    found.append(start + at - 8)
                at = data.find(sought, at + 8)
    return found[:200]


held, addresses = [], look()
gc.collect()
say(ready=True, found=len(addresses))
os.read(0, 100)
for address in addresses:
    held.append(itertools.count(address))
say(held=len(held))
os.read(0, 100)
