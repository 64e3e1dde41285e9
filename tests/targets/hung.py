"""A target that hangs, in the way its argument names. It says "ready" and what a correct diagnosis says once everybody waits."""
import asyncio
import ctypes
import json
import os
import queue
import sys
import threading
import time

GO = threading.Barrier(2)


def wait(n, call=202, pid=None):
    """Return when n threads of the process are in this system call, as who started us sees (here there may be no /proc)."""
    print(json.dumps({"wait": n, "call": call, "pid": pid or os.getpid()}), flush=True)
    sys.stdin.readline()


def say(**truth):
    print(json.dumps(dict(truth, ready=True)), flush=True)


def line(text):
    """The number of the only line of this file that has this comment."""
    with open(os.path.abspath(__file__)) as source:
        return [i for i, l in enumerate(source, 1) if l.rstrip().endswith("# " + text)][0]


def start(function, name):
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread


class Two:
    def __init__(self, kind):
        self.a, self.b = kind(), kind()

    def first(self):
        with self.a:  # takes a
            GO.wait()
            try:
                with self.b:  # wants b
                    pass
            finally:
                pass

    def second(self):
        with open(os.devnull) as other:
            with self.b:  # takes b
                GO.wait()
                for _ in range(3):
                    with self.a:  # wants a
                        pass


def hog():
    while True:
        pass


def locks(kind):
    two = Two(kind)
    start(two.first, "first")
    start(two.second, "second")
    reading, writing = os.pipe()
    start(lambda: os.read(reading, 1), "reader")
    wait(2)
    start(hog, "hog")
    child = os.fork()
    if not child:
        os.read(reading, 1)
    say(child=child, first=line("takes a"), first_wants=line("wants b"), second=line("takes b"), second_wants=line("wants a"))
    with two.a:
        pass


def join():
    threads = []
    def one():
        GO.wait()
        threads[1].join()
    def two():
        GO.wait()
        threads[0].join()
    made = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in (one, two)]
    threads.extend(made)
    for thread in made:
        thread.start()
    wait(2)
    say()
    sys.stdin.readline()


class Box:
    def __init__(self):
        self.jobs = queue.Queue(2)
        self.done = threading.Event()
        self.slots = threading.Semaphore(0)
        self.changed = threading.Condition()

    def fill(self):
        for i in range(9):
            self.jobs.put(i)

    def until_done(self):
        self.done.wait()

    def slot(self):
        with self.slots:
            pass

    def change(self):
        with self.changed:
            self.changed.wait()

    def limited(self):
        self.done.wait(3600)


class Lost:
    pass


def lose(n):
    """n objects that nothing refers to any more, with a reference each."""
    for _ in range(n):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(Lost()))


def events():
    box = Box()
    if "lost" in sys.argv[2:]:
        lose(7)
    for name in ("fill", "until_done", "slot", "change", "limited"):
        start(getattr(box, name), name)
    start(lambda: time.sleep(3600), "sleep")
    wait(5)
    say()
    sys.stdin.readline()


class Pipeline:
    """One puts into a queue while it has the lock that the other one needs to take from it."""
    def __init__(self):
        self.jobs, self.lock = queue.Queue(2), threading.Lock()

    def produce(self):
        with self.lock:  # takes the lock
            GO.wait()
            for i in range(9):
                self.jobs.put(i)  # wants room

    def consume(self):
        GO.wait()
        with self.lock:  # wants the lock
            self.jobs.get()


def full(reader):
    pipeline = Pipeline()
    producer = start(pipeline.produce, "producer")
    start(pipeline.consume, "consumer")
    wait(2)
    say(takes=line("takes the lock"), room=line("wants room"), wants=line("wants the lock"))
    if reader:  # somebody who could still come and take
        sys.stdin.readline()
    producer.join()


def alone():
    jobs = queue.Queue(1)
    say(room=line("wants room alone"))
    jobs.put(1)
    jobs.put(2)  # wants room alone


def fork():
    lock = threading.Lock()
    def holder():
        with lock:
            GO.wait()
            GO.wait()
    start(holder, "holder")
    GO.wait()
    child = os.fork()
    if not child:
        with lock:
            pass
    wait(1, pid=child)
    say(child=child)
    sys.stdin.readline()


def imports():
    directory = sys.argv[2]
    with open(os.path.join(directory, "slow_module.py"), "w") as text:
        text.write("import builtins\nbuiltins.importing.set()\nbuiltins.hold.acquire()\n")
    sys.path.insert(0, directory)
    import builtins
    builtins.importing = threading.Event()
    builtins.hold = threading.Lock()
    builtins.hold.acquire()
    def importer():
        import slow_module
    start(importer, "one")
    builtins.importing.wait()
    start(importer, "two")
    wait(2)
    say()
    sys.stdin.readline()


def files():
    reading, writing = os.pipe()
    stream = open(reading, "rb")
    start(lambda: stream.read(1), "owner")
    wait(2, call=0)  # the other one is this one, asking
    start(lambda: stream.read(1), "waiter")
    wait(1)
    say()
    sys.stdin.readline()


async def task_one(tasks):
    await asyncio.sleep(0)
    await tasks[1]  # one awaits two


async def task_two(tasks):
    await asyncio.sleep(0)
    await inner(tasks)


async def inner(tasks):
    await tasks[0]  # two awaits one


async def sleeper():
    await asyncio.sleep(3600)


def tasks():
    made = []
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made += [loop.create_task(task_one(made)), loop.create_task(task_two(made)), loop.create_task(sleeper())]
    loop.call_later(0.05, lambda: say(one=line("one awaits two"), two=line("two awaits one")))
    loop.run_until_complete(made[0])


{"locks": lambda: locks(threading.Lock), "rlocks": lambda: locks(threading.RLock), "join": join, "events": events, "fork": fork,
 "full": lambda: full(False), "full-but": lambda: full(True), "alone": alone,
 "imports": imports, "files": files, "tasks": tasks}[sys.argv[1]]()
