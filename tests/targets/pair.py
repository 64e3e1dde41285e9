"""Sleeps, and wakes at random for a moment. Whenever it sleeps, two objects far apart in memory have as many references each.

	pair.py BALLAST_MEGABYTES
Ends at the end of standard input.
"""
import os
import random
import select
import sys


class Left(object):
    pass


class Right(object):
    pass


left = Left()
ballast = [bytes(500) for i in range(int(sys.argv[1]) * 2000)]
right = Right()
lefts, rights = [], []
dice = random.Random(2)
os.write(1, b'{"ready": true}\n')
while not select.select([0], [], [], dice.random() * 0.012)[0]:
    for _ in range(dice.randrange(1, 2000)):
        lefts.append(left)
        rights.append(right)
    if len(lefts) > 50000:
        del lefts[:], rights[:]
