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
    """Those fired that had to, those stayed silent that had to, and what people read names whom and what."""
    fired = {labels["alertname"] for labels, _, _ in run.states if labels["alertstate"] == "firing"}
    wrong = [f"alert {name} is declared and unknown" for name in sorted((declared.EXPECTED | declared.POSSIBLE) - set(run.alerts))]
    wrong += [f"alert {name} did not fire" for name in sorted(declared.EXPECTED - fired)]
    wrong += [f"alert {name} fired" for name in sorted(fired - declared.EXPECTED - declared.POSSIBLE)]
    return wrong


def telegrams(run):
    wrong = [f"Telegram refused a message: {one['why']}: {one.get('text', '')[:300]}" for one in run.telegram.refused[:3]]
    texts = [message["text"] for message in run.telegram.messages]
    brute = [text for text in texts if traffic.BRUTE_FORCE in text]
    blocked = [text for text in texts if traffic.ATTACKER in text and RULE_ID.search(text)]
    if not brute:
        wrong.append(f"no message names {traffic.BRUTE_FORCE}, who tried passwords")
    if not blocked:
        wrong.append(f"no message names {traffic.ATTACKER}, whom the WAF blocked, and a rule of the WAF")
    return wrong


def panels(run, boards):
    """Every panel's queries have an answer, but for those that are declared to have none."""
    wrong, rest = [], dict(declared.EMPTY)
    for board in boards:
        for panel in board.panels:
            why = rest.pop(panel.name, None)
            found = run.answers[id(panel)]
            empty = bool(found) and all(answer.is_empty() for answer in found)
            if empty and why is None:
                queries = " | ".join(answer.target.expr for answer in found)
                wrong.append(f"{panel.name}: no data: {queries[:600]}")
            if not empty and why is not None:
                wrong.append(f"{panel.name}: declared empty ({why}), and is not")
    return wrong + [f"{name}: declared empty, and there is no such panel" for name in rest]


def names(run, boards):
    """Every metric that a rule or a board names is there, or is declared to come from elsewhere or to be rare."""
    known, wrong = run.prometheus.metrics(), []
    used = {}
    for group in run.groups:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            queries = [rule["expr"], *(q for text in rule.get("annotations", {}).values() for q in promql.in_templates(text))]
            for query in queries:
                for metric in promql.metrics(query):
                    used.setdefault(metric, f"rule {name}")
    for board in boards:
        for panel in board.panels:
            for target in panel.targets:
                for metric in promql.metrics(target.expr) if target.language == "promql" else ():
                    used.setdefault(metric, panel.name)
    for metric, where in sorted(used.items()):
        if metric not in known and metric not in declared.ABSENT:
            wrong.append(f"no metric {metric}, which {where} names")
    wrong += [f"{metric} is declared absent, and is there" for metric in sorted(set(declared.ABSENT) & known)]
    wrong += [f"{metric} is declared absent, and nothing names it" for metric in sorted(set(declared.ABSENT) - set(used))]
    return wrong


def all_of(run, boards):
    found = exact(run) + by_status(run) + every_line(run) + alerts(run) + telegrams(run)
    return found + panels(run, boards) + names(run, boards)
