"""The proof with real parts: traffic through nginx, and all that people see of it, compared with what was sent.

Leaves a report in the folder that is given; ends with 1 and says what is wrong when anything is.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import answers
import boards
import browser
import checks
import declared
import live
import logql
import report
import rules

REPOSITORY = Path(__file__).resolve().parents[2]


def say(text):
    print(text, flush=True)


def states(run):
    """When each alert was pending or firing."""
    found = run.ruler.states(logql.streams(run.loki), run.began, run.ended)
    for labels, points in run.prometheus.range("ALERTS", run.began, run.ended, 1):
        begin = last = points[0][0]
        for at, _ in points[1:]:
            if at - last > 2.5:
                found.append((labels, begin, last + 1))
                begin = at
            last = at
        found.append((labels, begin, last + 1))
    return found


def equations(run):
    """Words, what arrived, what was sent."""
    made = run.traffic.made
    gained, _ = run.prometheus.gained("weir_http_requests_total")
    by_client = run.prometheus.value("sum(weir_http_client_requests_total)")
    blocked = run.prometheus.value("sum(weir_waf_blocked_requests_total)")
    return [
        ("sum(weir_http_requests_total) in Prometheus, and the requests that the clients made", run.counted, made),
        ("what its samples add up to, as increase() does before it extrapolates, and the same", gained, made),
        ("requests by client, and the same", by_client, made),
        ("requests that the WAF denied, and the answers 403", blocked, run.traffic.by_status["403"]),
        ("lines at Loki, and lines that the pods' programs wrote", run.loki.count(), run.lines()),
    ]


def ask_panels(run, found):
    """Every panel's queries, as its board opens."""
    kept = logql.streams(run.loki)
    seconds = int(run.ended - run.began)

    def logs(target, start, end):
        rows, lines = logql.ask(target.expr, kept, end)
        stamped = [(time.strftime("%H:%M:%S", time.gmtime(at)), labels, text) for at, labels, text in lines]
        return answers.Answer(target, rows=rows, lines=stamped)

    def values(variable):
        return label_values(run, kept, variable)

    wrong = []
    for board in found:
        variables = boards.Variables(board.raw, values, declared.CHOSEN, seconds)
        board.rows = [(variables.fill(title), y) for title, y in board.rows]
        for panel in board.panels:
            boards.fill(panel, variables)
            try:
                run.answers[id(panel)] = answers.ask(panel, run.prometheus, logs, run.began, run.ended)
            except ValueError as error:
                wrong.append(f"{panel.name}: {error!r}")
                run.answers[id(panel)] = []
    return wrong


def label_values(run, kept, variable):
    """The values that a query variable offers: `label_values(selector, label)`."""
    selector, _, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rpartition(",")
    label = label.strip()
    if (variable.get("datasource") or {}).get("type") == "loki":
        return sorted({labels[label] for labels, _ in kept if labels.get(label)})
    return sorted({labels[label] for labels, _ in run.prometheus.instant(selector.strip()) if labels.get(label)})


def shown(run, found, folder):
    """Writes the report and looks at it."""
    path = folder / "report.html"
    report.write(path, run, found)
    measured = browser.measure(path)
    browser.screenshot(path, folder / "report.png", measured["height"])
    browser.excerpt(path, folder / "proof.png")
    if os.environ.get("WEIR_UPDATE"):
        shutil.copy(folder / "proof.png", REPOSITORY / "docs/proof.png")
    return browser.wrong(measured, sum(len(board.panels) for board in found))


def prove(folder, state, binary):
    with contextlib.ExitStack() as stack:
        try:
            run, controllers = live.start(REPOSITORY, state, binary, stack, say)
            live.follow(run, controllers, say)
            run.counted = run.prometheus.value("sum(weir_http_requests_total)")
            run.states, run.equations = states(run), equations(run)
            found = boards.read(REPOSITORY / "dashboards")
            wrong = ask_panels(run, found) + checks.all_of(run, found)
        except BaseException:
            live.keep(state, folder / "logs")
            raise
        wrong += shown(run, found, folder)
        if wrong:
            live.keep(state, folder / "logs")
    return run, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("binary", type=Path)
    options = parser.parse_args()
    # Ends as it would at its end: what it started is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(f"ended by signal {number}"))
    began = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weir-proof-") as state:
        run, wrong = prove(options.folder, Path(state), options.binary.resolve())
    for sentence in wrong:
        say(f"WRONG: {sentence}")
    say(f"{options.folder}/report.html, in {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
