#!/usr/bin/env python3
"""Makes the excerpts of the real corpus that this repository keeps, and counts their truth.

    make_excerpt.py [--corpus FOLDER] [--check]

FOLDER is the unpacked corpus (default: target/corpus/dev). An excerpt is a subsequence of one container's CRI lines,
byte for byte and in their true order: one long window, and a few lines around each specimen of every kind of nasty
line elsewhere. The truth is not read from these lines: each is looked up in the files that nginx itself wrote
(oracle.tsv by request id, address and status; error.log by its whole text), and those are counted, by truth.py.
`--check` only counts the whole corpus and compares with its own truth.json.
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
import sys

import truth

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]

# The window of each run, as a part of its CRI lines. D1's lies around docker's rotation, at record 12,500.
WINDOWS = {"D1": (10_700, 14_000), "D2": (5_500, 7_600)}
# docker's records are D1's lines in the same order within each stream; the excerpt keeps this many either side of the rotation.
DOCKER_ROTATION, DOCKER_BEFORE, DOCKER_AFTER = 12_500, 500, 160
# D2's requests in the default text format, as a part of D2's window.
TEXT_WINDOW = (6_600, 7_500)
LINES_AROUND_SPECIMEN = 3

# What a parser can trip over (reference/logs.md), and how many of each an excerpt has at least, where the run has them.
SPECIMENS = {
    "split into P and F": (4, lambda line: line.parts > 1),
    "split into three": (1, lambda line: line.parts > 2),
    "status 009": (4, lambda line: b'"status": 009' in line.text),
    "not UTF-8": (12, lambda line: not is_utf8(line.text)),
    "rejected before the request line": (4, lambda line: b'"method": "",' in line.text),
    "two upstreams": (3, lambda line: b'"upstream_addr": "127.10.9.9:1, ' in line.text),
    "looks like another log line": (3, lambda line: re.search(rb'stdout F|\\"}, {\\"status', line.text)),
    "request id with quotes": (2, lambda line: re.search(rb'"request_id": "[^"]*\\"', line.text)),
    "ModSecurity, cut before [id": (8, lambda line: hit(line)["rule"] == "(truncated before id)"),
    "ModSecurity, cut later": (8, lambda line: hit(line)["unique_id"] is None),
    "ModSecurity, forged [id": (11, lambda line: hit(line) and re.search(rb"Value: `[^']*\[id \"", line.text)),
    "ModSecurity, forged client": (4, lambda line: hit(line) and b", client: 6.6.6.6" in line.text),
    "ModSecurity, quotes in unique_id": (2, lambda line: hit(line) and b'[unique_id "id "with"' in line.text),
    "ModSecurity, phase 4": (3, lambda line: hit(line)["phase"] == "4"),
    "ModSecurity, phase 5": (2, lambda line: hit(line) and b" while logging request" in line.text),
    "ModSecurity, redirect": (2, lambda line: hit(line)["code"] == "302"),
    "request body limit, unmarked": (2, lambda line: b"] *" not in line.text and b" Request body limit is" in line.text),
    "message over several lines": (3, lambda line: b"broken header: " in line.text),
}

# With its request id (a client may choose the same one again and again), what tells a request from others.
KEY_FIELDS = ("remote_addr", "status", "body_bytes_sent", "request_length", "request_time", "time_iso8601")

Line = collections.namedtuple("Line", "first last parts stream text")
NO_HIT = collections.defaultdict(str, unique_id="none looked for")


def hit(line):
    """What truth.py sees in an error-log line; falsy, and with nothing in it, for other lines."""
    return truth.modsecurity(line.text) or NO_HIT if line.stream == b"stderr" else NO_HIT


def is_utf8(value):
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def cri_lines(folder):
    """A container's CRI lines without newlines, oldest generation first."""
    files = sorted(folder.glob("0.log.*")) + [folder / "0.log"]
    read = lambda path: gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    return b"".join(map(read, files)).split(b"\n")[:-1]


def join(physical):
    """Whole lines from P and F parts, each knowing which physical lines it came from."""
    pending, lines = {}, []
    for number, raw in enumerate(physical):
        _, stream, tag, part = raw.split(b" ", 3)
        pending.setdefault(stream, []).append((number, part))
        if tag == b"F":
            parts = pending.pop(stream)
            lines.append(Line(parts[0][0], number, len(parts), stream, b"".join(part for _, part in parts)))
    assert not pending
    return lines


