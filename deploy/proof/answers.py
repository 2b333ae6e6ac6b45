"""What a panel's queries answer, brought into the form in which the panel shows it."""

import math
import re
from dataclasses import dataclass, field

import boards


@dataclass
class Answer:
    """Series over time, or rows of one moment; `lines` are log lines. Labels go with each."""

    target: boards.Target
    series: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    lines: list = field(default_factory=list)

    def is_empty(self):
        return not (self.series or self.rows or self.lines)


def ask(panel, prometheus, logs, start, end):
    """The answers to a panel's queries."""
    found = []
    for target in panel.targets:
        if target.language == "logql":
            found.append(logs(target, start, end))
        elif target.instant:
            found.append(Answer(target, rows=[row for row in prometheus.instant(target.expr, end)]))
        else:
            found.append(Answer(target, series=prometheus.range(target.expr, start, end, boards.STEP_SECONDS)))
    return found


def legend(answer, labels):
    """The name of a series, by the target's format."""
    form = answer.target.legend
    if form and form != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda name: labels.get(name[1], ""), form) or "all"
    names = {key: value for key, value in labels.items() if key != "__name__"}
    if len(names) == 1:
        return next(iter(names.values()))
    if not names:
        return labels.get("__name__") or "all"
    return ", ".join(f"{key}={value}" for key, value in sorted(names.items()))


def all_series(answers):
    """Name and points of every series of a panel."""
    return [(legend(answer, labels), points) for answer in answers for labels, points in answer.series]


REDUCERS = {
    "lastNotNull": lambda values: values[-1],
    "last": lambda values: values[-1],
    "mean": lambda values: sum(values) / len(values),
    "sum": sum,
    "max": max,
    "min": min,
    "first": lambda values: values[0],
    "firstNotNull": lambda values: values[0],
    "range": lambda values: max(values) - min(values),
    "count": len,
}


def reduced(panel, answers):
    """One named value for each series, as stats and gauges show it."""
    calcs = panel.raw.get("options", {}).get("reduceOptions", {}).get("calcs") or ["lastNotNull"]
    reduce = REDUCERS[calcs[0]]
    found = []
    for answer in answers:
        found += [(legend(answer, labels), labels, value) for labels, value in answer.rows]
        found += [(legend(answer, labels), labels, reduce([v for _, v in points])) for labels, points in answer.series]
    return found


class Table:
    """Rows of names and values, and the names in order."""

    def __init__(self, names, rows):
        self.names, self.rows = names, rows


def tables(answers):
    """One table for each answer, with Grafana's names for its columns."""
    found = []
    for answer in answers:
        # Prometheus' tables name the query only where there are several, Loki's always.
        alone = len(answers) == 1 and answer.target.language == "promql"
        value = "Value" if alone else f"Value #{answer.target.ref}"
        rows = [{"Time": "", **labels, value: number} for labels, number in answer.rows]
        rows += [{"Time": "", **labels, value: points[-1][1]} for labels, points in answer.series]
        rows += [{"Time": at, "labels": labels, "Line": line} for at, labels, line in answer.lines]
        names = list(dict.fromkeys(name for row in rows for name in row))
        # A label that some series have is an empty text in the rows of the others.
        rows = [{**dict.fromkeys(names, ""), **row} for row in rows]
        found.append(Table(names, rows))
    return found


def transformed(panel, found):
    """A panel's table after its transformations; one that is not known here ends the proof."""
    for step in panel.raw.get("transformations", []):
        if step.get("disabled"):
            continue
        if step["id"] not in TRANSFORMATIONS:
            raise SystemExit(f"{panel.name}: transformation {step['id']} is not known to the proof")
        found = TRANSFORMATIONS[step["id"]](found, step.get("options", {}))
    if not found:
        return Table([], [])
    names = list(dict.fromkeys(name for table in found for name in table.names))
    table = Table(names, [row for table in found for row in table.rows])
    for sort in reversed(panel.raw.get("options", {}).get("sortBy") or []):
        order(table.rows, sort["displayName"], sort.get("desc"))
    return table


def order(rows, name, descending):
    """Numbers by size, texts by letters; what is missing comes last."""

    def key(row):
        value = row.get(name)
        return (value, "") if isinstance(value, (int, float)) else (-math.inf, str(value or ""))

    rows.sort(key=key, reverse=bool(descending))


def join(found, options):
    """Rows of all tables that have the same value in one column become one row."""
    name, joined = options["byField"], {}
    for table in found:
        for row in table.rows:
            joined.setdefault(row.get(name), {}).update(row)
    names = list(dict.fromkeys(column for table in found for column in table.names))
    return [Table(names, list(joined.values()))]


def merge(found, _):
    """Rows that agree in every column which they share become one row."""
    rows = []
    for row in (row for table in found for row in table.rows):
        for other in rows:
            shared = set(other) & set(row)
            if shared and all(other[name] == row[name] for name in shared):
                other.update(row)
                break
        else:
            rows.append(dict(row))
    return [Table(list(dict.fromkeys(name for table in found for name in table.names)), rows)]


def filter_names(found, options):
    wanted = options.get("include", {}).get("names")
    pattern = options.get("include", {}).get("pattern")
    for table in found:
        table.names = [
            n for n in table.names if (wanted and n in wanted) or (pattern and re.search(pattern.strip("/"), n))
        ]
    return found


def organize(found, options):
    """Leaves columns out, puts the others in order, gives them other names."""
    hidden, places, renamed = (options.get(key) or {} for key in ("excludeByName", "indexByName", "renameByName"))
    for table in found:
        names = [name for name in table.names if not hidden.get(name)]
        names.sort(key=lambda name: places.get(name, len(places)))
        table.rows = [{renamed.get(name) or name: row[name] for name in names if name in row} for row in table.rows]
        table.names = [renamed.get(name) or name for name in names]
    return found


CONDITIONS = {
    "isNull": lambda value, _: value is None,
    "isNotNull": lambda value, _: value is not None,
    "greater": lambda value, options: value is not None and value > options["value"],
    "lower": lambda value, options: value is not None and value < options["value"],
    "equal": lambda value, options: str(value) == str(options["value"]),
    "notEqual": lambda value, options: str(value) != str(options["value"]),
}


def filter_values(found, options):
    """Keeps or leaves out the rows in which all or any of the conditions hold."""

    def holds(row):
        conditions = [one["config"] for one in options["filters"]]
        names = [one["fieldName"] for one in options["filters"]]
        results = [CONDITIONS[c["id"]](row.get(name), c.get("options", {})) for name, c in zip(names, conditions)]
        return any(results) if options["match"] == "any" else all(results)

    for table in found:
        table.rows = [row for row in table.rows if holds(row) == (options["type"] == "include")]
    return found


def sort_by(found, options):
    for table in found:
        for sort in reversed(options.get("sort", [])):
            order(table.rows, sort["field"], sort.get("desc"))
    return found


def limit(found, options):
    for table in found:
        table.rows = table.rows[: int(options.get("limitField", 10))]
    return found


def extract_fields(found, options):
    """What a column holds becomes columns; here the labels of log lines."""
    for table in found:
        for row in table.rows:
            row.update(row.pop(options["source"], {}))
        table.names = list(dict.fromkeys(name for row in table.rows for name in row))
    return found


TRANSFORMATIONS = {
    "joinByField": join,
    "seriesToColumns": join,
    "merge": merge,
    "filterFieldsByName": filter_names,
    "filterByValue": filter_values,
    "organize": organize,
    "sortBy": sort_by,
    "limit": limit,
    "extractFields": extract_fields,
}
