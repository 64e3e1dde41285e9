"""Keeps `count` more objects of a class every `period` seconds, and is idle in between; for many at a time. Commands: "fork" (a child that
does the same, without exec; says its pid), "exec" (begin anew), "spin" (never idle again), "quit"."""
import json
import os
import select
import sys
import time


class Kept:
    pass


def main():
    period, count = float(sys.argv[1]), int(sys.argv[2])
    kept = []
    print(json.dumps({"ready": True}), flush=True)
    due = time.monotonic() + period
    while True:
        if select.select([sys.stdin], [], [], max(due - time.monotonic(), 0))[0]:
            command = sys.stdin.readline().strip()
            if command in ("quit", ""):
                return
            if command == "exec":
                os.execv(sys.executable, [sys.executable] + sys.argv)
            if command == "spin":
                while True:
                    kept[-1:] = [Kept()]
            if command == "fork":
                pid = os.fork()
                if pid:
                    print(json.dumps({"pid": pid}), flush=True)
                else:
                    sys.stdin = open(os.devnull)  # never ready: select() is given nothing to wait for
                    while True:
                        kept.extend(Kept() for _ in range(count))
                        time.sleep(period)
        if time.monotonic() >= due:
            kept.extend(Kept() for _ in range(count))
            due += period


main()