def choose(lines, window):
    """The whole lines of an excerpt: those of the window, and the specimens with their neighbours."""
    chosen = {n for n, line in enumerate(lines) if window[0] <= line.first and line.last < window[1]}
    found = {}
    for name, (least, is_one) in SPECIMENS.items():
        specimens = [n for n, line in enumerate(lines) if is_one(line)]
        inside = sum(n in chosen for n in specimens)
        for n in specimens:
            if inside < least and n not in chosen:
                chosen |= set(range(max(0, n - LINES_AROUND_SPECIMEN), min(len(lines), n + LINES_AROUND_SPECIMEN + 1)))
                inside += 1
        found[name] = sum(n in chosen for n in specimens)
    return [lines[n] for n in sorted(chosen)], found


def physical_of(lines, physical):
    """The physical lines of whole lines, in their true order, parts interleaved as they were."""
    wanted = set()
    for line in lines:
        wanted |= {n for n in range(line.first, line.last + 1) if physical[n].split(b" ", 2)[1] == line.stream}
    return [physical[n] for n in sorted(wanted)]


class Nginx:
    """The files that nginx wrote itself in one run, to look lines up in."""

    def __init__(self, folder):
        self.rows = collections.defaultdict(list)
        for row in truth.read_oracle(folder):
            request_id = truth.unescape(row["req_id"])
            self.rows[request_id, *(row[field] for field in KEY_FIELDS)].append(row)
        self.errors = collections.Counter((folder / "error.log").read_bytes().split(b"\n")[:-1])

    def truth_of(self, lines, key_of):
        """The truth of some lines; `key_of` tells an access line's request id and KEY_FIELDS, or None."""
        rows, errors, taken = [], [], collections.Counter()
        for line in lines:
            if line.stream == b"stderr":
                if self.errors[line.text]:
                    errors.append(line.text)
            elif key := key_of(line.text):
                rows.append(self.rows[key][taken[key]])
                taken[key] += 1
        error_log, modsec = truth.error_truth(errors)
        return {"access": truth.access_truth(rows), "error_log": error_log, "modsec": modsec}


def json_key(line):
    """The key of a home JSON line, found without parsing it: not every such line is JSON."""
    if not line.startswith(b'{"time": "'):
        return None
    quoted = lambda key: re.search(rb'"%s": "((?:[^"\\]|\\.)*)"' % key, line)[1]
    request_id = re.sub(rb"\\u00([0-9A-Fa-f]{2})", lambda hex: bytes.fromhex(hex[1].decode()), quoted(b"request_id"))
    request_id = re.sub(rb"\\(.)", rb"\1", request_id)
    number = lambda key: re.search(rb'"%s": ([\d.]+)' % key, line)[1]
    return (
        request_id,
        quoted(b"remote_address"),
        number(b"status"),
        quoted(b"body_bytes_sent"),
        number(b"request_length"),
        number(b"request_time"),
        quoted(b"time"),
    )


def text_keys(nginx):
    """A function like json_key for the default text format: its request id may hold spaces, so it asks the oracle."""
    of_address = collections.defaultdict(list)
    for key in nginx.rows:
        of_address[key[1]].append(key)
    escape = lambda value: re.sub(rb'[\x00-\x1f"\\\x7f-\xff]', lambda byte: b"\\x%02X" % byte[0][0], value)

    def fits(key, line):
        request_id, _, status, sent, length, seconds, time = key
        numbers = rb':%s \+0000\] .*" %s %s ".*" %s %s \[' % (time[11:19], status, sent, length, re.escape(seconds))
        return line.endswith(b" " + (escape(request_id) or b"-")) and re.search(numbers, line)

    def key_of(line):
        keys = [key for key in of_address.get(line.partition(b" - ")[0], []) if fits(key, line)]
        return max(keys, key=lambda key: len(key[0]), default=None)

    return key_of


