"""The list of processes and the sum of several, in the live view: what the screens look like to the letter is compared by
tests/unit/processes.c; here it is whether they tell the truth of real processes, and whether the keys lead where they say."""
import os
import re
import subprocess
import sys

import pytest

import harness
from daemon_harness import Daemon
from harness import reftop
from test_screen import settings, terminal  # noqa: F401 (a fixture)

COUNT = 4


@pytest.fixture
def workers(start, any_python):
    """A parent and four workers, the first of which leaks; target.workers are their pids."""
    target = start(any_python, "workers.py", COUNT, 2000)
    target.workers = target.ready()["workers"]
    return target


def dump(*args, width=200, height=50, **kwargs):
    result = reftop(*args, "--dump-screen", env=dict(os.environ, COLUMNS=str(width), LINES=str(height), LC_ALL="C.UTF-8"), **kwargs)
    assert result.code == 0, result
    return result.out


def line_of(screen, pid):
    found = [line for line in screen.splitlines() if re.match(r"\*? +%d " % pid, line)]
    assert len(found) == 1, (pid, screen)
    return found[0]


def number(text):
    return int(text.replace(",", ""))


def row(screen, name):
    """COUNT and ΔCOUNT of a type in the table."""
    found = re.search(r"^[▲ ]%s +([\d,]+) +([+-]?[\d,]+) " % re.escape(name), screen, re.M)
    assert found, (name, screen)
    return number(found.group(1)), number(found.group(2))


# ---- the list ----

def test_all_are_listed_as_a_tree(workers):
    """What `reftop ps` knows is there, children below their parents; without a daemon the memory's growth is told, and nothing is read."""
    screen = dump("--screen", "processes", "--no-daemon", "--iterations", "2")
    assert "WHY NOT" in screen or "can't be read" not in screen
    parent = line_of(screen, workers.pid)
    for pid in workers.workers:
        line = line_of(screen, pid)
        assert line.index("\\_") == parent.index("python3") or line.index("\\_") > parent.index("python3") - 2, screen
        rss = int(open("/proc/%d/statm" % pid).read().split()[1]) * 4096
        told = re.search(r" ([\d.]+)M ", line)
        assert told and abs(float(told.group(1)) * 2 ** 20 / rss - 1) < 0.2, (line, rss)
        assert re.search(r" 3\.\d+ ", line), line
    order = [int(l.split()[0]) for l in screen.splitlines() if l.split() and l.split()[0].isdigit()]
    at = order.index(workers.pid)
    assert order[at + 1:at + 1 + COUNT] == sorted(workers.workers), screen
    assert "OBJECTS" not in screen, "nobody counted objects"
    narrow = dump("--screen", "processes", "--no-daemon", "--iterations", "1", width=80, height=200)
    assert max(map(len, narrow.splitlines())) <= 80 and all(line_of(narrow, pid) for pid in workers.workers)


