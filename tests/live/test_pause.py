"""The price of looking: the budget of pauses, --max-pause, and what is said when a sample isn't taken."""
import datetime
import json
import resource
import sqlite3

import harness


def lines(result):
    return [json.loads(line) for line in result.out.splitlines()]


def busy(python, start, kind="collect"):
    target = start(python, "busy.py", kind)
    target.ready()
    return target


def finish(target):
    answer = target.ask("quit")
    assert answer["rounds"] > 0 and answer["wrong"] == [], answer


def wall(samples):
    """Microseconds from the first sample to the last."""
    first, last = (datetime.datetime.strptime(samples[i]["time"], "%Y-%m-%dT%H:%M:%S.%fZ") for i in (0, -1))
    return (last - first).total_seconds() * 1e6


def test_pauses_stay_within_the_budget(python, start):
    """All pauses but the last one's are at most 1 % of the time up to the last sample, whatever interval was asked for."""
    target = busy(python, start)
    result = harness.reftop("record", "-p", target.pid, "--json", "-i", "10ms", "-d", "4s")
    assert result.code == 0, result
    samples = lines(result)
    pauses = [sample["snapshot"]["pause_us"] for sample in samples]
    assert len(samples) >= 2 and max(pauses) > 0, pauses
    # the time of a sample is a moment within its pause
    assert sum(pauses[:-1]) <= 0.01 * (wall(samples) + max(pauses)), (pauses, wall(samples))
    assert "no more than 1% of the time" in result.err, result.err
    finish(target)


def test_a_larger_budget_allows_more(python, start):
    target = busy(python, start)
    result = harness.reftop("record", "-p", target.pid, "--json", "-i", "10ms", "-d", "2s", "--budget", "20%")
    assert result.code == 0, result
    samples = lines(result)
    pauses = [sample["snapshot"]["pause_us"] for sample in samples]
    assert 0.01 * wall(samples) < sum(pauses) and sum(pauses[:-1]) <= 0.2 * (wall(samples) + max(pauses)), pauses
    finish(target)


def test_an_idle_target_has_no_budget_to_keep(python, start):
    """No pause, no longer interval."""
    target = start(python, "law.py")
    target.ready()
    target.wait_blocked()
    result = harness.reftop("record", "-p", target.pid, "--json", "-i", "100ms", "-d", "2s")
    samples = lines(result)
    assert {sample["snapshot"]["mode"] for sample in samples} == {"quiet"}
    assert "of the time" not in result.err and len(samples) >= 5, result.err


def test_a_longer_pause_than_allowed_is_skipped(any_python, start):
    target = busy(any_python, start)
    result = harness.reftop("histo", "-p", target.pid, "--json", "--max-pause", "100us")
    assert result.code == 0, result
    sample = result.json
    assert sample["snapshot"]["mode"] == "skipped" and "--max-pause is 0.1 ms" in sample["snapshot"]["skipped"], sample["snapshot"]
    assert sample["snapshot"]["consistent"] is None and sample["snapshot"]["pause_us"] is None
    assert sample["types"] is None and sample["gc"] is None and sample["target"]["pid"] == target.pid
    assert set(sample["totals"].values()) == {None}, sample["totals"]
    text = harness.reftop("histo", "-p", target.pid, "--max-pause", "100us", "--strict")
    assert text.code == 6 and "SKIPPED: the process would be stopped" in text.out and "--max-pause" in text.err, text
    other = harness.histo(target.pid, "--max-pause", "60s")
    assert other["snapshot"]["mode"] == "stop" and other["snapshot"]["skipped"] is None
    harness.check_sums(other)
    finish(target)


def test_a_recording_says_what_was_skipped(any_python, start, tmp_path):
    """As lines of JSON, in their place; a recording has no row that could be taken for a sample."""
    target = busy(any_python, start)
    result = harness.reftop("record", "-p", target.pid, "--json", "-i", "100ms", "-d", "1s", "--max-pause", "50us")
    assert result.code == 0 and "a sample was skipped" in result.err and " skipped in " in result.err, result
    samples = lines(result)
    assert samples and all(sample["snapshot"]["skipped"] and sample["totals"]["objects"] is None for sample in samples)
    path = tmp_path / "skipped.json"
    path.write_text(json.dumps(samples[0]))
    told = harness.reftop("diff", path, path)
    assert told.code == 1 and "it was skipped" in told.err, told
    database = tmp_path / "run.db"
    assert harness.reftop("record", "-p", target.pid, "-o", database, "-d", "1s").code == 0
    before = sqlite3.connect(str(database)).execute("SELECT count(*) FROM sample").fetchone()
    assert harness.reftop("record", "-p", target.pid, "-o", database, "-d", "1s", "--max-pause", "50us").code == 0
    assert before[0] > 0 and sqlite3.connect(str(database)).execute("SELECT count(*) FROM sample").fetchone() == before
    finish(target)


def test_no_stop_is_longer_than_allowed(any_python, start):
    """The prediction may be wrong; the limit isn't: the copy is given up. What is over it is the stop and the detach themselves."""
    target = busy(any_python, start, "threads")
    worst = 0
    for most in range(1000, 9000, 400):
        sample = harness.histo(target.pid, "--max-pause", "%dus" % most)
        worst = max(worst, (sample["snapshot"]["pause_us"] or 0) - most)
    # a chunk of 4 MB, the maps of the process, and 65 threads
    assert worst < 20000, worst
    finish(target)


def test_watching_a_million_objects(any_python, start):
    """`top` every second on an idle process: under 20 % of a core (of a slow machine's as much more), and at its peak at most 1.3 times the memory
    of the process."""
    target = start(any_python, "priced.py", 1000000, "mixed", "aged", "idle")
    target.ready()
    seconds, shares = 4, []
    for _ in range(3):  # others may have the CPU's caches
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result, peak = harness.reftop_peak("top", "-p", target.pid, "--dump-screen", "--iterations", seconds, "-i", "1s")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert result.code == 0 and "quiet" in result.out, result
        shares.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds / harness.slowness())
        with open("/proc/%d/status" % target.pid) as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) * 1024
        assert peak <= 1.3 * resident, (peak, resident)
        if shares[-1] < 0.2:
            break
    assert min(shares) < 0.2, shares
