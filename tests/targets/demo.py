"""A small web shop that leaks: every session stays in a list that nobody empties. For `make demo`.

It says "ready" on standard output once it works, and ends by itself after a quarter of an hour.
"""
import ctypes
import random
import sys
import time

PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


class Session:
    """The leak: one of these a request, kept for ever."""

    __slots__ = ("user", "page", "cart", "language", "country", "referer")

    def __init__(self, number):
        self.user = number % 200
        self.page = number % 100
        self.cart = None
        self.language = "en"
        self.country = "NZ"
        self.referer = None


class Request:
    """No leak: a few hundred at a time, come and go."""

    def __init__(self, number):
        self.number = number
        self.headers = {"host": "shop.example", "id": str(number)}


SESSIONS = []


def serve(seconds):
    requests = []
    number = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            number += 1
            requests.append(Request(number))
            SESSIONS.append(Session(number))
        del requests[: random.randrange(len(requests) + 1)]
        time.sleep(0.02)


def main():
    # kernel.yama.ptrace_scope = 1 lets only parents read a process; a demo may be read by its neighbours
    try:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)
    except (OSError, AttributeError):
        pass
    cache = [{"page": i, "html": "<p>%d</p>" % i} for i in range(20000)]
    print("ready", flush=True)
    serve(float(sys.argv[1]) if len(sys.argv) > 1 else 900.0)
    return len(cache)


if __name__ == "__main__":
    main()
