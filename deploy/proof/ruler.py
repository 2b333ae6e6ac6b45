"""Loki's ruler, as far as it goes without a Loki: the shipped rules for it, asked of the kept lines at many moments."""

import yaml

import logql
import rules

STEP_SECONDS = 2


class Ruler:
    """The rules of a folder, shortened as Prometheus' are."""

    def __init__(self, folder):
        paths = sorted(folder.glob("*.yaml"))
        documents = [rules.shorter_rules(yaml.safe_load(path.read_text())) for path in paths]
        self.rules = [rule for document in documents for group in document["groups"] for rule in group["rules"]]

    def severities(self):
        return {rule["alert"]: rule["labels"]["severity"] for rule in self.rules}

    def states(self, kept, start, end):
        """When each alert was pending or firing, by labels; and what its series were."""
        found = []
        for rule in self.rules:
            query = logql.Parser(rule["expr"]).parse()
            hold = rules.milliseconds(rule.get("for", "0s")) / 1000
            found += spans(rule, hold, lambda at: query(kept, at), start, end)
        return found


def spans(rule, hold, query, start, end):
    active, found, at = {}, [], start
    while at <= end:
        now = {tuple(sorted(labels.items())) for labels, _ in query(at)}
        for series in set(active) - now:
            found += states(rule, dict(series), hold, active.pop(series), at)
        for series in now - set(active):
            active[series] = at
        at += STEP_SECONDS
    for series, begin in active.items():
        found += states(rule, dict(series), hold, begin, end)
    return found


def states(rule, labels, hold, begin, end):
    """One stretch in which a series was there: pending first, then firing."""
    named = {**labels, "alertname": rule["alert"], "severity": rule["labels"]["severity"]}
    found = []
    if hold and begin < end:
        found.append(({**named, "alertstate": "pending"}, begin, min(end, begin + hold)))
    if end - begin > hold or not hold:
        found.append(({**named, "alertstate": "firing"}, begin + hold, end))
    return found
