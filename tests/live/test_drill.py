"""From the table of types down to one object, on a real terminal (tmux) and a real process: what the screens say is compared with what the
target knows. And what is watched: in the view, in recordings, as JSON. What screens look like to the letter is compared by
tests/unit/drill.c."""
import json
import re
import shutil
import signal
import sqlite3
import subprocess

import pytest

import harness
from harness import reftop
from test_screen import terminal, watch  # noqa: F401 (a fixture)

# A word that C code left on the stack looks like a reference and hides a lost one: so many may be hidden.
LEFT_OVER = 2

needs_tmux = pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")


@pytest.fixture
def watched(start, any_python):
    target = start(any_python, "watched.py")
    target.truth = target.ready()
    return target


def open_watched(view):
    """The instances of class Watched."""
    view.type("/")
    view.type("-l", "__main__.Watched")
    view.type("Enter")
    view.expect("__main__.Watched", absent="^/")
    view.type("Enter")
    view.expect("^ ADDRESS .*REFS")


def row_of(screen, address):
    rows = [line for line in screen.splitlines() if re.match(" *%s " % address, line)]
    assert len(rows) == 1, screen
    return rows[0].split()


@needs_tmux
def test_down_and_up(terminal, watched):
    view = watch(terminal, watched)
    watched.ask("lose 7")
    watched.ask("hold 3")
    open_watched(view)
    address = watched.truth["lost"]
    screen = view.expect("^ %s " % address)
    # 1 local variable, 3 list items, 7 lost
    assert row_of(screen, address)[1] == "11", screen
    assert 7 - LEFT_OVER <= int(row_of(screen, address)[3]) <= 7, screen
    assert re.search("Types › __main__.Watched .*5 objects", screen), screen
    view.type("Enter")
    screen = view.expect("refcount 11 = ")
    assert re.search(r"refcount 11 = \d exact \+ \d probable \+ [567] unexplained", screen), screen
    assert "› %s" % address in screen
    assert re.search(r"list item \[0\]", screen) and re.search(r"list item \[2\]", screen), screen
    assert max(map(len, screen.splitlines())) <= 80
    # to the list that holds it: a reference that is known to the letter
    view.type("/")
    view.type("-l", "list item [0]")
    view.type("Enter")
    view.type("Enter")
    screen = view.expect("^ list  \\[")
    assert screen.count("<Watched>") >= 3, screen
    # and down again, from the other half
    view.type("Tab")
    view.type("/")
    view.type("-l", "list item [2]")
    view.type("Enter")
    view.type("Enter")
    view.expect("refcount 11 = ")
    # up, step by step: to the list, whose search is still on, to the object, to the list of objects, to the types
    for _ in range(8):
        if re.search("^ TYPE .*COUNT", view.screen(), re.M):
            break
        before = view.screen()
        view.type("Escape")
        harness.wait_for(lambda: view.screen() != before, 20, "the screen to go back")
    view.expect("^ TYPE .*COUNT")
    view.type("q")
    view.expect("SHELL>")


@needs_tmux
@pytest.mark.parametrize("width, height", [(80, 24), (200, 50), (40, 12)])
def test_sizes(terminal, watched, width, height):
    """The way down works whatever the size, and when it changes on the way."""
    view = watch(terminal, watched, width=width, height=height)
    open_watched(view)
    view.type("Enter")
    screen = view.expect("refcount 1 = ")
    assert len(screen.splitlines()) <= height and max(map(len, screen.splitlines())) <= width
    view.tmux("resize-window", "-x", "120", "-y", "35")

    def redrawn():
        lines = view.screen().splitlines()
        return len(lines) == 35 and "q Quit" in lines[-1] and "refcount 1 = " in "".join(lines)

    harness.wait_for(redrawn, 20, "the screen in its new size")
    view.type("q")
    view.expect("SHELL>")


@needs_tmux
def test_unexplained_column(terminal, watched):
    view = watch(terminal, watched)
    assert "UNEXPL" not in view.screen()
    watched.ask("lose 1234")
    view.type("u")
    screen = view.expect(r"__main__.Watched +\d.* 1,23[234] ")
    assert re.search(r"Unexpl [\d,]+, \d+s ago", screen), screen
    view.expect("Watched: 1,23[234] (references )?unexplained")
    watched.ask("lose 1000")
    # looked at again by itself
    screen = view.expect(r"__main__.Watched +\d.* 2,23[234] ")
    view.type("q")
    view.expect("SHELL>")


@needs_tmux
def test_births_and_deaths(terminal, watched):
    """Between two samples exactly so many are made and die: none of the target's other objects of the class."""
    view = watch(terminal, watched, "-i 4", width=200, height=50)
    view.expect("#2$")
    watched.ask("make 500")
    view.expect(r"__main__.Made +500 .* 500/0 ")
    watched.ask("unmake 200")
    view.expect(r"__main__.Made +300 .* 0/200 ")
    view.expect(r"__main__.Made +300 .* 0/0 ")
    view.type("q")
    view.expect("SHELL>")


@needs_tmux
def test_watch(terminal, watched):
    view = watch(terminal, watched, width=160, height=40)
    open_watched(view)
    lost, mortal, part = (watched.truth[name] for name in ("lost", "mortal", "part"))
    for address in (lost, mortal, part):
        view.type("/")
        view.type("-l", address)
        view.type("Enter")
        view.type("w")
        view.expect("watching __main__.Watched %s" % address)
    view.type("Tab")
    view.expect("^ Watched")
    view.expect("%s +__main__.Watched +1 " % lost)
    watched.ask("lose 41")
    view.expect(r"%s +__main__.Watched +42 +\+41 " % lost)
    watched.ask("drop")
    view.expect("%s: it died after" % mortal)
    view.expect("%s +__main__.Watched +died " % mortal)
    assert watched.ask("reuse")["reused"]
    view.expect("%s: its address was used again after .* by __main__.Other" % part)
    view.expect("%s +__main__.Watched +reused " % part)
    # what is alive is still followed
    watched.ask("hold 8")
    view.expect(r"%s +__main__.Watched +50 +\+49 " % lost)
    view.type("q")
    view.expect("SHELL>")


