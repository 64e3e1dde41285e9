# A large heap and a heart beat: a counter in a shared file that moves as long as this process runs.
#
#   beat.py FILE OBJECTS
import mmap
import os
import struct
import sys

with open(sys.argv[1], "r+b") as file:
    beat = mmap.mmap(file.fileno(), 4096)
keep = [[i] for i in range(int(sys.argv[2]))]
os.write(1, b'{"ready": true}\n')
count = 0
while True:
    count += 1
    beat[0:8] = struct.pack("<Q", count)
