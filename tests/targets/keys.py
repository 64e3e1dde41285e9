"""Six threads in the middle of sorted(): the keys so far are ints that nothing refers to but an array on the C stack. Another one spins: a
process that rests isn't stopped, and only of a stopped one is known how far its stacks reach."""
import mmap
import sys
import threading

COUNT = 60  # up to 127 keys lie there (CPython Objects/listobject.c, MERGESTATE_TEMP_SIZE)
arrived, never = threading.Semaphore(0), threading.Event()


def key(number):
    if number == COUNT - 1:
        arrived.release()
        never.wait()
    return -1000 * (number + 1)


def spin():
    while True:
        pass


# what each thread maps for itself gets a place of its own, or it would come between the stacks
gap = mmap.mmap(-1, 512 << 10)
marker = mmap.mmap(-1, mmap.PAGESIZE)
gap.close()
threading.stack_size(1 << 20)
threads = [threading.Thread(target=lambda: sorted(range(COUNT), key=key), daemon=True) for _ in range(6)]
for thread in threads:
    thread.start()
for _ in threads:
    arrived.acquire()
threading.Thread(target=spin, daemon=True).start()
sys.stdout.write('{"ready": true}\n')
sys.stdout.flush()
sys.stdin.read()
