"""Objects to watch: holds one (`lost`), loses references to it, lets objects die and their places be used again, as it is told."""
import ctypes
import json
import sys


class Watched:
    pass


class Other:
    pass


class Made:
    pass


def main():
    lost, mortal = Watched(), Watched()
    parts = [Watched() for _ in range(3)]
    held, made = [], []
    print(json.dumps({"ready": True, "lost": hex(id(lost)), "mortal": hex(id(mortal)), "part": hex(id(parts[1])),
                      "type": hex(id(Watched))}), flush=True)
    for line in sys.stdin:
        command, _, number = line.strip().partition(" ")
        answer = {"command": command}
        if command == "lose":
            for _ in range(int(number)):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
        elif command == "hold":
            held.extend([lost] * int(number))
        elif command == "drop":
            mortal = None
        elif command == "reuse":
            # the place of one that dies is the first to be given out again
            place = id(parts[1])
            parts[1] = None
            others = [Other()]
            while id(others[-1]) != place and len(others) < 10000:
                others.append(Other())
            answer["reused"] = id(others[-1]) == place
            held.append(others)
        elif command == "make":
            made.extend(Made() for _ in range(int(number)))
        elif command == "unmake":
            del made[-int(number):]
        answer["refs"] = sys.getrefcount(lost) - 1
        print(json.dumps(answer), flush=True)


main()
