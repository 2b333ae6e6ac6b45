"""Static drawings: lines, areas, bars, cells and strips as SVG."""

import html
import math

COLORS = ["#3274d9", "#e0752d", "#56a64b", "#b877d9", "#e02f44", "#1fa7a0", "#f2b01e", "#8f5b3c", "#6e7f91", "#d15c9c"]
GREY, LINE, TEXT = "#8a94a0", "#e3e7eb", "#4b5563"
MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP = 60, 18, 8


def escape(text):
    return html.escape(str(text))


def svg(width, height, body, title=""):
    label = f' aria-label="{escape(title)}"' if title else ""
    view = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img"{label} {view}>{body}</svg>'


def ticks(highest, units=(1,)):
    """Round values from 0 up to what is highest, at most five; round in the largest unit that fits."""
    if highest <= 0 or not math.isfinite(highest):
        return [0, 1]
    unit = max((unit for unit in units if unit <= highest), default=min(units))
    return [tick * unit for tick in round_ticks(highest / unit)]


def round_ticks(highest):
    raw = highest / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= raw)
    return [step * n for n in range(math.ceil(highest / step) + 1)]


class Axes:
    """A plane with time from left to right and values from 0 upwards."""

    def __init__(self, width, height, start, end, highest, shown, units):
        self.width, self.height, self.start, self.end = width, height, start, end
        self.ticks = ticks(highest, units)
        self.top = self.ticks[-1]
        self.shown = shown

    def x(self, at):
        return MARGIN_LEFT + (at - self.start) / (self.end - self.start) * (self.width - MARGIN_LEFT - 6)

    def y(self, value):
        return MARGIN_TOP + (1 - value / self.top) * (self.height - MARGIN_TOP - MARGIN_BOTTOM)

    def drawn(self):
        parts = []
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<path d="M{MARGIN_LEFT} {y:.1f}H{self.width - 6}" stroke="{LINE}"/>')
            parts.append(text(MARGIN_LEFT - 6, y + 3.5, self.shown(tick), "end"))
        return "".join(parts) + time_axis(self.x, self.start, self.end, self.height - 4)


def time_axis(x, start, end, y):
    """Seconds since the beginning."""
    step = next(step for step in (10, 20, 30, 60, 120, 300, 600) if (end - start) / step <= 7)
    marks = range(0, int(end - start) + 1, step)
    return "".join(text(x(start + mark), y, f"{mark} s", "start" if mark == 0 else "middle") for mark in marks)


def text(x, y, content, anchor="start", color=GREY, size=10):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}">{escape(content)}</text>'


def gaps(points, step):
    """Points in runs without a hole."""
    runs = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= step * 1.5:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def lines(width, height, series, start, end, step, shown, units=(1,), stacked=False, bars=False):
    """Series of points over time, each in the next colour."""
    if stacked:
        return areas(width, height, series, start, end, step, shown, units, bars)
    highest = max((value for _, points in series for _, value in points), default=0)
    axes = Axes(width, height, start, end, highest, shown, units)
    body = axes.drawn()
    for number, (_, points) in enumerate(series):
        color = COLORS[number % len(COLORS)]
        for run in gaps(points, step):
            path = " ".join(f"{axes.x(at):.1f} {axes.y(max(value, 0)):.1f}" for at, value in run)
            if len(run) == 1:
                at, value = run[0]
                body += f'<circle class="mark" cx="{axes.x(at):.1f}" cy="{axes.y(max(value, 0)):.1f}" r="1.6" fill="{color}"/>'
            else:
                body += f'<path class="mark" d="M{path}" fill="none" stroke="{color}" stroke-width="1.4"/>'
    return svg(width, height, body)


def areas(width, height, series, start, end, step, shown, units, bars):
    """Series on top of each other."""
    moments = sorted({at for _, points in series for at, _ in points})
    below = dict.fromkeys(moments, 0.0)
    total = dict.fromkeys(moments, 0.0)
    for _, points in series:
        for at, value in points:
            total[at] += max(value, 0)
    axes = Axes(width, height, start, end, max(total.values(), default=0), shown, units)
    body = axes.drawn()
    for number, (_, points) in enumerate(series):
        color, values = COLORS[number % len(COLORS)], dict(points)
        above = {at: below[at] + max(values.get(at, 0), 0) for at in moments}
        if bars:
            wide = max(1.0, axes.x(start + step) - axes.x(start) - 0.5)
            for at in moments:
                if above[at] > below[at]:
                    tall = axes.y(below[at]) - axes.y(above[at])
                    place = f'x="{axes.x(at) - wide / 2:.1f}" y="{axes.y(above[at]):.1f}"'
                    body += f'<rect class="mark" {place} width="{wide:.1f}" height="{tall:.2f}" fill="{color}"/>'
        else:
            there = " ".join(f"{axes.x(at):.1f} {axes.y(above[at]):.1f}" for at in moments)
            back = " ".join(f"{axes.x(at):.1f} {axes.y(below[at]):.1f}" for at in reversed(moments))
            body += f'<path class="mark" d="M{there} {back}Z" fill="{color}" fill-opacity=".75"/>'
        below = above
    return svg(width, height, body)


def cells(width, height, rows, start, end, step, most=None):
    """A heat map; `rows` are names and points, the lowest first."""
    most = most or max((value for _, points in rows for _, value in points), default=0) or 1
    tall = (height - MARGIN_BOTTOM - MARGIN_TOP) / max(len(rows), 1)

    def x(at):
        return MARGIN_LEFT + (at - start) / (end - start) * (width - MARGIN_LEFT - 6)

    wide, body = x(start + step) - x(start) - 0.4, ""
    for number, (name, points) in enumerate(rows):
        y = height - MARGIN_BOTTOM - (number + 1) * tall
        body += text(MARGIN_LEFT - 6, y + tall / 2 + 3, name, "end") if tall >= 9 or number % 2 == 0 else ""
        for at, value in points:
            if value > 0:
                shade = 0.15 + 0.85 * math.sqrt(value / most)
                place = f'x="{x(at):.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall - 0.5:.1f}"'
                body += f'<rect class="mark" {place} fill="#1f60c4" fill-opacity="{shade:.2f}"/>'
    return svg(width, height, body + time_axis(x, start, end, height - 4))


def strip(width, height, spans, start, end):
    """What was when: coloured spans on a grey line."""

    def x(at):
        return (min(max(at, start), end) - start) / (end - start) * width

    body = f'<rect x="0" y="{height / 2 - 1}" width="{width}" height="2" fill="{LINE}"/>'
    for begin, finish, color in spans:
        wide = max(2.0, x(finish) - x(begin))
        body += f'<rect class="mark" x="{x(begin):.1f}" y="1" width="{wide:.1f}" height="{height - 2}" rx="2" fill="{color}"/>'
    return svg(width, height, body)
