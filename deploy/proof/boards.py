"""The shipped dashboards: their panels, and their queries as Grafana would send them."""

import json
import re
from dataclasses import dataclass, field

# A point every so often, and what Grafana makes of it and of the scrape interval for $__rate_interval (four scrapes at
# least; some more here, for a smoother line).
STEP_SECONDS = 2
RATE_SECONDS = 8

VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)|\[\[(\w+)\]\]")


@dataclass
class Panel:
    """One panel; `targets` hold expressions in which variables are filled in."""

    board: str
    uid: str
    row: str
    raw: dict
    targets: list = field(default_factory=list)

    @property
    def title(self):
        return self.raw["title"]

    @property
    def kind(self):
        return self.raw["type"]

    @property
    def name(self):
        return f"{self.board} / {self.title}"


@dataclass
class Target:
    """One query of a panel."""

    expr: str
    language: str
    instant: bool
    legend: str
    ref: str = "A"


@dataclass
class Board:
    title: str
    uid: str
    raw: dict
    panels: list = field(default_factory=list)
    rows: list = field(default_factory=list)


def read(folder):
    """All boards of a folder; collapsed rows are opened, what is below them moves down."""
    boards = [board(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    if not boards:
        raise SystemExit(f"no dashboards in {folder}")
    # The agent's own comes last.
    return sorted(boards, key=lambda one: one.uid == "weir-agent")


def board(raw):
    found, row, shift = Board(raw["title"], raw["uid"], raw), "", 0
    for one in raw["panels"]:
        place = {**one["gridPos"]}
        place["y"] += shift
        if one["type"] != "row":
            found.panels.append(Panel(found.title, found.uid, row, {**one, "gridPos": place}))
            continue
        row = one["title"]
        found.rows.append((row, place["y"]))
        inside = one.get("panels") or []
        if one.get("collapsed") and inside:
            top = min(panel["gridPos"]["y"] for panel in inside)
            bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in inside)
            for panel in inside:
                moved = {**panel["gridPos"], "y": panel["gridPos"]["y"] - top + place["y"] + 1}
                found.panels.append(Panel(found.title, found.uid, row, {**panel, "gridPos": moved}))
            shift += bottom - top
    return found


class Variables:
    """The values of a board's variables, as they are when it is opened."""

    def __init__(self, raw, source, chosen, seconds):
        """`source(variable)` lists the values of a query variable; `chosen` are those that a person sets by hand."""
        self.values = {
            "__rate_interval": f"{RATE_SECONDS}s",
            "__interval": f"{STEP_SECONDS}s",
            "__interval_ms": str(STEP_SECONDS * 1000),
            "__auto": f"{RATE_SECONDS}s",
            "__range": f"{seconds}s",
            "__range_s": str(seconds),
            "__range_ms": str(seconds * 1000),
        }
        for variable in raw.get("templating", {}).get("list", []):
            self.values[variable["name"]] = self.value(variable, source, chosen)

    def value(self, variable, source, chosen):
        """One text, or the list of a variable that may have several: each of those is escaped when it is filled in."""
        name, current = variable["name"], (variable.get("current") or {}).get("value")
        if name in chosen:
            current = chosen[name]
        elif variable["type"] == "datasource":
            return name
        elif current in ("$__all", ["$__all"]):
            return variable.get("allValue") or source(self.filled(variable))
        elif variable["type"] == "query" and current in (None, "", []):
            current = (source(self.filled(variable)) or [""])[0]
        if current is None:
            current = variable.get("query", "")
        return [current] if variable.get("multi") and not isinstance(current, list) else current

    def filled(self, variable):
        """A query variable whose own query names variables before it."""
        return {**variable, "definition": self.fill(variable.get("definition") or "")}

    def fill(self, text):
        """As Grafana fills in: several values are one regular expression, each escaped."""

        def one(found):
            name, form = found[1] or found[3] or found[4], found[2]
            if name not in self.values:
                return found[0]
            value = self.values[name]
            if isinstance(value, list):
                escaped = [re.sub(r"([\\^$.*+?()\[\]{}|/])", r"\\\\\1", item) for item in value]
                return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
            return re.escape(value) if form == "regex" else str(value)

        return VARIABLE.sub(one, text)


def fill(panel, variables):
    """Gives a panel its queries; one without any is text."""
    panel.targets = [
        Target(
            expr=variables.fill(target["expr"]),
            language="logql" if is_loki(target, panel.raw) else "promql",
            instant=bool(target.get("instant") or target.get("queryType") == "instant"),
            legend=target.get("legendFormat") or "",
            ref=target.get("refId", "A"),
        )
        for target in panel.raw.get("targets", [])
        if target.get("expr") and not target.get("hide")
    ]


def is_loki(target, panel):
    source = target.get("datasource") or panel.get("datasource") or {}
    return source.get("type") == "loki"
