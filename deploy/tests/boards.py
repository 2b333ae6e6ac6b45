"""The dashboards as the tests see them: boards, panels, targets, and what names stand in a query."""

import functools
import json
import re
from dataclasses import dataclass, field

import yaml

import chart

FOLDER = chart.ROOT / "dashboards"
# Every file there, in the order of the pages.
ORDER = ["weir-http.json", "weir-waf.json", "weir-traffic.json", "weir-agent.json"]
FILES = sorted(FOLDER.glob("*.json"), key=lambda path: (ORDER + [path.name]).index(path.name))
# Labels that Prometheus adds, or its functions do.
OF_THE_SCRAPE = {"job", "instance"}
# What Grafana puts in the place of its own variables, for those who only parse.
MACROS = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m", "$window": "1h", "$top": "10", "$slow": "1"}
# Metrics of other programs, and why a board names them.
FOREIGN = {"kube_replicaset_created": {"namespace", "replicaset"}}  # kube-state-metrics: when a rollout began


@functools.cache
def all_boards():
    return {path.name: json.loads(path.read_text()) for path in FILES}


def panels(board):
    """Every panel but the rows, those inside collapsed rows too."""
    for panel in board["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] != "row":
            yield panel


def targets(kind):
    """(place, target, panel, board) of every query of a data source's kind, those of annotations too."""
    for name, board in all_boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                if target["datasource"]["type"] == kind:
                    yield f"{name}, {panel['title']!r}, {target['refId']}", target, panel, board
        for event in board["annotations"]["list"]:
            if event["datasource"]["type"] == kind:
                yield f"{name}, annotation {event['name']!r}", event, None, board


def substituted(expr, **values):
    """A query as the data source gets it, each variable of Grafana's having a value."""
    known = MACROS | {f"${name}": value for name, value in values.items()}
    for name in sorted(known, key=len, reverse=True):
        expr = expr.replace(name, known[name])
    return expr


@functools.cache
def metrics():
    """Labels by metric, of all that weir exposes: docs/metrics.md and what config/kubernetes.yaml counts."""
    found = {}
    table = (chart.ROOT / "docs/metrics.md").read_text().split("<!-- generated")[1].split("<!-- end -->")[0]
    for name, labels in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.M):
        found[name] = set(re.findall(r"`(\w+)`", labels))
        if name.endswith("_duration_seconds"):
            found |= histogram(name, found[name])
    for name, metric in counted().items():
        labels = set(metric["labels"])
        found |= {name: labels} if metric["type"] == "Counter" else histogram(name, labels)
    return found | FOREIGN


def histogram(name, labels):
    return {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}


@functools.cache
def counted():
    """The metrics that the shipped configuration counts, by the names that they are exposed under."""
    found = {}

    def look(node):
        if isinstance(node, list):
            for one in node:
                look(one)
        elif isinstance(node, dict):
            for name, metric in (node.get("metrics") or {}).items():
                found[metric["prefix"] + name] = metric
            for one in node.values():
                look(one)

    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (chart.ROOT / "config/kubernetes.yaml").read_text())
    look(yaml.safe_load(text)["scrape_configs"])
    return found


@dataclass
class Selector:
    """`metric{matchers}[range]` in a PromQL expression, and the function that it is given to, if any."""

    name: str
    matchers: dict = field(default_factory=dict)
    range: str = ""
    function: str = ""

    def named(self):
        """The metrics that it selects: one, or those of a list in `__name__=~"a|b"`."""
        if self.name:
            return {self.name}
        pattern = self.matchers["__name__"]
        return {name for name in metrics() if re.fullmatch(pattern, name)}


SELECTOR = re.compile(
    r"(?P<function>\b(?:rate|irate|increase)\()?(?P<name>\b[a-z]\w*)?\{(?P<inside>[^{}]*)\}(?P<range>\[[^]]+\])?"
)
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')


def selectors(expr):
    """Every selector of an expression. Ours always write the braces: a bare name is a function's or a label's."""
    return [
        Selector(
            found["name"] or "",
            dict(MATCHER.findall(found["inside"])),
            (found["range"] or "").strip("[]"),
            (found["function"] or "").rstrip("("),
        )
        for found in SELECTOR.finditer(re.sub(r"\$\{(\w+)\}", r"$\1", expr))
    ]


def grouped(expr):
    """Labels after by, on, without, ignoring and group_left."""
    lists = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expr)
    return {label.strip() for one in lists for label in one.split(",") if label.strip()}


def made(expr):
    """Labels that label_replace makes."""
    return set(re.findall(r', "(\w+)", "[^"]*", "\w+", "[^"]*"\)', expr))