def test_those_that_cannot_be_read(workers):
    """Somebody else's process is listed with the reason, as `reftop ps` gives it."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    result = subprocess.run([harness.REFTOP, "--screen", "processes", "--no-daemon", "--dump-screen", "--iterations", "1"],
                            stdout=subprocess.PIPE, text=True, preexec_fn=harness.become, timeout=60,
                            env=dict(os.environ, COLUMNS="200", LINES="100", LC_ALL="C.UTF-8"))
    assert result.returncode == 0
    assert re.search(r"\d+ can't be read", result.stdout) and "WHY NOT" in result.stdout
    why = {p["pid"]: p["why"] for p in reftop("ps", "--json", preexec_fn=harness.become).json["processes"]}
    line = line_of(result.stdout, workers.pid)
    assert why[workers.pid]["name"][:8] in line, (why[workers.pid], line)


def test_with_a_daemon(workers, tmp_path):
    """The daemon's figures: objects of each that it watches, and what grows in which."""
    one = Daemon(tmp_path, "-p", workers.pid, "-s", "-i", "1")
    try:
        known = one.wait_samples([workers.pid, *workers.workers], 12)
        env = dict(os.environ, REFTOP_SOCKET=one.socket, COLUMNS="200", LINES="100", LC_ALL="C.UTF-8")
        screen = reftop("--screen", "processes", "--dump-screen", "--iterations", "2", env=env).out
        assert "daemon watches %d" % (COUNT + 1) in screen
        figures = r"[\d.]+[KM] +[+-]?[\d.]+[KM]? +([\d,]+) +([+-]?[\d,]+) "
        for pid in workers.workers[1:]:
            objects, rate = re.search(figures, line_of(screen, pid)).groups()
            assert number(objects) == known[pid]["objects"] and rate == "0", (line_of(screen, pid), known[pid])
        leaking = line_of(screen, workers.workers[0])
        assert re.search(r"Leaky \+(1,9\d\d|2,0\d\d|2,000)/s", leaking), leaking
        # so many a minute: the daemon's samples from before anybody looked at the list are in it, two looks would not say it
        rate = number(re.search(figures, leaking).group(2))
        assert abs(rate / 120000 - 1) < 0.1, leaking
        # and the sum takes its samples from there
        total = reftop("top", "-s", "-p", workers.pid, "--dump-screen", "--iterations", "3", env=env).out
        assert "sum of %d processes" % (COUNT + 1) in total
        assert row(total, "__main__.Leaky")[0] >= 1000 * COUNT
    finally:
        one.close()


# ---- sums ----

def test_sum_over_a_tree(workers):
    """The types table shows the sum over all of the tree: to the object, for those that stand still."""
    each = [harness.histo(pid) for pid in [workers.pid, *workers.workers[1:]]]
    screen = dump("top", "-s", "-p", workers.pid, "--no-daemon", "-i", "0.2", "--budget", "50%", "--iterations", "20")
    assert "sum of %d processes" % (COUNT + 1) in screen and "not read" not in screen
    leaking = harness.row(harness.histo(workers.workers[0]), "Leaky")["count"]
    count, change = row(screen, "__main__.Leaky")
    assert 1000 * COUNT < count <= 1000 * (COUNT - 1) + leaking
    assert 0 < change < leaking
    # a type that nobody makes more of: all five have as many as histo counts in them
    code = sum(harness.row(sample, "code", "builtins")["count"] for sample in each)
    first = harness.row(harness.histo(workers.workers[0]), "code", "builtins")["count"]
    assert row(screen, "code") == (code + first, 0)
    assert re.search(r"__main__\.Leaky: \+(1,[89]\d\d|2,[01]\d\d|2,000)/s steadily .*\(most in %d\)" % workers.workers[0], screen), screen
    assert re.search(r"__main__\.Leaky .* %d \+1?\d+[\d,.k]*" % workers.workers[0], screen)


def test_come_and_go(workers, terminal):  # noqa: F811
    """A child joins as it starts, another leaves as it ends; each with a word, and neither is growth."""
    view = terminal(width=120)
    view.command("%s top -s %d --no-daemon -i 0.2 --budget 50%%; echo STATUS=$?" % (harness.REFTOP, workers.pid))
    view.expect("sum of %d processes" % (COUNT + 1))
    view.expect(r"__main__\.Leaky: .*steadily")
    more = workers.ask("more")
    view.expect(r"%d joined \d+s ago" % more)
    screen = view.expect("sum of %d processes" % (COUNT + 2))
    count, change = row(screen, "__main__.Leaky")
    assert count - change <= 1000 * (COUNT + 1) + 1000 + count // 2
    view.type("Enter") if "▲__main__.Leaky" in screen else view.type("/", "L", "e", "a", "k", "y", "Enter", "Enter")
    view.expect(r"Types › __main__\.Leaky")
    rows = view.expect(r"^ +%d +1,000 " % more)
    assert re.search(r"^ +%d +[\d,]+ +\+[\d,]+" % workers.workers[0], rows, re.M), rows
    workers.ask("end %d" % more)
    view.expect(r"^ +%d .* ended \d+s ago" % more)
    # Enter opens the one that grows most, the first row; Esc leads back, step by step
    view.type("Home", "Enter")
    view.expect(r"^ %d " % workers.workers[0])
    view.expect("^[ ▲]TYPE.*COUNT|^ TYPE", absent="WORST IN")
    view.type("Escape")
    view.expect(r"Types › __main__\.Leaky")
    view.type("Escape")
    view.expect("WORST IN")
    workers.send("quit")
    view.expect(r"all ended \d+ s ago")
    view.expect(r"__main__\.Leaky grew \+[\d,]+/s steadily .* in process %d" % workers.workers[0])
    view.type("q")
    view.expect("STATUS=0")


