#!/usr/bin/env python3
"""A picture of the pause against the size of the heap, from what price.py --json wrote.

	picture.py FIGURES.json > docs/pause.svg
"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 70, 30, 200, 60
SERIES = (("stopped to be copied", "#d62728", lambda row: row["pause"] if row["asked"] == "default" and row["load"] == "allocating" else None),
          ("--precopy", "#ff7f0e", lambda row: row["pause"] if row["asked"] == "precopy" and row["load"] == "allocating" else None),
          ("idle: never stopped", "#2ca02c", lambda row: row["pause"] if row["load"] == "idle" else None),
          ("plain copy, two threads", "#7f7f7f", lambda row: row["copy"] if row["asked"] == "default" and row["load"] == "allocating" else None),
          ("Counter(map(type, gc.get_objects()))", "#1f77b4", lambda row: row["counter"] if row["load"] == "idle" else None))
LOWEST, HIGHEST = 0.1, 1000.0  # ms


def main():
    figures = json.load(open(sys.argv[1]))
    rows = [row for row in figures["rows"] if row["kind"] == "mixed" and row["age"] == "fresh"]
    small, large = min(row["rss"] for row in rows) / 1.3, max(row["rss"] for row in rows) * 1.3

    def x(megabytes):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(megabytes / small) / math.log(large / small)

    def y(milliseconds):
        clipped = min(max(milliseconds, LOWEST), HIGHEST)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(clipped / LOWEST) / math.log(HIGHEST / LOWEST)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="%d" y="18" font-size="14">How long the process stands still, by the size of its heap</text>' % LEFT]
    tick = LOWEST
    while tick <= HIGHEST:
        out.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (LEFT, y(tick), WIDTH - RIGHT, y(tick)))
        out.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (LEFT - 6, y(tick) + 4, "0" if tick == LOWEST else "%g ms" % round(tick, 6)))
        tick *= 10
    for size in sorted({round(row["rss"]) for row in rows if row["load"] == "idle"}):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d MB</text>' % (x(size), HEIGHT - BOTTOM + 18, size))
    for number, (name, colour, value) in enumerate(SERIES):
        points = sorted((row["rss"], value(row)) for row in rows if value(row) is not None)
        if not points:
            continue
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' %
                   (colour, " ".join("%.1f,%.1f" % (x(at), y(what)) for at, what in points)))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (x(at), y(what), colour) for at, what in points]
        out.append('<text x="%d" y="%d" fill="%s">%s</text>' % (WIDTH - RIGHT + 8, TOP + 20 + 22 * number, colour, name))
    out.append('<text x="%d" y="%d" fill="#555">%s</text></svg>' % (LEFT, HEIGHT - 12, figures["facts"]))
    print("\n".join(out))


main()
