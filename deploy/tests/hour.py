"""An hour of the corpus' traffic as a Prometheus that scrapes two agents each minute would have it.

The lines are those of the two controllers in tests/corpus/demo (or in the whole corpus), byte for byte. They span half a
minute to some minutes; their own time stamps are stretched to an hour, so that what came at once stays together. For each
minute the real agent reads the lines up to then (`-one-shot`), which gives the counters' values as they would be exposed.
A new series is 0 in its first scrape, as weir's birth hold shows it. The agent's own metrics come from a scrape of the
running agent that has read the whole hour: gauges stay as they are, counters are spread evenly.
"""

import gzip
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections import namedtuple
from datetime import datetime
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "target/corpus/dev/pods"
DEMO = Path(__file__).resolve().parents[2] / "tests/corpus/demo"
CONFIG = DEMO.parents[2] / "config/kubernetes.yaml"
MINUTES = 60
READ_SECONDS_MAX = 300

# One line of a container, of one or several CRI lines; when it was complete, as a share of the excerpt.
Record = namedtuple("Record", "share stream text lines")


def excerpt():
    """The files of each controller in the repository, oldest first."""
    return [[DEMO / "controller-d1.cri.gz"], [DEMO / "controller-d2.cri.gz"]]


def whole():
    """The same of the whole corpus: rotated files have the time in their names, and come before 0.log."""
    folders = sorted(CORPUS.glob("ingress-nginx_*/controller"))
    return [sorted(folder.iterdir(), key=lambda path: (path.name == "0.log", path.name)) for folder in folders]


def content(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def records(paths):
    """The lines of one controller's container, in their order."""
    found, parts = [], {}
    for line in b"".join(map(content, paths)).splitlines(keepends=True):
        stamp, stream, flag, text = line.rstrip(b"\n").split(b" ", 3)
        parts.setdefault(stream, []).append((line, text))
        if flag.startswith(b"F"):
            whole = parts.pop(stream)
            moment = datetime.fromisoformat(stamp[:26].decode().rstrip("Z").ljust(26, "0")).timestamp()
            found.append(Record(moment, stream.decode(), b"".join(t for _, t in whole), [line for line, _ in whole]))
    first, last = found[0].share, found[-1].share
    return [record._replace(share=max(0, record.share - first) / (last - first)) for record in found]


def is_waf(record):
    return record.stream == "stderr" and b"ModSecurity: " in record.text


def client(record):
    """The address that an access line or a line of the WAF is about."""
    found = re.search(
        rb'"remote_address": "([^"]*)"' if record.stream == "stdout" else rb", client: ([0-9A-Fa-f.:]+), ", record.text
    )
    return found and found[1]


def ordinary(all_records):
    """What is left without the clients that the WAF has noted anything of."""
    noted = {client(record) for record in all_records if is_waf(record)} - {None}
    return [record for record in all_records if client(record) not in noted and not is_waf(record)]


def of_another(record, address, minute):
    """The same line, as if it were another client's, at a minute of the hour."""
    old = client(record)
    lines = [line.replace(old, address) for line in record.lines]
    return record._replace(share=minute / MINUTES, text=record.text.replace(old, address), lines=lines)


class Node:
    """A node's pod logs, and the agent that reads them."""

    def __init__(self, folder, weir):
        self.folder, self.weir = Path(folder), str(Path(weir).resolve())
        self.log = self.folder / "pods/ingress-nginx_c_585292d4-f356-4406-a41a-4d8a2e980008/controller/0.log"
        self.log.parent.mkdir(parents=True)

    def _command(self, state, *flags):
        command = [self.weir, f"-config.file={CONFIG}", "-config.expand-env", *flags]
        env = {
            "WEIR_LOG_ROOT": str(self.folder / "pods"),
            "WEIR_STATE": str(self.folder / state),
            "WEIR_GEOIP_DB": str(DEMO / "country.mmdb"),
            "NODE_NAME": "n",
        }
        return command, {**os.environ, **env}

    def counted(self, lines, state):
        """The values of every series once these lines are read."""
        self.log.write_bytes(b"".join(lines))
        command, env = self._command(state, "-one-shot")
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=READ_SECONDS_MAX)
        assert done.returncode == 0, done.stderr
        return parse(done.stdout)

    def own(self, lines, state):
        """The agent's own metrics once these lines are read."""
        self.log.write_bytes(b"".join(lines))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = ("-server.http-listen-address=127.0.0.1", f"-server.http-listen-port={port}")
        command, env = self._command(state, *flags)
        agent = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return self._scrape_until(port, f'weir_lines_read_total{{job="pods"}} {len(lines)}')
        finally:
            agent.terminate()
            agent.wait(READ_SECONDS_MAX)

    def _scrape_until(self, port, shown):
        give_up = time.monotonic() + READ_SECONDS_MAX
        text = ""
        while time.monotonic() < give_up:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except OSError:
                pass
            if shown in text:
                return parse(text)
            time.sleep(0.1)
        raise AssertionError(f"the agent has not read all: no {shown}")


def parse(exposition):
    """Values by series, as text 0.0.4 has them."""
    values = {}
    for line in exposition.splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            values[series] = float(value)
    return values


def with_labels(series, **labels):
    """The series with the labels of its target."""
    name, _, rest = series.partition("{")
    own = rest.rstrip("}")
    more = ",".join(f'{label}="{value}"' for label, value in labels.items() if f'{label}="' not in "," + own)
    return f"{name}{{{','.join(part for part in (own, more) if part)}}}"


def is_counter(series):
    return series.partition("{")[0].endswith(("_total", "_bucket", "_sum", "_count"))


def held(values):
    """As scrapers see it: nothing before the first event, 0 at it, and then what it is."""
    first = next(minute for minute, value in enumerate(values) if value is not None)
    return ["_"] * first + [0] + values[first + 1 :]


def scraped(all_records, instance, weir):
    """The values of every series of one node at minutes 0 to 60, by series."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder, weir)
        ordered = sorted(all_records, key=lambda record: record.share)
        at = []
        for minute in range(MINUTES + 1):
            lines = [line for record in ordered if record.share * MINUTES <= minute for line in record.lines]
            at.append(node.counted(lines, f"state-{minute}"))
        own = node.own([line for record in ordered for line in record.lines], "state")
    series = {name: held([values.get(name) for values in at]) for name in sorted(set().union(*at))}
    for name, value in own.items():
        if name not in at[-1]:
            steps = [value * minute // MINUTES for minute in range(MINUTES + 1)] if is_counter(name) else None
            series[name] = steps or [value] * (MINUTES + 1)
    labels = {"job": "weir", "instance": instance}
    return {with_labels(name, **labels): values for name, values in series.items()}
