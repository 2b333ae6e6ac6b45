"""What nginx's own files say, counted apart from weir: the truth that the tests compare with.

Access counts come from `oracle.tsv`, a log format with tabs between fields and nginx's default escaping, so nothing has
to be parsed. ModSecurity counts come from the error log. The parser below shares nothing with weir's and may
use what weir cannot know (the rule files of these runs). Over the whole corpus it gives the numbers of the corpus' own
truth.json, which other programs counted (`make_excerpt.py --check` compares and names the few places that differ).
"""

import collections
import re

Counter = collections.Counter

MARK = re.compile(
    rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?P<level>[a-z]+)\] \d+#\d+: (?:\*\d+ )?"
    rb"(?:\[client (?P<client>[0-9a-fA-F:.]+)\] )?"
    rb"ModSecurity: (?:(?P<warning>Warning\.)|Access denied with code (?P<code>\d+) \(phase (?P<phase>\d)\)\.)"
)
LEVEL = re.compile(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[([a-z]+)\] ")
# A client can print `[file "/f"] [line "1"] [id "31337"]` in a value, but the rule files of these runs are known: a true
# run of keys begins with one of them (logs.md, pitfall 12). weir has no such list and must find it by other means.
FILE = rb'\[file "(?P<file>/(?:usr/share|etc/nginx)/[^"]*\.conf|<<reference missing or not informed>>)"\]'
KEYS = re.compile(
    FILE + rb' \[line "\d+"\] \[id "(?P<id>\d+)"\] \[rev "[^"]*"\] \[msg ".*?"\] '
    rb'\[data "(?P<data>[^"]*)"\] \[severity "(?P<severity>\d+)"\] \[ver "(?P<ver>[^"]*)"\] '
    rb'\[maturity "\d+"\] \[accuracy "\d+"\]'
)
# A cut line may end anywhere inside the run: what stands before the cut still counts.
CUT_KEYS = re.compile(FILE + rb' \[line "\d+"\] \[id "(?P<id>\d+)"\]')
TAG = re.compile(rb' \[tag "([^"]*)"\]')
CLIENT = re.compile(rb'\[ref "[^"]*"\](?: while [a-z ]+)?, client: ([0-9a-fA-F:.]+), server: ([^,]*)')
UNIQUE_ID = re.compile(rb'\[unique_id "(.*)"\] \[ref "')


def text(value):
    """Bytes as JSON can hold them: what is not UTF-8 becomes U+FFFD."""
    return value.decode("utf-8", "replace")


def unescape(value):
    """Undoes nginx's default escaping (`\\xHH`) in a field of oracle.tsv."""
    return re.sub(rb"\\x([0-9A-F]{2})", lambda hex: bytes.fromhex(hex[1].decode()), value)


def read_oracle(folder):
    """The rows of a run's oracle.tsv as dictionaries of bytes, `-` being empty."""
    fields = (folder / "oracle.fields").read_text().split()
    rows = []
    for line in (folder / "oracle.tsv").read_bytes().split(b"\n")[:-1]:
        values = line.split(b"\t")
        assert len(values) == len(fields), line[:200]
        rows.append({k: b"" if v == b"-" else v for k, v in zip(fields, values)})
    return rows


def access_truth(rows):
    """The `access` part: requests by each dimension, and the sums."""
    by = lambda key: ordered(Counter(text(unescape(row[key])) for row in rows))
    number = lambda row, key: int(row[key] or 0)
    body_by_ingress, status_by_ingress = Counter(), collections.defaultdict(Counter)
    classes, services = Counter(), Counter()
    for row in rows:
        ingress, status = text(row["ingress_name"]), text(row["status"])
        body_by_ingress[ingress] += number(row, "body_bytes_sent")
        status_by_ingress[ingress][status] += 1
        classes[status[0] + "xx"] += 1
        port = text(row["service_port"])
        services[text(row["service_name"]) + (":" + port if port else "")] += 1
    return {
        "total": len(rows),
        "by_status": by("status"),
        "by_method": by("request_method"),
        "by_host": by("host"),
        "by_namespace": by("namespace"),
        "by_ingress": by("ingress_name"),
        "by_service": ordered(services),
        "by_client": by("remote_addr"),
        "by_protocol": by("server_protocol"),
        "by_upstream_status": by("upstream_status"),
        "by_class": ordered(classes),
        "body_bytes_sent": sum(number(row, "body_bytes_sent") for row in rows),
        "bytes_sent": sum(number(row, "bytes_sent") for row in rows),
        "request_length": sum(number(row, "request_length") for row in rows),
        "request_time_ms_sum": sum(round(float(row["request_time"] or 0) * 1000) for row in rows),
        "body_bytes_by_ingress": ordered(body_by_ingress),
        "status_by_ingress": {k: ordered(v) for k, v in status_by_ingress.items()},
    }


def modsecurity(line):
    """One error-log line as a dictionary of strings, or None when it is none of ModSecurity's."""
    mark = MARK.match(line)
    if not mark:
        return None
    found = {"denied": mark["code"] is not None, "code": mark["code"], "phase": mark["phase"]}
    keys = KEYS.search(line)
    cut = None if keys else CUT_KEYS.search(line)
    found["rule"] = (keys or cut or {"id": b"(truncated before id)"})["id"]
    found["file"] = (keys or cut or {"file": b"(truncated)"})["file"]
    found["severity"] = keys["severity"] if keys else b"(truncated)"
    found["ver"] = keys["ver"] if keys else b"(truncated)"
    rest = line[keys.end() :] if keys else b""
    found["tags"] = []
    while tag := TAG.match(rest):
        found["tags"].append(tag[1])
        rest = rest[tag.end() :]
    unique_id = UNIQUE_ID.search(rest)
    found["unique_id"] = unique_id[1] if unique_id else None
    trailer = CLIENT.search(rest)
    found["client"] = mark["client"] or (trailer[1] if trailer else b"(truncated)")
    found["server"] = trailer[2] if trailer else b"(truncated)"
    return {k: text(v) if isinstance(v, bytes) else v for k, v in found.items()} | {
        "tags": [text(tag) for tag in found["tags"]]
    }


def error_truth(lines):
    """The `error_log` and `modsec` parts from the lines of an error log (without newlines)."""
    levels, continuations, hits = Counter(), 0, []
    for line in lines:
        level = LEVEL.match(line)
        if level:
            levels[text(level[1])] += 1
        else:
            continuations += 1
        hit = modsecurity(line)
        if hit:
            hits.append(hit)
    denied = [hit for hit in hits if hit["denied"]]
    by = lambda some, key: ordered(Counter(hit[key] for hit in some))
    return {
        "physical_lines": len(lines),
        "by_level": ordered(levels),
        "continuation_lines": continuations,
        "max_len": max(map(len, lines), default=0),
    }, {
        "lines": len(hits),
        "denied_lines": len(denied),
        "warning_lines": len(hits) - len(denied),
        "by_rule": by(hits, "rule"),
        "denied_by_rule": by(denied, "rule"),
        "warning_by_rule": by([hit for hit in hits if not hit["denied"]], "rule"),
        "by_severity": by(hits, "severity"),
        "denied_by_code": by(denied, "code"),
        "denied_by_phase": by(denied, "phase"),
        "denied_by_client": by(denied, "client"),
        "by_client": by(hits, "client"),
        "by_server_trailer": by(hits, "server"),
        "by_ver": by(hits, "ver"),
        "by_rule_file": by(hits, "file"),
        "by_tag": ordered(Counter(tag for hit in hits for tag in hit["tags"])),
        "distinct_unique_ids": len({hit["unique_id"] for hit in hits} - {None}),
        "denied_distinct_unique_ids": len({hit["unique_id"] for hit in denied} - {None}),
        "lines_truncated_before_id": sum(hit["rule"] == "(truncated before id)" for hit in hits),
        "lines_without_unique_id": sum(hit["unique_id"] is None for hit in hits),
    }


def ordered(counter):
    """Most frequent first, then by name, so that the file is the same every time."""
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def add(one, other):
    """The sum of two truths of one shape."""
    if isinstance(one, dict):
        return {k: add(one[k], other[k]) if k in one and k in other else one.get(k, other.get(k)) for k in one | other}
    return one + other


def differences(want, got, where=""):
    """The places where `got` differs from `want`, over the keys of `got` only."""
    if isinstance(got, dict):
        keys = got if not where.rpartition(".")[2].startswith(("by_", "denied_by", "warning_by")) else want | got
        return [d for k in keys for d in differences(want.get(k), got.get(k), f"{where}.{k}")]
    return [] if want == got else [f"{where}: {want!r} in the corpus' truth.json, {got!r} here"]
