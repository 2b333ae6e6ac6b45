"""What has to hold of a run. Each check gives the sentences that are wrong; none is a good sign."""

import re
from collections import Counter

import declared
import promql
import traffic

# What the message must name beside the address: a rule of the Core Rule Set.
RULE_ID = re.compile(r"\b9\d{5}\b")


def exact(run):
    """Prometheus and Loki have everything, once."""
    wrong = [f"{words}: {left:.0f}, not {right:.0f}" for words, left, right in run.equations if left != right]
    return wrong + [f"Loki refused a push: {why}" for why in run.loki.refused[:3]]


def by_status(run):
    """Status by status, what the clients saw is what was counted."""
    counted = Counter()
    for labels, value in run.prometheus.instant("sum by (status) (weir_http_requests_total)"):
        counted[labels["status"]] += int(value)
    if counted == run.traffic.by_status:
        return []
    return [f"by status: counted {dict(counted)}, seen {dict(run.traffic.by_status)}"]


def every_line(run):
    """Each line is at Loki as often as it was written."""
    written = Counter(line for container in run.containers for lines in container.lines.values() for line in lines)
    stored = run.loki.contents()
    missing, more = written - stored, stored - written
    wrong = [f"not at Loki: {count} × {line[:200]}" for line, count in missing.most_common(3)]
    return wrong + [f"at Loki, but not written so often: {count} × {line[:200]}" for line, count in more.most_common(3)]


def alerts(run):
    """Those fired that had to, and the others stayed silent."""
    expected, possible = declared.EXPECTED | declared.EXPECTED_OF_LOKI, declared.POSSIBLE
    fired = {labels["alertname"] for labels, _, _ in run.states if labels["alertstate"] == "firing"}
    wrong = [f"alert {name} is declared and unknown" for name in sorted((expected | possible) - set(run.alerts))]
    late = f"; some requests were {run.traffic.late:.0f} s late" if run.traffic.late > 10 else ""
    wrong += [f"alert {name} did not fire{late}" for name in sorted(expected - fired)]
    return wrong + [f"alert {name} fired" for name in sorted(fired - expected - possible)]


def telegrams(run):
    wrong = [
        f"Telegram refused a message: {one['why']}: {one.get('text', '')[:200]!r}" for one in run.telegram.refused[:3]
    ]
    texts = [message["text"] for message in run.telegram.messages]
    brute = [text for text in texts if traffic.BRUTE_FORCE in text]
    blocked = [text for text in texts if traffic.ATTACKER in text and RULE_ID.search(text)]
    if not brute:
        wrong.append(f"no message names {traffic.BRUTE_FORCE}, who tried passwords")
    if not blocked:
        wrong.append(f"no message names {traffic.ATTACKER}, whom the WAF blocked, and a rule of the WAF")
    return wrong


def panels(run, boards):
    """Every query of every panel has an answer, but for those of which it is declared why not."""
    wrong, rest = [], dict(declared.EMPTY)
    for board in boards:
        for panel in board.panels:
            whole = rest.pop(panel.name, None)
            for answer in run.answers[id(panel)]:
                name = f"{panel.name} / {answer.target.ref}"
                why = rest.pop(name, None) or whole or absent(answer.target)
                if answer.is_empty() and not why:
                    wrong.append(f"{name}: no data: {answer.target.expr[:600]}")
                if not answer.is_empty() and name in declared.EMPTY:
                    wrong.append(f"{name}: declared empty ({why}), and is not")
    return wrong + [f"{name}: declared empty, and there is no such panel" for name in rest]


def absent(target):
    """Why a query has no answer: it names a metric that cannot be there."""
    named = promql.metrics(target.expr) if target.language == "promql" else set()
    return next((declared.ABSENT[name] for name in sorted(named) if name in declared.ABSENT), None)


def named(run, boards):
    """Every query that anything shipped asks Prometheus, and where it stands."""
    for group in run.groups:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            yield f"rule {name}", rule["expr"]
            for text in rule.get("annotations", {}).values():
                yield from ((f"the text of {name}", query) for query in promql.in_templates(text))
    for board in boards:
        for panel in board.panels:
            yield from ((panel.name, one.expr) for one in panel.targets if one.language == "promql")
        for mark in board.raw["annotations"]["list"]:
            if mark["datasource"]["type"] == "prometheus":
                yield f"{board.title}, marks {mark['name']}", mark["expr"]


def names(run, boards):
    """Every metric that a rule or a board names is there, or it is declared why not."""
    known, used = run.prometheus.metrics(), {}
    for where, query in named(run, boards):
        for metric in promql.metrics(query):
            used.setdefault(metric, where)
    unknown = sorted(set(used) - known - set(declared.ABSENT))
    wrong = [f"no metric {metric}, which {used[metric]} names" for metric in unknown]
    wrong += [f"{metric} is declared absent, and is there" for metric in sorted(set(declared.ABSENT) & known)]
    return wrong + [
        f"{metric} is declared absent, and nothing names it" for metric in sorted(set(declared.ABSENT) - set(used))
    ]


def all_of(run, boards):
    found = exact(run) + by_status(run) + every_line(run) + alerts(run) + telegrams(run)
    return found + panels(run, boards) + names(run, boards)