@needs_tmux
def test_target_ends_below(terminal, watched):
    """Deep down when the process ends: what was read stays, a new question is answered with why not."""
    view = watch(terminal, watched)
    open_watched(view)
    view.type("Enter")
    view.expect("refcount 1 = ")
    watched.process.send_signal(signal.SIGKILL)
    watched.process.wait()
    view.expect("ended  #")
    view.type("r")
    screen = view.expect("ended$|has ended")
    assert "refcount 1 = " in screen
    view.type("q")
    view.expect("SHELL>")


# ---- recorded ----


def record_watched(watched, path, *options):
    truth = watched.truth
    return subprocess.Popen([harness.REFTOP, "record", "-p", str(watched.pid), "-i", "50ms", "-o", str(path), *options,
                             "--watch", truth["lost"], "--watch", truth["mortal"], "--watch", truth["part"]],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def follow(lines, address, wanted, limit=400):
    """Read samples until the row of an object is as wanted; it."""
    for _ in range(limit):
        rows = [r for r in json.loads(lines.readline()).get("watched", []) if r["address"] == address]
        if rows and wanted(rows[0]):
            return rows[0]
    raise AssertionError("%s never became what was waited for" % address)


def test_watch_as_json(watched):
    truth = watched.truth
    recorder = record_watched(watched, "-", "--json")
    lines = recorder.stdout
    first = follow(lines, truth["lost"], lambda r: True)
    assert first == {"address": truth["lost"], "state": "alive", "module": "__main__", "qualname": "Watched", "type": truth["type"],
                     "refcount": 1, "exact": 1, "probable": 0, "value": "<Watched>", "now": None}, first
    refs = watched.ask("hold 4")["refs"]
    follow(lines, truth["lost"], lambda r: r["refcount"] == refs)
    watched.ask("lose 6")
    row = follow(lines, truth["lost"], lambda r: r["refcount"] == refs + 6 and r["exact"] is not None)
    assert row["exact"] == refs and row["probable"] <= LEFT_OVER, row
    watched.ask("drop")
    row = follow(lines, truth["mortal"], lambda r: r["state"] != "alive")
    assert row["state"] == "dead" and row["refcount"] is None and row["qualname"] == "Watched", row
    assert watched.ask("reuse")["reused"]
    row = follow(lines, truth["part"], lambda r: r["state"] != "alive")
    assert row["state"] == "reused" and row["now"].startswith("__main__.Other"), row
    # an end is told once
    after = json.loads(lines.readline())["watched"]
    assert [r["address"] for r in after] == [truth["lost"]], after
    recorder.send_signal(signal.SIGINT)
    out, errors = recorder.communicate(timeout=harness.DEADLINE)
    assert recorder.returncode == 0
    assert "%s Watched: it died" % truth["mortal"] in errors, errors
    assert "%s Watched: its address was used again, by __main__.Other" % truth["part"] in errors, errors


def test_watch_in_a_recording(watched, tmp_path):
    truth, path = watched.truth, tmp_path / "run.db"
    recorder = record_watched(watched, path)
    address = int(truth["lost"], 16)

    def recorded(sql):
        try:
            with sqlite3.connect("file:%s?mode=ro" % path, uri=True) as database:
                return database.execute(sql).fetchall()
        except sqlite3.Error:
            return []

    def wait(sql):
        return harness.wait_for(lambda: recorded(sql), harness.DEADLINE, sql)

    wait("SELECT 1 FROM watched WHERE address = %d AND refcount = 1 AND exact = 1" % address)
    watched.ask("lose 10")
    wait("SELECT 1 FROM watched WHERE address = %d AND refcount = 11" % address)
    watched.ask("drop")
    wait("SELECT 1 FROM watched WHERE address = %d AND state = 'dead' AND refcount IS NULL" % int(truth["mortal"], 16))
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=harness.DEADLINE)
    assert recorder.returncode == 0
    # one row a sample as long as it lives, and its type is a row of the types
    assert recorded("SELECT count(*) FROM sample WHERE id NOT IN (SELECT sample FROM watched WHERE address = %d)" % address) == [(0,)]
    assert recorded("SELECT DISTINCT qualname FROM watched JOIN type ON type.id = watched.type") == [("Watched",)]
    assert len(recorded("SELECT 1 FROM watched WHERE address = %d AND state = 'dead'" % int(truth["mortal"], 16))) == 1


def test_watch_nothing(watched):
    for bad, code in (("0x10", 2), ("nowhere", 2), ("-5", 2), ("0x", 2)):
        done = reftop("record", "-p", watched.pid, "-o", "-", "--json", "--watch", bad)
        assert done.code == code and done.err.startswith("reftop: ") and len(done.err.splitlines()) <= 3, done
        assert done.out == "", done


def test_watch_every_interpreter(python, start):
    """The count in samples is the target's own, on every version."""
    target = start(python, "watched.py")
    truth = target.ready()
    target.truth = truth
    recorder = record_watched(target, "-", "--json")
    for command in ("hold 1", "lose 2", "hold 3"):
        refs = target.ask(command)["refs"]
        follow(recorder.stdout, truth["lost"], lambda r: r["refcount"] == refs)
    target.ask("drop")
    assert follow(recorder.stdout, truth["mortal"], lambda r: r["state"] != "alive")["state"] == "dead"
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=harness.DEADLINE)
    assert recorder.returncode == 0
