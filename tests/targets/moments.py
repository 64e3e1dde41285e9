"""A target whose stack is looked at in a special moment, which its argument names. It tells the truth as a list of frames, innermost first.

The frames of the moment itself end in wait(), which blocks in read(2) of a pipe; what a test compares begins there.
"""
import json
import os
import signal
import sys
import threading

PIPE = os.pipe()


def frames(frame):
    found = []
    while frame:
        code = frame.f_code
        found.append([getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return found


def say(**truth):
    print(json.dumps(dict(truth, ready=True)), flush=True)


def line(text):
    """The number of the only line of this file that has this comment."""
    with open(os.path.abspath(__file__)) as source:
        return [i for i, l in enumerate(source, 1) if l.rstrip().endswith("# " + text)][0]


def wait():
    os.read(PIPE[0], 1)  # waits


def tell(ident):
    """Another thread says where the one is that waits, once the kernel says that it does."""
    def teller():
        print(json.dumps({"wait": 2, "call": 0, "pid": os.getpid()}), flush=True)  # in read(): that one and this one
        sys.stdin.readline()
        say(truth=frames(sys._current_frames()[ident]))
    thread = threading.Thread(target=teller, daemon=True)
    thread.start()
    return thread


def in_handler():
    """Of a signal."""
    def handler(number, frame):
        tell(threading.get_ident())
        wait()
    signal.signal(signal.SIGUSR1, handler)
    def interrupted():
        os.kill(os.getpid(), signal.SIGUSR1)
        for i in range(10):
            pass
    interrupted()


def in_import():
    sys.modules["moments"] = sys.modules["__main__"]
    import imported


def deep(n):
    if n:
        deep(n - 1)
    else:
        tell(threading.get_ident())
        wait()


def in_recursion():
    """10,000 deep."""
    sys.setrecursionlimit(20000)
    threading.stack_size(512 << 20)
    thread = threading.Thread(target=deep, args=(10000,))
    thread.start()
    thread.join()


def in_extension():
    """In C that neither calls Python nor lets the GIL go."""
    say(spins=line("in C"))
    sum(range(10 ** 15))  # in C


class Kept:
    pass


def last_words():
    sys.stdin.readline()
    os.abort()  # aborts


def aborts():
    """It leaves a core file."""
    kept = [Kept() for _ in range(1234)]
    say(line=line("aborts"), caller=line("its caller"))
    last_words()  # its caller
    return kept


def gil_hog():
    """Another thread has the lock and never gives it away."""
    import collections
    say()
    threading.Thread(target=lambda: collections.deque(iter(int, 1), maxlen=0), name="hog", daemon=True).start()
    sys.stdin.readline()


def without_state():
    """A thread that Python knows nothing of."""
    import ctypes
    library = ctypes.CDLL(None)
    ident = ctypes.c_ulong()
    library.pthread_create(ctypes.byref(ident), None, library.pause, None)
    tell(threading.get_ident())
    wait()


def at_exit():
    """In a function that was registered for the end, when no thread can be started any more."""
    import atexit
    ends = [["wait", os.path.abspath(__file__), line("waits")], ["at_exit.<locals>.last", os.path.abspath(__file__), line("the end")]]
    def last():
        say(truth=ends)
        wait()  # the end
    atexit.register(last)


class Last:
    def __del__(self, write=os.write, read=os.read, pipe=PIPE[0], ready=json.dumps({"ready": True, "last": line("in the last object")})):
        write(1, ready.encode() + b"\n")
        read(pipe, 1)  # in the last object


def in_finalization():
    """While the modules are being taken apart."""
    global LAST
    LAST = Last()


def after_exit():
    """When the interpreter is gone, and the process not yet."""
    import ctypes
    library = ctypes.CDLL(None)
    library.on_exit(library.pause, None)
    say()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
