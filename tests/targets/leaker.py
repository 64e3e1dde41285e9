"""Leaks one class at a steady rate while another comes and goes; for the live view. Ends with status 3 when told "quit"."""
import json
import select
import sys
import time


class Leaky:
    pass


class Cached:
    pass


def main():
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    kept, cache = [], []
    print(json.dumps({"ready": True}), flush=True)
    began = time.monotonic()
    while True:
        due = int((time.monotonic() - began) * rate)
        kept.extend(Leaky() for _ in range(due - len(kept)))
        cache.extend(Cached() for _ in range(5))
        if len(cache) > 100:
            cache.clear()
        if select.select([sys.stdin], [], [], 0.02)[0]:
            if sys.stdin.readline().strip() in ("quit", ""):
                sys.exit(3)


main()
