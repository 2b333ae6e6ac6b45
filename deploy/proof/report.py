"""The report: one file of HTML without scripts, to look at the boards and the alerts of the run without Grafana."""

import re
import time
import unicodedata
from collections import defaultdict

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

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px; width: 1440px; background: #f4f6f8; color: #1f2933;
  font: 13px/1.45 "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 34px 0 10px; } p { margin: 4px 0; }
h3 { font-size: 13px; margin: 0; color: #52606d; font-weight: 600; align-self: center; }
.lead { color: #52606d; max-width: 1000px; }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: 10px; margin: 18px 0; }
.card, .panel, .alerts, .message { background: #fff; border: 1px solid #dde2e8; border-radius: 4px; padding: 8px 12px; }
.card b { display: block; font-size: 25px; color: #1f60c4; } .card span { color: #52606d; }
.equation { font-size: 13px; background: #fff; border-left: 4px solid #2f8f46; padding: 4px 14px; }
.equation b { color: #2f8f46; } .equation.wrong { border-left-color: #d43a4c; } .equation.wrong b { color: #d43a4c; }
.alerts { display: grid; grid-template-columns: 270px 120px 1fr; gap: 3px 14px; }
.alerts > * { min-height: 16px; } .alerts .fired { font-weight: 600; } .alerts .severity { color: #52606d; }
.quiet { columns: 4; color: #52606d; margin: 10px 0 0; padding: 0 0 0 18px; }
.messages { columns: 3; column-gap: 10px; }
.message { white-space: pre-wrap; overflow-wrap: anywhere; break-inside: avoid; margin: 0 0 10px; font-size: 11px; }
.phase { color: #52606d; font-size: 11px; } abbr { background: #e3e7eb; border-radius: 3px; padding: 0 4px; font-size: 10px; } .message time { color: #7b8794; display: block; }
.board { display: grid; grid-template-columns: repeat(24, 58px); }
.panel { margin: 3px; overflow: hidden; display: flex; flex-direction: column; padding: 6px 9px; }
.panel > h4 { margin: 0 0 4px; font-size: 12.5px; line-height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.panel > div { flex: 1; min-height: 0; }
.panel.empty > div { display: flex; align-items: center; justify-content: center; color: #7b8794; text-align: center; }
.key, .bars, .lines { list-style: none; margin: 0; padding: 0; }
.key li { display: flex; align-items: center; gap: 6px; font-size: 10.5px; line-height: 15px; white-space: nowrap; }
.key i { width: 9px; height: 3px; flex: none; } .key span { overflow: hidden; text-overflow: ellipsis; flex: 1; }
.key b { font-weight: 500; color: #52606d; }
.more { color: #7b8794; font-size: 10.5px; }
.stats { display: grid; height: 100%; align-content: center; justify-items: center; gap: 4px 8px; }
.stats.n2 { grid-template-columns: 1fr 1fr; } .stats.n3, .stats.n4 { grid-template-columns: repeat(2, 1fr); }
.stats b { font-size: 25px; line-height: 1.1; display: block; text-align: center; } .stats span { font-size: 10.5px; color: #52606d; }
.stats.n2 b, .stats.n3 b, .stats.n4 b { font-size: 16px; }
.bars li { display: grid; grid-template-columns: minmax(60px, 34%) 1fr auto; gap: 8px; align-items: center; line-height: 22px; }
.bars span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .bars i { background: #eef1f4; height: 12px; }
.bars em { display: block; height: 12px; background: #3274d9; } .bars b { font-weight: 500; }
table { border-collapse: collapse; width: 100%; font-size: 11px; }
th { text-align: left; color: #52606d; font-weight: 600; border-bottom: 1px solid #cbd2d9; }
td, th { padding: 2px 8px 2px 0; max-width: 330px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; line-height: 18px; }
td { border-bottom: 1px solid #eef1f4; } .figure { font-variant-numeric: tabular-nums; }
.lines li { font: 10px/1.4 "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; padding: 2px 0; border-bottom: 1px solid #eef1f4;
  max-height: 33px; overflow: hidden; }
.lines time { color: #1f60c4; margin-right: 8px; }
"""


def page(body):
    head = f'<meta charset="utf-8"><title>weir: the proof</title><style>{STYLE}</style>'
    return f"<!doctype html><html lang=\"en\"><head>{head}</head><body>{body}</body></html>\n"


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
    axis = plots.time_axis(lambda at: (at - run.began) / (run.ended - run.began) * STRIP_WIDTH, run.began, run.ended, 10)
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
    body = (
        "<h1>weir: the proof with real parts</h1>"
        f'<p class="lead">Made {made} by <code>just proof</code>. Two controllers (Debian\'s nginx with ModSecurity and the Core Rule '
        "Set) under planned traffic and attacks, their logs rotated as the kubelet does, weir, Prometheus with the shipped rules, "
        f"Alertmanager with the shipped texts. Every duration of the rules is divided by {rules.FACTOR}; what each panel shows is the "
        "result of its own query.</p>"
        f'<div class="cards">{"".join(cards)}</div>{exactness(run)}'
        f"<h2>Alerts over time</h2>{alerts(run)}<h2>What arrived at Telegram</h2>{messages(run)}"
        + "".join(board(one, run) for one in boards)
    )
    path.write_text(page(body))


assert UNIT_PIXELS == 58, "the grid's columns in STYLE"