def test_traced_member(start, any_python, terminal):  # noqa: F811
    """One that somebody else traces counts as what it last held, and that is said; then it is read again. It is busy: one that sleeps is
    read without a stop, whoever traces it."""
    workers = start(any_python, "workers.py", COUNT, 2000, "busy")
    workers.workers = workers.ready()["workers"]
    busy = workers.workers[-1]
    tracer = subprocess.Popen([sys.executable, "-c", TRACER, str(busy)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    try:
        view = terminal(width=120)
        view.command("%s top -s %d --no-daemon -i 0.2 --budget 50%%; echo STATUS=$?" % (harness.REFTOP, workers.pid))
        view.expect("sum of %d processes" % (COUNT + 1))
        tracer.stdin.write("attach\n")
        tracer.stdin.flush()
        assert tracer.stdout.readline() == "attached\n"
        screen = view.expect(r"%d not read \(.*%d.*\), counted as \d+s ago" % (busy, tracer.pid))
        assert "1 not read" in screen and row(screen, "__main__.Leaky")[0] > 1000 * COUNT, screen
        tracer.stdin.write("detach\n")
        tracer.stdin.flush()
        assert tracer.stdout.readline() == "detached\n"
        view.expect("sum of %d processes" % (COUNT + 1), absent="not read")
        view.type("q")
        view.expect("STATUS=0")
    finally:
        tracer.kill()
        tracer.wait()


TRACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
pid = int(sys.argv[1])
def ptrace(request):
    if libc.ptrace(request, pid, None, None) < 0:
        sys.exit("ptrace: %s" % os.strerror(ctypes.get_errno()))
sys.stdin.readline()
while libc.ptrace(0x4206, pid, None, None) < 0:  # SEIZE; whoever looks at it just now lets it go soon
    pass
print("attached", flush=True)
sys.stdin.readline()
ptrace(0x4207)  # INTERRUPT: only a stopped one can be let go
os.waitpid(pid, 0x40000000)
ptrace(17)  # DETACH
print("detached", flush=True)
sys.stdin.readline()
"""


# ---- keys ----

def test_keys_from_the_list(workers, terminal):  # noqa: F811
    """`reftop` alone: the list; Enter opens a process, Esc comes back; Space tags, S sums; t by number; the terminal is as it was."""
    view = terminal(width=100, height=30)
    before = settings(view)
    view.command("clear; %s --no-daemon; echo STATUS=$?" % harness.REFTOP)
    view.expect(r"\d+ Python processes")
    view.type("\\")
    view.type("-l", "workers.py %d 2000" % COUNT)
    view.type("Enter")
    view.expect('%d of \\d+ "workers' % (COUNT + 1))
    view.expect(r"^ +%d .*\\_ " % workers.workers[0])
    view.type("t")
    view.expect("by number", absent=r"\\_ ")
    view.type("t")
    view.expect(r"\\_ ")
    view.type("Home", "Enter")
    view.expect("^ %d python" % workers.pid)
    view.expect("^ TYPE")
    view.type("Tab", "Tab", "Tab")
    view.expect(r"\d+ Python processes")
    view.type("Escape")
    view.expect("^ TYPE")
    view.type("Escape")
    view.expect('%d of \\d+ "workers' % (COUNT + 1))
    view.type("Home", "Down", "Space", "Space")
    view.expect(r"^\* +%d " % workers.workers[1])
    view.type("S")
    view.expect("sum of 2 processes")
    view.expect("WORST IN")
    view.type("?")
    for _ in range(4):
        view.type("PgDn")
    view.expect("on processes: the sum over the tagged ones|WORST IN")
    view.type("Escape", "Escape")
    view.expect("2 tagged")
    view.type("U", "Home", "S")
    view.expect("sum of %d processes" % (COUNT + 1))
    for width, height in ((200, 50), (40, 10), (1, 1), (100, 30)):
        view.tmux("resize-window", "-x", str(width), "-y", str(height))
    view.expect("WORST IN")
    view.type("Escape")
    view.expect(r"\d+ Python processes")
    # a row by the mouse
    rows = view.expect(r"^ +%d " % workers.workers[2]).splitlines()
    y = next(i for i, line in enumerate(rows) if re.match(r" +%d " % workers.workers[2], line))
    view.tmux("send-keys", "-H", "1b", "5b", "4d", "20", "%02x" % (33 + 3), "%02x" % (33 + y))
    view.expect("^ %d: Enter shows" % workers.workers[2])
    view.type("Enter")
    view.expect("^ %d python" % workers.workers[2])
    view.type("q")
    view.expect("STATUS=0")
    assert settings(view) == before


# ---- a program and all that it starts ----

LEAKING = """
import os, sys, time
class Leaky: pass
def work(rate):
    kept, began = [], time.monotonic()
    while time.monotonic() - began < 7:
        due = int((time.monotonic() - began) * rate)
        kept.extend(Leaky() for _ in range(due - len(kept)))
        time.sleep(0.05)
    os._exit(0)
pids = []
for rate in (0, 2000, 0):
    pids.append(os.fork())
    if not pids[-1]:
        work(rate)
print("leaking", pids[1], flush=True)
for pid in pids:
    os.waitpid(pid, 0)
sys.exit(3)
"""


def test_program_and_all_it_starts(any_python, tmp_path, terminal):  # noqa: F811
    """`reftop -s -- PROGRAM` on a terminal: the view of all of it, and at the end what grew and where, with the program's own status."""
    script = tmp_path / "leaking.py"
    script.write_text(LEAKING)
    view = terminal(width=120)
    view.command("clear; %s -s -i 0.2 --budget 50%% --no-daemon -- %s %s; echo STATUS=$?" % (harness.REFTOP, any_python.path, script))
    view.expect("sum of 4 processes")
    screen = view.expect("all ended .*exit status 3")
    told = re.search(r"__main__\.Leaky grew \+(1,[89]\d\d|2,[01]\d\d|2,000)/s steadily for .* in process (\d+)", screen)
    assert told, screen
    view.type("q")
    screen = view.expect("STATUS=3")
    assert "what grows in 4 processes" in screen and "in process %s" % told.group(2) in screen, screen
    log = re.search(r"output: (\S+)", screen).group(1)
    assert open(log).read() == "leaking %s\n" % told.group(2)
    os.unlink(log)


def test_quiet(terminal):  # noqa: F811
    """With -q the terminal stays the program's, and what grew is told at its end."""
    view = terminal(width=120)
    view.command("clear; %s -q -s -- sh -c 'read line; echo \"<$line>\"; exit 4'; echo STATUS=$?" % harness.REFTOP)
    view.type("-l", "hello")
    view.type("Enter")
    screen = view.expect("STATUS=4")
    assert "<hello>" in screen and "nothing grows steadily in 0 processes" in screen, screen


def test_not_there():
    result = reftop("top", "-s", "-p", 2 ** 22 - 1, "--dump-screen")
    assert result.code == 3 and "there is no process" in result.err, result
