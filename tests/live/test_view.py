"""`reftop view`: a recording as it was seen at any of its moments, on paper and on a terminal."""
import re
import shutil
import sqlite3

import pytest

import harness
from harness import reftop
from test_screen import Terminal


@pytest.fixture
def recording(start, any_python, tmp_path):
    """Some 30 samples of a leak of 1000 a second, two parts with a gap of four seconds between them."""
    target = start(any_python, "leaker.py", 1000)
    target.ready()
    path = tmp_path / "run.db"
    for i in range(2):
        assert reftop("record", "-p", target.pid, "-i", "100ms", "-d", "1.5", "-o", path).code == 0
        if not i:
            target.complaints()
    return path


def query(path, sql):
    database = sqlite3.connect(str(path))
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def count_in(screen, name):
    return int(re.search(r"^.%s +([\d,]+)" % re.escape(name), screen, re.M).group(1).replace(",", ""))


def leaky(path):
    """The count of the leaking class in every sample, as the file has it."""
    return [n for n, in query(path, "SELECT coalesce(count, 0) FROM sample LEFT JOIN (SELECT * FROM sample_type JOIN type ON "
                                    "type.id = type WHERE qualname = 'Leaky') ON sample = sample.id ORDER BY sample.id")]


def test_every_moment(recording):
    counts = leaky(recording)
    assert len(counts) >= 20
    for which in (2, len(counts) // 2, len(counts)):
        shown = reftop("view", "%s@%d" % (recording, which), "--dump-screen")
        assert shown.code == 0, shown
        assert "#%d/%d" % (which, len(counts)) in shown.out
        assert count_in(shown.out, "__main__.Leaky") == counts[which - 1]
    last = reftop("view", recording, "--dump-screen")
    assert "steadily" in last.out and "__main__.Leaky: +" in last.out, "the verdict is that of a watcher"
    first = reftop("view", "%s@first" % recording, "--dump-screen")
    assert "#1/%d" % len(counts) in first.out and "steadily" not in first.out, "nobody knew then"


def test_gap(recording):
    """The line of time is blank where nobody looked."""
    query_all = sqlite3.connect(str(recording))
    middle = query_all.execute("SELECT max(id) / 2 FROM sample").fetchone()[0]
    query_all.execute("UPDATE sample SET time_us = time_us + 4000000 WHERE id > ?", (middle,))
    query_all.commit()
    query_all.close()
    shown = reftop("view", recording, "--dump-screen", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    line = next(l for l in shown.out.splitlines() if l.startswith(" Time"))
    assert re.search(r"\d -+ {5,}-*[-*] \d", line), line


def test_refusals(recording, tmp_path):
    assert reftop("view", "%s@999999" % recording, "--dump-screen").code == 1
    assert reftop("view", "%s@yesterday" % recording, "--dump-screen").code == 2
    assert reftop("view", "/etc/passwd", "--dump-screen").code == 1
    assert reftop("view", tmp_path / "nothing.db", "--dump-screen").code == 1
    assert reftop("view", recording).code == 2, "without a terminal it says what it needs"
    empty = tmp_path / "empty.db"
    shutil.copy(recording, empty)
    database = sqlite3.connect(str(empty))
    database.execute("DELETE FROM sample")
    database.commit()
    database.close()
    done = reftop("view", empty, "--dump-screen")
    assert done.code == 1 and "no sample" in done.err, done


@pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")
def test_cursor(recording):
    counts = leaky(recording)
    n = len(counts)
    terminal = Terminal(120, 24)
    try:
        terminal.type("%s view %s@10" % (harness.REFTOP, recording), "Enter")
        terminal.expect(r"#10/%d" % n)
        terminal.type("\\", "Leaky", "Enter")
        screen = terminal.expect(r"Types 1 of")
        assert count_in(screen, "__main__.Leaky") == counts[9]
        for keys, at in ((",", 9), (".", 10), ("...", 13), ("{", 1), ("}", n), ("[", n - max(n // 20, 1)), (",", None)):
            terminal.type(*keys)
            if at:
                screen = terminal.expect(r"#%d/%d" % (at, n))
                if counts[at - 1]:
                    assert count_in(screen, "__main__.Leaky") == counts[at - 1], (keys, at)
        terminal.type("{")
        terminal.expect(r"#1/%d" % n)
        terminal.type(*("-" * 8), "b", "z")  # a short interval, changes count from here, play
        screen = terminal.expect(r"#%d/%d" % (n, n))
        change = re.search(r"^.__main__.Leaky +[\d,]+ +\+([\d,]+)", screen, re.M).group(1)
        assert int(change.replace(",", "")) == counts[-1] - counts[0]
        terminal.type("q")
        terminal.expect("SHELL>$")
    finally:
        terminal.close()
