"""The daemon's metrics over HTTP."""
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.parse

import pytest

import harness
from daemon_harness import as_nobody, free_port, key_file, scrape, slowly


def test_metrics(daemon, leaker, tmp_path):
    port = free_port()
    one = daemon("-p", leaker.pid, "-i", "1", "--listen", "127.0.0.1:%d" % port)
    one.wait_samples([leaker.pid], 12)
    code, text, kind = scrape(port)
    assert code == 200 and kind.startswith("text/plain; version=0.0.4") and "# EOF" not in text
    objects = re.search(r'^reftop_objects{pid="%d",.*} (\d+)' % leaker.pid, text, re.M)
    assert int(objects.group(1)) > 10000
    growth = re.search(r'^reftop_type_growth_per_second{.*type="__main__.Leaky"} ([\d.]+)', text, re.M)
    assert growth and abs(float(growth.group(1)) / 1000 - 1) < 0.1, text[-2000:]
    assert len(re.findall(r"^reftop_type_bytes{", text, re.M)) == 10, "cardinality is bounded"
    code, text, kind = scrape(port, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert code == 200 and kind.startswith("application/openmetrics-text") and text.endswith("# EOF\n")
    if shutil.which("promtool"):
        for good, name in ((scrape(port)[1], "metrics"),):
            done = subprocess.run(["promtool", "check", name], input=good.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0, done.stdout.decode()
    # nonsense
    assert scrape(port, "/etc/passwd")[0] == 404 and scrape(port, method="POST")[0] == 405
    assert scrape(port, "/" + "x" * 60000)[0] in (413, 414, 431)
    for junk in (b"\x00" * 1000, b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"A" * 100000 + b"\r\n"):
        with socket.create_connection(("127.0.0.1", port), 20) as raw:
            try:
                raw.sendall(junk)
                raw.recv(4096)
            except OSError:
                pass
    slow = []
    for _ in range(1000):
        try:
            slow.append(socket.create_connection(("127.0.0.1", port), 5))
            slow[-1].sendall(b"GET /met")
        except OSError:
            break
    assert one.ask("sample", pid=leaker.pid)["ok"]
    for raw in slow:
        raw.close()
    harness.wait_for(slowly(lambda: scrape_or_none(port)), harness.DEADLINE, "metrics after all that")


def scrape_or_none(port):
    try:
        return scrape(port)[0] == 200
    except OSError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_metrics_of_another_user(daemon, steady, tmp_path):
    target = steady()
    port = free_port()
    config = key_file(tmp_path, "[daemon]\ntoken=open sesame\n")
    one = daemon("-p", target.pid, "-i", "1", "--config", config, "--listen", "127.0.0.1:%d" % port)
    one.wait_samples([target.pid], 1)
    mine = 'pid="%d"' % target.pid
    assert mine in scrape(port)[1]
    saw = as_nobody(lambda: {"plain": scrape(port)[1], "token": scrape(port, headers={"Authorization": "Bearer open sesame"})[1],
                             "wrong": scrape(port, headers={"Authorization": "Bearer open sesam"})[1]})
    assert mine not in saw["plain"] and mine not in saw["wrong"] and mine in saw["token"], saw


@pytest.mark.skipif(not shutil.which("prometheus") or not shutil.which("promtool"), reason="no prometheus")
def test_prometheus(daemon, leaker, tmp_path):
    """Debian's Prometheus scrapes it; a query says the slope of the leak; the rules pass."""
    rules = os.path.join(harness.ROOT, "docs", "monitoring", "reftop.rules.yml")
    done = subprocess.run(["promtool", "check", "rules", rules], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    port, own = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1s}\nrule_files: [%s]\nscrape_configs:\n- job_name: reftop\n  static_configs:\n"
                      "  - targets: ['127.0.0.1:%d']\n" % (rules, port))
    one = daemon("-p", leaker.pid, "-i", "1", "--listen", "127.0.0.1:%d" % port)
    prometheus = subprocess.Popen(["prometheus", "--config.file=%s" % config, "--storage.tsdb.path=%s" % (tmp_path / "tsdb"),
                                   "--web.listen-address=127.0.0.1:%d" % own], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def slope():
        query = urllib.parse.urlencode({"query": 'deriv(reftop_type_objects{type="__main__.Leaky"}[10s])'})
        try:
            result = json.loads(scrape(own, "/api/v1/query?" + query)[1])["data"]["result"]
        except (OSError, ValueError):
            return False
        return result and abs(float(result[0]["value"][1]) / 1000 - 1) < 0.15
    try:
        harness.wait_for(slowly(slope), harness.DEADLINE, "the slope of the leak")
    finally:
        prometheus.terminate()
        prometheus.wait()
