"""Takes the CPU from whoever else is to run on it, and lets them have it for moments: hog.py CPU SECONDS.

With a real-time priority; says "ready", or "refused" where that isn't permitted.
"""
import os
import random
import sys
import time

MOMENTS = (0.00005, 0.0001, 0.0002, 0.0004, 0.001)

os.sched_setaffinity(0, {int(sys.argv[1])})
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
except PermissionError:
    sys.exit(print("refused", flush=True))
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    time.sleep(random.choice(MOMENTS))
