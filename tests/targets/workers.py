"""A parent and `count` workers, forked without exec; the first worker leaks objects of a class at `rate` a second, all others hold 1000;
with "busy" the last one computes, the others are idle most of the time. Says the workers' pids. Commands: "more" (another worker that doesn't leak; its pid), "end PID" (that worker ends; its pid), "quit"."""
import gc
import json
import os
import select
import signal
import sys
import time


class Leaky:
    pass


def work(rate, busy):
    kept = [Leaky() for _ in range(1000)]
    while busy and os.getppid() == PARENT:
        pass
    began = time.monotonic()
    while os.getppid() == PARENT:
        due = 1000 + int((time.monotonic() - began) * rate)
        kept.extend(Leaky() for _ in range(due - len(kept)))
        select.select([], [], [], 0.05)
    os._exit(0)


def start(rate, busy=False):
    pid = os.fork()
    if not pid:
        work(rate, busy)
    return pid


def main():
    global PARENT
    PARENT = os.getpid()
    count, rate = int(sys.argv[1]), int(sys.argv[2])
    gc.collect()  # what is left of the start would go when the first one's objects are many
    workers = [start(rate if i == 0 else 0, "busy" in sys.argv and i == count - 1) for i in range(count)]
    print(json.dumps({"ready": True, "workers": workers}), flush=True)
    while True:
        words = sys.stdin.readline().split()
        if not words or words[0] == "quit":
            break
        if words[0] == "more":
            workers.append(start(0))
            print(json.dumps(workers[-1]), flush=True)
        if words[0] == "end":
            os.kill(int(words[1]), signal.SIGKILL)
            os.waitpid(int(words[1]), 0)
            workers.remove(int(words[1]))
            print(words[1], flush=True)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


main()
