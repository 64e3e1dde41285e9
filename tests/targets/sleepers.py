# A thread for each way to wait, in C without retry, beside one that spins so that every snapshot has to stop the process.
#
#   sleepers.py sleepers.so kind[:milliseconds]...
# Prints {"ready", "threads": {kind: tid}}; the kinds without milliseconds wait for the command "release". Then a line
# {"kind", "errno", "elapsed_ms"} for each, when it ends. tid comes from the C library: get_native_id() is 3.8+.
import ctypes
import json
import os
import sys
import threading
import time

library = ctypes.CDLL(sys.argv[1])
gettid = ctypes.CDLL(None).syscall
lock = threading.Lock()
started = threading.Semaphore(0)
tids = {}


def say(thing):
    with lock:
        os.write(1, (json.dumps(thing) + "\n").encode())


def body(what):
    kind, _, milliseconds = what.partition(":")
    tids[what] = gettid(186)
    started.release()
    begin = time.monotonic()
    if kind == "python_lock":
        held.acquire()
        result = 0
    elif kind == "python_sleep":
        time.sleep(int(milliseconds) / 1000.0)
        result = 0
    else:
        result = getattr(library, "wait_" + kind)(int(milliseconds or 0))
    say({"kind": what, "errno": result, "elapsed_ms": (time.monotonic() - begin) * 1000})


assert library.prepare() == 0
held = threading.Lock()
held.acquire()
threads = [threading.Thread(target=body, args=(what,)) for what in sys.argv[2:]]
for thread in threads:
    thread.start()
    started.acquire()
library.spin(1)
say({"ready": True, "threads": tids})
os.read(0, 100)
library.release()
held.release()
for thread in threads:
    thread.join()
library.spin(0)
library.cleanup()
say({"done": True})
os.read(0, 100)
