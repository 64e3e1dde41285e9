"""Makes the mistakes of leaky.c on command, and tells what was lost: {"lost": {address: references}}; negative: a deficit.

leaky.py FILE-OF-leaky.so; a command is "MISTAKE COUNT", or "types COUNT": that many fresh objects of each of twelve types, each with one
lost reference.
"""
import datetime
import importlib.machinery
import importlib.util
import json
import sys

loader = importlib.machinery.ExtensionFileLoader("leaky", sys.argv[1])
leaky = importlib.util.module_from_spec(importlib.util.spec_from_loader("leaky", loader))
loader.exec_module(leaky)


class Item:
    def __init__(self):
        self.words = ["some", "words"]


class Slotted:
    __slots__ = ("a",)


class Failure(Exception):
    pass


class Holder:
    pass


KEPT = []  # what the process goes on using
MADE = []  # addresses only: what make() made since it was emptied


def make():
    item = Item()
    MADE.append(id(item))
    return item


def new_failure(self, *args):
    MADE.append(id(self))


Failure.__init__ = new_failure


def lost(n):
    """What `make` made has lost n references each."""
    return {str(address): n for address in MADE}


def iter_kept(n):
    leaky.iter_kept(make() for _ in range(n))
    return lost(1)


def dict_value_kept(n):
    # as large as it gets: one that grows leaves its values in freed memory, and who gets that next, and doesn't fill it, seems to hold them
    table = dict.fromkeys(range(n))
    KEPT.append(table)
    for i in range(n):
        leaky.dict_value_kept(table, i, make)
    return lost(1)


def build_value_o(n):
    for _ in range(n):
        KEPT.append(leaky.build_value_o(make))
    return lost(1)


def list_item_counted(n):
    items = [None] * n
    KEPT.append(items)
    for i in range(n):
        leaky.list_item_counted(items, i, make)
    return lost(1)


def sequence_kept(n):
    items = tuple(make() for _ in range(n))
    KEPT.append(items)
    for _ in range(3):
        leaky.sequence_kept(items)
    return lost(3)


def error_dropped(n):
    for _ in range(n):
        leaky.error_dropped(Failure)
    return lost(1)


def attribute_kept(n):
    holder = Holder()
    holder.attribute = make()
    KEPT.append(holder)
    for _ in range(n):
        leaky.attribute_kept(holder)
    return lost(n)


def borrowed_released(n):
    for _ in range(n):
        item = make()
        KEPT.append([item, item, item])
        leaky.borrowed_released(KEPT[-1])
        del item
    return lost(-1)


def careless_type(n):
    for _ in range(n):
        leaky.Careless()
    return {str(id(leaky.Careless)): n}


def registered(n):
    for _ in range(min(n, 60)):
        leaky.registered(make())
    return {}


def chained(n):
    for _ in range(n):
        leaky.chained(make())
    return {}


def freed_memory(n):
    """The addresses still lie in freed memory, and must explain nothing."""
    items = [make() for _ in range(n)]
    for item in items:
        leaky.chained(item)
    leaky.unchained()
    for item in items:
        leaky.counted(item)
    KEPT.append(items)
    return lost(1)


def types(n):
    makers = [lambda i: [i], lambda i: {i: i}, lambda i: "lost %d" % i, lambda i: Item(), lambda i: Slotted(),
              lambda i: i * 1.1 + 0.01, lambda i: b"lost %d" % i, lambda i: (i, str(i)), lambda i: 10 ** 12 + i,
              lambda i: {i, i + 1}, lambda i: datetime.date.fromordinal(700000 + i), lambda i: eval("lambda: %d" % i)]
    found = {}
    for maker in makers:
        for i in range(n):
            value = maker(i)
            leaky.counted(value)
            found[str(id(value))] = 1
            del value
    return found


def main():
    # what the collector would untrack or free at some later moment is settled before
    import gc
    gc.collect()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        name, count = line.split()
        del MADE[:]
        answer = {"lost": globals()[name](int(count))}
        leaky.scrub()
        print(json.dumps(answer), flush=True)


main()
