# A parent that watches its child as waitpid(2) and SIGCHLD see it.
#
#   parent.py [busy]      the child computes ("busy") or sleeps
# Prints {"ready", "child"}. Command "report" prints what arrived: SIGCHLDs, and states waitid() would tell (stopped, continued, exited).
# Command "end" kills the child, and reports again: then there must be exactly one SIGCHLD.
import json
import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
child = os.fork()
if child == 0:
    if "busy" in sys.argv:
        number = 0
        while True:
            number = (number * 31 + 7) % 1000003
    while True:
        signal.pause()


def report():
    signals = 0
    while signal.sigtimedwait([signal.SIGCHLD], 0):
        signals += 1
    told = os.waitid(os.P_PID, child, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT)
    return {"sigchld": signals, "waitid": told and told.si_code}


def say(thing):
    os.write(1, (json.dumps(thing) + "\n").encode())


say({"ready": True, "child": child})
while True:
    command = os.read(0, 100).strip()
    if command == b"end":
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say(report())
    elif command == b"report":
        say(report())
    else:
        break
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