def write(path, lines, compress=True):
    """Lines to a file; gzip without a time, so that the same lines give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, 9, mtime=0) if compress else data)
    print(f"{path.relative_to(ROOT)}: {len(lines)} lines, {len(data)} bytes, {path.stat().st_size} in the repository")


def write_truth(path, runs):
    whole = {"runs": runs}
    parts = [{k: run[k] for k in ("access", "error_log", "modsec")} for run in runs.values()]
    total = parts[0]
    for part in parts[1:]:
        total = truth.add(total, part)
    # What does not add up over runs is left out of the sum.
    total["error_log"].pop("max_len")
    path.write_text(json.dumps(whole | {"sum_of_runs": total}, indent=1, ensure_ascii=False) + "\n")


def check(corpus):
    """Counts the whole corpus as the excerpts are counted, and compares with its truth.json."""
    want = json.loads((corpus / "truth.json").read_text())["runs"]
    differences = []
    for run in want:
        rows = truth.read_oracle(corpus / "nginx" / run)
        error_log, modsec = truth.error_truth((corpus / "nginx" / run / "error.log").read_bytes().split(b"\n")[:-1])
        got = {"access": truth.access_truth(rows), "error_log": error_log, "modsec": modsec}
        differences += truth.differences(want[run], got, run)
    print("\n".join(differences))
    # The corpus' truth counts no cut line by server, version and file, and believes the forged `server: evil`.
    known = [d for d in differences if "(truncated)" in d or ".by_server_trailer." in d]
    return 0 if known == differences else 1


def pod_of(folder, physical):
    """Whose lines these are, and how many."""
    namespace, pod, uid = folder.parent.name.split("_")
    stamps = [raw.split(b" ", 1)[0].decode() for raw in physical]
    streams = collections.Counter(raw.split(b" ", 3)[1] + b" " + raw.split(b" ", 3)[2] for raw in physical)
    return {
        "namespace": namespace,
        "pod": pod,
        "uid": uid,
        "container": folder.name,
        "cri_lines": len(physical),
        "cri_partial_lines": sum(n for key, n in streams.items() if key.endswith(b" P")),
        "cri_stdout_lines": sum(n for key, n in streams.items() if key.startswith(b"stdout")),
        "cri_stderr_lines": sum(n for key, n in streams.items() if key.startswith(b"stderr")),
        "first_ts": stamps[0],
        "last_ts": stamps[-1],
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--corpus", type=pathlib.Path, default=ROOT / "target/corpus/dev")
    arguments.add_argument("--check", action="store_true", help="count the whole corpus and compare")
    options = arguments.parse_args()
    corpus = options.corpus
    if options.check:
        return check(corpus)

    pods = {"D1": "ingress-nginx-controller-abc12", "D2": "ingress-nginx-controller-6c4f9b7d5-x8k2p"}
    nginx = {run: Nginx(corpus / "nginx" / run) for run in pods}
    runs = {}
    for run, pod in pods.items():
        folder = next(corpus.glob(f"pods/*_{pod}_*/controller"))
        physical = cri_lines(folder)
        lines, found = choose(join(physical), WINDOWS[run])
        excerpt = physical_of(lines, physical)
        write(HERE / f"demo/controller-{run.lower()}.cri.gz", excerpt)
        runs[run] = nginx[run].truth_of(lines, json_key) | {"pod": pod_of(folder, excerpt), "nasty": found}
    write_truth(HERE / "demo/truth.json", runs)

    folder = next(corpus.glob("pods-text/*/controller"))
    physical = cri_lines(folder)
    lines = [line for line in join(physical) if TEXT_WINDOW[0] <= line.first and line.last < TEXT_WINDOW[1]]
    excerpt = physical_of(lines, physical)
    write(HERE / "text/controller.cri.gz", excerpt)
    one = nginx["D2"].truth_of(lines, text_keys(nginx["D2"])) | {"pod": pod_of(folder, excerpt)}
    write_truth(HERE / "text/truth.json", {"D2": one})

    log = next(corpus.glob("docker/containers/*/*-json.log"))
    records = gzip.open(f"{log}.1.gz").read().split(b"\n")[:-1]
    assert len(records) == DOCKER_ROTATION
    before, after = records[-DOCKER_BEFORE:], log.read_bytes().split(b"\n")[:DOCKER_AFTER]
    write(HERE / "docker" / f"{log.name}.1.gz", before)
    write(HERE / "docker" / log.name, after, compress=False)
    # docker's records are D1's CRI lines, one by one in each stream, so the excerpt is so many of each from so many on.
    stream_of = lambda record: json.loads(record)["stream"].encode()
    skipped = collections.Counter(map(stream_of, records[:-DOCKER_BEFORE]))
    taken = skipped + collections.Counter(map(stream_of, before + after))
    physical = cri_lines(next(corpus.glob(f"pods/*_{pods['D1']}_*/controller")))
    seen, inside = collections.Counter(), set()
    for number, raw in enumerate(physical):
        stream = raw.split(b" ", 2)[1]
        if skipped[stream] <= seen[stream] < taken[stream]:
            inside.add(number)
        seen[stream] += 1
    lines = [line for line in join(physical) if line.last in inside]
    assert sum(line.parts for line in lines) == DOCKER_BEFORE + DOCKER_AFTER, "the window cuts a split line"
    write_truth(HERE / "docker/truth.json", {"D1": nginx["D1"].truth_of(lines, json_key)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
