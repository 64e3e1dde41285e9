#!/usr/bin/env python3
"""What `leaks` costs, by how many objects there are, a thousand of which have a reference that nobody holds: the target's pause against that
of a plain full copy (`histo`, which copies the same), our time after the copy (asked for: under 3 s for a million), our memory against the
bytes copied (asked for: at most 3 times, for a million), and how many of the lost references were found. Medians. The target is idle: then it may not be stopped at all.
Prints a table in markdown. Usage: leaks.py [--python PYTHON] [--rounds N] [--objects N,N,...]
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REFTOP = os.environ.get("REFTOP", str(HERE.parent.parent / "build" / "reftop"))


def run(*arguments):
    """The document, and what wait4 says the program used."""
    process = subprocess.Popen([REFTOP, *arguments], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.WEXITSTATUS(status)
    if process.returncode:
        sys.exit("reftop %s ended with %d" % (" ".join(arguments), process.returncode))
    return json.loads(output), usage


def measure(python, objects, rounds):
    target = subprocess.Popen([python, str(HERE.parent / "targets/bench.py"), str(objects), "lost"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, universal_newlines=True)
    rows = []
    try:
        assert target.stdout.readline() == "ready\n"
        for _ in range(rounds):
            document, usage = run("leaks", "-p", str(target.pid), "--json", "-i", "10ms")
            plain, _ = run("histo", "-p", str(target.pid), "--json")
            snapshot = document["snapshot"]
            rows.append({
                "objects": document["totals"]["objects"],
                "pause": snapshot["pause_us"] / 1e3,
                "plain": plain["snapshot"]["pause_us"] / 1e3,
                "walk": snapshot["walk_us"] / 1e6,
                "copied": snapshot["bytes_copied"] / 2 ** 20,
                "memory": usage.ru_maxrss * 1024 / snapshot["bytes_copied"],
                "found": sum(t["unexplained"] for t in document["types"] if t["qualname"] == "Node"),
            })
    finally:
        target.kill()
        target.wait()
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", default="30000,300000,1000000")
    arguments = parser.parse_args()
    print("| objects | copied MiB | pause ms | of a histo ms | after the copy s | memory : copied | found of 1000 |")
    print("|---|---|---|---|---|---|---|")
    for objects in map(int, arguments.objects.split(",")):
        row = measure(arguments.python, objects, arguments.rounds)
        print("| %(objects)d | %(copied).0f | %(pause).1f | %(plain).1f | %(walk).2f | %(memory).2f | %(found)d |" % row, flush=True)


main()
