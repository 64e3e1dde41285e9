"""`reftop view`: a recording as it was seen at any of its moments, on paper and on a terminal."""
import json
import os
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


@pytest.fixture
def lines(start, any_python, tmp_path):
    """Some ten samples of a leak as lines of JSON; the path, and the documents."""
    target = start(any_python, "leaker.py", 1000)
    target.ready()
    path = tmp_path / "run.json"
    assert reftop("record", "-p", target.pid, "-i", "100ms", "-d", "1.5", "-o", path, "--json", "-q").code == 0
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(documents) >= 4
    return path, documents


def leaky_of(document):
    return sum(t["count"] for t in document["types"] if t["qualname"] == "Leaky")


def shows(path, which, n, count, *options):
    shown = reftop("view", path, *options, "--dump-screen", env=dict(os.environ, LINES="400", COLUMNS="150"))
    assert shown.code == 0, shown
    assert "#%d/%d" % (which, n) in shown.out, shown
    if count:
        assert count_in(shown.out, "__main__.Leaky") == count
    return shown.out


def test_lines_of_json(lines, tmp_path):
    """What `record --json` writes is a recording, too."""
    path, documents = lines
    n, counts = len(documents), [leaky_of(d) for d in documents]
    for which in (1, 2, n // 2, n):
        shows("%s@%d" % (path, which), which, n, counts[which - 1])
    shows("%s@first" % path, 1, n, counts[0])
    assert "__main__.Leaky: +" in shows(path, n, n, counts[-1])
    text = path.read_text()
    # another program's blanks and order of keys, empty lines, no newline at the end
    path.write_text("\n\n".join(json.dumps(d, sort_keys=i % 2 == 1) for i, d in enumerate(documents)))
    shows("%s@2" % path, 2, n, counts[1])
    # whoever wrote it was killed
    path.write_text(text[:-300])
    shows(path, n - 1, n - 1, counts[-2])
    assert reftop("diff", "%s@1" % path, path, "--fail-on-growth", "Leaky=%d" % (counts[-2] - counts[0])).code == 0
    # samples that were skipped have a number, and no place in the history
    skipped = dict(documents[1], types=[], snapshot=dict(documents[1]["snapshot"], skipped="--max-pause"))
    path.write_text("\n".join(json.dumps(d) for d in documents[:2] + [skipped] + documents[2:]) + "\n")
    shows(path, n, n, counts[-1])
    # in the middle nothing may be wrong
    path.write_text(text.replace("reftop.sample/1", "reftop.other/1", 1))
    refused = reftop("view", path, "--dump-screen")
    assert refused.code == 1 and "sample 1" in refused.err and len(refused.err.splitlines()) <= 3, refused
    for nothing in ("", "\n\n", "{}", "[]", "nonsense\n", "{\n", '{"schema":"reftop.sample/1"}', text[:200]):
        path.write_text(nothing)
        refused = reftop("view", path, "--dump-screen")
        assert refused.code == 1 and refused.err.startswith("reftop: ") and len(refused.err.splitlines()) <= 3, (nothing, refused)


def test_one_sample(start, any_python, tmp_path):
    target = start(any_python, "leaker.py", 0)
    target.ready()
    path = tmp_path / "histo.json"
    assert reftop("histo", "-p", target.pid, "--json", "-o", path).code == 0
    shows(path, 1, 1, None)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert "Objects" in shows("%s@last" % path, 1, 1, None)


def test_lines_of_two_processes(start, any_python, tmp_path):
    """Which one is asked, or said with -p."""
    path, pids = tmp_path / "both.json", []
    for _ in range(2):
        target = start(any_python, "leaker.py", 100)
        target.ready()
        assert reftop("histo", "-p", target.pid, "--json", "-o", tmp_path / "one.json").code == 0
        path.write_text((path.read_text() if pids else "") + (tmp_path / "one.json").read_text())
        pids.append(target.pid)
    asked = reftop("view", path, "--dump-screen")
    assert asked.code == 2 and not asked.out, asked
    listed = asked.err.splitlines()
    assert [int(l.split()[0]) for l in listed[1:3]] == pids and "leaker.py" in listed[1] and "-p PID" in listed[3], asked
    for pid in pids:
        assert " %d " % pid in shows(path, 1, 1, None, "-p", pid)
    refused = reftop("view", path, "-p", 1, "--dump-screen")
    assert refused.code == 1 and "process 1 " in refused.err, refused
    one, other = (reftop("diff", "-p", pid, path, path, "--json").json["a"]["target"]["pid"] for pid in pids)
    assert [one, other] == pids


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
