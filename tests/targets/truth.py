# The truth about this process, as it is while it waits for its next command: by type the number of gc.get_objects(), the sum of
# sys.getsizeof, the sum and maximum of the reference counts; the collector's state; the blocks of the allocator.
#
# serve() prints two lines of JSON and waits for a line on standard input: "truth" for another truth, else it returns.
# Runs unmodified on Python 3.6 to 3.15.
#
# How the truth stays true. All of it happens in one function, so that the frames are the same while we measure and while we
# wait. refs come from list(map(sys.getrefcount, objects)): C all the way, so each object has exactly two references more
# than without us, the list `objects` and the argument. Then everything made is dropped, and the next command is read. The truth is
# taken again and again until two in a row agree to the byte: then it's no accident, and caches are warm.
#
# What differs all the same is named in "costs": the builtin os.read has one reference more while it waits in the caller's
# value stack (not where the compiler borrows, 3.14+), and up to 3.6 its arguments are a tuple; sys.getrefcount has one more
# while it's measured, held by the map.
import gc
import json
import os
import sys


def name_of(kind, what):
    try:
        value = type.__dict__[what].__get__(kind)
    except AttributeError:
        return None
    return value if isinstance(value, str) else None


def serve(frozen=False):
    getrefcount, getsizeof, get_objects, get_count, read, write = (
        sys.getrefcount, sys.getsizeof, gc.get_objects, gc.get_count, os.read, os.write)
    freeze, unfreeze = getattr(gc, "freeze", None), getattr(gc, "unfreeze", None)
    # what the product is told to expect beside the truth: [type, field, how much more it sees, why]
    try:
        import dis
        borrows = "LOAD_FAST_BORROW" in dis.opmap
        del dis
    except ImportError:
        borrows = False
    reads = 0 if borrows else 1
    arguments = getsizeof((0, 4096)) if sys.version_info < (3, 7) else 0
    objects = refs = sizes = kinds = rows = listed = stats = line = None
    i = reference = key = entry = kind = None
    command = b"truth"
    before = None
    first = True
    while True:
        if command != b"truth":  # "quit", or the end of input
            return
        while True:
            gc.collect()
            if unfreeze:
                unfreeze()
            objects = get_objects()
            refs = list(map(getrefcount, objects))
            sizes = list(map(getsizeof, objects))
            kinds = list(map(type, objects))
            rows = {}
            for i in range(len(objects)):
                kind = kinds[i]
                entry = rows.get(id(kind))
                if entry is None:
                    entry = rows[id(kind)] = [hex(id(kind)), name_of(kind, "__module__"), name_of(kind, "__qualname__"),
                                              0, 0, 0, 0, 0]
                entry[3] += 1
                entry[4] += sizes[i]
                reference = refs[i]
                if reference >= 1 << 31:
                    entry[7] += 1
                else:
                    reference -= 2
                    if objects[i] is getrefcount:
                        reference -= 1
                    elif objects[i] is read:
                        reference += reads
                    entry[5] += reference
                    if reference > entry[6]:
                        entry[6] = reference
            if arguments:  # what os.read will be called with
                entry = rows[id(tuple)]
                entry[3], entry[4], entry[5] = entry[3] + 1, entry[4] + arguments, entry[5] + 1
            rows = sorted(rows.values())
            objects = refs = sizes = kinds = entry = kind = None
            listed = None
            if frozen:
                freeze()
                kinds = list(map(id, map(type, get_objects())))  # nothing of ours is listed while it's asked
                listed = {}
                for i in map(hex, kinds):
                    listed[i] = listed.get(i, 0) + 1
                kinds = None
            line = json.dumps({"rows": rows, "listed": listed}, sort_keys=True)
            rows = listed = None
            if line == before:
                break
            before = line
        stats = json.dumps({
            "ready": True, "pid": os.getpid(), "enabled": gc.isenabled(), "threshold": gc.get_threshold(),
            "collections": [s["collections"] for s in gc.get_stats()],
            "frozen": gc.get_freeze_count() if freeze else 0,
            "costs": {"os.read": "one reference from the value stack while it waits" if reads else None,
                      "tuple": "the arguments of os.read while it waits" if arguments else None,
                      "sys.getrefcount": "one reference less than measured: the map that called it"},
        })[:-1] + ", "
        line = (stats + line[1:]).encode()
        while line:
            line = line[write(1, line):]
        stats = None
        # the collector's counters, until they don't move: the last line of a truth
        for i in range(4):
            line = ("[%d, %d, %d]" % get_count()).encode()
        line = b"\n" + line + b"\n"
        write(1, line)
        line = None
        command = read(0, 4096).strip()
        before = None
