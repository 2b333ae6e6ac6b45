"""A panel's answers as HTML: a plot, a number, bars, a table or lines."""

import math

import answers as answering
import boards
import figures
import plots
from plots import COLORS, escape

UNIT_PIXELS, ROW_PIXELS, HEAD_PIXELS = 58, 36, 30
LEGEND_MAX = 6
NAMED_COLORS = {"green": "#2f8f46", "red": "#c4162a", "orange": "#d9711c", "yellow": "#b8860b", "blue": "#1f60c4"}


def size(panel):
    """Width and height that a panel's content has, in pixels."""
    place = panel.raw["gridPos"]
    return place["w"] * UNIT_PIXELS - 26, place["h"] * ROW_PIXELS - HEAD_PIXELS - 22


def defaults(panel):
    return panel.raw.get("fieldConfig", {}).get("defaults", {})


def number(panel, value, name=None):
    """A value as its panel shows it, with what is said for a field of this name."""
    found = dict(defaults(panel))
    for override in panel.raw.get("fieldConfig", {}).get("overrides", []):
        if name is not None and override["matcher"] == {"id": "byName", "options": name}:
            found |= {one["id"]: one.get("value") for one in override["properties"]}
    text = figures.mapped(value, found.get("mappings"))
    return text if text is not None else figures.shown(value, found.get("unit", "short"), found.get("decimals"))


def draw(panel, found, start, end):
    """The content of a panel; nothing where there is nothing to show."""
    if panel.kind == "text":
        return f'<div class="prose shows">{escape(panel.raw["options"]["content"])}</div>'
    if all(answer.is_empty() for answer in found):
        return ""
    return DRAWN[panel.kind](panel, found, start, end)


def timeseries(panel, found, start, end):
    series = answering.all_series(found)
    if not series:
        return ""
    width, height = size(panel)
    custom = defaults(panel).get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    series.sort(key=lambda one: -max(value for _, value in one[1]))
    rows = min(len(series), LEGEND_MAX)
    drawn = plots.lines(
        width,
        max(60, height - 15 * rows - (14 if len(series) > rows else 0)),
        series,
        start,
        end,
        boards.STEP_SECONDS,
        lambda value: number(panel, value),
        figures.units(defaults(panel).get("unit")),
        stacked,
        bars=custom.get("drawStyle") == "bars",
    )
    return drawn + key(panel, series)


def key(panel, series):
    """The names of the series with their highest and their last value."""
    lines = []
    for place, (name, points) in enumerate(series[:LEGEND_MAX]):
        values = [value for _, value in points]
        color = COLORS[place % len(COLORS)]
        figures_ = f"max {number(panel, max(values), name)} · last {number(panel, values[-1], name)}"
        lines.append(f'<li><i style="background:{color}"></i><span>{escape(name)}</span><b>{escape(figures_)}</b></li>')
    if len(series) > LEGEND_MAX:
        lines.append(f'<li class="more">and {len(series) - LEGEND_MAX} more</li>')
    return f'<ul class="key">{"".join(lines)}</ul>'


def stat(panel, found, start, end):
    values = answering.reduced(panel, found)
    parts = []
    for name, labels, value in values[:12]:
        color = threshold(panel, value)
        text_mode = panel.raw.get("options", {}).get("textMode")
        shown = name if text_mode == "name" else number(panel, value)
        under = f"<span>{escape(name)}</span>" if len(values) > 1 or text_mode == "value_and_name" else ""
        parts.append(f'<div style="color:{color}"><b class="mark">{escape(shown)}</b>{under}</div>')
    return f'<div class="stats n{min(len(parts), 4)}">{"".join(parts)}</div>'


def threshold(panel, value):
    """The colour of a value, by the panel's thresholds."""
    color = "blue"
    for step in defaults(panel).get("thresholds", {}).get("steps", []):
        if step.get("value") is None or value >= step["value"]:
            color = step["color"]
    return NAMED_COLORS.get(color.split("-")[-1], NAMED_COLORS["blue"])


def bars(panel, found, start, end):
    values = sorted(answering.reduced(panel, found), key=lambda one: -one[2])
    return bar_list(panel, [(name, value) for name, _, value in values])


def bar_list(panel, values):
    _, height = size(panel)
    fits = max(3, height // 22)
    most = max((value for _, value in values), default=0) or 1
    lines = []
    for name, value in values[:fits]:
        wide = max(0.5, 100 * value / most) if value > 0 else 0
        bar = f'<i><em class="mark" style="width:{wide:.1f}%"></em></i>'
        lines.append(f"<li><span>{escape(name)}</span>{bar}<b>{escape(number(panel, value))}</b></li>")
    if len(values) > fits:
        lines[-1:] = [f'<li class="more">and {len(values) - fits + 1} more</li>']
    return f'<ul class="bars">{"".join(lines)}</ul>'


def geomap(panel, found, start, end):
    """A map as a list: Grafana finds the place of a country by its two letters."""
    values = [(labels.get("country") or "unknown", value) for _, labels, value in answering.reduced(panel, found)]
    return bar_list(panel, sorted(values, key=lambda one: -one[1]))


def table(panel, found, start, end):
    content = answering.transformed(panel, answering.tables(found))
    if not content.rows:
        return ""
    names = [
        name for name in content.names if name not in ("__name__",) and any(row.get(name) != "" for row in content.rows)
    ]
    _, height = size(panel)
    fits = max(2, height // 23 - 1)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for row in content.rows[:fits]:
        lines.append("<tr>" + "".join(cell(panel, name, row.get(name, "")) for name in names) + "</tr>")
    more = f'<p class="more">and {len(content.rows) - fits} more rows</p>' if len(content.rows) > fits else ""
    return f'<table class="mark"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>{more}'


def cell(panel, name, value):
    if isinstance(value, (int, float)):
        return f'<td class="figure">{escape(number(panel, float(value), name))}</td>'
    return f"<td>{escape(value)}</td>"


def heatmap(panel, found, start, end):
    """Buckets over time: what each holds that the one below it does not."""
    width, height = size(panel)
    buckets = []
    for answer in found:
        for labels, points in answer.series:
            bound = labels.get("le")
            buckets.append((math.inf if bound in (None, "+Inf") else float(bound), dict(points)))
    buckets.sort(key=lambda one: one[0])
    rows, below = [], {}
    for bound, points in buckets:
        own = [(at, max(0.0, value - below.get(at, 0.0))) for at, value in points.items()]
        rows.append(("more" if math.isinf(bound) else number(panel, bound), own))
        below = points
    return plots.cells(width, height, rows, start, end, boards.STEP_SECONDS)


def timeline(panel, found, start, end):
    width, height = size(panel)
    rows = [(name, [(at, value) for at, value in points]) for name, points in answering.all_series(found)]
    return plots.cells(width, height, rows, start, end, boards.STEP_SECONDS)


def logs(panel, found, start, end):
    lines = sorted((one for answer in found for one in answer.lines), key=lambda one: str(one[0]), reverse=True)
    if not lines:
        return ""
    _, height = size(panel)
    shown = "".join(
        f"<li><time>{escape(at)}</time>{escape(line[:600])}</li>" for at, _, line in lines[: max(2, height // 34)]
    )
    return f'<ol class="lines mark">{shown}</ol><p class="more">of {len(lines)} lines</p>'


DRAWN = {
    "timeseries": timeseries,
    "stat": stat,
    "gauge": stat,
    "bargauge": bars,
    "piechart": bars,
    "barchart": bars,
    "geomap": geomap,
    "table": table,
    "heatmap": heatmap,
    "state-timeline": timeline,
    "status-history": timeline,
    "logs": logs,
}
