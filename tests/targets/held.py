# Large objects that no other object holds: only locals, arguments and value stacks of running functions do; and a list in the middle of
# being sorted. Prints {"ready": true} and waits in a read. "hold" makes them, prints {name: bytes} of what there is more and waits while
# they are held; "sort" prints {} and waits in the middle of list.sort(). The next line lets go, which prints {"released": true}.
import json
import os
import sys


def wait(held=None):
    return os.read(0, 64)


def sizes(**objects):
    os.write(1, json.dumps({name: sum(map(sys.getsizeof, these)) for name, these in objects.items()}).encode() + b"\n")


def hold(size):
    text = "t" * size
    data = b"d" * (2 * size)
    sizes(str=[text], bytes=[data, b"e" * (3 * size)], int=[1 << 8 * size])
    # an argument, and a word of this function's value stack
    return (1 << 8 * size, wait(b"e" * (3 * size)))


def sort(size):
    items = list(range(size))
    os.write(1, b"{}\n")
    items.sort(key=lambda item: item == size // 2 and wait())


os.write(1, b'{"ready": true}\n')
while True:
    command = os.read(0, 64)
    if command == b"hold\n":
        hold(1000000)
    elif command == b"sort\n":
        sort(100)
    else:
        break
    os.write(1, b'{"released": true}\n')
