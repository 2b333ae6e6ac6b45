"""The report: one file of HTML without scripts, to look at the boards and the alerts of the run without Grafana."""

import re
import time
import unicodedata
from collections import defaultdict
from pathlib import Path

import checks
import declared
import drawing
import plots
import rules
import telegram
import traffic
from drawing import ROW_PIXELS, UNIT_PIXELS
from plots import escape

FIRING, PENDING = "#d43a4c", "#f0b429"
STRIP_WIDTH = 960

STYLE = (Path(__file__).parent / "report.css").read_text()


def page(body):
    head = f'<meta charset="utf-8"><title>weir: the proof</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def card(figure, words):
    return f'<div class="card"><b>{escape(figure)}</b><span>{escape(words)}</span></div>'


def grouped(number):
    return f"{number:,.0f}".replace(",", "\u202f")


def exactness(run):
    """The equations: what the clients made and what Prometheus and Loki have of it."""
    lines = []
    for words, left, right in run.equations:
        wrong = "" if left == right else " wrong"
        sign = "=" if left == right else "≠"
        lines.append(f'<p class="equation{wrong}">{escape(words)}: <b>{grouped(left)} {sign} {grouped(right)}</b></p>')
    return "".join(lines)


def phases(run):
    """What the traffic did when."""
    rows = ""
    for words, start, end in traffic.PHASES.values():
        strip = plots.strip(STRIP_WIDTH, 12, [(run.began + start, run.began + end, "#9fb3c8")], run.began, run.ended)
        rows += f'<span class="phase">{escape(words)}</span><span></span><div>{strip}</div>'
    return rows


def alerts(run):
    """A strip of every alert that was more than silent, under what the traffic did; the others by name."""
    spans, quiet = defaultdict(list), []
    for labels, begin, end in run.states:
        kind = " ".join(labels[name] for name in ("severity", "window") if name in labels)
        spans[labels["alertname"], kind].append((begin, end, FIRING if labels["alertstate"] == "firing" else PENDING))
    rows, of_loki = phases(run), {rule["alert"] for rule in run.ruler.rules}
    for name in run.alerts:
        kinds = [kind for other, kind in spans if other == name]
        quiet += [] if kinds else [name]
        for kind in sorted(kinds):
            # What fired is drawn over what waited.
            found = sorted(spans[name, kind], key=lambda span: span[2] == FIRING)
            style = "fired" if found[-1][2] == FIRING else ""
            whose = " · Loki" if name in of_loki else ""
            strip = plots.strip(STRIP_WIDTH, 16, found, run.began, run.ended)
            rows += f'<span class="{style}">{escape(name)}</span><span class="severity">{escape(kind + whose)}</span>'
            rows += f'<div class="alert">{strip}</div>'
    axis = plots.time_axis(
        lambda at: (at - run.began) / (run.ended - run.began) * STRIP_WIDTH, run.began, run.ended, 10
    )
    rows += f'<span></span><span></span><div class="axis">{plots.svg(STRIP_WIDTH, 14, axis)}</div>'
    silent = "".join(f"<li>{escape(name)}</li>" for name in quiet)
    legend = f'<p><b style="color:{FIRING}">■</b> firing &nbsp; <b style="color:{PENDING}">■</b> pending</p>'
    return f'{legend}<div class="alerts">{rows}</div><p>Silent throughout, {len(quiet)}:</p><ul class="quiet">{silent}</ul>'


def drawable(text):
    """Small pictures by their names: a machine that makes reports need not have a font for them."""

    def named(found):
        return f'<abbr>{escape(unicodedata.name(found[0], "picture").lower())}</abbr>'

    text = re.sub(r"&#(\d+);", lambda number: chr(int(number[1])) if int(number[1]) > 127 else number[0], text)
    return re.sub("[\u2600-\u27bf\U0001f000-\U0001faff]", named, text)


def messages(run):
    shown = ""
    for message in run.telegram.messages:
        # As a person sees it: Telegram's markup is a part of HTML's, and was checked when the message came.
        assert not telegram.Markup(message["text"]).wrong
        at = f"{message['at'] - run.began:.0f} s"
        shown += f'<div class="message"><time>after {at}</time>{drawable(message["text"].strip())}</div>'
    return f'<div class="messages">{shown}</div>'


def panel(one, found, run):
    place = one.raw["gridPos"]
    where = f"grid-column:{place['x'] + 1}/span {place['w']};grid-row:{place['y'] + 1}/span {place['h']}"
    content = drawing.draw(one, found, run.began, run.ended)
    why = declared.EMPTY.get(one.name) or next((why for answer in found if (why := checks.absent(answer.target))), "")
    style = "panel" if content else "panel empty"
    content = content or f"<span>empty in this run: {escape(why)}</span>"
    return (
        f'<section class="{style}" style="{where}" data-name="{escape(one.name)}" title="{escape(one.raw.get("description", ""))}">'
        f"<h4>{escape(one.title)}</h4><div>{content}</div></section>"
    )


def board(one, run):
    heads = "".join(f'<h3 style="grid-column:1/-1;grid-row:{y + 1}">{escape(title)}</h3>' for title, y in one.rows)
    panels = "".join(panel(each, run.answers[id(each)], run) for each in one.panels)
    rows = f"grid-auto-rows:{ROW_PIXELS}px"
    return f'<h2>{escape(one.title)}</h2><div class="board" style="{rows}">{heads}{panels}</div>'


def write(path, run, boards):
    seconds = run.ended - run.began
    fired = {labels["alertname"] for labels, _, _ in run.states if labels["alertstate"] == "firing"}
    cards = [
        card(grouped(run.traffic.made), f"requests through nginx in {seconds:.0f} s, and as many in Prometheus"),
        card(grouped(run.lines()), f"lines in the pods' logs over {run.rotations()} rotations, and as many at Loki"),
        card(len(fired), f"alerts fired of {len(run.alerts)}"),
        card(len(run.telegram.messages), "messages at Telegram"),
    ]
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.began))
    lead = (
        f"Made {made} by <code>just proof</code>. Two controllers (Debian's nginx with ModSecurity and the Core Rule Set) under "
        "planned traffic and attacks, their logs rotated as the kubelet does, weir, Prometheus with the shipped rules, "
        f"Alertmanager with the shipped texts. Every duration of the rules is divided by {rules.FACTOR}; what each panel shows "
        "is the result of its own query."
    )
    body = f'<h1>weir: the proof with real parts</h1><p class="lead">{lead}</p>'
    body += f'<div class="cards">{"".join(cards)}</div>{exactness(run)}'
    body += f"<h2>Alerts over time</h2>{alerts(run)}<h2>What arrived at Telegram</h2>{messages(run)}"
    body += "".join(board(one, run) for one in boards)
    path.write_text(page(body))


assert UNIT_PIXELS == 58, "the grid's columns in STYLE"
