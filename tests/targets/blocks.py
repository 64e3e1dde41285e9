# What sys.getallocatedblocks() says while this process waits, on its first line; then it waits for standard input to end.
#
# The number is taken when everything that will be there while waiting is there: the text it is printed as is made before and replaced
# by one as long, the int replaces one as large. What os.read(0, 1) makes before it waits, the bytes object it reads into, is the only
# block more (one of fewer than 512 bytes, so it comes from a pool).
import os
import sys

keep = [object() for i in range(1000)], ["x" * 1000 + str(i) for i in range(500)], [{i: [i]} for i in range(1000)], [
    b"y" * (100 * i) for i in range(200)]


def tell(write=os.write, read=os.read, blocks=sys.getallocatedblocks):
    for i in range(5):
        n = blocks()
        line = b"[%09d, 1]\n" % n
    n = blocks()
    line = b"%d\n" % n
    for i in range(5):
        line = b"%d\n" % n
    n = blocks()
    line = b"%d\n" % n
    write(1, line)
    read(0, 1)


tell()
