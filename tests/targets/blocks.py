# What sys.getallocatedblocks() says while this process waits, on its first line; then it waits for standard input to end.
#
# The number is taken when everything that will be there while waiting is there: the int and the text it is printed as replace others as
# large. What os.read(0, 1) makes before it waits, the bytes object it reads into, is one block more; from 3.15 on it reads into a
# PyBytesWriter out of a free list, and there is none.
import os
import sys

keep = [object() for i in range(1000)], ["x" * 1000 + str(i) for i in range(500)], [{i: [i]} for i in range(1000)], [
    b"y" * (100 * i) for i in range(200)]


def tell(write=os.write, read=os.read, blocks=sys.getallocatedblocks):
    n = line = None
    for i in range(9):
        n = blocks()
        line = b'{"ready": true, "blocks": %d}\n' % n
    i = None
    n = blocks()  # outside the loop, whose iterator is a block, too
    line = b'{"ready": true, "blocks": %d}\n' % n
    write(1, line)
    read(0, 1)


tell()
